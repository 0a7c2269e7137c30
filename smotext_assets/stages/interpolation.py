"""interpolated_vectors: the mixed vector of each sample."""

from collections.abc import Iterator
from functools import partial

import dagster as dg
import numpy as np
import polars as pl

from smotext_assets.graph import (
    GeneratorResource,
    StoreResource,
    Table,
    column_schema,
    for_each_partition,
    label_by_run,
    run_config,
)
from smotext_assets.stages.placement import TrainVectors, figures, map_metadata, picture
from smotext_assets.store import JSON
from smotext_core.mixing import MOST_SAMPLES, default_mixing, mixed_blocks, spread
from smotext_core.schemas import conform, interpolated_schema


@dg.asset(
    group_name="mixing",
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
    labelled_texts: Table,
    embeddings: Table,
    generator: GeneratorResource,
    store: StoreResource,
) -> None:
    """One row per sample: the mixed vector.

    With an encoder of unit vectors the mix is brought back to unit length, the scale its decoder
    was trained on, unless the run has another `mixing`. As sensitive as the texts: they stay in the
    store.
    """
    tables, encoder = store.open(), generator.encoder_fingerprint
    train = TrainVectors(
        labelled_texts.read().filter(pl.col("split") == "train"), embeddings, encoder=encoder
    )

    n_partitions = len(context.partition_keys)  # Dagster looks each of them up: not in `make`

    def make(label: str, run: str) -> dict[str, object]:
        pairs, real = class_pairs.read(label=label, run=run), embeddings.read(label=label)
        if class_pairs.metadata(label=label, run=run)["embeddings"] != embeddings.sha256(
            label=label
        ):
            raise ValueError(
                "the pairs were made of other embeddings than there are now: "
                f"materialise class_pairs, partition '{label}|{run}'"
            )
        if embeddings.metadata(label=label)["encoder"] != encoder:
            raise ValueError(
                f"the vectors are of the encoder {embeddings.metadata(label=label)['encoder']}, "
                f"not of {generator.name}'s: materialise embeddings, partition {label!r}"
            )
        mixing = run_config(tables, run)["mixing"] or default_mixing(
            normalized=generator.normalized
        )

        def mix() -> tuple[Iterator[pl.DataFrame], dict[str, JSON]]:
            told: dict[str, JSON] = {"encoder": encoder}
            return frames(told), told

        def frames(told: dict[str, JSON]) -> Iterator[pl.DataFrame]:
            vectors = real["embedding"].to_numpy()
            schema = interpolated_schema(vectors.shape[1])
            yield schema.to_frame()
            if pairs.is_empty():
                return
            looked_at = spread(pairs.height, MOST_SAMPLES)
            seen, norms, done = [], [], 0
            for block in mixed_blocks(pairs, real["text_id"], vectors, mixing=mixing):
                here = looked_at[(looked_at >= done) & (looked_at < done + len(block))]
                seen.append(block[here - done])
                norms.append(np.linalg.norm(block, axis=1))
                ids = pairs["sample_id"].slice(done, len(block))
                made = pl.Series("vector", block, dtype=schema["vector"])
                yield conform(pl.DataFrame([ids, made]), schema)
                done += len(block)
            told |= figures(
                np.concatenate(seen),
                train,
                label=label,
                norms=np.concatenate(norms),
            )

        manifest, _ = tables.stream_once(
            "interpolated_vectors",
            {"label": label, "run": run},
            inputs={
                "pairs": class_pairs.sha256(label=label, run=run),
                "embeddings": embeddings.sha256(label=label),
                "mixing": mixing,
                "among": train.sha256,
            },
            make=mix,
        )
        vectors = tables.read_frames("interpolated_vectors", {"label": label, "run": run})
        draw = partial(picture, pairs, vectors, train, label=label)
        shown = map_metadata(draw, n_partitions=n_partitions) if pairs.height else {}
        return {
            "dagster/partition_row_count": manifest.rows,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            "mixing": mixing,
            **manifest.metadata,
            **shown,
        }

    for_each_partition(context, make)
