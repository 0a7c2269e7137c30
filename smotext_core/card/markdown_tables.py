"""Markdown tables that a person reads, of frames and of synthetic texts beside their parents.

Whatever comes from the corpus (texts, labels) reaches a page through `blocks` only.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from smotext_core.card.blocks import markdown_rows


def markdown_table(
    frame: pl.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    max_rows: int = 20,
    max_characters: int = 200,
) -> str:
    """The first rows of `frame` as a Markdown table, every cell escaped and cut.

    Raises:
        ValueError: a column that `frame` does not have.
    """
    columns = frame.columns if columns is None else list(columns)
    unknown = [name for name in columns if name not in frame.columns]
    if unknown:
        raise ValueError(f"the frame has the columns {frame.columns}; {unknown} are not among them")
    rows = frame.select(columns).head(max_rows).rows()
    lines = markdown_rows(columns, rows, max_characters=max_characters)
    left = frame.height - len(rows)
    return f"{lines}\n\n… and {left:,} more rows" if left else lines


def samples(
    synthetic: pl.DataFrame, labelled: pl.DataFrame
) -> list[tuple[str, str, float, list[tuple[float, str]]]]:
    """Label, text, round-trip cosine, and (weight, text) of each parent, the base first."""
    wanted = synthetic["parent_ids"].explode().unique()
    known = labelled.filter(pl.col("text_id").is_in(wanted.implode()))
    text_of = dict(known.select("text_id", "text").iter_rows())
    rows = synthetic.select("label", "text", "round_trip_cosine", "parent_ids", "weights")
    return [
        (
            label,
            text,
            cosine,
            [
                (weight, text_of.get(parent, "(no longer in the corpus)"))
                for parent, weight in zip(parents, weights, strict=True)
            ],
        )
        for label, text, cosine, parents, weights in rows.iter_rows()
    ]
