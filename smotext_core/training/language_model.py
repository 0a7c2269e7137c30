"""The language model a generator is trained for: frozen, with its tokenizer and the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smotext_core.xrag import (
    SMOLLM2,
    load_causal_lm,
    load_smollm2,
    model_folder,
    read_tokenizer,
    smollm2_tokenizer,
)


def load_lm(
    lm: Mapping[str, Any],
    *,
    template: str,
    max_new_tokens: int,
    texts: int = 1,
    tokens: int = 1,
    device: str,
) -> tuple[Any, Any, dict[str, Any]]:
    """A frozen causal language model, its tokenizer, and the prompt of `template` in its tokens.

    The vector becomes `tokens` tokens of the prompt, beside which `texts` of `max_new_tokens` must
    fit: two where the text itself is read too.

    Raises:
        ValueError: no tokenizer, no end token, a template without its place, too many tokens.
    """
    dtype = "float32" if device == "cpu" else "bfloat16"
    if lm["name"] == SMOLLM2:
        tokenizer, model = smollm2_tokenizer(), load_smollm2(dtype=dtype).to(device)
    else:
        folder = _checked_folder(lm)
        tokenizer = read_tokenizer(folder)
        model = load_causal_lm(folder, device=device, dtype=dtype)
    model = model.requires_grad_(False).eval()
    config, vocabulary = model.config, model.get_input_embeddings().num_embeddings
    if tokenizer.get_vocab_size() > vocabulary:
        raise ValueError(
            f"the tokenizer of {lm['name']} has {tokenizer.get_vocab_size()} tokens, its language "
            f"model {vocabulary}: they do not belong together"
        )
    eos = config.eos_token_id
    eos = eos[0] if isinstance(eos, list) else eos
    if eos is None:
        raise ValueError(f"config.json of {lm['name']} names no eos_token_id, where texts end")
    if template.count("{xrag_token}") != 1:
        raise ValueError(
            f"a prompt has {{xrag_token}} once, where the vector goes; got {template!r}"
        )
    pieces = [
        tokenizer.encode(piece, add_special_tokens=False).ids if piece else []
        for piece in template.split("{xrag_token}")
    ]
    begin = [i for i in tokenizer.encode("").ids[:1] if i == config.bos_token_id]
    # The vector's place needs an id that occurs nowhere else; what it stands for is never read.
    taken = {*begin, *pieces[0], *pieces[1], eos}
    spare = [config.pad_token_id, *range(vocabulary - 1, -1, -1)]
    xrag = next(i for i in spare if isinstance(i, int) and 0 <= i < vocabulary and i not in taken)
    ids = [*begin, *pieces[0], *[xrag] * tokens, *pieces[1]]
    needed = len(ids) + texts * max_new_tokens
    room = getattr(config, "max_position_embeddings", None) or needed
    if max_new_tokens < 2 or needed > room:
        raise ValueError(
            f"a prompt of {len(ids)} tokens and {texts} × {max_new_tokens} of text (at least 2) "
            f"must fit the {room} positions of {lm['name']}"
        )
    prompt = {
        "ids": ids,
        "xrag_token_id": xrag,
        "eos_token_id": eos,
        "suppress_tokens": [xrag],
        "max_new_tokens": max_new_tokens,
    }
    return model, tokenizer, prompt


def _checked_folder(lm: Mapping[str, Any]) -> Path:
    folder = model_folder(lm["name"], lm["revision"])
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"the language model {lm['name']} needs config.json and tokenizer.json beside its "
            f"weights, {folder} has no {' and no '.join(missing)}: AutoTokenizer.from_pretrained("
            "NAME).save_pretrained(FOLDER) writes a tokenizer"
        )
    return folder
