"""Decode samples until each has a text that nobody wrote before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smotext_core.streams import sample_seeds
from smotext_core.texts import content
from smotext_core.xrag.search import Candidates

BATCH = 64  # samples decoded at a time


class TextGenerator(Protocol):
    """What `SMOTExT` needs of a generator; `smotext_core.xrag.load_generator` gives one.

    `decode_candidates` takes a temperature, too, where `SMOTExT(temperature=...)` is to be given.
    """

    @property
    def normalized(self) -> bool: ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def decode_candidates(
        self, vectors: NDArray[np.float32], *, seeds: Sequence[int], n_candidates: int
    ) -> Candidates: ...


def decode_new(
    vectors: NDArray[np.float32],
    generator: TextGenerator,
    taken: set[str],
    *,
    label: str,
    seed: int,
    n_candidates: int,
    max_attempts: int,
    temperature: float | None = None,
    advance: Callable[[int], None],
) -> dict[int, tuple[str, float, NDArray[np.float32]]]:
    """Text, cosine and the text's vector of each sample that got one, by number.

    Of a sample's candidates the first with words that are not in `taken`, which they join; where
    there is none, it is decoded again from another seed, `max_attempts` times in all; once at a
    temperature of 0.

    Args:
        vectors: (n, d), of the samples 0 to n - 1 of the class `label`.
        taken: `content` of texts.
        temperature: of decoding; None: the generator's own.
        advance: called with the number of samples just done.
    """
    found: dict[int, tuple[str, float, NDArray[np.float32]]] = {}
    heat = {} if temperature is None else {"temperature": temperature}
    max_attempts = 1 if temperature == 0 else max_attempts  # another seed gives the same texts
    waiting = list(range(len(vectors)))
    for attempt in range(max_attempts):
        for start in range(0, len(waiting), BATCH):
            numbers = waiting[start : start + BATCH]
            before = len(found)
            decoded = generator.decode_candidates(
                vectors[numbers],
                seeds=sample_seeds(numbers, seed=seed, label=label, draw=attempt).tolist(),
                n_candidates=n_candidates,
                **heat,
            )
            for number, texts, cosines, embeddings in zip(numbers, *decoded[:3], strict=True):
                for text, cosine, embedding in zip(texts, cosines, embeddings, strict=True):
                    words = content(text)
                    if words and words not in taken:
                        taken.add(words)
                        found[number] = (text, float(cosine), embedding)
                        break
            advance(len(found) - before)
        waiting = [number for number in waiting if number not in found]
    return found
