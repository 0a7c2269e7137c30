"""class_pairs: which texts are mixed, and how much of each."""

from contextlib import suppress
from typing import Literal

import dagster as dg
import numpy as np
import polars as pl
from pydantic import Field

from smotext_assets.graph import (
    DEFAULTS,
    ByLabel,
    GeneratorResource,
    StoreResource,
    Table,
    column_schema,
    for_each_partition,
    frozen_run,
    label_by_run,
    with_vectors,
)
from smotext_assets.store import JSON, Store, frame_sha256
from smotext_core.card import markdown_table
from smotext_core.mixing import SPARE, WITHIN_CLASS, Mixing, Strategy, make_pairs
from smotext_core.neighbors import neighbor_rows, neighbor_table
from smotext_core.schemas import CLASS_PAIRS, RUNS


class ClassPairsConfig(dg.Config):
    """Frozen by the first partition of a run; None and default mean as frozen, or the default."""

    seed: int | None = Field(default=None, description="Of all random draws. Default 0.")
    sampling_strategy: str | None = Field(
        default=None,
        description="Which classes grow to the largest: auto or not majority, minority, not "
        "minority, all. Default auto.",
    )
    totals: dict[str, int] | None = Field(
        default=None,
        description="Instead of sampling_strategy: real and synthetic train texts wanted, by slug.",
    )
    strategy: Literal["default", Strategy] = Field(
        default="default",
        description="Which texts are mixed: the member of the SMOTE family. Default smote.",
    )
    k_neighbors: int | None = Field(default=None, description="Neighbours to mix with. Default 5.")
    m_neighbors: int | None = Field(
        default=None,
        description="Nearest texts of all classes by which borderline-1, borderline-2 and svm tell "
        "what is in danger. Default 10.",
    )
    n_parents: int | None = Field(
        default=None,
        description="Texts mixed in a sample; above 2 by Dirichlet weights. Default 2.",
    )
    lam: str | None = Field(
        default=None,
        description="The neighbour's share: uniform, beta:0.4, 0.5 or 0.2-0.8. Default uniform.",
    )
    mixing: Literal["default", Mixing] = Field(
        default="default",
        description="How vectors are mixed. Default linear-norm where the encoder's vectors have "
        "length 1, else linear.",
    )
    across_documents: bool | None = Field(
        default=None,
        description="Mix no two passages of one document, where the label has two documents. "
        "Default true.",
    )
    oversample: float | None = Field(
        default=None, description="Samples made per row wanted; filters keep the best. Default 1.5."
    )


MOST_OFTEN = 20  # neighbours that are enough for the default options
_OPTIONS = ("strategy", "k_neighbors", "m_neighbors", "n_parents", "lam", "seed")


@dg.asset(
    group_name="mixing",
    kinds={"parquet"},
    partitions_def=label_by_run,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["generator"],  # the run is frozen on the one in use
    metadata={"dagster/column_schema": column_schema(CLASS_PAIRS), "quarantined": True},
)
def class_pairs(
    context: dg.AssetExecutionContext,
    config: ClassPairsConfig,
    labelled_texts: Table,
    embeddings: Table,
    generator: GeneratorResource,
    store: StoreResource,
) -> None:
    """One row per sample to make: its parents and their weights (SMOTE).

    Parents are train texts of the label: as configured, a text and one of its nearest neighbours of
    another document, λ ~ U(0, 1). As sensitive as the texts: they stay in the store.
    """
    tables, corpus = store.open(), labelled_texts.read()
    train_texts = corpus.filter(pl.col("split") == "train")
    texts_of, train_of = ByLabel(corpus), ByLabel(train_texts)
    given = {**config.model_dump(), "sampling_strategy": config.totals or config.sampling_strategy}
    asked = {name: None if given[name] == "default" else given[name] for name in DEFAULTS}

    def make(label: str, run: str) -> dict[str, object]:
        texts = texts_of[label]
        frozen = frozen_run(
            tables,
            run,
            labelled_texts=labelled_texts,
            generator=generator,
            asked=asked,
        )
        options = {name: frozen[name] for name in _OPTIONS}
        wanted = frozen["wanted"].get(label, 0)
        n_samples = int(np.ceil(wanted * frozen["oversample"]))
        looks_around = frozen["strategy"] not in WITHIN_CLASS
        own = pl.col("slug") == label
        seen = train_texts if looks_around else train_of.get(label)
        embedded, used = with_vectors(
            seen,
            embeddings,
            encoder=generator.encoder_fingerprint,
        )
        wanting = seen.join(embedded, on="text_id", how="anti")
        if wanting.height:
            raise ValueError(
                f"{wanting.height} train texts that {frozen['strategy']} looks at have no vectors: "
                f"materialise embeddings, partitions {wanting['slug'].unique().sort().to_list()}"
            )
        vectors = embedded.filter(own)
        # a text that has this label too, beside another one, is none of theirs
        others = ~pl.col("document_id").is_in(vectors["document_id"].implode())

        def pair() -> tuple[pl.DataFrame, dict[str, JSON]]:
            about: dict[str, JSON] = {
                "embeddings": embeddings.sha256(label=label),
                "label": texts["label"][0],
            }
            if n_samples == 0:
                return CLASS_PAIRS.to_frame(), {**about, "fallback": None}
            near, recall = None, None
            if vectors.height > 1 and frozen["strategy"] not in ("random", "kmeans"):
                table, recall = _neighbors(
                    tables,
                    label,
                    vectors,
                    k=max(SPARE * frozen["k_neighbors"], frozen["m_neighbors"]),
                )
                near = neighbor_rows(table, vectors["text_id"].to_list())
            frame, fallback = make_pairs(
                vectors["text_id"].to_list(),
                vectors["embedding"].to_numpy(),
                run=run,
                label=texts["label"][0],
                slug=label,
                n_samples=n_samples,
                others=embedded.filter(others)["embedding"].to_numpy() if looks_around else None,
                neighbors=near,
                groups=vectors["document_id"].to_list() if frozen["across_documents"] else None,
                **options,
            )
            return frame, {**about, "fallback": fallback, "neighbor_recall": recall}

        frame, manifest, _ = tables.write_once(
            "class_pairs",
            {"label": label, "run": run},
            inputs={
                "vectors": frame_sha256(
                    vectors.select("text_id", "document_id", "content_hash", "embedding")
                ),
                "embeddings": dict(used),
                "n_samples": n_samples,
                "across_documents": frozen["across_documents"],
                **options,
            },
            make=pair,
        )
        return {
            "dagster/partition_row_count": frame.height,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            "real_train_texts": vectors.height,
            "wanted": wanted,
            **options,
            "fallback": str(manifest.metadata["fallback"] or "none"),
            "neighbor_recall": manifest.metadata.get("neighbor_recall") or "no search",
            "first_pairs": dg.MetadataValue.md(
                markdown_table(
                    frame.head(5).with_columns(
                        pl.col("parent_ids").list.join(", "),
                        pl.col("weights")
                        .list.eval(pl.element().round(3))
                        .cast(pl.List(pl.String))
                        .list.join(", "),
                    )
                )
            ),
        }

    for_each_partition(context, make)


def _neighbors(
    tables: Store, label: str, vectors: pl.DataFrame, *, k: int
) -> tuple[pl.DataFrame, float]:
    """The label's table `neighbors` of these vectors, of k or more each, and its recall.

    Searched by the first run that needs it; other seeds, ratios and λ find it there. As sensitive
    as the texts.
    """
    partition = {"label": label}
    made_of: JSON = frame_sha256(vectors.select("text_id", "embedding").sort("text_id"))
    k = max(k, MOST_OFTEN)
    with suppress(ValueError):  # damaged: made again
        manifest = tables.manifest("neighbors", partition)
        if manifest is not None and manifest.metadata["vectors"] == made_of:
            k = max(k, int(str(manifest.metadata["k"])))

    def search() -> tuple[pl.DataFrame, dict[str, JSON]]:
        ids, matrix = vectors["text_id"].to_list(), vectors["embedding"].to_numpy()
        table, recall = neighbor_table(ids, matrix, k=k)
        return table, {"vectors": made_of, "k": k, "recall": recall}

    table, manifest, _ = tables.write_once(
        "neighbors", partition, inputs={"vectors": made_of, "k": k}, make=search
    )
    return table, float(str(manifest.metadata["recall"]))


@dg.asset_check(asset=class_pairs, additional_ins={"labelled_texts": dg.AssetIn()})
def pairs_share_label(class_pairs: Table, labelled_texts: Table) -> dg.AssetCheckResult:
    """All parents of a sample are train texts of its own label.

    Of the runs that were made from the corpus as it is now.
    """
    texts, current = labelled_texts.read(), labelled_texts.sha256()
    train = texts.filter(pl.col("split") == "train")
    known = dict(zip(train["text_id"], train["slug"], strict=True))
    runs = Table(labelled_texts.store, "runs").read_all(schema=RUNS)
    of_now = runs.filter(pl.col("corpus_sha256") == current)["run"].to_list()
    strangers = 0
    for partition in class_pairs.partitions():
        if partition["run"] in of_now:
            parents = class_pairs.read(**partition)["parent_ids"].explode().drop_nulls().unique()
            strangers += sum(known.get(parent) != partition["label"] for parent in parents)
    return dg.AssetCheckResult(passed=strangers == 0, metadata={"strangers": strangers})
