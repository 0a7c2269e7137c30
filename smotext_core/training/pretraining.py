"""A generator of any encoder and any causal language model: the projector between them, trained.

`train_generator` splits documents into passages, embeds them once, trains the projector
(`objectives.py`; the language model stays frozen, as in xRAG, or gets an adapter) and writes a
generator folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from smotext_core.texts import is_prose, passages
from smotext_core.training.language_model import load_lm
from smotext_core.training.loop import linear_rate, settle, shard_batches, train
from smotext_core.training.objectives import (
    distillation_loss,
    held_out_nll,
    reconstruction_loss,
    round_trip_cosine,
)
from smotext_core.training.training_texts import document_digest, write_shards
from smotext_core.xrag import (
    SMOLLM2,
    Embedder,
    adapter_parameters,
    model_folder,
    new_adapter,
    save_adapter,
    snapshot_commit,
    write_generator,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROMPT = "Background: {xrag_token}, which also means:\n"
_HELD_OUT_ROWS = 64  # decoded at every checkpoint


def train_generator(
    documents: pl.DataFrame,
    out: Path,
    *,
    encoder: Mapping[str, Any],
    lm: Mapping[str, Any],
    steps: int,
    second_stage: int = 0,
    tokens: int = 1,
    lora: int = 0,
    batch_size: int = 32,
    learning_rate: float | None = None,
    second_learning_rate: float = 1e-4,
    checkpoint_every: int = 250,
    template: str = PROMPT,
    max_words: int = 45,
    max_new_tokens: int = 96,
    licence: str = "not stated",
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[str, int], Callable[[int], None]] = lambda what, total: lambda done: None,
    report: Callable[[Mapping[str, float]], None] | None = None,
) -> dict[str, float]:
    """Train a projector on `documents` and write the generator folder `out`.

    All that training keeps is in `out/training`: the embedded passages, checkpoints, log.jsonl.
    The same call goes on from there. One document in ten is held out, by the hash of its text.

    Args:
        documents: column `text`.
        encoder: name (a folder or a name on the hub), revision, pooling ("mean", "cls" or "last"),
            normalized, max_tokens.
        lm: name, revision. Referred to by the folder `out`, not copied into it.
        steps: of the first stage, NLL of the text given its vector.
        second_stage: steps after those, with the Kullback-Leibler term.
        tokens: xRAG tokens that a vector becomes.
        lora: rank of an adapter of the language model, which is trained too; 0 trains none.
        learning_rate: the highest; None: 6e-3 as xRAG, 8e-4 with an adapter.
        template: the prompt, with {xrag_token} where the vector goes.
        max_words: of a passage; longer documents become passages of whole sentences.
        progress: of what is done and how much of it there is, a function to call with what is
            just done.

    Returns:
        the last line of the log: step, tokens, seconds, train_nll, held_out_nll, cosine (of
        held-out vectors to the likeliest text decoded from them, embedded again).

    Raises:
        ValueError: a model without a tokenizer or an end token, a prompt without its place or too
            long, a corpus that holds nothing out, a folder with another training begun.
    """
    import torch
    from transformers.utils import logging as transformers_logging

    quiet: Any = transformers_logging.disable_progress_bar
    quiet()  # the bars shown here are of the training
    if min(steps, batch_size, tokens) < 1 or min(second_stage, lora) < 0:
        raise ValueError(
            "steps, batch_size, tokens must be at least 1, second_stage and lora at least 0, got "
            f"{steps}, {batch_size}, {tokens}, {second_stage} and {lora}"
        )
    learning_rate = learning_rate or (8e-4 if lora else 6e-3)
    corpus = corpus_passages(documents, max_words=max_words)
    encoder, lm = _located(encoder), _located(lm)
    embedder = Embedder(
        model_folder(encoder["name"], encoder["revision"]),
        pooling=encoder["pooling"],
        normalized=encoder["normalized"],
        max_tokens=encoder["max_tokens"],
        device=device,
    )
    model, tokenizer, prompt = load_lm(
        lm,
        template=template,
        max_new_tokens=max_new_tokens,
        texts=2 if second_stage else 1,
        tokens=tokens,
        device=device,
    )
    work = out / "training"
    settle(
        work,
        {
            "corpus": _texts_sha256(corpus["text"]),
            "encoder": dict(encoder),
            "dimension": embedder.dimension,
            "encoder_fingerprint": embedder.fingerprint,
            "lm": dict(lm),
            "prompt": prompt,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "lora": lora,
            "seed": seed,
        },
    )
    write_shards(
        [corpus], work / "data", embedder=embedder, progress=progress("embedding", corpus.height)
    )
    held_out = pl.read_parquet(work / "data" / "held-out.parquet")
    some = pl.read_parquet(work / "data" / "shard-000.parquet")["embedding"].to_numpy()
    torch.manual_seed(seed)
    hidden = model.get_input_embeddings().embedding_dim
    projector = new_projector(some, hidden=hidden, n_tokens=tokens).to(device)
    parts = {"projector": projector}
    if lora:
        model = new_adapter(model, rank=lora)
        parts["adapter"] = adapter_parameters(model)

    def evaluate() -> dict[str, float]:
        vectors = held_out["embedding"].head(_HELD_OUT_ROWS).to_numpy()
        return {
            "held_out_nll": held_out_nll(
                model, projector, tokenizer, held_out.head(300), prompt=prompt, device=device
            ),
            "cosine": round_trip_cosine(
                model,
                projector,
                tokenizer,
                embedder.encode,
                vectors,
                prompt=prompt,
                device=device,
            ),
        }

    def stage(folder: Path, objective: Callable[..., Any], steps: int, peak: float) -> Any:
        trained = torch.nn.ModuleDict(parts)
        return train(
            trained,
            torch.optim.AdamW(trained.parameters(), weight_decay=0.0),
            lambda vectors, ids: objective(model, projector, vectors, ids, prompt=prompt),
            lambda number: shard_batches(
                work / "data",
                tokenizer,
                prompt=prompt,
                batch_size=batch_size,
                rng=np.random.default_rng([seed, number]),
            ),
            folder,
            steps=steps,
            rate=lambda step: linear_rate(step, steps=steps, peak=peak),
            evaluate=evaluate,
            checkpoint_every=checkpoint_every,
            device=device,
            progress=progress("training" if folder == work else "second stage", steps),
            report=report,
        )

    last = stage(work, reconstruction_loss, steps, learning_rate)
    if second_stage:
        folder = work / "second-stage"
        settle(folder, {"steps": steps, "second_learning_rate": second_learning_rate})
        last = stage(folder, distillation_loss, second_stage, second_learning_rate)
    manifest = {
        "name": out.resolve().name,
        "licence": licence,
        "encoder": {
            **encoder,
            "fingerprint": embedder.fingerprint,
            "dimension": embedder.dimension,
        },
        "lm": lm,
        "prompt": prompt,
        "training": {"steps": steps, "second_stage": second_stage, "tokens": int(last["tokens"])},
    }
    if lora:
        save_adapter(model, out)
    write_generator(
        out,
        lm=None,
        projector=projector,
        tokenizer=tokenizer,
        manifest=manifest,
        adapter=out if lora else None,
    )
    return dict(last)


def corpus_passages(documents: pl.DataFrame, *, max_words: int) -> pl.DataFrame:
    """One row per passage: source, held_out, text; a document and its copies are in one half.

    Raises:
        ValueError: nothing is left to train on, or nothing is held out.
    """
    rows = [
        ("corpus", document_digest(text)[0] < 26, part)
        for text in documents["text"].drop_nulls().unique(maintain_order=True)
        for part in passages(text, max_words=max_words)
        if is_prose(part)
    ]
    columns = {"source": pl.String, "held_out": pl.Boolean, "text": pl.String}
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    # Text that stands in both halves belongs to neither's measure of the other.
    both = frame.filter("held_out").join(frame.filter(~pl.col("held_out")), on="text", how="semi")
    frame = frame.join(both, on="text", how="anti").unique(
        "text", keep="first", maintain_order=True
    )
    halves = [frame["held_out"].sum(), (~frame["held_out"]).sum()]
    if min(halves) == 0:
        raise ValueError(
            f"one document in ten is held out, by the hash of its text; of {documents.height} "
            f"documents {halves[0]} passages are held out and {halves[1]} are left to train on: "
            "give a corpus of at least 50 documents"
        )
    return frame


def new_projector(vectors: NDArray[np.float32], *, hidden: int, n_tokens: int = 1) -> Any:
    """A projector from the width of `vectors` (n, d) to `n_tokens` tokens, of torch's generator."""
    import torch

    from smotext_core.xrag import Projector

    projector: Any = Projector(vectors.shape[1], hidden, n_tokens=n_tokens)
    with torch.no_grad():
        # Entries of a unit vector are about d**-0.5: bring the GELU's input to order one.
        projector[0].weight.div_(2.5 * float(np.sqrt(np.mean(np.square(vectors)))))
    return projector


def _texts_sha256(texts: pl.Series) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def _located(model: Mapping[str, Any]) -> dict[str, Any]:
    """As the manifest names it: a folder by a path that holds from everywhere, a commit."""
    if model["name"] == SMOLLM2:
        return dict(model)
    folder = model_folder(model["name"], model.get("revision"))
    given = Path(model["name"]).expanduser()
    return {
        **model,
        "name": str(given.resolve()) if given.is_dir() else model["name"],
        "revision": snapshot_commit(folder) or model.get("revision"),
    }
