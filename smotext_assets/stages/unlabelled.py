"""unlabelled_texts and found_texts: texts that nobody labelled, and those nearest to a vector."""

from collections import Counter

import dagster as dg
import polars as pl
from pydantic import Field

from smotext_assets.graph import (
    Corpus,
    Engine,
    GeneratorResource,
    Progress,
    StoreResource,
    Table,
    column_schema,
    follows,
    for_each_partition,
    label_by_run,
    told,
)
from smotext_assets.stages.corpus import LabelledTextsConfig
from smotext_assets.stages.embeddings import encode
from smotext_assets.stages.source import read_source
from smotext_assets.store import JSON, days_forgotten, frame_sha256, without_forgotten
from smotext_core.schemas import (
    RAW_CORPUS,
    REJECTED_CORPUS,
    conform,
    found_schema,
    unlabelled_schema,
)
from smotext_core.texts import unlabelled_passages
from smotext_core.xrag import found_candidates

N_NEAREST = 40  # what `--found` alone asks for: filters refuse most texts of another label


@dg.asset(
    group_name="corpus",
    kinds={"parquet", "torch"},
    pool="gpu",
    automation_condition=follows("labelled_texts"),
    metadata={"dagster/column_schema": column_schema(unlabelled_schema(384)), "quarantined": True},
)
def unlabelled_texts(
    context: dg.AssetExecutionContext,
    labelled_texts: Table,
    unlabelled: Corpus,
    generator: GeneratorResource,
    store: StoreResource,
    progress: Progress,
    engine: Engine,
) -> None:
    """One row per passage that nobody labelled, with its vector; none where no such corpus is set.

    The generator can be adapted on them, and found rows come from them. None resembles a labelled
    text, so that none is a test or a holdout text. As sensitive as these: they stay in the store.
    """
    tables = store.open()
    raw, refused, read_as = RAW_CORPUS.to_frame(), REJECTED_CORPUS.to_frame(), list[str]()
    if unlabelled.source:
        raw, refused = read_source(unlabelled, store, tell=read_as.append)
    options = labelled_texts.metadata().get("options")
    cut = LabelledTextsConfig.model_validate(options or {})
    texts, rejected = unlabelled_passages(
        raw, labelled_texts.read()["text"], max_words=cut.max_words
    )
    days = days_forgotten(tables)
    texts, forgotten = without_forgotten(days, texts)
    rejected = pl.concat([refused, *without_forgotten(days, rejected), forgotten])
    tables.write("rejected_rows", rejected, {"stage": "unlabelled_texts"})
    encoder, tally = generator.encoder_fingerprint, Counter[str]()
    inputs: dict[str, JSON] = {"texts": frame_sha256(texts), "encoder": encoder}

    def embed() -> tuple[pl.DataFrame, dict[str, JSON]]:
        about: dict[str, JSON] = {"encoder": encoder, "read_as": list(read_as)}
        if texts.is_empty():
            return unlabelled_schema(1).to_frame(), about
        kept = tables.batches("unlabelled_texts", {}, inputs=inputs)
        with progress.track(context, "embedding unlabelled texts", texts.height) as done:
            vectors = encode(texts["text"], kept, engine, generator, progress=done, tally=tally)
        width: int = vectors.dtype.size  # type: ignore[attr-defined]
        frame = texts.with_columns(vectors.alias("embedding"))
        return conform(frame, unlabelled_schema(width)), about

    frame, manifest, _ = tables.write_once("unlabelled_texts", {}, inputs=inputs, make=embed)
    context.add_output_metadata(
        {
            "dagster/row_count": frame.height,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            "source": unlabelled.source or "none is set",
            "read_as": "; ".join(read_as[:10]),
            "refused": rejected.height,
            "near_labelled_texts": rejected.filter(
                pl.col("reason") == "near duplicate of a labelled text"
            ).height,
            **told(tally),
        }
    )


class FoundTextsConfig(dg.Config):
    """Whether unlabelled texts may be rows."""

    n_nearest: int = Field(
        default=0,
        ge=0,
        description="Nearest unlabelled texts that are tried for a vector before what was decoded "
        "for it. A row found so is a real text, with a label by SMOTE's word. 0: none are.",
    )


@dg.asset(
    group_name="texts",
    kinds={"parquet"},
    partitions_def=label_by_run,
    backfill_policy=dg.BackfillPolicy.single_run(),
    metadata={"dagster/column_schema": column_schema(found_schema(384)), "quarantined": True},
)
def found_texts(
    context: dg.AssetExecutionContext,
    config: FoundTextsConfig,
    interpolated_vectors: Table,
    unlabelled_texts: Table,
    generator: GeneratorResource,
    store: StoreResource,
) -> None:
    """One row per unlabelled text that lies near a sample's vector; none unless it is asked for.

    They are candidates beside the decoded ones, and pass the same filters before these.
    """
    tables = store.open()

    def make(label: str, run: str) -> dict[str, object]:
        at = {"label": label, "run": run}
        inputs: dict[str, JSON] = {"n_nearest": config.n_nearest}
        if config.n_nearest:
            manifest = unlabelled_texts.manifest()
            if manifest is None or not manifest.rows:
                raise ValueError(
                    "found rows need unlabelled texts, and there are none: name a corpus with "
                    "--unlabelled or SMOTEXT_UNLABELLED and materialise unlabelled_texts"
                )
            inputs["vectors"] = interpolated_vectors.sha256(**at)
            inputs["unlabelled"] = manifest.sha256
            encoder = manifest.metadata["encoder"]
            if encoder != generator.encoder_fingerprint:
                raise ValueError(
                    f"the unlabelled texts were embedded by {encoder}, the samples by "
                    f"{generator.encoder_fingerprint}: materialise unlabelled_texts again"
                )

        def search() -> tuple[pl.DataFrame, dict[str, JSON]]:
            about: dict[str, JSON] = {"options": config.model_dump(exclude_defaults=True)}
            if not config.n_nearest:
                return found_schema(1).to_frame(), about
            vectors, texts = interpolated_vectors.read(**at), unlabelled_texts.read()
            ids, mixed = vectors["sample_id"], vectors["vector"].to_numpy()
            return found_candidates(ids, mixed, texts, n=config.n_nearest), about

        frame, manifest, _ = tables.write_once("found_texts", at, inputs=inputs, make=search)
        nearest = frame.filter(candidate=0)["round_trip_cosine"]
        return {
            "dagster/partition_row_count": frame.height,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            "mean_cosine_of_the_nearest": float(nearest.mean() or 0.0),  # type: ignore[arg-type]
        }

    for_each_partition(context, make)
