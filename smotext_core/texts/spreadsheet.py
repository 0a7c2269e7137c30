"""CSV that a spreadsheet shows as it is: no cell of it is a formula."""

from __future__ import annotations

import json

import polars as pl

# What spreadsheets read as the beginning of a formula, or skip before one.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
_GUARD = "'"


def guarded(frame: pl.DataFrame) -> pl.DataFrame:
    """Strings that begin like a formula with an apostrophe before; lists as JSON.

    An apostrophe that was there before gets one too, so that `unguarded` gives every string back.
    """
    columns = []
    for name, dtype in frame.schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.List):
            column = column.map_elements(
                lambda cell: json.dumps(cell.to_list(), ensure_ascii=False), return_dtype=pl.String
            )
            dtype = pl.String()
        if dtype == pl.String:
            risky = column.str.contains(r"^'*[=+\-@\t\r]")
            column = pl.when(risky).then(pl.lit(_GUARD) + column).otherwise(column)
        columns.append(column.alias(name))
    return frame.select(columns)


def unguarded(text: str) -> str:
    """The string that `guarded` was given."""
    rest = text.lstrip(_GUARD)
    return text[1:] if text.startswith(_GUARD) and rest.startswith(FORMULA) else text


def csv_bytes(frame: pl.DataFrame, *, bom: bool = False) -> bytes:
    """`frame`, guarded, as UTF-8 with a header; `bom`: with the mark by which Excel knows UTF-8."""
    text: str = guarded(frame).write_csv()
    return (b"\xef\xbb\xbf" if bom else b"") + text.encode()
