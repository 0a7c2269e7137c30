"""In place of a decoder: the given texts that lie nearest to a vector.

They are real texts, which somebody wrote; only what they are an example of is SMOTE's word. Of an
unlabelled corpus they show what a perfect decoder would give, and they can be rows themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from smotext_core.neighbors import unit
from smotext_core.schemas import conform, found_schema
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
        places, cosines = _nearest(vectors, self._embeddings, n=n_candidates)
        texts = [[self.texts[place] for place in row] for row in places]
        return Candidates(texts, cosines, self._embeddings[places])


def found_candidates(
    sample_ids: pl.Series, vectors: Floats, unlabelled: pl.DataFrame, *, n: int
) -> pl.DataFrame:
    """The `n` nearest unlabelled texts of each sample as its candidates: a `found_schema` frame.

    Args:
        vectors: (k, d), of the samples, by the encoder that made those of `unlabelled`.
        unlabelled: an `unlabelled_schema` frame.
    """
    embeddings = unlabelled["embedding"].to_numpy()
    places, cosines = _nearest(vectors, unit(embeddings), n=n)
    k, n = places.shape
    texts = unlabelled[places.ravel()]
    columns = {
        "sample_id": sample_ids.gather(np.repeat(np.arange(k), n)),
        "candidate": pl.Series(np.tile(np.arange(n), k)),
        "text": texts["text"],
        "round_trip_cosine": pl.Series(cosines.ravel()),
        "unknown_words": pl.Series([[]] * (k * n), dtype=pl.List(pl.String)),
        "embedding": texts["embedding"],
        "found_id": texts["text_id"],
    }
    return conform(pl.DataFrame(columns), found_schema(embeddings.shape[1]))


def _nearest(
    vectors: Floats, embeddings: Floats, *, n: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Places of the `n` nearest of the unit `embeddings` (m, d) to each of the vectors (k, d).

    With their cosines, each (k, n), or (k, m) where m is less; ties go to the earlier place.
    """
    n = min(n, len(embeddings))
    places = np.empty((len(vectors), n), dtype=np.int64)
    cosines = np.empty((len(vectors), n), dtype=np.float32)
    for at in range(0, len(vectors) if n else 0, BLOCK):
        target = unit(vectors[at : at + BLOCK])
        rough = target @ embeddings.T
        for row, one in enumerate(rough):
            least = np.partition(one, -n)[-n] - WORKED_FINER
            near = np.flatnonzero(one >= least)
            exact = embeddings[near].astype(np.float64) @ target[row].astype(np.float64)
            order = np.argsort(-exact, kind="stable")[:n]
            places[at + row], cosines[at + row] = near[order], exact[order]
    return places, cosines
