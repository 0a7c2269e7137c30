"""What readers' verdicts say of a label, and what they leave of its rows."""

from __future__ import annotations

import math

import polars as pl

from smotext_core.reviews.verdicts import UNDECIDED, content_hash
from smotext_core.schemas import ACCEPTANCE, SYNTHETIC_TEXTS, conform

_Z = 1.96  # of a 95 % interval


def standing(reviews: pl.DataFrame) -> pl.DataFrame:
    """REVIEWS that stand, one a text at most, in the order of samples.

    Of several verdicts on one text the one read last stands, of those read at the same time the one
    that comes later; a text whose last verdict is "undecided" has none.

    Args:
        reviews: REVIEWS of one run, imports one below the other as they were taken.
    """
    last = reviews.sort("reviewed_at", maintain_order=True).unique(
        ["sample_id", "content_hash"], keep="last", maintain_order=True
    )
    return last.filter(pl.col("verdict") != UNDECIDED).sort("sample_id", "content_hash")


def matching(reviews: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """REVIEWS of these very texts: rows that were made anew with another one have no verdict."""
    now = rows.select(
        "sample_id",
        pl.col("text").map_elements(content_hash, return_dtype=pl.String).alias("content_hash"),
    )
    return reviews.join(now, on=["sample_id", "content_hash"], how="semi").sort("sample_id")


def apply_verdicts(rows: pl.DataFrame, reviews: pl.DataFrame) -> pl.DataFrame:
    """SYNTHETIC_TEXTS without the dropped rows, and under the label that a reader corrected.

    Args:
        reviews: as `matching` gives them.
    """
    dropped = reviews.filter(verdict="drop").select("sample_id")
    corrected = reviews.filter(verdict="relabel").select("sample_id", "corrected_label")
    left = rows.join(dropped, on="sample_id", how="anti", maintain_order="left")
    left = left.join(corrected, on="sample_id", how="left", maintain_order="left")
    label = pl.coalesce("corrected_label", "label").alias("label")
    return conform(left.with_columns(label), SYNTHETIC_TEXTS)


def acceptance(reviews: pl.DataFrame) -> pl.DataFrame:
    """By label: label, read, sampled, accepted, share, low, high.

    `read` counts all verdicts; the share is of the sampled rows alone, with its 95 % Wilson
    interval, for the least sure ones were chosen for being worse. A row under a corrected label is
    not accepted. Without a sampled row share and interval are null.
    """
    counts = reviews.group_by("label").agg(
        pl.len().alias("read"),
        pl.col("sampled").sum(),
        (pl.col("sampled") & (pl.col("verdict") == "keep")).sum().alias("accepted"),
    )
    rows = []
    for label, read, sampled, accepted in counts.sort("label").iter_rows():
        low, high = wilson(accepted, sampled) if sampled else (None, None)
        share = accepted / sampled if sampled else None
        rows.append((label, read, sampled, accepted, share, low, high))
    return pl.DataFrame(rows, schema=ACCEPTANCE, orient="row")


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927), which holds for few and for extreme ones too.

    Raises:
        ValueError: no trial, or more successes than trials.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"successes of 1 or more trials are needed, got {successes} of {n}")
    share = successes / n
    middle = share + _Z**2 / (2 * n)
    reach = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    scale = 1 + _Z**2 / n
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
