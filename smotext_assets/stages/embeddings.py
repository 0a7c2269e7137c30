"""embeddings: the vectors of each label's texts."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import polars as pl

from smotext_assets.graph import (
    ByLabel,
    Engine,
    GeneratorResource,
    Progress,
    StoreResource,
    Table,
    column_schema,
    follows,
    for_each_partition,
    labels,
    told,
)
from smotext_assets.store import Store, frame_sha256
from smotext_core.schemas import conform, embeddings_schema

if TYPE_CHECKING:
    from smotext_assets.store import Batches
    from smotext_core.xrag import Generator

BATCH = 1024  # texts embedded before their vectors are kept: what a kill costs


@dg.asset(
    group_name="generator",
    kinds={"parquet", "torch"},
    pool="gpu",
    partitions_def=labels,
    automation_condition=follows("labelled_texts"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    metadata={"dagster/column_schema": column_schema(embeddings_schema(384)), "quarantined": True},
)
def embeddings(
    context: dg.AssetExecutionContext,
    labelled_texts: Table,
    generator: GeneratorResource,
    store: StoreResource,
    progress: Progress,
    engine: Engine,
) -> None:
    """One row per text of the label: its vector, float32.

    Vectors of texts that were embedded before by the same encoder are kept. As sensitive as the
    texts: they stay in the store.
    """
    tables, corpus = store.open(), ByLabel(labelled_texts.read())
    encoder = generator.encoder_fingerprint

    def make(label: str) -> dict[str, object]:
        texts = corpus[label]
        reused = 0
        tally: Counter[str] = Counter()

        def embed() -> tuple[pl.DataFrame, dict[str, str]]:
            nonlocal reused
            known = _known(tables, label, encoder)
            new = [h for h in dict.fromkeys(texts["content_hash"]) if h not in known]
            reused = texts.height - len(new)
            if new:
                text_of = dict(zip(texts["content_hash"], texts["text"], strict=True))
                wanted = pl.DataFrame({"content_hash": new, "text": [text_of[h] for h in new]})
                kept = tables.batches(
                    "embeddings",
                    {"label": label},
                    inputs={"wanted": frame_sha256(wanted), "encoder": encoder},
                )
                with progress.track(context, f"{label}: embedding", len(new)) as done:
                    vectors = encode(
                        wanted["text"], kept, engine, generator, progress=done, tally=tally
                    )
                known |= dict(zip(new, vectors.to_numpy(), strict=True))
            stacked = np.stack([known[h] for h in texts["content_hash"]])
            frame = texts.select("text_id", "content_hash").with_columns(
                pl.Series("embedding", stacked, dtype=pl.Array(pl.Float32, stacked.shape[1]))
            )
            return conform(frame, embeddings_schema(stacked.shape[1])), {"encoder": encoder}

        frame, manifest, made = tables.write_once(
            "embeddings",
            {"label": label},
            inputs={"texts": frame_sha256(texts), "encoder": encoder},
            make=embed,
        )
        return {
            "dagster/partition_row_count": frame.height,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            "encoder": encoder,
            "embedded_now": frame.height - reused if made else 0,
            **told(tally),
        }

    for_each_partition(context, make, each=engine.each)


def encode(
    texts: pl.Series,
    kept: "Batches",
    engine: Engine,
    generator: GeneratorResource,
    *,
    progress: Callable[[int], None],
    tally: Counter[str],
) -> pl.Series:
    """Vectors of the texts, one an Array; batches that `kept` has are not made again."""
    found = kept.make(
        texts.len(),
        size=BATCH,
        make=lambda blocks: engine.map(
            generator.fingerprint,
            generator.load,
            encode_batch,
            (texts[rows].to_list() for rows in blocks),
            progress=progress,
            tally=tally,
        ),
        progress=progress,
    )
    return found["vector"]


def encode_batch(
    generator: "Generator", texts: list[str], progress: Callable[[int], None]
) -> pl.DataFrame:
    """What an engine does for one batch of texts."""
    vectors = generator.encode(texts, progress=progress)
    width = pl.Array(pl.Float32, vectors.shape[1])
    return pl.DataFrame({"vector": pl.Series(vectors, dtype=width)})


def _known(tables: Store, label: str, encoder: str) -> dict[str, np.ndarray]:
    """Vectors of the label's texts that this encoder made before, by content hash."""
    try:
        manifest = tables.manifest("embeddings", {"label": label})
        if manifest is None or manifest.metadata["encoder"] != encoder:
            return {}
        frame = tables.read("embeddings", {"label": label})
    except (ValueError, FileNotFoundError):  # damaged: all are made again
        return {}
    return dict(zip(frame["content_hash"], frame["embedding"].to_numpy(), strict=True))


@dg.asset_check(asset=embeddings)
def embeddings_are_finite(embeddings: Table) -> dg.AssetCheckResult:
    """No vector holds NaN or infinity, or is zero."""
    bad = rows = 0
    for partition in embeddings.partitions():  # encoders before this one had other dimensions
        vectors = embeddings.read(**partition)["embedding"].to_numpy()
        bad += int((~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1)).sum())
        rows += len(vectors)
    return dg.AssetCheckResult(passed=bad == 0, metadata={"bad": bad, "vectors": rows})
