"""How much the texts of one label differ among themselves, and which of them repeat another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from smotext_core.texts.overlap import Ints, add_to_index, near_texts
from smotext_core.texts.tokenization import words

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
    shared = [rouge_l(a, b) for a, b in pairwise(told)]
    return len(set(pairs)) / len(pairs), sum(shared) / len(shared)


class Alike:
    """Texts as they are accepted; finds those that repeat one, by ROUGE-L. Exact.

    In Self-Instruct (Wang et al. 2023) a new instruction must have a ROUGE-L below .7 with all that
    are there. A common subsequence has no more words than the two texts share, counted as often as
    both have them, so ROUGE-L can reach t only where the Jaccard similarity of these words reaches
    t / (2 - t); such texts share one of their rarest words, and only they are compared.
    """

    def __init__(self, texts: Sequence[str], *, threshold: float) -> None:
        """`texts` are all that may come; they are named by their numbers.

        Raises:
            ValueError: a threshold outside (0, 1].
        """
        if not 0 < threshold <= 1:
            raise ValueError(f"a ROUGE-L to refuse from must lie in (0, 1], got {threshold}")
        self._words = [words(text) for text in texts]
        self._rarest_first = _counted_words(self._words)
        self._threshold, self._jaccard = threshold, threshold / (2 - threshold)
        self._index: dict[int, list[int]] = defaultdict(list)

    def add(self, number: int) -> None:
        """Accept text `number`."""
        add_to_index(number, self._rarest_first, self._index, self._jaccard)

    def repeats(self, number: int) -> bool:
        """Has text `number` a ROUGE-L of `threshold` or more with an accepted one?"""
        near = near_texts(number, self._rarest_first, self._index, self._jaccard)
        mine = self._words[number]
        return any(rouge_l(mine, self._words[other]) >= self._threshold - 1e-9 for other in near)


def _counted_words(texts: Sequence[Sequence[str]]) -> list[Ints]:
    """Each text's words as numbers, rarest first; a word's second occurrence is another one."""
    rows: list[list[tuple[str, int]]] = []
    frequency: Counter[tuple[str, int]] = Counter()
    for text in texts:
        seen: Counter[str] = Counter()
        row = []
        for word in text:
            seen[word] += 1
            row.append((word, seen[word]))
        frequency.update(row)
        rows.append(row)
    order = sorted(frequency, key=lambda word: (frequency[word], word))
    rank = {word: number for number, word in enumerate(order)}
    return [np.sort(np.array([rank[word] for word in row], dtype=np.int64)) for row in rows]


def rouge_l(a: Sequence[str], b: Sequence[str]) -> float:
    """F1 of the longest common subsequence of two texts of one word or more."""
    return 2 * _common(a, b) / (len(a) + len(b))


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the table in the bits of one number.

    Hyyrö, "Bit-parallel LCS-length computation revisited", 2004.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << place
    whole = (1 << len(a)) - 1
    row = whole
    for word in b:
        found = row & places.get(word, 0)
        row = (row + found | row - found) & whole
    return len(a) - row.bit_count()
