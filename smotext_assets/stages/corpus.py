"""raw_corpus and labelled_texts: from the source to clean, split, labelled passages."""

import dagster as dg
import polars as pl
from pydantic import Field

from smotext_assets.graph import Corpus, StoreResource, Table, column_lineage, column_schema, labels
from smotext_assets.stages.source import read_source
from smotext_assets.store import without_forgotten
from smotext_core.card import markdown_table
from smotext_core.schemas import LABELLED_TEXTS, RAW_CORPUS
from smotext_core.texts import label_texts


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
    frame, rejected = read_source(corpus, store, files=config.files, tell=read_as.append)
    for line in read_as:
        context.log.info(line)
    tables = store.open()
    frame, forgotten = without_forgotten(tables, frame)
    rejected = pl.concat([*without_forgotten(tables, rejected), forgotten])
    tables.write("rejected_rows", rejected, {"stage": "raw_corpus"})
    given = corpus.model_dump(exclude={"source"}, exclude_defaults=True)
    manifest = tables.write(
        "raw_corpus",
        frame,
        metadata={"source": corpus.source, "options": given, "read_as": list(read_as)},
    )
    context.add_output_metadata(
        {
            "dagster/row_count": frame.height,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            "source": corpus.source,
            "read_as": "; ".join(read_as[:10]),
            "refused": rejected.height,
            "reasons": dg.MetadataValue.md(_counts(rejected, "reason")),
        }
    )


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
    raw, _ = without_forgotten(tables, raw_corpus.read())
    frame, rejected = label_texts(
        raw,
        seed=config.seed,
        test_fraction=config.test_fraction,
        holdout_fraction=config.holdout_fraction,
        max_words=config.max_words,
    )
    tables.write("rejected_rows", rejected, {"stage": "labelled_texts"})
    manifest = tables.write(
        "labelled_texts", frame, metadata={"options": config.model_dump(exclude_defaults=True)}
    )
    slugs = frame["slug"].unique().sort().to_list()
    context.instance.add_dynamic_partitions(str(labels.name), slugs)
    counts = frame.pivot("split", index="label", values="text_id", aggregate_function="len")
    context.add_output_metadata(
        {
            "dagster/row_count": frame.height,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            **column_lineage("labelled_texts"),
            "labels": len(slugs),
            "refused": rejected.height,
            "texts_per_label": dg.MetadataValue.md(markdown_table(counts.sort("label"))),
            "reasons": dg.MetadataValue.md(_counts(rejected, "reason")),
        }
    )


@dg.asset_check(asset=labelled_texts, blocking=True)
def splits_share_no_document(labelled_texts: Table) -> dg.AssetCheckResult:
    """Every document, and every text, is in one split only."""
    frame = labelled_texts.read()
    shared = sum(
        frame.group_by(column).agg(pl.col("split").n_unique())["split"].gt(1).sum()
        for column in ("document_id", "content_hash")
    )
    return dg.AssetCheckResult(passed=shared == 0, metadata={"shared": int(shared)})


def _counts(frame: pl.DataFrame, column: str) -> str:
    # "duplicate of X" names another text each time: count the kind
    kinds = frame.with_columns(pl.col(column).str.replace(r"^(duplicate) of .*$", "$1"))
    return markdown_table(kinds.group_by(column).len("rows").sort("rows", descending=True))
