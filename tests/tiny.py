"""A tiny encoder and a tiny language model of a tiny world, written as transformers keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WHO = ["The nurse", "The keeper", "A banker", "The cook", "An astronomer", "My neighbour"]
DID = ["watched", "praised", "forgot", "described", "counted", "sold"]
WHAT = ["the old telescope", "two red tomatoes", "the last invoice", "a long match", "some bread",
        "the new ward"]  # fmt: skip
SENTENCES = [f"{who} {did} {what}." for who in WHO for did in DID for what in WHAT]


def write_encoder(folder: Path, *, hidden: int = 48, seed: int = 0) -> Path:
    """One random BERT layer over random word vectors: a text's mean tells most of its words."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    tokenizer = word_tokenizer()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=hidden,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def word_tokenizer() -> Any:
    """A token a word: <eos> 0, <pad> 1, <unk> 2."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer: Any = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.WordLevelTrainer(special_tokens=["<eos>", "<pad>", "<unk>"])
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def write_lm(folder: Path, *, steps: int = 0, hidden: int = 96, seed: int = 0) -> Path:
    """A Llama of two layers, trained a little on the sentences where `steps` are given."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    tokenizer = word_tokenizer()
    lm: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size() + 5,  # rows without a token, as many models have
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=1,
            tie_word_embeddings=True,
            initializer_range=0.1,
        )
    )
    optimizer = torch.optim.AdamW(lm.parameters(), lr=5e-3)
    ids = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor([1, *tokenizer.encode(text).ids, 0]) for text in SENTENCES],
        batch_first=True,
        padding_value=-100,
    )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = ids[torch.randint(len(ids), (32,), generator=generator)]
        lm(input_ids=rows.clamp(min=0), labels=rows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    lm.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_tiny_generator(folder: Path) -> Path:
    """A generator: its own language model knows the sentences, its projector nothing."""
    import torch
    from transformers import AutoModelForCausalLM

    from smotext_core.xrag.encoder import Embedder
    from smotext_core.xrag.folder import write_generator
    from smotext_core.xrag.projector import Projector

    encoder = write_encoder(folder / "models" / "encoder")
    lm = AutoModelForCausalLM.from_pretrained(write_lm(folder / "models" / "lm", steps=60))
    embedder = Embedder(encoder, max_tokens=48)
    torch.manual_seed(0)
    write_generator(
        folder / "tiny",
        lm=lm,
        projector=Projector(48, 96),
        tokenizer=word_tokenizer(),
        manifest={
            "name": "tiny",
            "licence": "CC0-1.0",
            "encoder": {
                "name": str(encoder),
                "revision": None,
                "fingerprint": embedder.fingerprint,
                "dimension": 48,
                "normalized": True,
                "pooling": "mean",
                "max_tokens": 48,
            },
            "prompt": {
                "ids": [1],
                "xrag_token_id": 1,
                "eos_token_id": 0,
                "suppress_tokens": [1, 2],
                "max_new_tokens": 24,
            },
        },
    )
    return folder / "tiny"


def tales(who: str, n: int) -> list[str]:
    """Texts of 12 words or so about one person: long enough for nine words of one to be copied."""
    found = []
    for row in range(n):
        first = f"{who} {DID[row % 6]} {WHAT[(row // 6 + row) % 6]}."
        other = WHO[(row + row // 4) % 6]
        found.append(f"{first} {other} {DID[(row * 5 + 1) % 6]} {WHAT[(row * 7 // 3) % 6]}.")
    return found
