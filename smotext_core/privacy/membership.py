"""Distances to real records and membership inference, with what chance alone gives for them.

Passages of one document are alike, so documents are what is drawn, shuffled and counted: by
passages, chance would look narrower than it is. `documents` are always codes (n,) of n rows; rows
without a document are one each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from smotext_core.neighbors import closest_cosine, nearest_records

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SHUFFLES = 999  # of the names "train" and "holdout", for what chance alone gives
CHANCE = 0.01  # one-sided: an honest run fails a measure once in a hundred audits
DRAWS = 1000  # of documents, for the interval of the AUC


def document_codes(documents: Sequence[str]) -> Ints:
    """A number a document, from 0, in the order of their first rows."""
    first: dict[str, int] = {}
    codes = [first.setdefault(document, len(first)) for document in documents]
    return np.array(codes, dtype=np.int64)


def dcr(
    synthetic: npt.ArrayLike, train: npt.ArrayLike, holdout: npt.ArrayLike
) -> tuple[Doubles, Doubles]:
    """Distance to closest record: of each synthetic row to train and to holdout, (n,) each.

    More records are nearer, so the two are to be alike in number: `equal_numbers` draws them.
    """
    to_train, _ = nearest_records(synthetic, train, k=1)
    to_holdout, _ = nearest_records(synthetic, holdout, k=1)
    return to_train[:, 0], to_holdout[:, 0]


def dcr_train_share(to_train: Doubles, to_holdout: Doubles) -> float:
    """Share of rows closer to train than to holdout, ties half; 0.5 without memorisation."""
    return float((to_train < to_holdout).mean() + 0.5 * (to_train == to_holdout).mean())


def nndr(queries: npt.ArrayLike, records: npt.ArrayLike) -> Doubles:
    """Nearest over second nearest distance, (n,), in [0, 1]; near 0, a row leans on one record.

    Where both distances are 0 the ratio is 0: a copy of a doubled record is still a copy.
    """
    return ratio(nearest_records(queries, records, k=2)[0])


def auc_interval(
    score: Ints, member: Mask, documents: Ints, *, seed: int, n_draws: int = DRAWS
) -> tuple[float, float]:
    """95 % bootstrap interval of the AUC: members and others are drawn again, each by document."""
    rng = np.random.default_rng(seed)
    _, first, of = np.unique(documents, return_index=True, return_inverse=True)
    sides = [np.flatnonzero(member[first]), np.flatnonzero(~member[first])]
    draws = []
    for _ in range(n_draws):
        drawn = [rng.choice(side, len(side)) for side in sides]
        times = np.bincount(np.concatenate(drawn), minlength=len(first))
        draws.append(auc(*counts(score, member, times[of])))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def by_chance(
    statistic: Callable[[Mask], float],
    member: Mask,
    documents: Ints,
    seed: int,
    *,
    quantile: float = 1 - CHANCE,
) -> float:
    """Quantile of the statistic over shuffles of which documents are called train."""
    rng = np.random.default_rng(seed)
    _, first, of = np.unique(documents, return_index=True, return_inverse=True)
    shuffled = [statistic(rng.permutation(member[first])[of]) for _ in range(SHUFFLES)]
    return float(np.quantile(shuffled, quantile))


def attack(
    synthetic: npt.ArrayLike, train: npt.ArrayLike, holdout: npt.ArrayLike
) -> tuple[Ints, Mask]:
    """Score of each real row as its rank (equal scores share one), and whether it is of train."""
    cosines = [closest_cosine(side, synthetic) for side in (train, holdout)]
    _, score = np.unique(np.concatenate(cosines), return_inverse=True)
    return score, np.arange(len(score)) < len(cosines[0])


def counts(score: Ints, member: Mask, times: Ints | None = None) -> tuple[Ints, Ints]:
    """Members and others at each score, the lowest score first; each counts `times` times."""
    times = np.ones(len(score), dtype=np.int64) if times is None else times
    sides = (np.bincount(score[of], times[of], int(score.max()) + 1) for of in (member, ~member))
    inside, outside = (side.astype(np.int64) for side in sides)
    return inside, outside


def auc(inside: Ints, outside: Ints) -> float:
    """Chance that a member scores above another row, ties half; 0.5 is guessing."""
    below = np.cumsum(outside) - 0.5 * outside
    return float(inside @ below / (inside.sum() * outside.sum()))


def tpr_at_1_fpr(inside: Ints, outside: Ints) -> float:
    """Share of members above the lowest score that accuses at most 1 % of the others."""
    accused = np.cumsum(outside[::-1]) / outside.sum()
    caught = np.cumsum(inside[::-1]) / inside.sum()
    return float(caught[accused <= 0.01].max(initial=0.0))


def ratio(distances: Doubles) -> Doubles:
    nearest, second = distances[:, 0], distances[:, 1]
    return np.divide(nearest, second, out=np.zeros_like(nearest), where=second > 0)


def equal_numbers(documents: Ints, others: Ints, seed: int) -> tuple[Mask, Mask]:
    """Which rows of two sides to keep, (n,) and (m,), for as many documents on both.

    Of the side that has more, documents are drawn at random.
    """
    rng = np.random.default_rng(seed)
    n_documents = min(int(side.max(initial=-1)) + 1 for side in (documents, others))

    def kept(side: Ints) -> Mask:
        n = int(side.max(initial=-1)) + 1
        if n == n_documents:
            return np.ones(len(side), dtype=np.bool_)
        return np.isin(side, rng.choice(n, n_documents, replace=False))

    return kept(documents), kept(others)
