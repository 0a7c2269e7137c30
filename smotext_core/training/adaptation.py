"""In-domain adaptation: a few minutes of training of a generator on texts of one's own.

What it gains is the round trip on texts of the domain that it was not trained on. What it risks is
sentences learnt by heart, which `memorised` counts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from smotext_core.neighbors import nearest_neighbors, unit
from smotext_core.texts import copied_words
from smotext_core.training.loop import linear_rate, shard_batches, train
from smotext_core.training.objectives import held_out_nll, mean_cosine, reconstruction_loss
from smotext_core.xrag import (
    ADAPTER_FILES,
    Generator,
    adapter_parameters,
    load_adapter,
    named_lm,
    save_adapter,
    write_generator,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

COPIED_WORDS = 9  # a run of so many words of a training text counts as learnt by heart


def adapt(
    generator: Generator,
    texts: pl.DataFrame,
    work: Path,
    folder: Path,
    *,
    steps: int,
    batch_size: int = 32,
    learning_rate: float | None = None,
    checkpoint_every: int = 25,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Train `generator` further on `texts` and write the generator folder `folder`.

    Its encoder stays as it is. With the projector is trained what of the language model lies in the
    generator's own folder: all of it, its adapter, or nothing. `generator` is not changed. Where it
    computes in bfloat16, so do the products here.

    Args:
        texts: columns text, embedding (of the generator's encoder).
        work: gets the checkpoints, from which the same call goes on where it was stopped.
        learning_rate: the highest; None: `default_rate`.
        progress: called with the number of steps just done.

    Raises:
        ValueError: no texts, vectors of another encoder's width, steps or batch_size below 1.
    """
    import torch

    if min(steps, batch_size) < 1:
        raise ValueError(f"steps and batch_size must be at least 1, got {steps} and {batch_size}")
    if texts.is_empty() or texts["embedding"].to_numpy().shape[1] != generator.dimension:
        raise ValueError(
            f"adaptation needs texts with vectors of {generator.dimension} numbers, those of the "
            f"generator's encoder; got {texts.height} texts of the columns {dict(texts.schema)}"
        )
    torch.manual_seed(seed)
    decoder, prompt = generator.decoder, prompt_of(generator)
    data = work / "data"
    data.mkdir(parents=True, exist_ok=True)
    shard = texts.select(pl.lit("texts").alias("source"), "text", "embedding")
    shard.write_parquet(data / "shard-000.parquet")
    projector = copy.deepcopy(decoder.projector).float().requires_grad_(True)
    parts = {"projector": projector}
    lm = decoder.lm
    own_lm = not generator.manifest.get("lm")
    own_adapter = generator.folder if ADAPTER_FILES[1] in generator.manifest["sha256"] else None
    if own_lm:
        # Steps are smaller than half precision resolves.
        parts["lm"] = lm = copy.deepcopy(lm).float().requires_grad_(True)
    elif own_adapter is not None:
        base = named_lm(generator.manifest["lm"], device=decoder.device)
        lm = load_adapter(base.requires_grad_(False), own_adapter)
        parts["adapter"] = adapter_parameters(lm)
    model = torch.nn.ModuleDict(parts)
    peak = default_rate(generator.manifest) if learning_rate is None else learning_rate
    # Products in what the generator itself computes in; weights and their steps in float32.
    half = decoder.lm.get_input_embeddings().weight.dtype == torch.bfloat16

    def loss(vectors: Any, ids: list[list[int]]) -> Any:
        with torch.autocast(decoder.device, torch.bfloat16, enabled=half):
            return reconstruction_loss(lm, projector, vectors, ids, prompt=prompt)

    train(
        model,
        torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01),
        loss,
        lambda number: shard_batches(
            data,
            decoder.tokenizer,
            prompt=prompt,
            batch_size=batch_size,
            rng=np.random.default_rng([seed, number]),
        ),
        work,
        steps=steps,
        rate=lambda step: linear_rate(step, steps=steps, peak=peak),
        evaluate=dict,
        checkpoint_every=checkpoint_every,
        device=decoder.device,
        progress=progress,
    )
    manifest = {key: value for key, value in generator.manifest.items() if key != "sha256"}
    manifest["name"] = f"{generator.name}, adapted"
    manifest["adapted"] = {"from": generator.fingerprint, "texts": texts.height, "steps": steps}
    if own_adapter is not None:
        save_adapter(lm, folder)
    write_generator(
        folder,
        lm=lm if own_lm else None,
        projector=projector,
        tokenizer=decoder.tokenizer,
        adapter=None if own_adapter is None else folder,
        manifest=manifest,
        words=generator.words,
    )


def default_rate(manifest: Mapping[str, Any]) -> float:
    """The highest learning rate of a generator's adaptation: 1e-3 where it has an adapter, 1e-4 of
    a whole language model, or of the projector alone."""
    return 1e-3 if ADAPTER_FILES[1] in manifest["sha256"] else 1e-4


def adaptation_figures(
    generator: Generator,
    train_texts: pl.DataFrame,
    held_out: pl.DataFrame,
    *,
    rows: int = 100,
    seed: int = 0,
    unlabelled: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> dict[str, float | None]:
    """What tells a generator before adaptation from the same one after it.

    Of up to `rows` texts each, drawn by `seed` alone, and the likeliest text of each vector.

    Args:
        train_texts: columns text, label, embedding: what the generator was or will be trained on.
        held_out: the same columns: what it was not.
        unlabelled: texts that it was or will be trained on too.
        progress: called with 1 after each third of the work.

    Returns:
        None where there is no such text.
        nll: per token of the held-out texts given their vectors.
        cosine: of the held-out vectors to the texts decoded from them, embedded again.
        memorised: share of texts decoded from train texts' own vectors that repeat a run of nine
            words of a train text or an unlabelled one.
        memorised_mixed: the same from the middle between a train text and its nearest neighbour
            of the same label.
    """
    prompt, decoder = prompt_of(generator), generator.decoder
    held_out, own = (_some(frame, rows, seed) for frame in (held_out, train_texts))
    vectors = held_out["embedding"].to_numpy()
    decoded = {}
    for name, wanted in {
        "held_out": vectors,
        "own": own["embedding"].to_numpy(),
        "mixed": _mixed(_some(_paired(train_texts), rows, seed), generator.normalized),
    }.items():
        decoded[name] = decoder.sample(wanted, seeds=range(len(wanted)), temperature=0.0)
        if progress is not None:
            progress(1)
    known = [*train_texts["text"], *unlabelled]
    nll = cosine = None
    if held_out.height:
        cosine = mean_cosine(generator.encode(decoded["held_out"]), vectors)
        nll = held_out_nll(
            decoder.lm,
            decoder.projector,
            decoder.tokenizer,
            held_out,
            prompt=prompt,
            device=decoder.device,
        )
    return {
        "nll": nll,
        "cosine": cosine,
        "memorised": memorised(decoded["own"], known),
        "memorised_mixed": memorised(decoded["mixed"], known),
    }


def memorised(texts: list[str], known: list[str]) -> float | None:
    """Share of `texts` that repeat a run of nine words or more of a text of `known`."""
    return float((copied_words(texts, known) >= COPIED_WORDS).mean()) if texts else None


def prompt_of(generator: Generator) -> Mapping[str, Any]:
    """The prompt that its decoder uses, in token ids."""
    decoder = generator.decoder
    return {
        "ids": decoder.prompt_ids,
        "xrag_token_id": decoder.xrag_token_id,
        "eos_token_id": decoder.eos_token_id,
        "suppress_tokens": decoder.suppress_tokens,
        "max_new_tokens": decoder.max_new_tokens,
    }


def _some(frame: pl.DataFrame, rows: int, seed: int) -> pl.DataFrame:
    return frame.sample(min(rows, frame.height), seed=seed, shuffle=True)


def _paired(texts: pl.DataFrame) -> pl.DataFrame:
    """Every text of a label with two texts or more, with its nearest neighbour's vector."""
    parts = []
    for part in texts.partition_by("label", maintain_order=True):
        if part.height > 1:
            vectors = part["embedding"].to_numpy()
            nearest = vectors[nearest_neighbors(vectors, k=1)[:, 0]]
            parts.append(part.with_columns(pl.Series("other", nearest, part["embedding"].dtype)))
    empty = texts.clear().with_columns(pl.col("embedding").alias("other"))
    return pl.concat([empty, *parts])


def _mixed(pairs: pl.DataFrame, normalized: bool) -> NDArray[np.float32]:
    mixed = (pairs["embedding"].to_numpy() + pairs["other"].to_numpy()) / np.float32(2)
    return unit(mixed) if normalized and len(mixed) else mixed
