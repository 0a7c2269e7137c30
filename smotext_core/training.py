"""Paraphrase pre-training of the embedded decoder: given a text's vector, write the text.

Xu et al. 2024 (xRAG, "paraphrase pre-training") train a projector before a frozen language model
with the negative log-likelihood of the text. The embedded decoder is too small for a frozen
model to exist, so projector and language model are trained together here; the encoder stays
frozen throughout, its vectors are computed once (`training_texts.py`).

    python -m smotext_core.training --data SHARDS --out FOLDER --steps 20000
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

EOS, PAD, XRAG = 0, 1, 2  # token ids
MAX_TOKENS = 96
ENCODER_LAYERS = (0, 2, 4)  # of MiniLM's six, which the decoder's three start from


def train_tokenizer(texts: list[str], *, vocab_size: int = 8192) -> Any:
    """A cased byte-level BPE whose first ids are end, padding and the xRAG token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<eos>", "<pad>", "<xRAG>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def warm_start(tokenizer: Any, encoder_folder: Path) -> tuple[Any, Any]:
    """A decoder in the encoder's own shape, started from the encoder's weights.

    Self-attention, feed-forward and position weights are copied; each new token's embedding is the
    mean of the encoder's word pieces for the same characters.

    Returns:
        the language model, and the projector from the encoder's dimension to the model's.
    """
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel, BertConfig, BertLMHeadModel

    encoder: Any = AutoModel.from_pretrained(encoder_folder, use_safetensors=True)
    pieces = Tokenizer.from_file(str(encoder_folder / "tokenizer.json"))
    pieces.no_padding()  # the file asks for 128 pieces, padding would fill the mean
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=encoder.config.hidden_size,
        num_hidden_layers=len(ENCODER_LAYERS),
        num_attention_heads=encoder.config.num_attention_heads,
        intermediate_size=encoder.config.intermediate_size,
        max_position_embeddings=128,
        is_decoder=True,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        bos_token_id=None,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    lm: Any = BertLMHeadModel(config)
    ours, theirs = lm.bert.embeddings, encoder.embeddings
    with torch.no_grad():
        for token in range(3, config.vocab_size):
            characters = tokenizer.decode([token]).strip()
            ids = pieces.encode(characters, add_special_tokens=False).ids
            if ids:
                ours.word_embeddings.weight[token] = theirs.word_embeddings.weight[ids].mean(0)
        positions = config.max_position_embeddings
        ours.position_embeddings.weight.copy_(theirs.position_embeddings.weight[:positions])
    ours.token_type_embeddings.load_state_dict(theirs.token_type_embeddings.state_dict())
    ours.LayerNorm.load_state_dict(theirs.LayerNorm.state_dict())
    for layer, source in zip(lm.bert.encoder.layer, ENCODER_LAYERS, strict=True):
        layer.load_state_dict(encoder.encoder.layer[source].state_dict())
    size = config.hidden_size
    projector: Any = torch.nn.Sequential(
        torch.nn.Linear(size, size), torch.nn.GELU(), torch.nn.Linear(size, size)
    )
    with torch.no_grad():
        # Entries of a unit vector are about d**-0.5: bring the GELU's input to order one.
        projector[0].weight.mul_(8.0)
    return lm, projector


def reconstruction_loss(lm: Any, projector: Any, vectors: Any, ids: list[list[int]]) -> Any:
    """Summed NLL of `ids` (each ending in EOS) given `vectors` (n, d), over real tokens only."""
    import torch

    width = max(map(len, ids))
    target = torch.full((len(ids), width), -100)
    for row, tokens in enumerate(ids):
        target[row, : len(tokens)] = torch.tensor(tokens)
    embed = lm.get_input_embeddings()
    before = embed(target[:, :-1].clamp(min=0))  # (n, width - 1, hidden)
    hidden = lm.bert(inputs_embeds=torch.cat([projector(vectors)[:, None], before], dim=1))
    real = target != -100
    logits = lm.cls(hidden.last_hidden_state[real])  # (tokens, vocab)
    return torch.nn.functional.cross_entropy(logits, target[real], reduction="sum")


def learning_rate(step: int, *, steps: int, peak: float) -> float:
    """Warm-up over 100 steps, then a cosine from `peak` down to a twentieth of it."""
    if step < 100:
        return peak * (step + 1) / 100
    return peak * (0.525 + 0.475 * math.cos(math.pi * min(1.0, step / steps)))


def train(
    data: Path,
    out: Path,
    *,
    encoder_folder: Path,
    steps: int,
    batch_size: int = 32,
    peak_learning_rate: float = 1.2e-3,
    checkpoint_every: int = 250,
    seed: int = 0,
) -> None:
    """Train from the shards in `data`, or go on from the checkpoint in `out`.

    The learning rate depends on the step and `steps` alone: a run may be stopped and resumed, also
    with other `steps` where time runs short. `out/log.jsonl` gets a line a checkpoint: step,
    tokens, seconds, training and held-out NLL per token.
    """
    import torch
    from tokenizers import Tokenizer

    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "tokenizer.json").exists():
        texts = pl.read_parquet(data / "shard-000.parquet")["text"].to_list()
        train_tokenizer(texts).save(str(out / "tokenizer.json"))
    tokenizer: Any = Tokenizer.from_file(str(out / "tokenizer.json"))
    lm, projector = warm_start(tokenizer, encoder_folder)
    model = torch.nn.ModuleDict({"lm": lm, "projector": projector})
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    state = {"step": 0, "tokens": 0, "seconds": 0.0}
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
    held_out = pl.read_parquet(data / "held-out.parquet")
    batches = _batches(data, tokenizer, batch_size=batch_size, seed=seed + int(state["step"]))
    began, running = time.monotonic() - state["seconds"], 0.0
    while state["step"] < steps:
        vectors, ids = next(batches)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(int(state["step"]), steps=steps, peak=peak_learning_rate)
        n_tokens = sum(map(len, ids))
        loss = reconstruction_loss(lm, projector, torch.from_numpy(vectors), ids) / n_tokens
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running = loss.item() if running == 0.0 else 0.98 * running + 0.02 * loss.item()
        state["step"] += 1
        state["tokens"] += n_tokens
        state["seconds"] = time.monotonic() - began
        if state["step"] % checkpoint_every == 0 or state["step"] == steps:
            saved = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "state": state,
            }
            torch.save(saved, out / "checkpoint.partial")
            (out / "checkpoint.partial").replace(checkpoint)
            nll = held_out_nll(lm, projector, tokenizer, held_out)
            line = {**state, "train_nll": running, **nll}
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps({k: round(v, 4) for k, v in line.items()}) + "\n")


def held_out_nll(
    lm: Any, projector: Any, tokenizer: Any, held_out: pl.DataFrame, *, rows: int = 300
) -> dict[str, float]:
    """NLL per token of the first `rows` held-out passages of each source."""
    import torch

    result = {}
    for (source,), frame in held_out.group_by("source", maintain_order=True):
        vectors, ids = _examples(frame.head(rows), tokenizer)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        total = 0.0
        with torch.no_grad():
            for at in range(0, len(order), 50):
                rows_at = order[at : at + 50]
                batch = torch.from_numpy(vectors[rows_at])
                ids_at = [ids[i] for i in rows_at]
                total += reconstruction_loss(lm, projector, batch, ids_at).item()
        result[f"{source}_nll"] = total / sum(map(len, ids))
    return result


def _examples(frame: pl.DataFrame, tokenizer: Any) -> tuple[Any, list[list[int]]]:
    encodings = tokenizer.encode_batch(frame["text"].to_list())
    ids = [[*e.ids[: MAX_TOKENS - 1], EOS] for e in encodings]
    return frame["embedding"].to_numpy().astype(np.float32), ids


def _batches(
    data: Path, tokenizer: Any, *, batch_size: int, seed: int
) -> Iterator[tuple[Any, list[list[int]]]]:
    """Batches of similar lengths for ever.

    A pass takes as many passages of each source as the smallest source has, so that a small
    domain keeps its weight; it reads the folder anew, so that shards made meanwhile are used.
    """
    rng = np.random.default_rng(seed)
    while True:
        frame = pl.concat([pl.read_parquet(path) for path in sorted(data.glob("shard-*.parquet"))])
        parts = frame.partition_by("source", maintain_order=True)
        size = min(part.height for part in parts)
        chosen = [
            part[np.sort(rng.choice(part.height, size, replace=False)).tolist()] for part in parts
        ]
        vectors, ids = _examples(pl.concat(chosen), tokenizer)
        order = rng.permutation(len(ids))
        for at in range(0, len(order), batch_size * 32):
            rows = sorted(order[at : at + batch_size * 32], key=lambda i: len(ids[i]))
            batches = [rows[b : b + batch_size] for b in range(0, len(rows), batch_size)]
            for b in rng.permutation(len(batches)):
                yield vectors[batches[b]], [ids[i] for i in batches[b]]


def write_trained(out: Path, folder: Path, *, encoder_folder: Path) -> None:
    """Write the last checkpoint in `out` as a generator folder."""
    import torch
    from tokenizers import Tokenizer

    from smotext_core.embedding import Embedder
    from smotext_core.xrag import write_generator

    tokenizer: Any = Tokenizer.from_file(str(out / "tokenizer.json"))
    lm, projector = warm_start(tokenizer, encoder_folder)
    model = torch.nn.ModuleDict({"lm": lm, "projector": projector})
    saved = torch.load(out / "checkpoint.pt", weights_only=True)
    model.load_state_dict(saved["model"])
    embedder = Embedder(encoder_folder)
    manifest = {
        "name": "xrag-mini",
        "licence": "Apache-2.0 (weights trained on CC BY-SA 3.0 and CC0 text)",
        "encoder": {
            "name": "sentence-transformers/all-MiniLM-L6-v2",
            "fingerprint": embedder.fingerprint,
            "dimension": embedder.dimension,
            "normalized": embedder.normalized,
            "max_tokens": 256,
        },
        "prompt": {
            "ids": [XRAG],
            "xrag_token_id": XRAG,
            "eos_token_id": EOS,
            "suppress_tokens": [PAD, XRAG],
            "max_new_tokens": MAX_TOKENS,
        },
        "training": {"steps": saved["state"]["step"], "tokens": saved["state"]["tokens"]},
    }
    write_generator(folder, lm=lm, projector=projector, tokenizer=tokenizer, manifest=manifest)


def main() -> None:
    """Command line of the recipe."""
    from smotext_core.embedding import minilm_folder

    parser = argparse.ArgumentParser(description="train the embedded decoder")
    parser.add_argument("--data", type=Path, required=True, help="folder of training shards")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint and log")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--write", type=Path, help="then write this generator folder")
    given = parser.parse_args()
    train(
        given.data,
        given.out,
        encoder_folder=minilm_folder(),
        steps=given.steps,
        batch_size=given.batch_size,
    )
    if given.write:
        write_trained(given.out, given.write, encoder_folder=minilm_folder())


if __name__ == "__main__":
    main()
