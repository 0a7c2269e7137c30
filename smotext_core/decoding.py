"""Vectors to texts: a causal language model that reads one vector as one token (xRAG)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SENTENCE_END = re.compile(r"[.!?][\"')\]]?(?=\s|$)")


class Candidates(NamedTuple):
    """Texts decoded for n vectors, c a vector, the closest first."""

    texts: list[list[str]]
    cosines: NDArray[np.float32]  # (n, c), of the re-embedded texts to their vectors
    embeddings: NDArray[np.float32]  # (n, c, d), the re-embedded texts


class Decoder:
    """Samples texts for vectors, each row from a random stream of its own.

    Every prompt is the same pieces of text around one vector, so all rows have one length and no
    padding is needed. Rows are worked on in batches of exactly `batch_size`, then of halves of it
    as rows finish: matrix shapes never depend on how many rows were asked for, so a row's text
    does not either.

    Args:
        lm: a causal language model of transformers.
        projector: maps (n, d) vectors to (n, hidden) token embeddings.
        tokenizer: of the `tokenizers` package.
        prompt_ids: the prompt's token ids, exactly one of them `xrag_token_id`.
        suppress_tokens: ids that are never generated.
    """

    def __init__(
        self,
        lm: Any,
        projector: Any,
        tokenizer: Any,
        *,
        prompt_ids: Sequence[int],
        xrag_token_id: int,
        eos_token_id: int,
        suppress_tokens: Sequence[int] = (),
        max_new_tokens: int = 96,
        batch_size: int = 128,
        device: str = "cpu",
    ) -> None:
        if list(prompt_ids).count(xrag_token_id) != 1:
            raise ValueError(
                f"the prompt must hold the xRAG token {xrag_token_id} once, "
                f"it is {list(prompt_ids)}"
            )
        self.lm = lm.to(device).eval()
        self.projector = projector.to(device).eval()
        self.tokenizer = tokenizer
        self.prompt_ids = list(prompt_ids)
        self.xrag_token_id = xrag_token_id
        self.eos_token_id = eos_token_id
        self.suppress_tokens = list(suppress_tokens)
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.device = device
        self.dimension: int = projector[0].in_features

    def sample(
        self,
        vectors: NDArray[np.float32],
        *,
        seeds: Sequence[int],
        temperature: float | Sequence[float] = 0.5,
        top_k: int = 40,
        progress: Callable[[int], None] | None = None,
    ) -> list[str]:
        """One text a vector.

        Args:
            vectors: (n, d), finite, not zero.
            seeds: n non-negative integers; a row's text depends on its vector and seed alone.
            temperature: one for all, or one a row; 0 takes the likeliest token.
            top_k: tokens sampled from.
            progress: called with the number of rows just done.

        Raises:
            ValueError: vectors of another width, not finite or zero; seeds of another length;
                a negative temperature.
        """
        vectors = checked_vectors(vectors, self.dimension)
        heat = np.broadcast_to(np.asarray(temperature, dtype=np.float32), (len(vectors),))
        if not (np.isfinite(heat) & (heat >= 0)).all():
            raise ValueError(f"temperature must be finite and at least 0, got {temperature}")
        if len(seeds) != len(vectors):
            raise ValueError(f"one seed a vector is required: {len(vectors)} vectors, {len(seeds)}")
        texts: list[str] = []
        for at in range(0, len(vectors), self.batch_size):
            rows = range(at, min(at + self.batch_size, len(vectors)))
            # Fill the last batch with copies of its first row.
            filled = [*rows, *[at] * (self.batch_size - len(rows))]
            draws = np.stack([_uniforms(seeds[row], self.max_new_tokens) for row in filled])
            ids = self._generate(vectors[filled], heat[filled], draws, top_k=top_k)
            texts += [self._text(tokens) for tokens in ids[: len(rows)]]
            if progress is not None:
                progress(len(rows))
        return texts

    def _generate(
        self,
        vectors: NDArray[np.float32],
        temperature: NDArray[np.float32],
        draws: NDArray[np.float64],
        *,
        top_k: int,
    ) -> list[list[int]]:
        import torch

        with torch.inference_mode():
            heat = torch.from_numpy(temperature.copy()).to(self.device)
            uniform = torch.from_numpy(draws).to(self.device)
            # One row more than there are: closed places write there.
            history = torch.full((len(vectors) + 1, self.max_new_tokens), -1, device=self.device)
            row_of = torch.arange(len(vectors), device=self.device)  # batch place -> row
            open_ = torch.ones(len(vectors), dtype=torch.bool, device=self.device)
            cache = _cache(len(self.prompt_ids) + self.max_new_tokens)
            step_input = self._prompt(torch.from_numpy(vectors).to(self.device))
            embed = self.lm.get_input_embeddings()
            for step in range(self.max_new_tokens):
                output = self.lm(inputs_embeds=step_input, past_key_values=cache, use_cache=True)
                logits = output.logits[:, -1].float()  # (batch, vocab)
                logits[:, self.suppress_tokens] = -torch.inf
                tokens = _pick(logits, heat[row_of], uniform[row_of, step], top_k=top_k)
                open_ &= tokens != self.eos_token_id
                history[torch.where(open_, row_of, len(vectors)), step] = tokens
                n_open = int(open_.sum())
                if n_open == 0:
                    break
                if n_open * 2 <= len(open_) and len(open_) > 8:
                    # Open rows first, then closed ones to make up exactly half.
                    keep = torch.argsort(~open_, stable=True)[: len(open_) // 2]
                    cache.batch_select_indices(keep)
                    tokens, open_, row_of = tokens[keep], open_[keep], row_of[keep]
                step_input = embed(tokens)[:, None]
        return [[token for token in row if token >= 0] for row in history[:-1].tolist()]

    def _prompt(self, vectors: Any) -> Any:
        """Prompt embeddings (n, length, hidden) with the projected vectors in their place."""
        import torch

        embed = self.lm.get_input_embeddings()
        ids = torch.tensor(self.prompt_ids, device=self.device)
        prompt = embed(ids).expand(len(vectors), -1, -1).clone()
        weight = next(self.projector.parameters())
        projected = self.projector(vectors.to(weight.dtype)).to(prompt.dtype)
        prompt[:, self.prompt_ids.index(self.xrag_token_id)] = projected
        return prompt

    def _text(self, tokens: list[int]) -> str:
        text = " ".join(self.tokenizer.decode(tokens).split())
        if len(tokens) < self.max_new_tokens:
            return text
        # Cut short by the limit: end with the last whole sentence, if there is one.
        ends = [match.end() for match in _SENTENCE_END.finditer(text)]
        return text[: ends[-1]] if ends else text


def _uniforms(seed: int, n: int) -> NDArray[np.float64]:
    return np.random.Generator(np.random.Philox(key=seed)).random(n)


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


def _cache(room: int) -> Any:
    """Keys and values of `room` positions, written in place.

    transformers' DynamicCache copies all it holds at every step: 40 % of the time of a small model.
    """
    from transformers.cache_utils import Cache, DynamicLayer

    class Layer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers has no types
        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> Any:
            at, new = self.get_seq_length(), key_states.shape[-2]
            if at == 0:
                self.lazy_initialization(key_states, value_states)
                self.all_keys = _with_room(key_states, room)
                self.all_values = _with_room(value_states, room)
            self.all_keys[:, :, at : at + new] = key_states
            self.all_values[:, :, at : at + new] = value_states
            self.keys = self.all_keys[:, :, : at + new]
            self.values = self.all_values[:, :, : at + new]
            return self.keys, self.values

        def batch_select_indices(self, indices: Any) -> None:
            at = self.get_seq_length()
            self.all_keys, self.all_values = self.all_keys[indices], self.all_values[indices]
            self.keys, self.values = self.all_keys[:, :, :at], self.all_values[:, :, :at]

    return Cache(layer_class_to_replicate=Layer)


def _with_room(states: Any, room: int) -> Any:
    batch, heads, _, width = states.shape
    return states.new_empty(batch, heads, room, width)


def checked_vectors(vectors: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """`vectors` as a contiguous float32 array.

    Raises:
        ValueError: not of shape (n, dimension), not finite, or zero.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise ValueError(
            f"vectors of shape (n, {dimension}) are required, these have {vectors.shape}: "
            "encode with the generator that decodes"
        )
    bad = ~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1)
    if bad.any():
        raise ValueError(
            f"vectors must be finite and not zero; {int(bad.sum())} are not, "
            f"the first in row {int(np.argmax(bad))}"
        )
    return vectors
