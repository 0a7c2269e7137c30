"""Gates of publication: a label's rows are held back where a leak measure is red or few were made.

A gate that could not be judged (too few rows in the holdout) does not hold back; it is no pass
either. A measure is red by chance in one audit of a hundred, so now and then an honest label is
held: whoever has looked may publish it all the same, with a reason that stays on record.
"""

from __future__ import annotations

import polars as pl

from smotext_core.schemas import GATES, conform

ACCEPTED = "accepted_share"


def judge(
    audit: pl.DataFrame,
    *,
    run: str,
    label: str,
    accepted: int,
    wanted: int,
    min_accepted_share: float,
    published_anyway: str | None = None,
) -> pl.DataFrame:
    """One row per gate of a label of a run: GATES.

    Args:
        audit: PRIVACY_AUDIT of the label's rows, empty where there are none.
        accepted, wanted: rows that passed the filters, and rows asked for. With none wanted the
            share is not judged.
        min_accepted_share: below it the filters, not the generator, wrote the class: what is left
            are its luckiest texts.
        published_anyway: why the rows are published whatever the gates say.

    Raises:
        ValueError: a share outside [0, 1], or an empty reason.
    """
    if not 0 <= min_accepted_share <= 1:
        raise ValueError(f"min_accepted_share must lie in [0, 1], got {min_accepted_share}")
    if published_anyway is not None and not published_anyway.strip():
        raise ValueError(f"{label} can only be published anyway with a reason, got an empty one")
    share = accepted / wanted if wanted else None
    measures = audit.select(
        pl.col("measure").alias("gate"), "value", pl.col("threshold").alias("limit"), "passed"
    )
    enough = None if share is None else share >= min_accepted_share
    own = pl.DataFrame(
        [(ACCEPTED, share, min_accepted_share, enough)],
        schema=measures.schema,
        orient="row",
    )
    return conform(
        pl.concat([own, measures]).with_columns(
            pl.lit(run).alias("run"),
            pl.lit(label).alias("label"),
            pl.lit(published_anyway, dtype=pl.String).alias("published_anyway"),
        ),
        GATES,
    )


def red_gates(gates: pl.DataFrame) -> list[str]:
    """The gates that were not passed, published anyway or not."""
    return gates.filter(~pl.col("passed"))["gate"].to_list()


def held_back(gates: pl.DataFrame) -> pl.DataFrame:
    """The rows of `gates` that keep their label from being published."""
    return gates.filter(~pl.col("passed") & pl.col("published_anyway").is_null())
