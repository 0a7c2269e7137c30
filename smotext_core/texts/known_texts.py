"""Texts that many others are compared with: read once, where the functions of `overlap` read them
at each call.

Every label's candidates are compared with all real texts: reading these for each label would be
texts × labels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from smotext_core.texts.overlap import (
    Ints,
    Mask,
    Runs,
    add_to_index,
    lay_out,
    lengthened,
    near_of,
    ranked_shingles,
    word_ids,
)
from smotext_core.texts.tokenization import words
from smotext_core.texts.vocabulary import vocabulary

_INDEXED = 4  # words of a run; where one of so many is shared, longer ones are looked for


class KnownTexts:
    """Gives the answers of `copied_words` and `near_duplicates` with these texts as the real ones.

    A run of words is named by the run of all but its last word and by that word; names are places
    among the sorted runs that occur.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._number: dict[str, int] = {}
        self._rows = word_ids(texts, self._number)
        self._base = len(self._number) + 1
        self._indexes: dict[float, dict[int, list[int]]] = {}

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """The words that `vocabulary` finds."""
        return frozenset(vocabulary(self._texts))

    def copied_words(self, texts: Sequence[str]) -> npt.NDArray[np.int32]:
        """Longest run of words each text shares with any known text, (n,). Exact."""
        keys, owner_of_known, where, starts = self._runs
        rows = [np.array([self._number.get(w, 0) for w in words(t)], np.int64) for t in texts]
        position, owner, word = lay_out(rows)
        longest = np.zeros(len(texts), dtype=np.int32)
        names = np.where(word > 0, word, -1)
        longest[owner[names >= 0]] = 1
        for length, known in enumerate(keys, start=2):
            at, mine = _runs_of(names, owner, word, length=length, base=self._base)
            names = np.full(len(word), -1)
            if known.size:
                place = np.minimum(np.searchsorted(known, mine), len(known) - 1)
                names[at] = np.where(known[place] == mine, place, -1)
            longest[owner[names >= 0]] = length
        shared = np.flatnonzero(names >= 0)
        if not shared.size:
            return longest
        name = np.unique(names[shared])
        counts = starts[name + 1] - starts[name]
        # the places of each name's runs in `where`, one name after another
        places = np.arange(counts.sum()) + np.repeat(
            starts[name] - (counts.cumsum() - counts), counts
        )
        order = np.argsort(where[places])
        index, of = where[places][order], np.repeat(name, counts)[order]
        known_runs: Runs = (index + owner_of_known[index], owner_of_known[index], of)
        lengthened(longest, _INDEXED, (position[shared], owner[shared], names[shared]), known_runs)
        return longest

    def near_duplicates(self, texts: Sequence[str], *, threshold: float = 0.8) -> Mask:
        """True where some known text has Jaccard similarity `threshold` or more over word 3-grams,
        (n,). Exact.

        Raises:
            ValueError: a threshold outside (0, 1].
        """
        shingles, _, _ = self._shingles
        index = self._indexes.get(threshold)
        if index is None:
            index = defaultdict(list)
            for number in range(len(shingles)):
                add_to_index(number, shingles, index, threshold)
            self._indexes[threshold] = index
        near = (
            next(near_of(self._shingles_of(text), shingles, index, threshold), None) is not None
            for text in texts
        )
        return np.fromiter(near, np.bool_, len(texts))

    @cached_property
    def _runs(self) -> tuple[list[Ints], Ints, Ints, Ints]:
        """Sorted runs of 2 to `_INDEXED` words; the text of each word; where those of `_INDEXED`
        words begin, by name, and the first of each name among these."""
        _, owner, word = lay_out(self._rows)
        keys, names, at = [], word, np.zeros(0, dtype=np.int64)
        for length in range(2, _INDEXED + 1):
            at, found = _runs_of(names, owner, word, length=length, base=self._base)
            known, name = np.unique(found, return_inverse=True)
            keys.append(known)
            names = np.full(len(word), -1)
            names[at] = name
        order = np.argsort(names[at], kind="stable")
        starts = np.searchsorted(names[at][order], np.arange(len(keys[-1]) + 1))
        return keys, owner, at[order], starts

    @cached_property
    def _shingles(self) -> tuple[list[Ints], Ints, Ints]:
        return ranked_shingles(self._rows, self._base)

    def _shingles_of(self, text: str) -> Ints:
        """As those of the known texts; one that they do not have is rarer than any, below 0."""
        _, keys, rank = self._shingles
        strange: dict[str, int] = {}
        ids = [self._number.get(w) or strange.setdefault(w, -len(strange) - 1) for w in words(text)]
        ids += [0] * (3 - len(ids))
        triples = set(zip(ids, ids[1:], ids[2:], strict=False))
        known = np.array([t for t in triples if min(t) >= 0], np.int64).reshape(-1, 3)
        mine = (known[:, 0] * self._base + known[:, 1]) * self._base + known[:, 2]
        found = np.zeros(0, dtype=np.int64)
        if keys.size:
            place = np.minimum(np.searchsorted(keys, mine), len(keys) - 1)
            found = rank[place[keys[place] == mine]]
        return np.concatenate([np.arange(len(found) - len(triples), 0), np.sort(found)])


def _runs_of(names: Ints, owner: Ints, word: Ints, *, length: int, base: int) -> tuple[Ints, Ints]:
    """Where runs of `length` words begin, and their keys; `names` are those of one word less, below
    0 where there is none."""
    last = length - 1
    at = np.flatnonzero((names[:-last] >= 0) & (owner[:-last] == owner[last:]))
    return at, names[at] * base + word[at + last]
