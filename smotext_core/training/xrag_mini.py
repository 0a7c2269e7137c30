r"""The recipe of the embedded decoder, xrag-mini.

It is too small for a frozen language model to exist, so projector and language model are trained
together; the encoder stays frozen, its vectors are computed once (`training_texts.py`).

    python -m smotext_core.training.xrag_mini --data SHARDS --out FOLDER --steps 20000
    python -m smotext_core.training.xrag_mini --data SHARDS --out FOLDER --steps 20000 \
        --start GENERATOR
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from smotext_core.texts import vocabulary
from smotext_core.training.loop import shard_batches
from smotext_core.training.loop import train as train_model
from smotext_core.training.objectives import held_out_nll, reconstruction_loss

EOS, PAD, XRAG = 0, 1, 2  # token ids
PROMPT: dict[str, Any] = {
    "ids": [XRAG],
    "xrag_token_id": XRAG,
    "eos_token_id": EOS,
    "suppress_tokens": [PAD, XRAG],
    "max_new_tokens": 96,
}
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

    from smotext_core.xrag import Projector

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
    projector: Any = Projector(size, size)
    with torch.no_grad():
        # Entries of a unit vector are about d**-0.5: bring the GELU's input to order one.
        projector[0].weight.mul_(8.0)
    return lm, projector


def started(generator_folder: Path) -> tuple[Any, Any, Any]:
    """The language model, projector and tokenizer of a trained decoder, to be trained further."""
    from smotext_core.xrag import load_generator

    decoder = load_generator(str(generator_folder)).decoder
    model, projector = decoder.lm.requires_grad_(True), decoder.projector.requires_grad_(True)
    return model, projector, decoder.tokenizer


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
    start: Path | None = None,
    dtype: str = "float32",
    batch_size: int = 32,
    peak_learning_rate: float = 1.2e-3,
    checkpoint_every: int = 250,
    seed: int = 0,
) -> None:
    """Train from the shards in `data`, or go on from the checkpoint in `out`.

    The log has the held-out NLL of each source. See `training.train`.

    Args:
        start: a generator folder of this recipe, whose weights and tokenizer it begins with.
        dtype: of the products; "bfloat16" is twice as fast where the processor multiplies it.
            Weights and their updates stay float32.
    """
    import torch
    from tokenizers import Tokenizer

    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    if start is not None:
        lm, projector, tokenizer = started(start)
        tokenizer.save(str(out / "tokenizer.json"))
    else:
        if not (out / "tokenizer.json").exists():
            texts = pl.read_parquet(data / "shard-000.parquet")["text"].to_list()
            train_tokenizer(texts).save(str(out / "tokenizer.json"))
        tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
        lm, projector = warm_start(tokenizer, encoder_folder)
    model = torch.nn.ModuleDict({"lm": lm, "projector": projector})
    held_out = pl.read_parquet(data / "held-out.parquet")

    def evaluate() -> dict[str, float]:
        return {
            f"{source}_nll": held_out_nll(lm, projector, tokenizer, part.head(300), prompt=PROMPT)
            for (source,), part in held_out.group_by("source", maintain_order=True)
        }

    def loss(vectors: Any, ids: list[list[int]]) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            return reconstruction_loss(lm, projector, vectors, ids, prompt=PROMPT)

    train_model(
        model,
        torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01),
        loss,
        lambda number: shard_batches(
            data,
            tokenizer,
            prompt=PROMPT,
            batch_size=batch_size,
            rng=np.random.default_rng([seed, number]),
        ),
        out,
        steps=steps,
        rate=lambda step: learning_rate(step, steps=steps, peak=peak_learning_rate),
        evaluate=evaluate,
        checkpoint_every=checkpoint_every,
    )


def write_trained(data: Path, out: Path, folder: Path, *, encoder_folder: Path) -> None:
    """Write the last checkpoint in `out`, trained on `data`, as a generator folder."""
    import torch
    from tokenizers import Tokenizer

    from smotext_core.xrag import Embedder, write_generator

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
            "revision": None,
            "fingerprint": embedder.fingerprint,
            "dimension": embedder.dimension,
            "normalized": embedder.normalized,
            "pooling": "mean",
            "max_tokens": 256,
        },
        "prompt": PROMPT,
        "training": {"steps": saved["state"]["step"], "tokens": saved["state"]["tokens"]},
    }
    shards = [pl.read_parquet(path, columns=["text"]) for path in sorted(data.glob("shard-*"))]
    write_generator(
        folder,
        lm=lm,
        projector=projector,
        tokenizer=tokenizer,
        manifest=manifest,
        words=vocabulary(pl.concat(shards)["text"], min_count=2),  # once may be a slip
    )


def main() -> None:
    """Command line of the recipe."""
    from smotext_core.xrag import minilm_folder

    parser = argparse.ArgumentParser(description="train the embedded decoder")
    parser.add_argument("--data", type=Path, required=True, help="folder of training shards")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint and log")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--start", type=Path, help="go on from the weights of this generator")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--write", type=Path, help="then write this generator folder")
    given = parser.parse_args()
    train(
        given.data,
        given.out,
        encoder_folder=minilm_folder(),
        steps=given.steps,
        start=given.start,
        dtype=given.dtype,
        batch_size=given.batch_size,
    )
    if given.write:
        write_trained(given.data, given.out, given.write, encoder_folder=minilm_folder())


if __name__ == "__main__":
    main()
