"""Attacks on synthetic rows and their distances to real ones: what an attacker could see of a run.

Every measure compares the training rows, which the generator saw, with a holdout, which it did not.
A green audit means that these attacks found nothing. It is no proof: "The DCR Delusion" (arXiv
2505.01524) shows data that pass distance measures and stay open to membership inference, and "SMOTE
and Mirrors" (ICLR 2026) reconstructs real points from interpolated ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from smotext_core.neighbors import nearest_records
from smotext_core.privacy.canaries import canary_share
from smotext_core.privacy.copies import copied_run_share, identical_share
from smotext_core.privacy.membership import (
    CHANCE,
    Mask,
    attack,
    auc,
    auc_interval,
    by_chance,
    counts,
    dcr,
    dcr_train_share,
    document_codes,
    equal_numbers,
    nndr,
    ratio,
    tpr_at_1_fpr,
)
from smotext_core.privacy.reconstruction import ALIKE, EXACT, candidates, reconstructed
from smotext_core.privacy.replay import Names, replayed_identifiers
from smotext_core.schemas import PRIVACY_AUDIT, conform

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Row = dict[str, str | float | bool | None]

MEASURES = {
    "identical_share": "synthetic texts that are a training text word for word",
    "copied_run_share": "synthetic texts with a long run of a training text's words",
    "dcr_train_share": "synthetic texts nearer to a training text than to a holdout text",
    "nndr_ratio": "nearness to one training text, compared with nearness to one holdout text",
    "membership_auc": "success of guessing which texts were used for training",
    "membership_tpr_at_1_fpr": "training texts recognised at one false alarm in a hundred",
    "reconstruction_recall_vectors": "training vectors that the mixed vectors give away",
    "reconstruction_recall_texts": "training vectors that the synthetic texts give away",
    "canary_share": "planted texts of which a trace comes out",
    "replayed_identifiers": "synthetic texts with an address or long number of a training text",
    "replayed_names": "synthetic texts with a name that stands in training texts alone",
}

MIN_HOLDOUT = 20  # documents; below it chance alone moves every comparison too far to judge by
_NEIGHBOURS = 32  # a random half of as many documents holds two or more, but for 1 in 10^8
_MOST_NEIGHBOURS = 256  # of documents with many passages more are looked at, but for memory


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
    train_documents: Sequence[str] | None = None,
    holdout_documents: Sequence[str] | None = None,
    vectors: npt.ArrayLike | None = None,
    canaries: Sequence[str] = (),
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
    | reconstruction_recall_vectors | of holdout | never | `vectors` are kept in quarantine |
    | reconstruction_recall_texts | of holdout | > threshold | chance, as above |
    | canary_share | none | > 0 | a planted text that comes out is a leak |
    | replayed_identifiers | of holdout alone | > 0 | addresses and long numbers point at people |
    | replayed_names | of holdout alone | > threshold | chance, as above |

    Chance is measured: the names "train" and "holdout" are shuffled over the same documents. With
    more of them it grows narrow, so a large run is held to more than a small one.

    `passed` is null where nothing was judged: with a holdout (or train) of fewer than 20 documents
    what is judged by chance has a value but no threshold, and under 2 documents distances and
    membership have no value either. Null is not a pass.
    Nor does a pass say that the rows are safe to publish (see the module's docstring).

    `low` and `high` hold the 95 % bootstrap interval of membership_auc, null elsewhere.

    Args:
        train_documents, holdout_documents: the document of each text; None: every text is one.
        vectors: interpolated vectors of the run, (m, d), for ReconSMOTE; without them no value.
        canaries: planted texts among the train texts.

    Raises:
        ValueError: no synthetic row, or texts, vectors and documents differ in number.
    """
    sides = {"synthetic": (synthetic_texts, synthetic), "train": (train_texts, train)}
    sides["holdout"] = (holdout_texts, holdout)
    for name, (texts, side) in sides.items():
        if len(texts) != len(np.asarray(side)):
            raise ValueError(
                f"{name} must hold one vector a text; got {len(texts)} texts and "
                f"{len(np.asarray(side))} vectors"
            )
    if not len(synthetic_texts):
        raise ValueError("an audit needs a synthetic text or more, got none: nothing is measured")
    documents = _documents("train", train_documents, len(train_texts))
    others = _documents("holdout", holdout_documents, len(holdout_texts))
    seen, unseen = (int(side.max(initial=-1)) + 1 for side in (documents, others))
    both = np.concatenate([documents, seen + others])
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
    judged = min(seen, unseen) >= MIN_HOLDOUT
    if min(seen, unseen) < 2:
        measures = ("dcr_train_share", "nndr_ratio", "membership_auc", "membership_tpr_at_1_fpr")
        rows += [_row(measure, None, None, threshold=None) for measure in measures]
    else:
        rows += _distance_rows(
            synthetic, train, holdout, documents, others, seed=seed, judged=judged
        )
        rows += _membership_rows(synthetic, train, holdout, both, seed=seed, judged=judged)
    rows += [
        _reconstruction_row("vectors", vectors, train, holdout, both, cosine=EXACT, seed=seed),
        _reconstruction_row(
            "texts", synthetic, train, holdout, both, cosine=ALIKE, seed=seed, judged=judged
        ),
        _row(
            "canary_share",
            canary_share(synthetic_texts, canaries, [*train_texts, *holdout_texts]),
            None,
            threshold=0.0,
        ),
        _row(
            "replayed_identifiers",
            replayed_identifiers(synthetic_texts, train_texts, holdout_texts),
            replayed_identifiers(synthetic_texts, holdout_texts, train_texts) if unseen else None,
            threshold=0.0,
        ),
        _names_row(synthetic_texts, train_texts, holdout_texts, both, seed=seed, judged=judged),
    ]
    wanted = [name for name in PRIVACY_AUDIT if name not in ("run", "label")]
    frame = pl.DataFrame(rows, schema={name: PRIVACY_AUDIT[name] for name in wanted})
    return conform(
        frame.with_columns(pl.lit(run).alias("run"), pl.lit(label, dtype=pl.String).alias("label")),
        PRIVACY_AUDIT,
    )


def _documents(side: str, documents: Sequence[str] | None, n_texts: int) -> Ints:
    if documents is None:
        return np.arange(n_texts)
    if len(documents) != n_texts:
        raise ValueError(
            f"{side} must name one document a text; got {n_texts} texts and {len(documents)}"
        )
    return document_codes(documents)


def _row(
    measure: str,
    value: float | None,
    reference: float | None,
    *,
    threshold: float | None,
    low_is_bad: bool = False,
    interval: tuple[float, float] | None = None,
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
        "low": interval[0] if interval else None,
        "high": interval[1] if interval else None,
    }


def _reconstruction_row(
    of: str,
    points: npt.ArrayLike | None,
    train: npt.ArrayLike,
    holdout: npt.ArrayLike,
    documents: Ints,
    *,
    cosine: float,
    seed: int,
    judged: bool = False,
) -> Row:
    measure = f"reconstruction_recall_{of}"
    n_train, n_holdout = len(np.asarray(train)), len(np.asarray(holdout))
    if points is None or not n_train:
        return _row(measure, None, None, threshold=None)
    found = candidates(points, seed=seed)
    sides = [train, holdout] if n_holdout else [train]
    hit = np.concatenate([reconstructed(found, side, cosine=cosine) for side in sides])
    member = np.arange(len(hit)) < n_train
    return _row(
        measure,
        float(hit[member].mean()),
        float(hit[~member].mean()) if n_holdout else None,
        threshold=by_chance(lambda chosen: float(hit[chosen].mean()), member, documents, seed)
        if judged
        else None,
    )


def _names_row(
    synthetic_texts: Sequence[str],
    train_texts: Sequence[str],
    holdout_texts: Sequence[str],
    documents: Ints,
    *,
    seed: int,
    judged: bool,
) -> Row:
    found = Names(synthetic_texts, [*train_texts, *holdout_texts])
    member = np.arange(len(train_texts) + len(holdout_texts)) < len(train_texts)
    return _row(
        "replayed_names",
        found.replayed(member),
        found.replayed(~member) if len(holdout_texts) else None,
        threshold=by_chance(found.replayed, member, documents, seed) if judged else None,
    )


def _distance_rows(
    synthetic: npt.ArrayLike,
    train: npt.ArrayLike,
    holdout: npt.ArrayLike,
    train_documents: Ints,
    holdout_documents: Ints,
    *,
    seed: int,
    judged: bool,
) -> list[Row]:
    kept, kept_others = equal_numbers(train_documents, holdout_documents, seed)
    members, others = np.asarray(train)[kept], np.asarray(holdout)[kept_others]
    share = dcr_train_share(*dcr(synthetic, members, others))
    to_train = float(np.median(nndr(synthetic, members)))
    to_holdout = float(np.median(nndr(synthetic, others)))
    most_share = least_ratio = None
    if judged:
        pool = np.concatenate([members, others])
        documents = np.concatenate(
            [train_documents[kept], len(train_documents) + holdout_documents[kept_others]]
        )
        k = min(_NEIGHBOURS * int(np.bincount(documents).max()), _MOST_NEIGHBOURS, len(pool))
        distances, found = nearest_records(synthetic, pool, k=k)

        def median_ratio(is_train: Mask) -> float:
            inside = is_train[found]
            enough = inside.sum(axis=1) >= 2
            if not enough.any():
                return 1.0
            inside, near = inside[enough], distances[enough]
            every = np.arange(len(inside))
            first = inside.argmax(axis=1)
            inside[every, first] = False
            second = inside.argmax(axis=1)
            return float(np.median(ratio(np.stack([near[every, first], near[every, second]], 1))))

        member = np.arange(len(pool)) < len(members)
        closest = found[:, 0]  # a row is closer to train where its closest record is of train
        most_share = by_chance(lambda names: float(names[closest].mean()), member, documents, seed)
        least_ratio = by_chance(median_ratio, member, documents, seed, quantile=CHANCE)
    return [
        _row("dcr_train_share", share, 0.5, threshold=most_share),
        _row("nndr_ratio", to_train, to_holdout, threshold=least_ratio, low_is_bad=True),
    ]


def _membership_rows(
    synthetic: npt.ArrayLike,
    train: npt.ArrayLike,
    holdout: npt.ArrayLike,
    documents: Ints,
    *,
    seed: int,
    judged: bool,
) -> list[Row]:
    score, member = attack(synthetic, train, holdout)
    rows = []
    for measure, reference, statistic in (
        ("membership_auc", 0.5, auc),
        ("membership_tpr_at_1_fpr", 0.01, tpr_at_1_fpr),
    ):

        def value(names: Mask, statistic: Callable[[Ints, Ints], float] = statistic) -> float:
            return statistic(*counts(score, names))

        threshold = by_chance(value, member, documents, seed) if judged else None
        interval = None
        if measure == "membership_auc":
            interval = auc_interval(score, member, documents, seed=seed)
        rows.append(_row(measure, value(member), reference, threshold=threshold, interval=interval))
    return rows
