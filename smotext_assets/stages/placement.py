"""Where a partition's mixed vectors lie among the real ones: figures, picture, checks."""

import base64
from collections.abc import Callable, Iterable
from functools import cached_property

import dagster as dg
import numpy as np
import polars as pl
from numpy.typing import NDArray

from smotext_assets.graph import ByLabel, Table, with_vectors
from smotext_assets.store import JSON, Encoded
from smotext_core.card import MAX_REAL, MAX_SYNTHETIC, MOST_MAPS, class_map, markdown_table
from smotext_core.mixing import placement, spread
from smotext_core.neighbors import UnitVectors
from smotext_core.schemas import RUNS

MOST_NORM_OUTSIDE = 0.05  # of samples; real lengths are all that a decoder was trained on
MOST_FOREIGN = 0.5  # of samples; above it the nearest real texts mostly speak against the label


class TrainVectors:
    """The vectors of the train texts by one encoder, as a step looks at them label after label.

    All of them are read once, at the first label that asks for `others`, and held: the files of all
    labels read again for each label would be labels × labels.
    """

    def __init__(self, train: pl.DataFrame, embeddings: Table, *, encoder: str) -> None:
        self._train, self._embeddings, self._encoder = ByLabel(train), embeddings, encoder
        self._frame = train

    @cached_property
    def sha256(self) -> Encoded:
        """Of the vectors of each label that this encoder has embedded."""
        found: dict[str, JSON] = {}
        for partition in self._embeddings.partitions():
            manifest = self._embeddings.manifest(**partition)
            if manifest is not None and manifest.metadata["encoder"] == self._encoder:
                found[partition["label"]] = manifest.sha256
        return Encoded.of(found)

    def of(self, label: str) -> pl.DataFrame:
        """Its texts that have one, with `embedding`.

        Raises:
            MissingPartition: there are none.
        """
        return with_vectors(self._train.get(label), self._embeddings, encoder=self._encoder)[0]

    def others(self, label: str) -> list[UnitVectors]:
        """(m, d) each: those of all other labels that are embedded, in the order of the slugs."""
        slugs, vectors = self._all
        return [
            vectors[: slugs.search_sorted(label, "left")],
            vectors[slugs.search_sorted(label, "right") :],
        ]

    @cached_property
    def _all(self) -> tuple[pl.Series, UnitVectors]:
        texts = self._frame.sort("slug", maintain_order=True)
        found, _ = with_vectors(texts, self._embeddings, encoder=self._encoder)
        return found["slug"], UnitVectors(found["embedding"].to_numpy())


def figures(
    vectors: NDArray[np.float32],
    train: TrainVectors,
    *,
    label: str,
    norms: NDArray[np.float32],
) -> dict[str, JSON]:
    """`placement` of a label's mixed vectors among the train texts."""
    own = train.of(label)["embedding"].to_numpy()
    return {**placement(vectors, own, train.others(label), norms=norms)}


def map_metadata(
    draw: Callable[[], bytes], *, n_partitions: int
) -> dict[str, dg.MarkdownMetadataValue]:
    """The PNG of `draw` as Dagster's pages show it; {} where the step makes more than MOST_MAPS."""
    if n_partitions > MOST_MAPS:
        return {}
    image = f"![map](data:image/png;base64,{base64.b64encode(draw()).decode()})"
    return {"map": dg.MetadataValue.md(image)}


def picture(
    pairs: pl.DataFrame,
    vectors: Iterable[pl.DataFrame],
    train: TrainVectors,
    *,
    label: str,
) -> bytes:
    """The map of a label's real and mixed vectors, the parents of four joined.

    Args:
        vectors: interpolated vectors of `pairs`, one frame below the other.
    """
    real = train.of(label)
    few = pairs["parent_ids"].head(4)
    parents = real["text_id"].is_in(few.explode().implode()).to_numpy()
    shown = np.union1d(spread(real.height, MAX_REAL), np.flatnonzero(parents))
    place = {text_id: row for row, text_id in enumerate(real["text_id"].gather(shown))}
    made = np.union1d(np.arange(len(few)), spread(pairs.height, MAX_SYNTHETIC))
    shown_of_made, done = [], 0
    for frame in vectors:
        here = made[(made >= done) & (made < done + frame.height)]
        shown_of_made.append(frame["vector"].gather(here - done).to_numpy())
        done += frame.height
    return class_map(
        real["embedding"].gather(shown).to_numpy(),
        np.concatenate(shown_of_made),
        parents=[tuple(place[parent] for parent in ids) for ids in few],
        title=real["label"][0],
    )


def _current(vectors: Table, labelled_texts: Table, *, figure: str) -> pl.DataFrame:
    """run, label and a figure of each partition of the runs of the corpus as it is now."""
    runs = Table(labelled_texts.store, "runs").read_all(schema=RUNS)
    of_now = runs.filter(pl.col("corpus_sha256") == labelled_texts.sha256())["run"].to_list()
    rows = [
        (partition["run"], partition["label"], vectors.metadata(**partition).get(figure))
        for partition in vectors.partitions()
        if partition["run"] in of_now
    ]
    schema = {"run": pl.String(), "label": pl.String(), figure: pl.Float64()}
    return pl.DataFrame(rows, schema=schema, orient="row").drop_nulls()


def _result(found: pl.DataFrame, *, figure: str, most: float, advice: str) -> dg.AssetCheckResult:
    above = found.filter(pl.col(figure) > most).sort("run", "label")
    return dg.AssetCheckResult(
        passed=above.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{above.height} of {found.height} partitions above {most}. {advice}",
        metadata={"most": most, "above": dg.MetadataValue.md(markdown_table(above))},
    )


@dg.asset_check(asset="interpolated_vectors", additional_ins={"labelled_texts": dg.AssetIn()})
def vectors_keep_norm(interpolated_vectors: Table, labelled_texts: Table) -> dg.AssetCheckResult:
    """At most 5 % of a partition's vectors are shorter or longer than every real one of the label.

    A decoder was trained on vectors of real lengths and writes worse from others.
    """
    figure = "norm_outside"
    return _result(
        _current(interpolated_vectors, labelled_texts, figure=figure),
        figure=figure,
        most=MOST_NORM_OUTSIDE,
        advice="mixing linear-norm and spherical keep the parents' length",
    )


@dg.asset_check(asset="interpolated_vectors", additional_ins={"labelled_texts": dg.AssetIn()})
def vectors_lie_in_class(interpolated_vectors: Table, labelled_texts: Table) -> dg.AssetCheckResult:
    """At most half of a partition's vectors have mostly texts of other labels nearest to them.

    Past half the nearest real texts speak against the label more often than for it. The borderline
    strategies go there on purpose; filters then refuse what a classifier gives another label.
    """
    figure = "foreign_majority"
    return _result(
        _current(interpolated_vectors, labelled_texts, figure=figure),
        figure=figure,
        most=MOST_FOREIGN,
        advice="real_foreign_majority tells how the label's real texts lie themselves; a smaller "
        "k_neighbors or a lam near 0 stays closer to them",
    )
