"""What a projector is trained on and measured by: the text that follows a vector in a prompt.

Cheng et al. 2024 (xRAG): a projector puts the vector in the place of one token of a prompt, here of
k in a row, and is trained with the negative log-likelihood (NLL) of the text that follows. In the
second stage a Kullback-Leibler term is added, to the same language model reading the text itself.

`prompt` is what a generator's manifest holds: ids, xrag_token_id, eos_token_id, suppress_tokens,
max_new_tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from smotext_core.xrag import Decoder

if TYPE_CHECKING:
    from numpy.typing import NDArray


def reconstruction_loss(
    lm: Any, projector: Any, vectors: Any, ids: list[list[int]], *, prompt: Mapping[str, Any]
) -> Any:
    """Summed NLL of `ids` (each ending in EOS) given `vectors` (n, d), over real tokens only."""
    import torch

    logits, target = _predictions(lm, projector, vectors, ids, prompt)
    return torch.nn.functional.cross_entropy(logits, target, reduction="sum")


def distillation_loss(
    lm: Any,
    projector: Any,
    vectors: Any,
    ids: list[list[int]],
    *,
    prompt: Mapping[str, Any],
    weight: float = 2.0,
) -> Any:
    """NLL + `weight` · KL(teacher ‖ student), summed over tokens (xRAG's second stage, T = 1).

    The teacher is the same `lm`, reading the text itself where the student reads its vector.
    """
    import torch

    logits, target = _predictions(lm, projector, vectors, ids, prompt)
    teacher = _teacher_logits(lm, ids, prompt).log_softmax(-1)
    kl = torch.nn.functional.kl_div(
        logits.log_softmax(-1), teacher, log_target=True, reduction="sum"
    )
    return torch.nn.functional.cross_entropy(logits, target, reduction="sum") + weight * kl


def _predictions(
    lm: Any, projector: Any, vectors: Any, ids: list[list[int]], prompt: Mapping[str, Any]
) -> tuple[Any, Any]:
    """Logits (tokens, vocab) of every token of the texts, row after row, and the tokens."""
    import torch

    embed = lm.get_input_embeddings()
    before = embed(torch.tensor(prompt["ids"], device=vectors.device)).expand(len(ids), -1, -1)
    at = prompt["ids"].index(prompt["xrag_token_id"])
    vectors = vectors.to(next(projector.parameters()).dtype)
    projected = projector(vectors).to(before.dtype)  # (n, k, hidden)
    width = max(map(len, ids))
    target = torch.full((len(ids), width), -100, device=vectors.device)
    for row, tokens in enumerate(ids):
        target[row, : len(tokens)] = torch.tensor(tokens)
    after = embed(target[:, :-1].clamp(min=0))
    behind = before[:, at + projected.shape[1] :]
    inputs = torch.cat([before[:, :at], projected, behind, after], dim=1)
    # Padding is on the right, where causal attention does not see it: no mask is needed. Named one
    # by one, the places kept are copied, and all rows are one product with the words; as a slice
    # they are a product a row, which takes twice as long.
    kept = torch.arange(inputs.shape[1] - width, inputs.shape[1], device=inputs.device)
    logits = lm(inputs_embeds=inputs, use_cache=False, logits_to_keep=kept).logits
    real = target != -100
    return logits[real].float(), target[real]


def _teacher_logits(lm: Any, ids: list[list[int]], prompt: Mapping[str, Any]) -> Any:
    """As `_predictions`, without a gradient, the text in the place of its vector."""
    import torch

    device = lm.get_input_embeddings().weight.device
    at = prompt["ids"].index(prompt["xrag_token_id"])
    behind = at + prompt["ids"].count(prompt["xrag_token_id"])
    rows = [[*prompt["ids"][:at], *text[:-1], *prompt["ids"][behind:]] for text in ids]
    width = max(len(row) + len(text) - 1 for row, text in zip(rows, ids, strict=True))
    tokens = torch.zeros((len(ids), width), dtype=torch.long)
    real = torch.zeros((len(ids), width), dtype=torch.bool)
    for n, (row, text) in enumerate(zip(rows, ids, strict=True)):
        tokens[n, : len(row) + len(text) - 1] = torch.tensor([*row, *text[:-1]])
        real[n, len(row) - 1 : len(row) + len(text) - 1] = True
    with torch.no_grad():
        return lm(input_ids=tokens.to(device), use_cache=False).logits[real.to(device)].float()


def examples(
    frame: pl.DataFrame, tokenizer: Any, prompt: Mapping[str, Any]
) -> tuple[NDArray[np.float32], list[list[int]]]:
    """Vectors and token ids of the rows of `frame` (text, embedding), each text ending in EOS."""
    encodings = tokenizer.encode_batch(frame["text"].to_list(), add_special_tokens=False)
    limit, eos = prompt["max_new_tokens"] - 1, prompt["eos_token_id"]
    return frame["embedding"].to_numpy().astype(np.float32), [
        [*encoding.ids[:limit], eos] for encoding in encodings
    ]


def held_out_nll(
    lm: Any,
    projector: Any,
    tokenizer: Any,
    held_out: pl.DataFrame,
    *,
    prompt: Mapping[str, Any],
    device: str = "cpu",
) -> float:
    """NLL per token of the texts of `held_out` (text, embedding)."""
    import torch

    vectors, ids = examples(held_out, tokenizer, prompt)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    total = 0.0
    with torch.no_grad():
        for at in range(0, len(order), 50):
            rows = order[at : at + 50]
            batch = torch.from_numpy(vectors[rows]).to(device)
            ids_of = [ids[i] for i in rows]
            total += reconstruction_loss(lm, projector, batch, ids_of, prompt=prompt).item()
    return total / sum(map(len, ids))


def round_trip_cosine(
    lm: Any,
    projector: Any,
    tokenizer: Any,
    encode: Callable[[list[str]], NDArray[np.float32]],
    vectors: NDArray[np.float32],
    *,
    prompt: Mapping[str, Any],
    device: str = "cpu",
) -> float:
    """Mean cosine of vectors (n, d) to those of the likeliest texts decoded from them."""
    decoder = Decoder(
        lm,
        projector,
        tokenizer,
        prompt_ids=prompt["ids"],
        xrag_token_id=prompt["xrag_token_id"],
        eos_token_id=prompt["eos_token_id"],
        suppress_tokens=prompt["suppress_tokens"],
        max_new_tokens=prompt["max_new_tokens"],
        batch_size=min(128, len(vectors)),
        device=device,
    )
    texts = decoder.sample(vectors, seeds=range(len(vectors)), temperature=0.0)
    return mean_cosine(encode(texts), vectors)


def mean_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Of the rows of `a` (n, d) to those of `b`; a row without direction counts as 0."""
    norms = np.linalg.norm(a.astype(np.float64), axis=1) * np.linalg.norm(b, axis=1)
    dots = (a.astype(np.float64) * b).sum(axis=1)
    return float(np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0).mean())
