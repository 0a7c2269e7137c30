"""The filters' minima, from what readers kept: never below what held-out real texts gave."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from smotext_core.reviews.acceptance import wilson
from smotext_core.schemas import READER_CALIBRATION

MIN_VERDICTS = 10  # of texts drawn at random; fewer tell no share
RAISED, REACHED, NOT_REACHED, TOO_FEW = "raised", "reached", "not reached", "too few verdicts"


def calibrate_on_reviews(
    reviews: pl.DataFrame,
    label: str,
    *,
    accepted_share: float,
    min_round_trip: float,
    min_label_confidence: float | None,
) -> pl.DataFrame:
    """The minima of round trip and label confidence at which readers accept what is asked.

    Of all pairs of thousandths at or above the given minima: those that leave MIN_VERDICTS read
    texts or more, of which readers kept at least `accepted_share`; among them the pair that leaves
    most of the kept texts, of several the one of the lowest round trip, then of the lowest
    confidence. Where there is none, the minima stay.

    The share is that of the texts that the pair was chosen by, so it flatters the pair: texts read
    later will be accepted a little less often.

    Args:
        reviews: REVIEWS that stand, see `standing`; verdicts on texts drawn at random count, also
            those on texts that the run no longer has, for a minimum that refuses a text must not
            forget why. A text under a corrected label was not accepted.
        accepted_share: in (0, 1].
        min_round_trip: of held-out texts; so is `min_label_confidence`. None: the label has none,
            and gets none, for it is judged by which label is likeliest.

    Returns:
        A row of READER_CALIBRATION: the minima, and what was read and kept of the texts that reach
        them, with the 95 % Wilson interval.

    Raises:
        ValueError: the share asked for is none.
    """
    if not 0 < accepted_share <= 1:
        raise ValueError(f"the accepted share must lie in (0, 1], got {accepted_share}")
    drawn = reviews.filter(pl.col("sampled"), label=label)
    cosines = drawn["round_trip_cosine"].cast(pl.Float32).to_numpy()
    confidences = drawn["label_confidence"].cast(pl.Float32).to_numpy()
    kept = (drawn["verdict"] == "keep").to_numpy()
    if min_label_confidence is None:
        reach = np.ones((1, len(kept)), dtype=np.bool_)
        least: list[float | None] = [None]
    else:
        grid = _grid(confidences, min_label_confidence)
        reach, least = _reaching(confidences, grid), list(grid)
    # texts that reach each pair, (round trips, confidences); counts are exact in float64
    rounds = _grid(cosines, min_round_trip)
    near, sure = _reaching(cosines, rounds).astype(np.float64), reach.astype(np.float64)
    read, accepted = near @ sure.T, (near * kept) @ sure.T
    share = np.divide(accepted, read, out=np.zeros_like(read), where=read > 0)
    good = (read >= MIN_VERDICTS) & (share >= accepted_share)
    best = int(np.where(good, accepted, -1.0).argmax())  # the first: the lowest; 0 if none is good
    at, by = divmod(best, good.shape[1])
    if good.any():
        outcome = RAISED if best else REACHED
    else:
        outcome = TOO_FEW if read[0, 0] < MIN_VERDICTS else NOT_REACHED
    n, successes = int(read[at, by]), int(accepted[at, by])
    low, high = wilson(successes, n) if n else (None, None)
    row = {
        "label": label,
        "asked": accepted_share,
        "outcome": outcome,
        "held_out_round_trip": min_round_trip,
        "held_out_label_confidence": min_label_confidence,
        "min_round_trip": rounds[at],
        "min_label_confidence": least[by],
        "read": n,
        "accepted": successes,
        "share": successes / n if n else None,
        "low": low,
        "high": high,
    }
    return pl.DataFrame([row], schema=READER_CALIBRATION)


def _grid(scores: npt.NDArray[np.float32], minimum: float) -> list[float]:
    """`minimum`, and above it the least thousandth that each of the scores does not reach."""
    steps = np.floor(scores.astype(np.float64) * 1000) + 1
    steps += (steps / 1000).astype(np.float32) <= scores  # by rounding it may
    return [minimum, *(step / 1000 for step in np.unique(steps).tolist() if step / 1000 > minimum)]


def _reaching(scores: npt.NDArray[np.float32], minima: list[float]) -> npt.NDArray[np.bool_]:
    """Which scores reach each minimum, (minima, scores), compared as `accept` does, in float32."""
    return np.asarray(scores[None, :] >= np.asarray(minima, dtype=np.float32)[:, None])
