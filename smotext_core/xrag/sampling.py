"""Texts drawn from a language model, every row from uniform numbers of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from smotext_core.xrag.kv_cache import cache_in_place

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sample_rows(
    lm: Any,
    prompts: Any,
    *,
    read_by: Sequence[int],
    padding: Sequence[int],
    temperature: NDArray[np.float32],
    draws: NDArray[np.float64],
    forced: NDArray[np.int64],
    top_k: int,
    eos_token_id: int,
    suppress_tokens: Sequence[int],
    size: Callable[[int], int],
) -> list[list[int]]:
    """The token ids of one text a row.

    Args:
        prompts: (size(n_prompts), width, hidden) embeddings; what is beyond `n_prompts` fills up.
        read_by: of each of the n rows the prompt that it goes on from.
        padding: of each row the places on the left of its prompt that hold nothing.
        temperature: (n,); 0 takes the likeliest token.
        draws: (n, max_new_tokens), uniform in [0, 1).
        forced: (n, max_new_tokens), the tokens that a row begins with; −1: to be drawn.
        size: the number of rows with which the language model is asked for so many open ones, so
            that matrices come in few shapes.
    """
    import torch

    n, max_new_tokens = forced.shape
    device, width = prompts.device, prompts.shape[1]
    heat = torch.from_numpy(temperature.copy()).to(device)
    uniform = torch.from_numpy(draws).to(device)
    given = torch.from_numpy(forced).to(device)
    # One row more than there are: closed places write there.
    history = torch.full((n + 1, max_new_tokens), -1, device=device)
    row_of = torch.arange(n, device=device)  # batch place -> row
    open_ = torch.ones(n, dtype=torch.bool, device=device)
    cache = cache_in_place(width + max_new_tokens)
    places = torch.tensor(read_by, device=device)
    behind = torch.tensor(padding, device=device)
    padded = bool(behind.any())
    behind_prompt = torch.zeros(len(prompts), dtype=behind.dtype, device=device)
    behind_prompt[places] = behind
    embed = lm.get_input_embeddings()
    step_input = prompts
    for step in range(max_new_tokens):
        seen = _seen(behind if step else behind_prompt, width, step) if padded else {}
        output = lm(
            inputs_embeds=step_input,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **seen,
        )
        logits = output.logits[:, -1].float()  # (batch, vocab)
        if not step:
            logits = logits[places]
            cache.batch_select_indices(places)
        logits[:, suppress_tokens] = -torch.inf
        tokens = _pick(logits, heat[row_of], uniform[row_of, step], top_k=top_k)
        tokens = torch.where(given[row_of, step] < 0, tokens, given[row_of, step])
        open_ &= tokens != eos_token_id
        history[torch.where(open_, row_of, n), step] = tokens
        n_open = int(open_.sum())
        if n_open == 0:
            break
        if (rows := size(n_open)) < len(open_):
            # Open rows first, then closed ones to make up the size.
            keep = torch.argsort(~open_, stable=True)[:rows]
            cache.batch_select_indices(keep)
            tokens, open_, row_of = tokens[keep], open_[keep], row_of[keep]
            behind = behind[keep]
        step_input = embed(tokens)[:, None]
    return [[token for token in row if token >= 0] for row in history[:-1].tolist()]


def _seen(padding: Any, width: int, step: int) -> dict[str, Any]:
    """What `step` may look at, behind `padding` (n,) tokens on the left, and where it stands."""
    import torch

    places = torch.arange(width + step, device=padding.device)
    new = places[-1:] if step else places
    return {
        "attention_mask": (places >= padding[:, None]).long(),
        "position_ids": (new - padding[:, None]).clamp(min=0),
    }


def _pick(logits: Any, temperature: Any, uniform: Any, *, top_k: int) -> Any:
    """Token ids (n,): inverse-CDF draw among the `top_k` likeliest, or the likeliest at 0."""
    import torch

    top_k = min(top_k, logits.shape[-1])
    values, ids = torch.topk(logits, top_k)
    heat = temperature.clamp(min=1e-4)[:, None]
    cumulative = torch.softmax(values.double() / heat, dim=-1).cumsum(-1)
    place = (uniform[:, None] * cumulative[:, -1:] >= cumulative).sum(-1)
    place = torch.where(temperature > 0, place.clamp(max=top_k - 1), torch.zeros_like(place))
    return ids.gather(1, place[:, None]).squeeze(1)
