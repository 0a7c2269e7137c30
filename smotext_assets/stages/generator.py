"""generator: which encoder and decoder write the rows, adapted to the corpus where asked."""

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from smotext_assets.graph import (
    GeneratorResource,
    Progress,
    StoreResource,
    Table,
    column_schema,
    of_folder,
    with_vectors,
)
from smotext_assets.store import LOCK_TIMEOUT_S, Store, file_lock
from smotext_core.card import markdown_table
from smotext_core.schemas import GENERATOR, conform
from smotext_core.xrag import read_manifest


class GeneratorConfig(dg.Config):
    """Whether the generator is adapted to the corpus, and how."""

    adapt_steps: int = Field(
        default=0,
        ge=0,
        description="Steps of training on the train texts and the unlabelled ones, of the "
        "generator small 4 to 30 s each on a CPU core. It makes texts closer to the domain, and "
        "sentences of it learnt by heart likelier.",
    )
    only_if_nearer: bool = Field(
        default=False,
        description="Take the adapted generator only if held-out texts come back nearer to their "
        "vectors by it, the mean cosine of the likeliest text.",
    )
    batch_size: int = Field(default=32, ge=1, description="Texts a step.")
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="The highest. Null: 1e-3 of an adapter, 1e-4 of a whole language model or of "
        "the projector alone.",
    )
    seed: int = Field(default=0, ge=0, description="Of the order of the texts.")


@dg.asset(
    name="generator",
    group_name="generator",
    kinds={"parquet", "torch"},
    pool="gpu",
    metadata={"dagster/column_schema": column_schema(GENERATOR)},
)
def generator_record(
    context: dg.AssetExecutionContext,
    config: GeneratorConfig,
    labelled_texts: Table,
    unlabelled_texts: Table,
    embeddings: Table,
    generator: GeneratorResource,
    store: StoreResource,
    progress: Progress,
) -> None:
    """One row per generator in use, which is one: what it is, and what its adaptation did.

    Without adaptation it is the one configured. With it, that one is trained on the train texts,
    and on the unlabelled ones where there are any, and measured before and after on test and
    holdout texts, and for sentences learnt by heart; where it is wanted only if it writes nearer
    and does not, it stays as configured. An adapted generator was made of the texts and is as
    sensitive: it stays in the store.
    """
    tables = store.open()
    began = time.perf_counter()
    found: dict[str, Any] = {"fingerprint": generator.fingerprint}
    metadata: dict[str, Any] = {"adapted": None}
    steps = config.adapt_steps
    whether = {"only_if_nearer"}  # it makes no other generator; what came of it is recorded
    options = config.model_dump(exclude=whether, exclude_defaults=True)
    unlabelled = unlabelled_texts.manifest()
    if unlabelled and unlabelled.rows:  # the same steps without them give another generator
        options |= {"adapt_steps": config.adapt_steps, "unlabelled": "UNLABELLED"}
    if config.adapt_steps:
        from smotext_core.training import default_rate

        corpus = labelled_texts.sha256()
        made_of = config.model_dump(exclude=whether)
        made_of |= {"from": generator.fingerprint, "corpus": corpus}
        if config.learning_rate is None:  # named, so that another default is another generator
            made_of["learning_rate"] = default_rate(read_manifest(generator.generator))
        if unlabelled and unlabelled.rows:
            made_of["unlabelled"] = unlabelled.sha256
        key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
        place = f"generators/{key}"
        try:
            found = json.loads(tables.read_bytes(f"{place}/adaptation.json"))
        except FileNotFoundError:
            work = Path(generator.workspace).expanduser().absolute() / f"training-{key}"
            with file_lock(work.with_suffix(".lock"), timeout_s=LOCK_TIMEOUT_S):
                found = _adapt(
                    context,
                    config,
                    labelled_texts.read(),
                    embeddings,
                    unlabelled_texts,
                    generator=generator,
                    progress=progress,
                    work=work,
                )
                _put(tables, work / "generator", place, found)
                shutil.rmtree(work)
        metadata = {"adapted": place, "from": generator.fingerprint, "corpus": corpus}
        if config.only_if_nearer and not _is_nearer(found):
            steps, metadata = 0, {"adapted": None}
            found |= {"fingerprint": generator.fingerprint}
            options |= {"adapt_steps": 0}
    encoder, lm = generator.models
    row = {
        **dict.fromkeys(GENERATOR),
        **found,
        "name": generator.name,
        "licence": generator.licence,
        "encoder": encoder,
        "lm": lm,
        "adapt_steps": steps,
    }
    frame = conform(pl.DataFrame([row]), GENERATOR)
    metadata |= {"fingerprint": found["fingerprint"]}
    metadata |= {"options": options}
    manifest = tables.write("generator", frame, metadata=metadata)
    context.add_output_metadata(
        {
            "dagster/row_count": 1,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            "seconds": round(time.perf_counter() - began, 2),
            **{
                name: value for name, value in frame.row(0, named=True).items() if value is not None
            },
            "figures": dg.MetadataValue.md(markdown_table(frame.unpivot())),
        }
    )


def _is_nearer(found: Mapping[str, Any]) -> bool:
    """Whether held-out texts, if there are any, come back nearer after the adaptation."""
    before, after = found["cosine_before"], found["cosine_after"]
    return before is not None and after > before


def _adapt(
    context: dg.AssetExecutionContext,
    config: GeneratorConfig,
    corpus: pl.DataFrame,
    embeddings: Table,
    unlabelled_texts: Table,
    *,
    generator: GeneratorResource,
    progress: Progress,
    work: Path,
) -> dict[str, Any]:
    """Train and measure; the generator is in `work/generator` then."""
    from smotext_core.training import adapt, adaptation_figures

    texts, _ = with_vectors(corpus, embeddings, encoder=generator.encoder_fingerprint)
    if texts.height < corpus.height:
        lacking = sorted(set(corpus["slug"]) - set(texts["slug"]))
        raise ValueError(
            f"adaptation needs the vectors of all {corpus.height} texts, {texts.height} have one: "
            f"materialise embeddings, {f'partitions {lacking}' if lacking else 'every partition'}"
        )
    train = texts.filter(pl.col("split") == "train")
    unlabelled = _unlabelled(unlabelled_texts, train, encoder=generator.encoder_fingerprint)
    held_out = texts.filter(pl.col("split") != "train")
    base, folder = generator.load(), work / "generator"
    with progress.track(context, "adapting the generator: steps", config.adapt_steps) as done:
        adapt(
            base,
            pl.concat([train.select("text", "embedding"), unlabelled]),
            work,
            folder,
            steps=config.adapt_steps,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            seed=config.seed,
            progress=done,
        )
    adapted = of_folder(folder, generator).load()
    found: dict[str, Any] = {"fingerprint": adapted.fingerprint}
    with progress.track(context, "measuring it before and after", 6) as done:
        for name, of in (("before", base), ("after", adapted)):
            figures = adaptation_figures(
                of, train, held_out, unlabelled=unlabelled["text"].to_list(), progress=done
            )
            found |= {f"{figure}_{name}": value for figure, value in figures.items()}
    return found


def _unlabelled(table: Table, train: pl.DataFrame, *, encoder: str) -> pl.DataFrame:
    """Columns text and embedding, as those of `train`; no rows where there are none."""
    manifest = table.manifest()
    if manifest is None or not manifest.rows:
        return train.select("text", "embedding").clear()
    if manifest.metadata["encoder"] != encoder:
        raise ValueError(
            f"the unlabelled texts were embedded by {manifest.metadata['encoder']}, adaptation "
            f"needs vectors of {encoder}: materialise unlabelled_texts again"
        )
    return table.read().select("text", "embedding")


def _put(tables: Store, folder: Path, place: str, found: dict[str, Any]) -> None:
    """Copy a generator folder into the store; the file looked for comes last."""
    for name in [*read_manifest(str(folder))["sha256"], "generator.json"]:
        tables.write_bytes(f"{place}/{name}", (folder / name).read_bytes())
    tables.write_bytes(f"{place}/adaptation.json", json.dumps(found, indent=1).encode())
