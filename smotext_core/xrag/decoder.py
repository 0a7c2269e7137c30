"""Vectors to texts: a causal language model that reads a vector as one or a few tokens (xRAG)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from smotext_core.xrag.beams import Hypothesis, beam_search
from smotext_core.xrag.sampling import sample_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

Found = TypeVar("Found")
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

        def draw(rows: range) -> list[list[int]]:
            filled = self._filled_up(rows)
            first, read_by = _distinct(vectors[filled], [prompts[row] for row in filled])
            own = [prompts[filled[row]] for row in self._filled_up(first)]
            width = max(map(len, own))
            found = sample_rows(
                self.lm,
                self._prompt(vectors[filled][self._filled_up(first)], own),
                read_by=read_by,
                padding=[width - len(prompts[row]) for row in filled],
                temperature=heat[filled],
                draws=np.stack([_uniforms(seeds[row], self.max_new_tokens) for row in filled]),
                forced=forced[filled],
                top_k=top_k,
                eos_token_id=self.eos_token_id,
                suppress_tokens=self.suppress_tokens,
                size=self._size,
            )
            return found[: len(rows)]

        return self._in_batches(len(vectors), draw, progress=progress)

    def likeliest(self, vectors: NDArray[np.float32], *, n: int) -> list[list[Hypothesis]]:
        """The `n` likeliest texts of each vector, found by a search of n beams.

        Args:
            vectors: (m, d), finite, not zero.

        Raises:
            ValueError: vectors of another width, not finite or zero; n below 1, or above the number
                of texts that the language model can write.
            MemoryError: the beams of one vector do not fit.
        """
        vectors = checked_vectors(vectors, self.dimension)
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")

        def look(rows: range) -> list[list[Hypothesis]]:
            filled = self._filled_up(rows)
            return beam_search(
                self.lm,
                self._prompt(vectors[filled], [self.prompt_ids] * len(filled)),
                n_prompts=len(rows),
                n_beams=n,
                eos_token_id=self.eos_token_id,
                suppress_tokens=self.suppress_tokens,
                max_new_tokens=self.max_new_tokens,
                size=self._size,
            )

        found = self._in_batches(len(vectors), look, places=n)
        if (fewest := min(map(len, found), default=n)) < n:
            raise ValueError(
                f"{n} texts a vector are wanted, the model can write {fewest}: ask for those"
            )
        return found

    def _in_batches(
        self,
        n: int,
        work: Callable[[range], list[Found]],
        *,
        places: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> list[Found]:
        """`work` on `n` rows that take `places` of a batch each, fewer at once as memory allows."""
        import torch

        found: list[Found] = []
        while len(found) < n:
            at = len(found)
            rows = range(at, min(at + max(1, self.batch_size // places), n))
            size = self._size(len(rows) * places)
            try:
                with torch.inference_mode():
                    found += work(rows)
            except torch.OutOfMemoryError as error:
                if size <= places:
                    raise MemoryError(
                        "no memory left to decode one row: another device, or a smaller or "
                        "quantised model"
                    ) from error
                self.batch_size = size // 2
                warnings.warn(
                    f"no memory left to decode {size} rows at once: going on with "
                    f"{self.batch_size}",
                    stacklevel=3,
                )
                continue
            if progress is not None:
                progress(len(rows))
        return found

    def _filled_up(self, rows: Sequence[int]) -> list[int]:
        """`rows`, and the first of them again as often as a batch of their number has room."""
        return [*rows, *[rows[0]] * (self._size(len(rows)) - len(rows))]

    def _size(self, n: int) -> int:
        """The least size of a batch with room for `n` rows."""
        size = max(self.batch_size, n)
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

    def _prompt(self, vectors: NDArray[np.float32], prompts: Sequence[Sequence[int]]) -> Any:
        """Prompt embeddings (n, width, hidden) with the projected vectors in their places."""
        import torch

        width = max(map(len, prompts))
        filled = [[self.eos_token_id] * (width - len(prompt)) + [*prompt] for prompt in prompts]
        places = [row.index(self.xrag_token_id) for row in filled]
        prompt = self.lm.get_input_embeddings()(torch.tensor(filled, device=self.device))
        weight = next(self.projector.parameters())
        given = torch.from_numpy(vectors).to(self.device, weight.dtype)
        projected = self.projector(given).to(prompt.dtype)  # (n, k, hidden)
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
