"""In place of a decoder: the given texts that lie nearest to a vector.

They are real texts, which somebody wrote; only what they are an example of is SMOTE's word. Of an
unlabelled corpus they show what a perfect decoder would give, and they can be rows themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from smotext_core.neighbors import unit
from smotext_core.xrag.search import Candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smotext_core.xrag.novelty import TextGenerator

    Floats = NDArray[np.float32]

BLOCK = 256  # vectors compared with all texts at a time
WORKED_FINER = 1e-5  # cosines that float32 cannot tell apart are worked out in float64


class NearestTexts:
    """A `TextGenerator` whose candidates are the nearest of `texts`, nearest first.

    Args:
        generator: its encoder makes the vectors.
        texts: unlabelled texts; blank ones and repetitions are left out.
        embeddings: (n, d), of `texts`, where they are known.

    Raises:
        ValueError: no text is left, or there is not one vector a text.
    """

    def __init__(
        self,
        generator: TextGenerator,
        texts: Sequence[str],
        embeddings: Floats | None = None,
    ) -> None:
        first: dict[str, int] = {}
        for row, text in enumerate(texts):
            if text.strip():
                first.setdefault(text, row)
        rows = list(first.values())
        if not rows:
            raise ValueError(
                f"nearest texts need a text that is not blank, got {len(texts)} texts without one"
            )
        if embeddings is not None and len(embeddings) != len(texts):
            raise ValueError(
                f"nearest texts need one vector a text, got {len(embeddings)} vectors "
                f"for {len(texts)} texts"
            )
        self.texts = [texts[row] for row in rows]
        self._generator = generator
        self._embeddings = unit(
            generator.encode(self.texts) if embeddings is None else embeddings[rows]
        )

    @property
    def normalized(self) -> bool:
        """Whether the encoder's vectors have unit length."""
        return self._generator.normalized

    def encode(self, texts: Sequence[str]) -> Floats:
        """Vectors of `texts`, (n, d), by the generator's encoder."""
        return self._generator.encode(texts)

    def decode_candidates(
        self, vectors: Floats, *, seeds: Sequence[int], n_candidates: int
    ) -> Candidates:
        """The `n_candidates` nearest texts of each of the vectors (n, d), or all there are.

        Nothing is drawn, so `seeds` do not matter. Ties go to the earlier text.
        """
        n = min(n_candidates, len(self.texts))
        places = np.empty((len(vectors), n), dtype=np.int64)
        cosines = np.empty((len(vectors), n), dtype=np.float32)
        for at in range(0, len(vectors), BLOCK):
            target = unit(vectors[at : at + BLOCK])
            rough = target @ self._embeddings.T
            for row, one in enumerate(rough):
                least = np.partition(one, -n)[-n] - WORKED_FINER
                near = np.flatnonzero(one >= least)
                exact = self._embeddings[near].astype(np.float64) @ target[row].astype(np.float64)
                order = np.argsort(-exact, kind="stable")[:n]
                places[at + row], cosines[at + row] = near[order], exact[order]
        texts = [[self.texts[place] for place in row] for row in places]
        return Candidates(texts, cosines, self._embeddings[places])
