"""Vectors to texts: a causal language model that reads a vector as one or a few tokens (xRAG)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from smotext_core.xrag.kv_cache import cache_in_place

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SENTENCE_END = re.compile(r"[.!?][\"')\]]?(?=\s|$)")


class Decoder:
    """Samples texts for vectors, each row from a random stream of its own.

    Rows are worked on in batches of `batch_size`, or of three quarters, a half, three eighths … of
    it as rows finish or where there are fewer: matrices come in few shapes, for which processors
    round alike, so that a row's text does not depend on the others. Rows of one vector and prompt
    read it once. Where memory runs out, `batch_size` is halved
    for good; on hardware whose rounding depends on the shape of a matrix that can change a text.

    Args:
        lm: a causal language model of transformers; a quantised one stays where it was loaded.
        projector: a `projector.Projector`, (n, d) vectors to (n, k, hidden) token embeddings.
        tokenizer: of the package `tokenizers` or sentencepiece: `decode` makes text of ids.
        prompt_ids: the prompt's token ids, k of them in a row `xrag_token_id`.
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
        batch_size: int = 256,
        device: str = "cpu",
    ) -> None:
        quantized = getattr(lm, "hf_quantizer", None) is not None
        self.lm = (lm if quantized else lm.to(device)).eval()
        self.projector = projector.to(device).eval()
        self.tokenizer = tokenizer
        self.xrag_token_id = xrag_token_id
        self.prompt_ids = self._checked(prompt_ids)
        self.eos_token_id = eos_token_id
        self.suppress_tokens = list(suppress_tokens)
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.device = device
        self.dimension: int = projector.dimension

    def sample(
        self,
        vectors: NDArray[np.float32],
        *,
        seeds: Sequence[int],
        temperature: float | Sequence[float] = 0.5,
        top_k: int = 40,
        prompts: Sequence[Sequence[int]] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[str]:
        """One text a vector; see `sample_tokens`."""
        tokens = self.sample_tokens(
            vectors,
            seeds=seeds,
            temperature=temperature,
            top_k=top_k,
            prompts=prompts,
            progress=progress,
        )
        return [self.text(row) for row in tokens]

    def sample_tokens(
        self,
        vectors: NDArray[np.float32],
        *,
        seeds: Sequence[int],
        temperature: float | Sequence[float] = 0.5,
        top_k: int = 40,
        prompts: Sequence[Sequence[int]] | None = None,
        prefixes: Sequence[Sequence[int]] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[int]]:
        """The token ids of one text a vector, without the end token.

        Args:
            vectors: (n, d), finite, not zero.
            seeds: n non-negative integers; a row's text depends on its vector and seed alone.
            temperature: one for all, or one a row; 0 takes the likeliest token.
            top_k: tokens sampled from.
            prompts: token ids of each row's prompt, where it is not `prompt_ids`. Shorter ones are
                padded on the left.
            prefixes: token ids each row begins with; the others follow. They count as new tokens.
            progress: called with the number of rows just done.

        Raises:
            ValueError: vectors of another width, not finite or zero; seeds, prompts or prefixes
                of another length; a negative temperature; a prompt without its xRAG token; a
                prefix that leaves no room for a token.
            MemoryError: one row alone does not fit.
        """
        import torch

        vectors = checked_vectors(vectors, self.dimension)
        heat = np.broadcast_to(np.asarray(temperature, dtype=np.float32), (len(vectors),))
        if not (np.isfinite(heat) & (heat >= 0)).all():
            raise ValueError(f"temperature must be finite and at least 0, got {temperature}")
        if len(seeds) != len(vectors):
            raise ValueError(f"one seed a vector is required: {len(vectors)} vectors, {len(seeds)}")
        if prompts is None:
            prompts = [self.prompt_ids] * len(vectors)
        elif len(prompts) != len(vectors):
            raise ValueError(f"{len(vectors)} vectors need as many prompts, got {len(prompts)}")
        prompts = [self._checked(prompt) for prompt in prompts]
        if prefixes is None:
            prefixes = [()] * len(vectors)
        elif len(prefixes) != len(vectors):
            raise ValueError(f"{len(vectors)} vectors need as many prefixes, got {len(prefixes)}")
        forced = np.full((len(vectors), self.max_new_tokens), -1, dtype=np.int64)
        for row, prefix in enumerate(prefixes):
            if len(prefix) >= self.max_new_tokens:
                raise ValueError(
                    f"a prefix must be shorter than {self.max_new_tokens} tokens, "
                    f"that of row {row} has {len(prefix)}"
                )
            forced[row, : len(prefix)] = prefix
        found: list[list[int]] = []
        while len(found) < len(vectors):
            at = len(found)
            rows = range(at, min(at + self.batch_size, len(vectors)))
            size = self._size(len(rows))
            # Fill the last batch with copies of its first row.
            filled = [*rows, *[at] * (size - len(rows))]
            draws = np.stack([_uniforms(seeds[row], self.max_new_tokens) for row in filled])
            tokens = [prompts[row] for row in filled]
            try:
                ids = self._generate(
                    vectors[filled], heat[filled], draws, tokens, forced[filled], top_k=top_k
                )
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise MemoryError(
                        "no memory left to decode one row: another device, or a smaller or "
                        "quantised model"
                    ) from error
                self.batch_size = size // 2
                warnings.warn(
                    f"no memory left to decode {size} rows at once: going on with "
                    f"{self.batch_size}",
                    stacklevel=2,
                )
                continue
            found += ids[: len(rows)]
            if progress is not None:
                progress(len(rows))
        return found

    def _size(self, n: int) -> int:
        """The least size of a batch with room for `n` rows."""
        size = self.batch_size
        while (less := _less(size)) >= n and less < size:
            size = less
        return size

    def _checked(self, prompt: Sequence[int]) -> list[int]:
        k, ids = self.projector.n_tokens, list(prompt)
        at = ids.index(self.xrag_token_id) if self.xrag_token_id in ids else 0
        if ids.count(self.xrag_token_id) != k or ids[at : at + k] != [self.xrag_token_id] * k:
            times = "once" if k == 1 else f"{k} times in a row"
            raise ValueError(
                f"the prompt must hold the xRAG token {self.xrag_token_id} {times}, it is {ids}"
            )
        return ids

    def _generate(
        self,
        vectors: NDArray[np.float32],
        temperature: NDArray[np.float32],
        draws: NDArray[np.float64],
        prompts: list[list[int]],
        forced: NDArray[np.int64],
        *,
        top_k: int,
    ) -> list[list[int]]:
        import torch

        with torch.inference_mode():
            heat = torch.from_numpy(temperature.copy()).to(self.device)
            uniform = torch.from_numpy(draws).to(self.device)
            given = torch.from_numpy(forced).to(self.device)  # -1: to be sampled
            # One row more than there are: closed places write there.
            history = torch.full((len(vectors) + 1, self.max_new_tokens), -1, device=self.device)
            row_of = torch.arange(len(vectors), device=self.device)  # batch place -> row
            open_ = torch.ones(len(vectors), dtype=torch.bool, device=self.device)
            width = max(map(len, prompts))
            cache = cache_in_place(width + self.max_new_tokens)
            first, read_by = _distinct(vectors, prompts)
            first += first[:1] * (self._size(len(first)) - len(first))
            readers = torch.from_numpy(vectors[first]).to(self.device)
            step_input = self._prompt(readers, [prompts[row] for row in first])
            padding = torch.tensor([width - len(prompt) for prompt in prompts], device=self.device)
            padded = bool(padding.any())
            embed = self.lm.get_input_embeddings()
            for step in range(self.max_new_tokens):
                seen = _seen(padding if step else padding[first], width, step) if padded else {}
                output = self.lm(
                    inputs_embeds=step_input,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                    **seen,
                )
                logits = output.logits[:, -1].float()  # (batch, vocab)
                if not step:
                    places = torch.tensor(read_by, device=self.device)
                    logits = logits[places]
                    cache.batch_select_indices(places)
                logits[:, self.suppress_tokens] = -torch.inf
                tokens = _pick(logits, heat[row_of], uniform[row_of, step], top_k=top_k)
                tokens = torch.where(given[row_of, step] < 0, tokens, given[row_of, step])
                open_ &= tokens != self.eos_token_id
                history[torch.where(open_, row_of, len(vectors)), step] = tokens
                n_open = int(open_.sum())
                if n_open == 0:
                    break
                if (size := self._size(n_open)) < len(open_):
                    # Open rows first, then closed ones to make up the size.
                    keep = torch.argsort(~open_, stable=True)[:size]
                    cache.batch_select_indices(keep)
                    tokens, open_, row_of = tokens[keep], open_[keep], row_of[keep]
                    padding = padding[keep]
                step_input = embed(tokens)[:, None]
        return [[token for token in row if token >= 0] for row in history[:-1].tolist()]

    def _prompt(self, vectors: Any, prompts: list[list[int]]) -> Any:
        """Prompt embeddings (n, width, hidden) with the projected vectors in their places."""
        import torch

        width = max(map(len, prompts))
        filled = [[self.eos_token_id] * (width - len(prompt)) + prompt for prompt in prompts]
        places = [row.index(self.xrag_token_id) for row in filled]
        prompt = self.lm.get_input_embeddings()(torch.tensor(filled, device=self.device))
        weight = next(self.projector.parameters())
        projected = self.projector(vectors.to(weight.dtype)).to(prompt.dtype)  # (n, k, hidden)
        own = torch.tensor(places)[:, None] + torch.arange(projected.shape[1])
        prompt[torch.arange(len(places))[:, None], own] = projected
        return prompt

    def text(self, tokens: Sequence[int]) -> str:
        """The text of sampled tokens; one cut short by the limit ends with a whole sentence."""
        text = " ".join(self.tokenizer.decode(list(tokens)).split())
        if len(tokens) < self.max_new_tokens:
            return text
        ends = [match.end() for match in _SENTENCE_END.finditer(text)]
        return text[: ends[-1]] if ends else text


def _less(size: int) -> int:
    """The next smaller size of a batch, 8 or more: of 2^n three quarters, of these 2^(n - 1), of
    another size its half."""
    is_power = size & (size - 1) == 0
    less = size * 3 // 4 if is_power else size * 2 // 3 if size % 3 == 0 else size // 2
    return less if less >= 8 else size


def _distinct(
    vectors: NDArray[np.float32], prompts: Sequence[Sequence[int]]
) -> tuple[list[int], list[int]]:
    """The first row of each vector and prompt, and for every row which of these it is."""
    place: dict[tuple[bytes, tuple[int, ...]], int] = {}
    first, read_by = list[int](), list[int]()
    for row, (vector, prompt) in enumerate(zip(vectors, prompts, strict=True)):
        at = place.setdefault((vector.tobytes(), tuple(prompt)), len(first))
        if at == len(first):
            first.append(row)
        read_by.append(at)
    return first, read_by


def _uniforms(seed: int, n: int) -> NDArray[np.float64]:
    return np.random.Generator(np.random.Philox(key=seed)).random(n)


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
