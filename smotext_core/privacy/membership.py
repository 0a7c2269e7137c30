"""Distances to real records and membership inference, with what chance alone gives for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from smotext_core.neighbors import closest_cosine, nearest_records, unit

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SHUFFLES = 999  # of the names "train" and "holdout", for what chance alone gives
CHANCE = 0.01  # one-sided: an honest run fails a measure once in a hundred audits


class Membership(NamedTuple):
    """Success of an attack that guesses which rows the generator was trained on."""

    auc: float  # 0.5 = guessing
    low: float  # 95 % bootstrap interval of the AUC
    high: float
    tpr_at_1_fpr: float  # members found while at most 1 % of the holdout is accused


def dcr(
    synthetic: npt.ArrayLike, train: npt.ArrayLike, holdout: npt.ArrayLike, *, seed: int
) -> tuple[Doubles, Doubles]:
    """Distance to closest record: of each synthetic row to train and to holdout, (n,) each.

    The larger of the two is sampled down to the size of the smaller: more records are nearer.
    """
    members, others = equal_sizes(train, holdout, seed)
    to_train, _ = nearest_records(synthetic, members, k=1)
    to_holdout, _ = nearest_records(synthetic, others, k=1)
    return to_train[:, 0], to_holdout[:, 0]


def dcr_train_share(to_train: Doubles, to_holdout: Doubles) -> float:
    """Share of rows closer to train than to holdout, ties half; 0.5 without memorisation."""
    return float((to_train < to_holdout).mean() + 0.5 * (to_train == to_holdout).mean())


def nndr(queries: npt.ArrayLike, records: npt.ArrayLike) -> Doubles:
    """Nearest over second nearest distance, (n,), in [0, 1]; near 0, a row leans on one record.

    Where both distances are 0 the ratio is 0: a copy of a doubled record is still a copy.
    """
    return ratio(nearest_records(queries, records, k=2)[0])


def membership_inference(
    synthetic: npt.ArrayLike,
    train: npt.ArrayLike,
    holdout: npt.ArrayLike,
    *,
    seed: int,
    n_bootstrap: int = 1000,
) -> Membership:
    """Guess the members: rows with a synthetic row close by (highest cosine) were trained on.

    Raises:
        ValueError: no rows in one of the three.
    """
    for name, rows in {"synthetic": synthetic, "train": train, "holdout": holdout}.items():
        if not len(unit(rows)):
            raise ValueError(f"{name} must hold a row or more; got none: nothing can be measured")
    score, member = attack(synthetic, train, holdout)
    inside, outside = score[member], score[~member]
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(n_bootstrap):  # members and others are drawn again, each with replacement
        drawn = np.concatenate([rng.choice(inside, len(inside)), rng.choice(outside, len(outside))])
        draws.append(auc(*counts(drawn, member)))
    low, high = np.quantile(draws, [0.025, 0.975])
    at = counts(score, member)
    return Membership(auc(*at), float(low), float(high), tpr_at_1_fpr(*at))


def by_chance(
    statistic: Callable[[Mask], float], member: Mask, seed: int, *, quantile: float = 1 - CHANCE
) -> float:
    """Quantile of the statistic over shuffles of which rows are called train."""
    rng = np.random.default_rng(seed)
    shuffled = [statistic(rng.permutation(member)) for _ in range(SHUFFLES)]
    return float(np.quantile(shuffled, quantile))


def attack(
    synthetic: npt.ArrayLike, train: npt.ArrayLike, holdout: npt.ArrayLike
) -> tuple[Ints, Mask]:
    """Score of each real row as its rank (equal scores share one), and whether it is of train."""
    cosines = [closest_cosine(side, synthetic) for side in (train, holdout)]
    _, score = np.unique(np.concatenate(cosines), return_inverse=True)
    return score, np.arange(len(score)) < len(cosines[0])


def counts(score: Ints, member: Mask) -> tuple[Ints, Ints]:
    """Members and others at each score, the lowest score first."""
    n_scores = int(score.max()) + 1
    inside = np.bincount(score[member], minlength=n_scores)
    return inside, np.bincount(score[~member], minlength=n_scores)


def auc(inside: Ints, outside: Ints) -> float:
    """Chance that a member scores above another row, ties half."""
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


def equal_sizes(train: npt.ArrayLike, holdout: npt.ArrayLike, seed: int) -> tuple[Floats, Floats]:
    members, others = unit(train), unit(holdout)
    size = min(len(members), len(others))
    rng = np.random.default_rng(seed)
    if len(members) > size:
        members = members[np.sort(rng.choice(len(members), size, replace=False))]
    if len(others) > size:
        others = others[np.sort(rng.choice(len(others), size, replace=False))]
    return members, others
