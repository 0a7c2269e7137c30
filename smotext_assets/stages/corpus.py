"""raw_corpus and labelled_texts: from the source to clean, split, labelled passages."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
from pydantic import Field

from smotext_assets.graph import Corpus, StoreResource, Table, column_lineage, column_schema, labels
from smotext_assets.stages.source import source_frames
from smotext_assets.store import Manifest, Store, days_forgotten, without_forgotten
from smotext_core.card import markdown_table
from smotext_core.schemas import LABELLED_TEXTS, RAW_CORPUS, SPLITS
from smotext_core.texts import Spool, label_frames


class RawCorpusConfig(dg.Config):
    """Which files."""

    files: list[str] | None = Field(
        default=None,
        description="Of a folder or a prefix these files alone, by name: those the inbox sensor "
        "has found whole. Default all.",
    )


@dg.asset(
    group_name="corpus",
    kinds={"parquet"},
    metadata={"dagster/column_schema": column_schema(RAW_CORPUS)},
)
def raw_corpus(
    context: dg.AssetExecutionContext,
    config: RawCorpusConfig,
    corpus: Corpus,
    store: StoreResource,
) -> None:
    """One row per text as ingested. Rows that cannot be used are in `rejected_rows`.

    Of a folder or a prefix all files are the corpus, in the order of their names. Texts that were
    forgotten stay away.
    """
    read_as: list[str] = []
    tables = store.open()
    frames = source_frames(corpus, store, files=config.files, tell=read_as.append)
    manifest, rejected = store_corpus(
        tables,
        frames,
        metadata={
            "source": corpus.source,
            "options": corpus.model_dump(exclude={"source"}, exclude_defaults=True),
            "read_as": read_as,  # has its lines when the last frame has come
        },
    )
    for line in read_as:
        context.log.info(line)
    context.add_output_metadata(
        {
            "dagster/row_count": manifest.rows,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            "source": corpus.source,
            "read_as": "; ".join(read_as[:10]),
            "refused": rejected.rows,
            "reasons": dg.MetadataValue.md(_reasons(tables, "raw_corpus")),
        }
    )


def store_corpus(
    tables: Store,
    frames: Iterable[tuple[pl.DataFrame, pl.DataFrame]],
    *,
    metadata: Mapping[str, Any],
) -> tuple[Manifest, Manifest]:
    """Commit what `source_frames` gives as `raw_corpus` and its `rejected_rows`; their manifests.

    A frame at a time is held.
    """
    days, refused = days_forgotten(tables), [Spool(), Spool(), Spool()]

    def accepted() -> Iterator[pl.DataFrame]:
        for good, bad in frames:
            good, forgotten = without_forgotten(days, good)
            for spool, frame in zip(
                refused, [*without_forgotten(days, bad), forgotten], strict=True
            ):
                spool.append(frame)
            yield good

    manifest = tables.write("raw_corpus", accepted(), metadata=metadata)
    rejected = chain.from_iterable(spool.frames() for spool in refused)
    return manifest, tables.write("rejected_rows", rejected, {"stage": "raw_corpus"})


class LabelledTextsConfig(dg.Config):
    """How the corpus is cleaned and split."""

    seed: int = Field(default=0, description="Of the split.")
    test_fraction: float = Field(default=0.15, description="Documents that score the classifiers.")
    holdout_fraction: float = Field(default=0.15, description="Documents for the leakage audit.")
    max_words: int = Field(
        default=45,
        description="Longer texts become passages of whole sentences of at most so many words; "
        "the embedded decoder was trained on such passages.",
    )


@dg.asset(
    group_name="corpus",
    kinds={"parquet"},
    metadata={"dagster/column_schema": column_schema(LABELLED_TEXTS)},
)
def labelled_texts(
    context: dg.AssetExecutionContext,
    config: LabelledTextsConfig,
    raw_corpus: Table,
    store: StoreResource,
) -> None:
    """One row per clean, distinct passage, with its label and its split.

    Train, test and holdout are parted here, once, by document and before any pairing. Labels
    become partition keys.
    """
    tables = store.open()
    manifest, rejected = store_labelled(tables, config)
    counts = labelled_counts(tables)
    slugs = counts["slug"].unique().sort().to_list()
    context.instance.add_dynamic_partitions(str(labels.name), slugs)
    by_split = counts.pivot("split", index="label", values="texts", aggregate_function="sum")
    context.add_output_metadata(
        {
            "dagster/row_count": manifest.rows,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            **column_lineage("labelled_texts"),
            "labels": len(slugs),
            "refused": rejected.rows,
            "texts_per_label": dg.MetadataValue.md(markdown_table(by_split.sort("label"))),
            "reasons": dg.MetadataValue.md(_reasons(tables, "labelled_texts")),
        }
    )


def store_labelled(tables: Store, config: LabelledTextsConfig) -> tuple[Manifest, Manifest]:
    """Commit `labelled_texts` and its `rejected_rows`, made of `raw_corpus`; their manifests.

    `raw_corpus` is read three times or four, a row group at a time.

    Raises:
        ValueError: see `label_frames`.
    """
    days = days_forgotten(tables)

    def frames() -> Iterator[pl.DataFrame]:
        for frame in tables.read_frames("raw_corpus"):
            yield without_forgotten(days, frame)[0]

    labelled, refused = label_frames(frames, **config.model_dump())
    rejected = tables.write("rejected_rows", refused, {"stage": "labelled_texts"})
    options = config.model_dump(exclude_defaults=True)
    return tables.write("labelled_texts", labelled, metadata={"options": options}), rejected


def labelled_counts(tables: Store) -> pl.DataFrame:
    """How many `texts` the labelled texts have of each `label`, `slug` and `split`."""
    keys = ["label", "slug", "split"]
    found = [
        frame.group_by(keys).len("texts")
        for frame in tables.read_frames("labelled_texts", columns=keys)
    ]
    return pl.concat(found).group_by(keys).agg(pl.col("texts").sum())


@dg.asset_check(asset=labelled_texts, blocking=True)
def splits_share_no_document(labelled_texts: Table) -> dg.AssetCheckResult:
    """Every document, and every text, is in one split only."""
    shared = sum(_in_several_splits(labelled_texts, of) for of in ("document_id", "content_hash"))
    return dg.AssetCheckResult(passed=shared == 0, metadata={"shared": shared})


def _in_several_splits(labelled_texts: Table, column: str) -> int:
    """Splits beyond the first, in all, that a value of `column` is in; 8 bytes are held of a row.

    62 bits are a hash of the value, 2 its split: distinct numbers less distinct hashes.
    """
    numbers = np.concatenate(
        [
            (frame[column].hash().to_numpy() & ~np.uint64(3))
            + frame["split"].cast(pl.Enum(SPLITS)).to_physical().to_numpy().astype(np.uint64)
            for frame in labelled_texts.store.read_frames(
                labelled_texts.name, columns=[column, "split"]
            )
        ]
    )
    numbers.sort()
    n_pairs = np.count_nonzero(np.diff(numbers))
    return int(n_pairs - np.count_nonzero(np.diff(numbers >> np.uint64(2))))


def _reasons(tables: Store, stage: str) -> str:
    # "duplicate of X" names another text each time: count the kind
    kind = pl.col("reason").str.replace(r"^(duplicate) of .*$", "$1")
    kinds = [
        frame.group_by(kind).len("rows")
        for frame in tables.read_frames("rejected_rows", {"stage": stage}, columns=["reason"])
    ]
    counts = pl.concat([pl.DataFrame(schema={"reason": pl.String, "rows": pl.UInt32}), *kinds])
    return markdown_table(
        counts.group_by("reason").agg(pl.col("rows").sum()).sort("rows", descending=True)
    )
