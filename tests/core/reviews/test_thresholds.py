"""Minima from verdicts: exact on tables made by hand, and what must hold of any."""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smotext_core.filters.acceptance import round_trip
from smotext_core.reviews import calibrate_on_reviews, wilson
from smotext_core.schemas import READER_CALIBRATION, REVIEWS

# Nothing is refused by one score alone: kept texts are good by both.
_ROWS = st.lists(
    st.tuples(
        st.integers(280, 420).map(lambda n: n / 1000),
        st.integers(180, 300).map(lambda n: n / 1000),
        st.sampled_from(["keep", "keep", "drop", "relabel"]),
        st.booleans(),
    ),
    max_size=40,
)
_SHARES = st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.9, 1.0])


def verdicts(*told: tuple[float, float, str, bool], label: str = "a") -> pl.DataFrame:
    """REVIEWS: round trip, label confidence, verdict, whether it was drawn at random."""
    made = [
        {
            "run": "r1",
            "label": label,
            "sample_id": f"r1.{label}.{n}",
            "content_hash": str(n),
            "verdict": verdict,
            "corrected_label": "b" if verdict == "relabel" else None,
            "reviewer": "Ada",
            "reviewed_at": "2026-11-30T12:00:00+00:00",
            "sampled": sampled,
            "round_trip_cosine": cosine,
            "label_confidence": confidence,
        }
        for n, (cosine, confidence, verdict, sampled) in enumerate(told)
    ]
    return pl.DataFrame(made, schema=REVIEWS)


def calibrated(
    reviews: pl.DataFrame,
    share: float = 0.9,
    *,
    round_trip: float = 0.3,
    confidence: float | None = 0.2,
    label: str = "a",
) -> dict[str, object]:
    found = calibrate_on_reviews(
        reviews,
        label,
        accepted_share=share,
        min_round_trip=round_trip,
        min_label_confidence=confidence,
    )
    assert found.schema == READER_CALIBRATION
    return found.row(0, named=True)


def minima(found: dict[str, object]) -> tuple[object, object]:
    return found["min_round_trip"], found["min_label_confidence"]


def test_calibrate_on_reviews_finds_the_pair_that_keeps_most() -> None:
    # dropped: four of a low round trip, two of a low confidence; three kept are as low
    told = [
        *[(0.31 + n / 1000, 0.6, "drop", True) for n in range(4)],  # .310 to .313
        (0.312, 0.6, "keep", True),
        *[(0.5, 0.25, "drop", True)] * 2,
        *[(0.5, 0.25, "keep", True)] * 2,
        *[(0.6, 0.6, "keep", True)] * 12,
    ]
    found = calibrated(verdicts(*told), 0.85)
    # 14 of 16: all but those below .314; raising the confidence too would lose two more
    assert minima(found) == (0.314, 0.2)
    assert (found["outcome"], found["read"], found["accepted"]) == ("raised", 16, 14)
    assert found["share"] == 14 / 16
    assert (found["low"], found["high"]) == wilson(14, 16)
    assert (found["held_out_round_trip"], found["held_out_label_confidence"]) == (0.3, 0.2)
    # .95 asks for both: the two kept ones of a low confidence go as well
    strict = calibrated(verdicts(*told), 0.95)
    assert minima(strict) == (0.314, 0.251)
    assert (strict["accepted"], strict["read"]) == (12, 12)


def test_calibrate_on_reviews_says_why_minima_stay() -> None:
    good = [(0.5, 0.5, "keep", True)] * 10
    for told, share, outcome, read in (
        (good, 1.0, "reached", 10),
        (good[1:], 0.1, "too few verdicts", 9),
        ([], 0.5, "too few verdicts", 0),
        ([*good[1:], (0.5, 0.5, "drop", True)], 0.95, "not reached", 10),
        # above .6 both are accepted, but two texts tell no share
        ([*[(0.5, 0.5, "drop", True)] * 10, *[(0.7, 0.5, "keep", True)] * 2], 0.5,
         "not reached", 12),
    ):  # fmt: skip
        found = calibrated(verdicts(*told), share)
        assert (found["outcome"], found["read"]) == (outcome, read)
        assert minima(found) == (0.3, 0.2)
        assert (found["share"] is None) == (read == 0)


def test_calibrate_on_reviews_counts_drawn_rows_of_the_label_above_the_minima() -> None:
    good = [(0.5, 0.5, "keep", True)] * 10
    others = [
        (0.5, 0.5, "drop", False),  # read for being doubtful
        (0.299, 0.5, "drop", True),  # below what held-out texts gave
        (0.5, 0.199, "drop", True),
    ]
    found = calibrated(pl.concat([verdicts(*good, *others), verdicts(*others, label="b")]), 1.0)
    assert (found["outcome"], found["read"], found["label"]) == ("reached", 10, "a")
    (relabelled,) = verdicts((0.5, 0.5, "relabel", True)).to_dicts()
    more = pl.concat([verdicts(*good), pl.DataFrame([relabelled], schema=REVIEWS)])
    assert calibrated(more, 1.0)["outcome"] == "not reached"  # another label is not accepted


def test_calibrate_on_reviews_leaves_a_label_without_a_confidence_without_one() -> None:
    told = [*[(0.6, 0.6, "keep", True)] * 10, *[(0.6, 0.1, "drop", True)] * 5]
    found = calibrated(verdicts(*told), 0.9, confidence=None)
    assert (minima(found), found["outcome"]) == ((0.3, None), "not reached")
    higher = [*told, *[(0.4, 0.6, "drop", True)] * 5]
    found = calibrated(verdicts(*higher), 0.6, confidence=None)
    assert (minima(found), found["accepted"], found["read"]) == ((0.401, None), 10, 15)


def test_calibrate_on_reviews_wants_a_share() -> None:
    for share in (0.0, 1.1):
        with pytest.raises(ValueError, match=r"must lie in \(0, 1\], got"):
            calibrated(verdicts(), share)


@settings(max_examples=60, deadline=None)
@given(told=_ROWS, share=_SHARES)
def test_calibrate_on_reviews_is_the_best_of_all_pairs_of_thousandths(
    told: list[tuple[float, float, str, bool]], share: float
) -> None:
    """Against the whole grid, by the filter that compares; the first of the best is the lowest."""
    found = calibrated(verdicts(*told), share)
    drawn = [row[:3] for row in told if row[3]]
    best, expected = -1, (0.3, 0.2)
    cosines, confidences = ([row[column] for row in drawn] for column in (0, 1))
    rounds = [(n / 1000, round_trip(cosines, minimum=n / 1000)) for n in range(300, 423)]
    sure = [(n / 1000, round_trip(confidences, minimum=n / 1000)) for n in range(200, 303)]
    kept = np.array([row[2] == "keep" for row in drawn], dtype=np.bool_)
    for (least, near), (least_sure, surely) in product(rounds, sure):
        reach = near & surely
        accepted = int((reach & kept).sum())
        if reach.sum() >= 10 and accepted / reach.sum() >= share and accepted > best:
            best, expected = accepted, (least, least_sure)
    assert minima(found) == expected


@settings(max_examples=100, deadline=None)
@given(told=_ROWS, shares=st.tuples(_SHARES, _SHARES), confidence=st.sampled_from([None, 0.2]))
def test_calibrate_on_reviews_never_lowers_and_asks_no_more_for_less(
    told: list[tuple[float, float, str, bool]],
    shares: tuple[float, float],
    confidence: float | None,
) -> None:
    less, more = (
        calibrated(verdicts(*told), share, confidence=confidence) for share in sorted(shares)
    )
    for found in (less, more):
        assert found["min_round_trip"] >= 0.3
        assert (found["min_label_confidence"] or 0) >= (confidence or 0)
        if found["outcome"] in ("raised", "reached"):
            assert found["share"] >= found["asked"]
            assert found["read"] >= 10
        else:
            assert minima(found) == (0.3, confidence)
    if more["outcome"] in ("raised", "reached"):
        assert less["outcome"] in ("raised", "reached")
        assert less["accepted"] >= more["accepted"]
    again = calibrated(verdicts(*reversed(told)), max(shares), confidence=confidence)
    assert again == more
