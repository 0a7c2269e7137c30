"""decoded_texts: candidate texts of every interpolated vector."""

import dagster as dg
import numpy as np
import polars as pl
from pydantic import Field

from smotext_assets.graph import (
    GeneratorResource,
    InUse,
    Progress,
    StoreResource,
    Table,
    column_schema,
    for_each_partition,
    generator_in_use,
    label_by_run,
    load_in_use,
    run_config,
)
from smotext_assets.store import JSON, Store
from smotext_core.card import markdown_table
from smotext_core.filters import (
    LEAST_COMPETENCE,
    MIN_ROUND_TRIP_ROWS,
    ROUND_TRIP_RULE,
    calibrate_round_trip,
    calibration_texts,
    competence_of,
)
from smotext_core.schemas import CALIBRATION, conform, decoded_schema
from smotext_core.streams import sample_seeds

BATCH = 256  # vectors decoded before they are kept: what a kill costs, a minute of one CPU core


class DecodedTextsConfig(dg.Config):
    """How vectors are decoded."""

    n_candidates: int = Field(
        default=6, ge=1, description="Texts decoded per vector; the filters keep the closest."
    )
    temperature: float = Field(default=0.5, gt=0, description="Of the sampled candidates.")
    calibration_texts: int = Field(
        default=96,
        ge=0,
        description="Held-out texts decoded from their own vectors, once a run and way of "
        "decoding: what they score is the filters' least round-trip cosine. 0: the filters take a "
        "fixed one.",
    )


@dg.asset(
    group_name="texts",
    kinds={"parquet", "torch"},
    pool="gpu",
    partitions_def=label_by_run,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["generator"],  # which one decodes: read from its record
    metadata={"dagster/column_schema": column_schema(decoded_schema(384)), "quarantined": True},
)
def decoded_texts(
    context: dg.AssetExecutionContext,
    config: DecodedTextsConfig,
    class_pairs: Table,
    interpolated_vectors: Table,
    labelled_texts: Table,
    generator: GeneratorResource,
    store: StoreResource,
    progress: Progress,
) -> None:
    """One row per candidate text of a sample, with its cosine to the vector it was decoded from.

    The candidate is embedded again to tell; that vector is kept for the filters, in the store.
    The table `calibration` has what held-out texts score by the same decoding.
    """
    tables = store.open()
    used = generator_in_use(tables, generator)

    def make(label: str, run: str) -> dict[str, object]:
        pairs = class_pairs.read(label=label, run=run)
        vectors = interpolated_vectors.read(label=label, run=run)
        frozen = run_config(tables, run)
        seed = frozen["seed"]
        encoder = interpolated_vectors.metadata(label=label, run=run)["encoder"]
        if encoder != generator.encoder_fingerprint:
            raise ValueError(
                f"the vectors are of the encoder {encoder}, the generator {generator.name} decodes "
                f"those of {generator.encoder_fingerprint}: start a run with another key"
            )
        if frozen["generator_fingerprint"] != used.fingerprint:
            raise ValueError(
                f"the run {run} is frozen and generator_fingerprint was "
                f"{frozen['generator_fingerprint']!r}, is {used.fingerprint!r}: start a run with "
                "another key"
            )
        if vectors.height:
            at = {"label": label, "run": run}
            _calibrate(context, config, at, labelled_texts, tables, generator, used, progress)
        inputs: dict[str, JSON] = {
            "vectors": interpolated_vectors.sha256(label=label, run=run),
            "generator": used.fingerprint,
            "seed": seed,
            "n_candidates": config.n_candidates,
            "temperature": config.temperature,
        }

        def decode() -> tuple[pl.DataFrame, dict[str, JSON]]:
            about: dict[str, JSON] = {"options": config.model_dump(exclude_defaults=True)}
            dimension = vectors["vector"].dtype.size  # type: ignore[attr-defined]
            if vectors.is_empty():
                return decoded_schema(dimension).to_frame(), about
            name = str(
                class_pairs.metadata(label=label, run=run)["label"]
            )  # of which `label` is the slug
            seeds = sample_seeds(pairs["number"].to_numpy(), seed=seed, label=name)
            kept = tables.batches("decoded_texts", {"label": label, "run": run}, inputs=inputs)
            with progress.track(context, f"{label}: decoding", vectors.height) as done:
                decoder = load_in_use(tables, generator, used)

                def batch(rows: slice) -> pl.DataFrame:
                    found = decoder.decode_candidates(
                        vectors["vector"][rows].to_numpy(),
                        seeds=seeds[rows].tolist(),
                        n_candidates=config.n_candidates,
                        temperature=config.temperature,
                        progress=done,
                    )
                    written = [text for texts in found.texts for text in texts]
                    ids = vectors["sample_id"][rows].to_numpy()
                    frame = pl.DataFrame(
                        {
                            "sample_id": np.repeat(ids, config.n_candidates),
                            "candidate": np.tile(np.arange(config.n_candidates), len(ids)),
                            "text": written,
                            "round_trip_cosine": found.cosines.ravel(),
                            "unknown_words": [decoder.unknown_words(text) for text in written],
                            "embedding": found.embeddings.reshape(-1, dimension),
                        }
                    )
                    return conform(frame, decoded_schema(dimension))

                return kept.make(vectors.height, size=BATCH, make=batch, progress=done), about

        frame, manifest, _ = tables.write_once(
            "decoded_texts",
            {"label": label, "run": run},
            inputs=inputs,
            make=decode,
        )
        best = frame.filter(pl.col("candidate") == 0)
        return {
            "dagster/partition_row_count": frame.height,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            "generator": used.fingerprint,
            "licence": generator.licence,
            "mean_round_trip_cosine": _mean(frame),
            "mean_best_round_trip_cosine": _mean(best),
            "closest_samples": dg.MetadataValue.md(
                markdown_table(
                    best.sort("round_trip_cosine", "sample_id", descending=True)
                    .select("sample_id", pl.col("round_trip_cosine").round(3))
                    .head(5)
                )
            ),
        }

    for_each_partition(context, make)


def _calibrate(
    context: dg.AssetExecutionContext,
    config: DecodedTextsConfig,
    at: dict[str, str],
    labelled_texts: Table,
    tables: Store,
    generator: GeneratorResource,
    used: InUse,
    progress: Progress,
) -> None:
    """The label's row of `calibration`; labels of a run that decode alike share the measuring.

    It is kept by label, since one that joins the run later may be decoded in another way.
    """
    inputs: dict[str, JSON] = {
        "corpus": run_config(tables, at["run"])["corpus_sha256"],
        "generator": used.fingerprint,
        "n_candidates": config.n_candidates,
        "temperature": config.temperature,
        "calibration_texts": config.calibration_texts,
        "rule": ROUND_TRIP_RULE,
    }

    def measure() -> tuple[pl.DataFrame, dict[str, JSON]]:
        for other in tables.partitions("calibration"):
            manifest = tables.manifest("calibration", other) if other["run"] == at["run"] else None
            if manifest and manifest.metadata.get("made_from") == inputs:
                return tables.read("calibration", other), {"made_from": inputs}
        texts = calibration_texts(labelled_texts.read(), n=config.calibration_texts)
        if texts.height < MIN_ROUND_TRIP_ROWS:
            return CALIBRATION.to_frame(), {"made_from": inputs}
        decoder = load_in_use(tables, generator, used)
        with progress.track(context, "calibrating the filters", texts.height) as done:
            vectors = decoder.encode(texts["text"].to_list())
            numbers = np.arange(texts.height)
            found = decoder.decode_candidates(
                vectors,
                seeds=sample_seeds(numbers, seed=0, label="calibration").tolist(),
                n_candidates=config.n_candidates,
                temperature=config.temperature,
                progress=done,
            )
        documents, labels = texts["document_id"].to_list(), texts["label"].to_list()
        frame = calibrate_round_trip(found, vectors, documents, labels)
        return frame, {"made_from": inputs}

    frame, _, _ = tables.write_once("calibration", at, inputs=inputs, make=measure)
    competence = competence_of(frame)
    if competence is not None and competence < LEAST_COMPETENCE:
        context.log.warning(
            f"{at['label']}: the generator {used.name} cannot write this corpus: of its held-out "
            f"texts {competence:.0%} come back nearer than a text of another label lies, at least "
            f"{LEAST_COMPETENCE:.0%} should. The rows will be held back: adapt the generator "
            "(--adapt 80), or take one of the corpus's language"
        )


def _mean(frame: pl.DataFrame) -> float:
    cosines = frame["round_trip_cosine"].to_numpy()
    return float(cosines.mean()) if len(cosines) else 0.0
