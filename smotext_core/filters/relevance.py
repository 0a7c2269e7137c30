"""Which of many good texts: near their vectors, and unlike each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Rows that say the same twice teach a classifier once: at 50:1 a half beats 1, which asks for
# nearness alone, by up to .02 macro-F1 on vectors. A third gains no more and takes stranger texts.
RELEVANCE = 0.5
BLOCK = 512  # samples within which texts are compared, so that the work grows with their number


def by_marginal_relevance(
    cosines: npt.NDArray[np.floating],
    vectors: npt.NDArray[np.float32],
    samples: npt.NDArray[np.int64],
    *,
    relevance: float,
) -> list[int]:
    """The order in which to take candidates, all of them, by maximal marginal relevance.

    The next one is that with the highest relevance · cosine − (1 − relevance) · its highest cosine
    to one before it (Carbonell & Goldstein, SIGIR 1998), of samples not taken yet; then come
    the others, closest first. Samples are compared within blocks of `BLOCK`, which take turns. Ties
    go to the lower sample, then the lower row.

    Args:
        cosines: (m,), to the vectors they were decoded from.
        vectors: (m, d), of unit length.
        samples: (m,), the number of the sample of each.
        relevance: in (0, 1]; 1 is closest first.
    """
    closest = np.lexsort((np.arange(len(samples)), samples, -cosines.astype(np.float64)))
    if relevance == 1:
        return [int(row) for row in closest]
    first: list[tuple[int, int, int]] = []  # turn, block, row
    for block in np.unique(samples // BLOCK):
        rows = closest[samples[closest] // BLOCK == block]
        near = np.full(len(rows), -1.0, dtype=np.float32)
        gain = relevance * cosines[rows].astype(np.float32)
        free = np.ones(len(rows), dtype=np.bool_)
        turn = 0
        while free.any():
            # rounded, so that the order of a sum's terms decides nothing
            score = np.where(free, gain - (1 - relevance) * near, -np.inf).round(5)
            place = int(score.argmax())
            first.append((turn, int(block), int(rows[place])))
            free &= samples[rows] != samples[rows[place]]
            near = np.maximum(near, vectors[rows] @ vectors[rows[place]])
            turn += 1
    taken = [row for _, _, row in sorted(first)]
    seen = set(taken)
    return taken + [int(row) for row in closest if row not in seen]


def likeliest_first(
    rows: Sequence[int], samples: Sequence[str], log_probabilities: Sequence[float | None]
) -> list[int]:
    """`rows` in their order, but the likeliest of every sample before the second likeliest of any.

    As they are where a log-probability is not known; the others are by row.
    """
    if any(log_probabilities[row] is None for row in rows):
        return list(rows)
    turn, n_before = dict[int, int](), Counter[str]()
    for row in sorted(rows, key=lambda row: -(log_probabilities[row] or 0.0)):
        turn[row] = n_before[samples[row]]
        n_before[samples[row]] += 1
    return sorted(rows, key=turn.__getitem__)
