"""Which rows of a run a person should read, and in which order.

Half tells where the filters were least sure, half is a fair sample: only from the sample is the
acceptance estimated, for the other half is worse than the rest on purpose.
"""

from __future__ import annotations

import hashlib

import polars as pl

SAMPLE, UNSURE = "sample", "least sure"


def review_rows(
    synthetic: pl.DataFrame, *, n_sample: int = 20, n_unsure: int = 10, seed: int = 0
) -> pl.DataFrame:
    """Rows of SYNTHETIC_TEXTS worth reading, with `why`: "least sure" or "sample".

    Of every label `n_sample` rows drawn at random, and the `n_unsure` of the others that the
    filters were least sure of, by the worse of two ranks: label confidence and round trip. Labels
    take turns, and within a label the two kinds, the least sure first; sampled rows come in the
    order they were drawn in, so that whoever stops early has read a smaller sample, not a worse
    one. Which rows are drawn depends on seed and sample id alone.

    Raises:
        ValueError: a number below 0, or none at all asked for.
    """
    if n_sample < 0 or n_unsure < 0 or not n_sample + n_unsure:
        raise ValueError(
            f"rows a label must be 0 or more, and one of them at least; got a sample of {n_sample} "
            f"and {n_unsure} least sure ones"
        )
    draws = [
        hashlib.sha256(f"{seed}|{sample_id}".encode()).hexdigest()
        for sample_id in synthetic["sample_id"]
    ]
    ranked = synthetic.with_columns(
        pl.Series("draw", draws, dtype=pl.String),
        pl.min_horizontal(
            pl.col(score).rank("min").over("label")
            for score in ("label_confidence", "round_trip_cosine")
        ).alias("unsure"),
    ).with_columns(pl.col("draw").rank("ordinal").over("label").alias("place"))
    drawn = ranked.filter(pl.col("place") <= n_sample).with_columns(why=pl.lit(SAMPLE))
    rest = (
        ranked.filter(pl.col("place") > n_sample)
        .sort("unsure", "label_confidence", "sample_id")
        .with_columns(pl.int_range(1, pl.len() + 1).over("label").cast(pl.UInt32).alias("place"))
        .filter(pl.col("place") <= n_unsure)
        .with_columns(why=pl.lit(UNSURE))
    )
    return (
        pl.concat([drawn.select(rest.columns), rest])
        .sort("place", "why", "label", "sample_id")  # "least sure" comes before "sample"
        .drop("draw", "unsure", "place")
    )
