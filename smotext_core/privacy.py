"""Attacks on synthetic rows and their distances to real ones: what an attacker could see of a run.

Every measure compares the training rows, which the generator saw, with a holdout, which it did not.
A green audit means that these attacks found nothing. It is no proof: "The DCR Delusion" (arXiv
2505.01524) shows data that pass distance measures and stay open to membership inference, and "SMOTE
and Mirrors" (ICLR 2026) reconstructs real points from interpolated ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from smotext_core.neighbors import closest_cosine, nearest_records, unit
from smotext_core.overlap import copied_words, words
from smotext_core.schemas import PRIVACY_AUDIT, conform

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Row = dict[str, str | float | bool | None]

MIN_HOLDOUT = 20  # rows; below it chance alone moves every comparison too far to judge by
MIN_COPIED_WORDS = 9  # the same run length at which the filters refuse a text
SHUFFLES = 999  # of the names "train" and "holdout", for what chance alone gives
CHANCE = 0.01  # one-sided: an honest run fails a measure once in a hundred audits
_NEIGHBOURS = 32  # a random half of these holds two or more, but for about 1 in 10^8


class Membership(NamedTuple):
    """Success of an attack that guesses which rows the generator was trained on."""

    auc: float  # 0.5 = guessing
    low: float  # 95 % bootstrap interval of the AUC
    high: float
    tpr_at_1_fpr: float  # members found while at most 1 % of the holdout is accused


def identical_share(synthetic_texts: Sequence[str], real_texts: Sequence[str]) -> float:
    """Share of synthetic texts whose words (lower-cased, without punctuation) are a real text's."""
    _require_rows(synthetic_texts=synthetic_texts)
    real = {tuple(words(text)) for text in real_texts}
    return sum(tuple(words(text)) in real for text in synthetic_texts) / len(synthetic_texts)


def copied_run_share(
    synthetic_texts: Sequence[str],
    real_texts: Sequence[str],
    *,
    min_copied_words: int = MIN_COPIED_WORDS,
) -> tuple[float, int]:
    """Share of texts with a run of `min_copied_words` words or more of a real text; longest run."""
    _require_rows(synthetic_texts=synthetic_texts)
    copied = copied_words(synthetic_texts, real_texts)
    return float((copied >= min_copied_words).mean()), int(copied.max())


def dcr(
    synthetic: npt.ArrayLike, train: npt.ArrayLike, holdout: npt.ArrayLike, *, seed: int
) -> tuple[Doubles, Doubles]:
    """Distance to closest record: of each synthetic row to train and to holdout, (n,) each.

    The larger of the two is sampled down to the size of the smaller: more records are nearer.
    """
    members, others = _equal_sizes(train, holdout, seed)
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
    return _ratio(nearest_records(queries, records, k=2)[0])


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
    _require_rows(synthetic=unit(synthetic), train=unit(train), holdout=unit(holdout))
    score, member = _attack(synthetic, train, holdout)
    inside, outside = score[member], score[~member]
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(n_bootstrap):  # members and others are drawn again, each with replacement
        drawn = np.concatenate([rng.choice(inside, len(inside)), rng.choice(outside, len(outside))])
        draws.append(_auc(*_counts(drawn, member)))
    low, high = np.quantile(draws, [0.025, 0.975])
    counts = _counts(score, member)
    return Membership(_auc(*counts), float(low), float(high), _tpr_at_1_fpr(*counts))


def audit(
    *,
    run: str,
    label: str | None = None,
    synthetic_texts: Sequence[str],
    train_texts: Sequence[str],
    holdout_texts: Sequence[str],
    synthetic: npt.ArrayLike,
    train: npt.ArrayLike,
    holdout: npt.ArrayLike,
    seed: int,
) -> pl.DataFrame:
    """One row per measure of a run (or of one of its labels): PRIVACY_AUDIT.

    Train and holdout must be draws of the same texts: only the labels that were augmented, one
    encoder. Otherwise the measures tell labels apart, not memorisation.

    | measure | reference | red when | reason for the threshold |
    |---|---|---|---|
    | identical_share | of holdout in train | > 0 | the filters refuse every copy: one is a fault |
    | copied_run_share | of holdout in train | > 0 | likewise, runs of 9 words |
    | dcr_train_share | 0.5 | > threshold | what chance alone exceeds in 1 of 100 audits |
    | nndr_ratio, median to train | median to holdout | < threshold | likewise, below |
    | membership_auc | 0.5 | > threshold | likewise |
    | membership_tpr_at_1_fpr | 0.01 | > threshold | likewise |

    Chance is measured: the names "train" and "holdout" are shuffled over the same rows. With more
    rows it grows narrow, so a large run is held to more than a small one.

    `passed` is null where nothing was judged: with a holdout (or train) of fewer than 20 rows the
    last four have a value but no threshold, and under 2 rows no value either. Null is not a pass.
    Nor does a pass say that the rows are safe to publish (see the module's docstring).

    Raises:
        ValueError: no synthetic row, or texts and vectors differ in number.
    """
    sides = {"synthetic": (synthetic_texts, synthetic), "train": (train_texts, train)}
    sides["holdout"] = (holdout_texts, holdout)
    for name, (texts, vectors) in sides.items():
        if len(texts) != len(np.asarray(vectors)):
            raise ValueError(
                f"{name} must hold one vector a text; got {len(texts)} texts and "
                f"{len(np.asarray(vectors))} vectors"
            )
    _require_rows(synthetic_texts=synthetic_texts)
    seen, unseen = len(train_texts), len(holdout_texts)
    rows = [
        _row(
            "identical_share",
            identical_share(synthetic_texts, train_texts),
            identical_share(holdout_texts, train_texts) if unseen else None,
            threshold=0.0,
        ),
        _row(
            "copied_run_share",
            copied_run_share(synthetic_texts, train_texts)[0],
            copied_run_share(holdout_texts, train_texts)[0] if unseen else None,
            threshold=0.0,
        ),
    ]
    if min(seen, unseen) < 2:
        measures = ("dcr_train_share", "nndr_ratio", "membership_auc", "membership_tpr_at_1_fpr")
        rows += [_row(measure, None, None, threshold=None) for measure in measures]
    else:
        judged = min(seen, unseen) >= MIN_HOLDOUT
        rows += _distance_rows(synthetic, train, holdout, seed=seed, judged=judged)
        rows += _membership_rows(synthetic, train, holdout, seed=seed, judged=judged)
    frame = pl.DataFrame(rows, schema_overrides={"threshold": pl.Float64(), "passed": pl.Boolean()})
    return conform(
        frame.with_columns(pl.lit(run).alias("run"), pl.lit(label, dtype=pl.String).alias("label")),
        PRIVACY_AUDIT,
    )


def _row(
    measure: str,
    value: float | None,
    reference: float | None,
    *,
    threshold: float | None,
    low_is_bad: bool = False,
) -> Row:
    passed: bool | None = None
    if value is not None and threshold is not None:
        passed = value >= threshold if low_is_bad else value <= threshold
    return {
        "measure": measure,
        "value": value,
        "reference": reference,
        "threshold": threshold,
        "passed": passed,
    }


def _distance_rows(
    synthetic: npt.ArrayLike,
    train: npt.ArrayLike,
    holdout: npt.ArrayLike,
    *,
    seed: int,
    judged: bool,
) -> list[Row]:
    members, others = _equal_sizes(train, holdout, seed)
    share = dcr_train_share(*dcr(synthetic, members, others, seed=seed))
    to_train = float(np.median(nndr(synthetic, members)))
    to_holdout = float(np.median(nndr(synthetic, others)))
    most_share = least_ratio = None
    if judged:
        pool = np.concatenate([members, others])
        distances, found = nearest_records(synthetic, pool, k=min(_NEIGHBOURS, len(pool)))

        def ratio(is_train: Mask) -> float:
            inside = is_train[found]
            enough = inside.sum(axis=1) >= 2
            inside, near = inside[enough], distances[enough]
            every = np.arange(len(inside))
            first = inside.argmax(axis=1)
            inside[every, first] = False
            second = inside.argmax(axis=1)
            return float(np.median(_ratio(np.stack([near[every, first], near[every, second]], 1))))

        member = np.arange(len(pool)) < len(members)
        closest = found[:, 0]  # a row is closer to train where its closest record is of train
        most_share = _by_chance(lambda names: float(names[closest].mean()), member, seed)
        least_ratio = _by_chance(ratio, member, seed, quantile=CHANCE)
    return [
        _row("dcr_train_share", share, 0.5, threshold=most_share),
        _row("nndr_ratio", to_train, to_holdout, threshold=least_ratio, low_is_bad=True),
    ]


def _membership_rows(
    synthetic: npt.ArrayLike,
    train: npt.ArrayLike,
    holdout: npt.ArrayLike,
    *,
    seed: int,
    judged: bool,
) -> list[Row]:
    score, member = _attack(synthetic, train, holdout)
    rows = []
    for measure, reference, statistic in (
        ("membership_auc", 0.5, _auc),
        ("membership_tpr_at_1_fpr", 0.01, _tpr_at_1_fpr),
    ):

        def value(names: Mask, statistic: Callable[[Ints, Ints], float] = statistic) -> float:
            return statistic(*_counts(score, names))

        threshold = _by_chance(value, member, seed) if judged else None
        rows.append(_row(measure, value(member), reference, threshold=threshold))
    return rows


def _by_chance(
    statistic: Callable[[Mask], float], member: Mask, seed: int, *, quantile: float = 1 - CHANCE
) -> float:
    """Quantile of the statistic over shuffles of which rows are called train."""
    rng = np.random.default_rng(seed)
    shuffled = [statistic(rng.permutation(member)) for _ in range(SHUFFLES)]
    return float(np.quantile(shuffled, quantile))


def _attack(
    synthetic: npt.ArrayLike, train: npt.ArrayLike, holdout: npt.ArrayLike
) -> tuple[Ints, Mask]:
    """Score of each real row as its rank (equal scores share one), and whether it is of train."""
    cosines = [closest_cosine(side, synthetic) for side in (train, holdout)]
    _, score = np.unique(np.concatenate(cosines), return_inverse=True)
    return score, np.arange(len(score)) < len(cosines[0])


def _counts(score: Ints, member: Mask) -> tuple[Ints, Ints]:
    """Members and others at each score, the lowest score first."""
    n_scores = int(score.max()) + 1
    inside = np.bincount(score[member], minlength=n_scores)
    return inside, np.bincount(score[~member], minlength=n_scores)


def _auc(inside: Ints, outside: Ints) -> float:
    """Chance that a member scores above another row, ties half."""
    below = np.cumsum(outside) - 0.5 * outside
    return float(inside @ below / (inside.sum() * outside.sum()))


def _tpr_at_1_fpr(inside: Ints, outside: Ints) -> float:
    """Share of members above the lowest score that accuses at most 1 % of the others."""
    accused = np.cumsum(outside[::-1]) / outside.sum()
    caught = np.cumsum(inside[::-1]) / inside.sum()
    return float(caught[accused <= 0.01].max(initial=0.0))


def _ratio(distances: Doubles) -> Doubles:
    nearest, second = distances[:, 0], distances[:, 1]
    return np.divide(nearest, second, out=np.zeros_like(nearest), where=second > 0)


def _equal_sizes(train: npt.ArrayLike, holdout: npt.ArrayLike, seed: int) -> tuple[Floats, Floats]:
    members, others = unit(train), unit(holdout)
    size = min(len(members), len(others))
    rng = np.random.default_rng(seed)
    if len(members) > size:
        members = members[np.sort(rng.choice(len(members), size, replace=False))]
    if len(others) > size:
        others = others[np.sort(rng.choice(len(others), size, replace=False))]
    return members, others


def _require_rows(**sides: Sequence[str] | Floats) -> None:
    for name, rows in sides.items():
        if not len(rows):
            raise ValueError(f"{name} must hold a row or more; got none: nothing can be measured")
