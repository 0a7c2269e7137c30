"""Words that texts share: the longest common run, and Jaccard similarity over word 3-grams.

All searches are exact.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from smotext_core.texts.tokenization import words

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Runs = tuple[Ints, Ints, Ints]  # position of the first word, number of the text, name of the run

_ROUNDING = 1e-9


def copied_words(texts: Sequence[str], real_texts: Sequence[str]) -> npt.NDArray[np.int32]:
    """Longest run of words each text shares with any real text, (n,). Exact.

    A run is named by the names of the two runs that make it up. The length doubles until a text
    shares no run, then its interval is halved: about 2 log2(length) sorts in all.
    """
    vocabulary: dict[str, int] = {}
    mine, real = (lay_out(word_ids(side, vocabulary)) for side in (texts, real_texts))
    longest = np.zeros(len(texts), dtype=np.int32)
    lengthened(longest, 1, mine, real)
    return longest


def lengthened(longest: npt.NDArray[np.int32], n: int, mine: Runs, real: Runs) -> None:
    """Put the longest shared run of each text that shares one of `n` words into `longest`, (n,).

    `mine` and `real` are runs of `n` words: all of either side that the other one has, at least.
    """
    # Texts that share a run of n words and none of `end`, and those runs on both sides.
    groups: list[tuple[int, int | None, Runs, Runs]] = []
    mine, real = _shared(mine, real)
    longest[mine[1]] = n
    if mine[0].size:
        groups.append((n, None, mine, real))
    while groups:
        n, end, mine, real = groups.pop()
        longer = 2 * n if end is None else (n + end) // 2
        if longer == n:
            continue
        mine_longer, real_longer = _shared(_join(mine, longer - n), _join(real, longer - n))
        reached = np.zeros(len(longest), dtype=np.bool_)
        reached[mine_longer[1]] = True
        longest[reached] = longer
        if reached.any():
            groups.append((longer, end, mine_longer, real_longer))
        rest = ~reached[mine[1]]
        if rest.any() and longer - n > 1:
            position, owner, run = (column[rest] for column in mine)
            groups.append((n, longer, *_shared((position, owner, run), real)))


def _shared(mine: Runs, real: Runs) -> tuple[Runs, Runs]:
    """Only the runs that occur on both sides, named anew: both sides hold the same names."""
    known, name = np.unique(mine[2], return_inverse=True)
    if not known.size:
        return mine, _only(real, np.zeros(len(real[2]), dtype=np.bool_), real[2])
    # A small table settles most of the millions of real runs before the binary search does.
    table = np.zeros(1 << 22, dtype=np.bool_)
    table[_slot(known)] = True
    real = _only(real, table[_slot(real[2])], real[2])
    at = np.minimum(np.searchsorted(known, real[2]), len(known) - 1)
    real = _only(real, known[at] == real[2], at)
    occurs = np.zeros(len(known), dtype=np.bool_)
    occurs[real[2]] = True
    return _only(mine, occurs[name], name), real


def _slot(runs: Ints) -> npt.NDArray[np.uint64]:
    return (runs.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(42)


def _only(runs: Runs, keep: Mask, names: Ints) -> Runs:
    return runs[0][keep], runs[1][keep], names[keep]


def _join(runs: Runs, step: int) -> Runs:
    """Runs that another one follows `step` words later, as one longer run."""
    position, owner, run = runs
    later = np.searchsorted(position, position + step)
    later = np.minimum(later, max(len(position) - 1, 0))
    first = np.flatnonzero(position[later] == position + step)
    # Both sides come from `_shared`, so their highest name, and with it this numbering, agrees.
    names = run[first] * (run.max(initial=0) + 1) + run[later[first]]
    return position[first], owner[first], names


def word_ids(texts: Iterable[str], vocabulary: dict[str, int]) -> list[Ints]:
    """Word numbers of each text, from 1; new words join the vocabulary."""
    return [
        np.array([vocabulary.setdefault(w, len(vocabulary) + 1) for w in words(text)], np.int64)
        for text in texts
    ]


def lay_out(rows: list[Ints]) -> tuple[Ints, Ints, Ints]:
    """All words in one line: position, number of the text, word; texts are a position apart."""
    owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return np.arange(len(owner)) + owner, owner, np.concatenate([*rows, np.zeros(0, np.int64)])


def near_duplicates(
    texts: Sequence[str], real_texts: Sequence[str], *, threshold: float = 0.8
) -> Mask:
    """True where some real text has Jaccard similarity `threshold` or more over word 3-grams, (n,).

    Exact, by prefix filtering (Bayardo et al., "Scaling up all pairs similarity search", WWW
    2007): two such texts must share one of their rarest 3-grams, so only those are looked up.
    """
    shingles = word_shingles([*texts, *real_texts])
    index: dict[int, list[int]] = defaultdict(list)
    for number in range(len(texts), len(shingles)):
        add_to_index(number, shingles, index, threshold)
    near = (is_near(number, shingles, index, threshold) for number in range(len(texts)))
    return np.fromiter(near, np.bool_, len(texts))


def duplicates_within(texts: Sequence[str], *, threshold: float = 0.8) -> Mask:
    """Keep the first of texts that are equal or near-equal (see `near_duplicates`), (n,)."""
    shingles = word_shingles(texts)
    index: dict[int, list[int]] = defaultdict(list)
    keep = np.zeros(len(texts), dtype=np.bool_)
    for number in range(len(texts)):
        keep[number] = not is_near(number, shingles, index, threshold)
        if keep[number]:
            add_to_index(number, shingles, index, threshold)
    return keep


def word_shingles(texts: Sequence[str]) -> list[Ints]:
    """Distinct word 3-grams of each text as numbers, rarest (in all the texts) first."""
    vocabulary: dict[str, int] = {}
    rows = word_ids(texts, vocabulary)
    return ranked_shingles(rows, len(vocabulary) + 1)[0]


def ranked_shingles(rows: list[Ints], base: int) -> tuple[list[Ints], Ints, Ints]:
    """`word_shingles` of texts given as word numbers below `base`; the keys of all, sorted, and the
    rank of each, which is its number."""
    keys = []
    for row in rows:
        if len(row) < 3:
            row = np.append(row, [0] * (3 - len(row)))  # there is no word 0
        keys.append(np.unique((row[:-2] * base + row[1:-1]) * base + row[2:]))
    if not keys:
        return [], np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    known, inverse, counts = np.unique(
        np.concatenate(keys), return_inverse=True, return_counts=True
    )
    rank = np.empty(len(counts), dtype=np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    ends = np.cumsum([len(row) for row in keys])[:-1]
    return [np.sort(row) for row in np.split(rank[inverse], ends)], known, rank


def _prefix(shingles: Ints, threshold: float) -> Iterator[int]:
    n = len(shingles)
    return map(int, shingles[: n - math.ceil(threshold * n - _ROUNDING) + 1])


def add_to_index(
    number: int, shingles: list[Ints], index: dict[int, list[int]], threshold: float
) -> None:
    """Let `is_near` find text `number`, by the rarest of its 3-grams.

    Raises:
        ValueError: a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"a similarity threshold must lie in (0, 1]; got {threshold}")
    for key in _prefix(shingles[number], threshold):
        index[key].append(number)


def is_near(
    number: int, shingles: list[Ints], index: dict[int, list[int]], threshold: float
) -> bool:
    """Has text `number` Jaccard similarity `threshold` or more to a text of the index?"""
    return next(near_texts(number, shingles, index, threshold), None) is not None


def near_texts(
    number: int, shingles: list[Ints], index: dict[int, list[int]], threshold: float
) -> Iterator[int]:
    """The texts of the index to which text `number` has Jaccard similarity `threshold` or more."""
    return near_of(shingles[number], shingles, index, threshold)


def near_of(
    mine: Ints, shingles: list[Ints], index: dict[int, list[int]], threshold: float
) -> Iterator[int]:
    """As `near_texts`, of a text that need not be among them, by its shingles."""
    seen: set[int] = set()
    for key in _prefix(mine, threshold):
        for other in index.get(key, ()):
            if other in seen:
                continue
            seen.add(other)
            theirs = shingles[other]
            if min(len(mine), len(theirs)) < threshold * max(len(mine), len(theirs)) - _ROUNDING:
                continue
            common = np.intersect1d(mine, theirs, assume_unique=True).size
            if common >= threshold * (len(mine) + len(theirs) - common) - _ROUNDING:
                yield other
