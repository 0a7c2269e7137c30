"""class_pairs and interpolated_vectors: which texts are mixed, how much of each, and the mix."""

import dagster as dg
import numpy as np
import polars as pl
from pydantic import Field

from smotext_assets.partitions import for_each_partition, label_by_run, of_label
from smotext_assets.resources import (
    GeneratorResource,
    StoreResource,
    Table,
    column_schema,
    with_vectors,
)
from smotext_assets.runs import frozen_run
from smotext_assets.storage import JSON, frame_sha256
from smotext_core.mixing import Mixing, interpolate
from smotext_core.report import markdown_table
from smotext_core.schemas import CLASS_PAIRS, RUNS, conform, interpolated_schema
from smotext_core.smote import make_pairs


class ClassPairsConfig(dg.Config):
    """Frozen by the first partition of a run; None means as frozen, or the default."""

    seed: int | None = Field(default=None, description="Of all random draws. Default 0.")
    sampling_strategy: str | None = Field(
        default=None,
        description="auto (every class to the largest), minority, not minority or all. "
        "Default auto.",
    )
    totals: dict[str, int] | None = Field(
        default=None,
        description="Instead of a strategy: real and synthetic train texts wanted, by label slug.",
    )
    k_neighbors: int | None = Field(default=None, description="Neighbours to mix with. Default 5.")
    oversample: float | None = Field(
        default=None, description="Samples made per row wanted; filters keep the best. Default 1.5."
    )


@dg.asset(
    group_name="vectors",
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

    Parents are train texts of the label: a text and one of its nearest neighbours, λ ~ U(0, 1).
    As sensitive as the texts: they stay in the store.
    """
    tables, corpus = store.open(), labelled_texts.read()

    def make(label: str, run: str) -> dict[str, object]:
        texts = of_label(corpus, label)
        frozen = frozen_run(
            tables,
            run,
            labelled_texts=labelled_texts,
            generator=generator,
            asked={
                "seed": config.seed,
                "sampling_strategy": config.totals or config.sampling_strategy,
                "k_neighbors": config.k_neighbors,
                "oversample": config.oversample,
            },
        )
        wanted = frozen["wanted"].get(label, 0)
        n_samples = int(np.ceil(wanted * frozen["oversample"]))
        train = texts.filter(pl.col("split") == "train")
        embedded, _ = with_vectors(train, embeddings, encoder=generator.encoder_fingerprint)
        vectors = embedded.select("text_id", "content_hash", "embedding")
        if vectors.height < train.height:
            raise ValueError(
                f"{vectors.height} of {train.height} train texts have vectors: "
                f"materialise embeddings, partition {label!r}"
            )

        def pair() -> tuple[pl.DataFrame, dict[str, str | None]]:
            made_of = embeddings.sha256(label=label)
            if n_samples == 0:
                return CLASS_PAIRS.to_frame(), {"fallback": None, "embeddings": made_of}
            frame, fallback = make_pairs(
                vectors["text_id"].to_list(),
                vectors["embedding"].to_numpy(),
                run=run,
                label=texts["label"][0],
                slug=label,
                n_samples=n_samples,
                k_neighbors=frozen["k_neighbors"],
                seed=frozen["seed"],
            )
            return frame, {"fallback": fallback, "embeddings": made_of}

        frame, manifest, _ = tables.write_once(
            "class_pairs",
            {"label": label, "run": run},
            inputs={
                "vectors": frame_sha256(vectors),
                "embeddings": embeddings.sha256(label=label),
                "n_samples": n_samples,
                "k_neighbors": frozen["k_neighbors"],
                "seed": frozen["seed"],
            },
            make=pair,
        )
        return {
            "dagster/partition_row_count": frame.height,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            "real_train_texts": train.height,
            "wanted": wanted,
            "fallback": str(manifest.metadata["fallback"] or "none"),
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


@dg.asset(
    group_name="vectors",
    kinds={"parquet"},
    partitions_def=label_by_run,
    backfill_policy=dg.BackfillPolicy.single_run(),
    metadata={
        "dagster/column_schema": column_schema(interpolated_schema(384)),
        "quarantined": True,
    },
)
def interpolated_vectors(
    context: dg.AssetExecutionContext,
    class_pairs: Table,
    embeddings: Table,
    generator: GeneratorResource,
    store: StoreResource,
) -> None:
    """One row per sample: the mixed vector.

    With an encoder of unit vectors the mix is brought back to unit length, the scale its decoder
    was trained on. As sensitive as the texts: they stay in the store.
    """
    tables = store.open()
    mixing: Mixing = "linear-norm" if generator.normalized else "linear"

    def make(label: str, run: str) -> dict[str, object]:
        pairs, real = class_pairs.read(label=label, run=run), embeddings.read(label=label)
        if class_pairs.metadata(label=label, run=run)["embeddings"] != embeddings.sha256(
            label=label
        ):
            raise ValueError(
                "the pairs were made of other embeddings than there are now: "
                f"materialise class_pairs, partition '{label}|{run}'"
            )
        encoder = {"encoder": embeddings.metadata(label=label)["encoder"]}

        def mix() -> tuple[pl.DataFrame, dict[str, JSON]]:
            vectors = real["embedding"].to_numpy()
            schema = interpolated_schema(vectors.shape[1])
            if pairs.is_empty():
                return schema.to_frame(), encoder
            mixed = interpolate(pairs, real["text_id"].to_list(), vectors, mixing=mixing)
            frame = pairs.select("sample_id").with_columns(
                pl.Series("vector", mixed, dtype=schema["vector"])
            )
            norms = {
                "mean_norm": float(np.linalg.norm(mixed, axis=1).mean()),
                "mean_real_norm": float(np.linalg.norm(vectors, axis=1).mean()),
            }
            return conform(frame, schema), encoder | norms

        frame, manifest, _ = tables.write_once(
            "interpolated_vectors",
            {"label": label, "run": run},
            inputs={
                "pairs": class_pairs.sha256(label=label, run=run),
                "embeddings": embeddings.sha256(label=label),
                "mixing": mixing,
            },
            make=mix,
        )
        return {
            "dagster/partition_row_count": frame.height,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            **manifest.metadata,
        }

    for_each_partition(context, make)


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
