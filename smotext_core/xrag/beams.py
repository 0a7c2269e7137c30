"""The likeliest texts of a language model: beam search over tokens (Lowerre 1976)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from smotext_core.xrag.kv_cache import cache_in_place


class Hypothesis(NamedTuple):
    """The tokens of a text, or of its beginning, and their summed log-probability in nats."""

    score: float
    tokens: list[int]


def beam_search(
    lm: Any,
    prompts: Any,
    *,
    n_prompts: int,
    n_beams: int,
    eos_token_id: int,
    suppress_tokens: Sequence[int],
    max_new_tokens: int,
    size: Callable[[int], int],
) -> list[list[Hypothesis]]:
    """The `n_beams` likeliest texts found after each prompt, the likeliest first.

    Scores are sums, without a term for the length: a text only loses by going on. So the search of
    a prompt ends when no open beam is likelier than the last of `n_beams` ended ones: a longer one
    would find no other. A text may end while it is among the first `n_beams` of its step. At
    `max_new_tokens` open beams count as ended. There may be fewer, where there are not so many.

    Args:
        prompts: (size(n_prompts), width, hidden) embeddings; what is beyond `n_prompts` fills up.
        size: the number of rows with which the language model is asked for so many beams, so that
            matrices come in few shapes.
    """
    import torch

    device, embed = prompts.device, lm.get_input_embeddings()
    cache = cache_in_place(prompts.shape[1] + max_new_tokens)
    ended: list[list[Hypothesis]] = [[] for _ in range(n_prompts)]
    beams = {prompt: [Hypothesis(0.0, [])] for prompt in range(n_prompts)}
    step_input = prompts
    for _ in range(max_new_tokens):
        output = lm(
            inputs_embeds=step_input, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        n_open = sum(map(len, beams.values()))
        logits = output.logits[:n_open, -1].float()
        logits[:, suppress_tokens] = -torch.inf
        # Every beam may end here, by one token each: so many more than are needed to go on.
        best = torch.topk(logits.log_softmax(-1), min(2 * n_beams, logits.shape[-1]))
        scores, tokens = best.values.tolist(), best.indices.tolist()
        rows: list[int] = []  # of the beam that each new one goes on from
        first = 0
        for prompt, old in list(beams.items()):
            longer = sorted(
                (-(beam.score + score), row, token)
                for row, beam in enumerate(old, first)
                for score, token in zip(scores[row], tokens[row], strict=True)
                if score > -math.inf  # not one that is suppressed
            )
            new: list[tuple[int, Hypothesis]] = []
            for place, (loss, row, token) in enumerate(longer):
                if token != eos_token_id:
                    new.append((row, Hypothesis(-loss, [*old[row - first].tokens, token])))
                elif place < n_beams:
                    ended[prompt].append(Hypothesis(-loss, old[row - first].tokens))
                if len(new) == n_beams:
                    break
            first += len(old)
            ended[prompt] = sorted(ended[prompt], key=_loss)[:n_beams]
            full = len(ended[prompt]) == n_beams
            if not new or (full and new[0][1].score <= ended[prompt][-1].score):
                del beams[prompt]
            else:
                beams[prompt] = [beam for _, beam in new]
                rows += [row for row, _ in new]
        if not beams:
            break
        last = [beam.tokens[-1] for found in beams.values() for beam in found]
        spare = size(len(rows)) - len(rows)
        cache.batch_select_indices(torch.tensor(rows + rows[:1] * spare, device=device))
        step_input = embed(torch.tensor(last + last[:1] * spare, device=device))[:, None]
    for prompt, open_ in beams.items():
        ended[prompt] = sorted(ended[prompt] + open_, key=_loss)[:n_beams]
    return ended


def _loss(found: Hypothesis) -> float:
    return -found.score
