"""How much the texts of one label differ among themselves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from smotext_core.overlap import words

MAX_TEXTS, MAX_WORDS = 100, 120  # keeps a label under a second


def diversity(texts: Sequence[str], *, most: int = MAX_TEXTS) -> tuple[float, float] | None:
    """Distinct-2 and mean ROUGE-L of at most `most` texts, spread evenly over `texts`.

    Distinct-2 (Li et al. 2016): different word pairs over all word pairs, 1 where none recurs; it
    falls with the number of texts, so compare equal numbers. ROUGE-L (Lin 2004): F1 of the longest
    common subsequence of words, of each text and the next one; 0 where they share no word. Of each
    text the first `MAX_WORDS` words count.

    Returns:
        None where there are under two texts with two words or more.
    """
    told = [found[:MAX_WORDS] for text in texts if len(found := words(text)) > 1]
    if len(told) < 2:
        return None
    chosen = np.unique(np.linspace(0, len(told) - 1, min(len(told), max(most, 2))).astype(int))
    told = [told[row] for row in chosen]
    pairs = [pair for found in told for pair in pairwise(found)]
    shared = [2 * _common(a, b) / (len(a) + len(b)) for a, b in pairwise(told)]
    return len(set(pairs)) / len(pairs), sum(shared) / len(shared)


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    above = [0] * (len(b) + 1)
    for word in a:
        row = [0]
        for column, other in enumerate(b):
            row.append(above[column] + 1 if word == other else max(row[column], above[column + 1]))
        above = row
    return above[-1]
