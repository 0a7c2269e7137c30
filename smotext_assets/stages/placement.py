"""Where a partition's mixed vectors lie among the real ones: figures, picture, checks."""

import base64
from collections.abc import Iterable, Iterator
from contextlib import suppress

import dagster as dg
import numpy as np
import polars as pl
from numpy.typing import NDArray

from smotext_assets.graph import Table, with_vectors
from smotext_assets.store import JSON, MissingPartition
from smotext_core.card import MAX_REAL, MAX_SYNTHETIC, class_map, markdown_table
from smotext_core.mixing import placement, spread
from smotext_core.schemas import RUNS

MOST_NORM_OUTSIDE = 0.05  # of samples; real lengths are all that a decoder was trained on
MOST_FOREIGN = 0.5  # of samples; above it the nearest real texts mostly speak against the label


def vectors_of(embeddings: Table, *, encoder: str) -> dict[str, JSON]:
    """sha256 of the vectors of each label that this encoder has embedded."""
    found: dict[str, JSON] = {}
    for partition in embeddings.partitions():
        manifest = embeddings.manifest(**partition)
        if manifest is not None and manifest.metadata["encoder"] == encoder:
            found[partition["label"]] = manifest.sha256
    return found


def figures(
    vectors: NDArray[np.float32],
    train: pl.DataFrame,
    embeddings: Table,
    *,
    label: str,
    encoder: str,
    norms: NDArray[np.float32],
) -> dict[str, JSON]:
    """`placement` of a label's mixed vectors among the train texts; one label at a time is read."""

    def others() -> Iterator[NDArray[np.float32]]:
        for slug in sorted(set(train["slug"]) - {label}):
            with suppress(MissingPartition):  # a label not yet embedded cannot be looked at
                yield _vectors(train, embeddings, label=slug, encoder=encoder)[
                    "embedding"
                ].to_numpy()

    own = _vectors(train, embeddings, label=label, encoder=encoder)["embedding"].to_numpy()
    return {**placement(vectors, own, others(), norms=norms)}


def picture(
    pairs: pl.DataFrame,
    vectors: Iterable[pl.DataFrame],
    train: pl.DataFrame,
    embeddings: Table,
    *,
    label: str,
    encoder: str,
) -> dict[str, dg.MarkdownMetadataValue]:
    """The map of a label's real and mixed vectors, the parents of four joined; {} without any.

    Args:
        vectors: interpolated vectors of `pairs`, one frame below the other.
    """
    if pairs.is_empty():
        return {}
    real = _vectors(train, embeddings, label=label, encoder=encoder)
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
    png = class_map(
        real["embedding"].gather(shown).to_numpy(),
        np.concatenate(shown_of_made),
        parents=[tuple(place[parent] for parent in ids) for ids in few],
        title=real["label"][0],
    )
    image = f"![map](data:image/png;base64,{base64.b64encode(png).decode()})"
    return {"map": dg.MetadataValue.md(image)}


def _vectors(train: pl.DataFrame, embeddings: Table, *, label: str, encoder: str) -> pl.DataFrame:
    return with_vectors(train.filter(pl.col("slug") == label), embeddings, encoder=encoder)[0]


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
