"""decoded_texts: candidate texts of every interpolated vector."""

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg
import numpy as np
import polars as pl
from pydantic import Field

from smotext_assets.graph import (
    Engine,
    GeneratorResource,
    InUse,
    Progress,
    StoreResource,
    Table,
    check_decodes,
    column_schema,
    for_each_partition,
    generator_in_use,
    label_by_run,
    load_in_use,
    run_config,
    told,
)
from smotext_assets.store import JSON, Store, read_if_sound
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

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smotext_core.xrag import Generator

BATCH = 256  # vectors decoded before they are kept: what a kill costs, a minute of one CPU core


class DecodedTextsConfig(dg.Config):
    """How vectors are decoded."""

    n_candidates: int = Field(
        default=6, ge=1, description="Texts decoded per vector; the filters keep one at most."
    )
    temperature: float = Field(
        default=0.5,
        ge=0,
        description="Of the sampled candidates, of which one is the likeliest text; 0: all are the "
        "likeliest, found by a search of as many beams.",
    )
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
    engine: Engine,
) -> None:
    """One row per candidate text of a sample, with its cosine to the vector it was decoded from.

    The candidate is embedded again to tell; that vector is kept for the filters, in the store.
    The table `calibration` has what held-out texts score by the same decoding.
    """
    tables = store.open()
    used = generator_in_use(tables, generator)
    load = partial(_load, store, generator, used)
    measured: dict[str, pl.DataFrame] = {}  # by what it was made from

    def make(label: str, run: str) -> dict[str, object]:
        tally: Counter[str] = Counter()
        pairs = class_pairs.read(label=label, run=run)
        vectors = interpolated_vectors.read(label=label, run=run)
        frozen = run_config(tables, run)
        check_decodes(run, frozen)
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
            measure = partial(_measure, context, config, labelled_texts, used, progress, engine)
            _calibrate(context, config, at, tables, used, measured, partial(measure, load, tally))
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
            # Batches that an older version left have other columns.
            made_of = inputs | {"columns": list(decoded_schema(dimension))}
            kept = tables.batches("decoded_texts", {"label": label, "run": run}, inputs=made_of)
            with progress.track(context, f"{label}: decoding", vectors.height) as done:
                ids = vectors["sample_id"].to_numpy()
                found = kept.make(
                    vectors.height,
                    size=BATCH,
                    make=lambda blocks: engine.map(
                        used.fingerprint,
                        load,
                        decode_batch,
                        (
                            ToDecode(
                                ids[rows],
                                vectors["vector"][rows].to_numpy(),
                                seeds[rows].tolist(),
                                config.n_candidates,
                                config.temperature,
                            )
                            for rows in blocks
                        ),
                        progress=done,
                        tally=tally,
                    ),
                    progress=done,
                )
                return found, about

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
            **told(tally),
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

    for_each_partition(context, make, each=engine.each)


class ToDecode(NamedTuple):
    """What an engine is handed for n vectors (n, d)."""

    sample_ids: "NDArray[np.str_]"
    vectors: "NDArray[np.float32]"
    seeds: list[int]
    n_candidates: int
    temperature: float


def decode_batch(
    decoder: "Generator", batch: ToDecode, progress: Callable[[int], None]
) -> pl.DataFrame:
    """What an engine does for one batch of vectors."""
    found = decoder.decode_candidates(
        batch.vectors,
        seeds=batch.seeds,
        n_candidates=batch.n_candidates,
        temperature=batch.temperature,
        progress=progress,
    )
    written = [text for texts in found.texts for text in texts]
    dimension = batch.vectors.shape[1]
    frame = pl.DataFrame(
        {
            "sample_id": np.repeat(batch.sample_ids, batch.n_candidates),
            "candidate": np.tile(np.arange(batch.n_candidates), len(batch.seeds)),
            "text": written,
            "round_trip_cosine": found.cosines.ravel(),
            "unknown_words": [decoder.unknown_words(text) for text in written],
            "log_probability": None
            if found.log_probabilities is None
            else found.log_probabilities.ravel(),
            "embedding": found.embeddings.reshape(-1, dimension),
        }
    )
    return conform(frame, decoded_schema(dimension))


def calibrate_batch(
    decoder: "Generator",
    batch: tuple[pl.DataFrame, DecodedTextsConfig],
    progress: Callable[[int], None],
) -> pl.DataFrame:
    """What an engine does for the held-out texts, which are one batch."""
    texts, config = batch
    vectors = decoder.encode(texts["text"].to_list())
    found = decoder.decode_candidates(
        vectors,
        seeds=sample_seeds(np.arange(texts.height), seed=0, label="calibration").tolist(),
        n_candidates=config.n_candidates,
        temperature=config.temperature,
        progress=progress,
    )
    documents, labels = texts["document_id"].to_list(), texts["labels"].to_list()
    return calibrate_round_trip(found, vectors, documents, labels)


def _load(store: StoreResource, generator: GeneratorResource, used: InUse) -> "Generator":
    return load_in_use(store.open(), generator, used)


def _measure(
    context: dg.AssetExecutionContext,
    config: DecodedTextsConfig,
    labelled_texts: Table,
    used: InUse,
    progress: Progress,
    engine: Engine,
    load: Callable[[], "Generator"],
    tally: Counter[str],
) -> pl.DataFrame:
    texts = calibration_texts(labelled_texts.read(), n=config.calibration_texts)
    if texts.height < MIN_ROUND_TRIP_ROWS:
        return CALIBRATION.to_frame()
    with progress.track(context, "calibrating the filters", texts.height) as done:
        work = engine.map(
            used.fingerprint,
            load,
            calibrate_batch,
            [(texts, config)],
            progress=done,
            tally=tally,
            more=True,  # labels of the run that decode alike wait for this one
        )
        ((_, frame),) = work
    return frame


def _calibrate(
    context: dg.AssetExecutionContext,
    config: DecodedTextsConfig,
    at: dict[str, str],
    tables: Store,
    used: InUse,
    measured: dict[str, pl.DataFrame],
    measure: Callable[[], pl.DataFrame],
) -> None:
    """The label's row of `calibration`; labels of a run that decode alike share the measuring.

    It is kept by label, since one that joins the run later may be decoded in another way. What the
    step has `measured` or found once it does not look for again: the table is listed for the first
    label alone.
    """
    inputs: dict[str, JSON] = {
        "corpus": run_config(tables, at["run"])["corpus_sha256"],
        "generator": used.fingerprint,
        "n_candidates": config.n_candidates,
        "temperature": config.temperature,
        "calibration_texts": config.calibration_texts,
        "rule": ROUND_TRIP_RULE,
    }

    made_from = json.dumps([at["run"], inputs], sort_keys=True)

    def found() -> pl.DataFrame | None:
        for other in tables.partitions("calibration"):
            manifest = tables.manifest("calibration", other) if other["run"] == at["run"] else None
            if manifest and manifest.metadata.get("made_from") == inputs:
                frame = read_if_sound(tables, "calibration", other)
                if frame is not None:
                    return frame
        return None

    def make() -> tuple[pl.DataFrame, dict[str, JSON]]:
        if made_from not in measured:
            there = found()
            measured[made_from] = measure() if there is None else there
        return measured[made_from], {"made_from": inputs}

    frame, _, _ = tables.write_once("calibration", at, inputs=inputs, make=make)
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
