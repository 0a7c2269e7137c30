"""A review as a file: CSV or Excel, out and in again. What is in it is told by `verdicts`."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import polars as pl

from smotext_core.reviews.verdicts import VERDICTS
from smotext_core.texts import guarded

FILE_COLUMNS = (
    "run",
    "sample_id",
    "label",
    "text",
    "parents",
    "round_trip_cosine",
    "label_confidence",
    "why",
    "verdict",
    "corrected_label",
    "reviewer",
    "reviewed_at",
)
NEEDED = ("run", "sample_id", "text", "verdict")


def review_frame(
    rows: pl.DataFrame, verdicts: pl.DataFrame, parents: Mapping[str, str] | None
) -> pl.DataFrame:
    """FILE_COLUMNS of `review_rows`, with the verdicts that are there already.

    Args:
        verdicts: REVIEWS of these texts, see `matching`.
        parents: text of each parent by id; None: the reader may not see them.
    """
    told = []
    for ids in rows["parent_ids"]:
        texts = [] if parents is None else [parents.get(i, "(not in the corpus)") for i in ids]
        told.append("\n".join(f"{i}. {text}" for i, text in enumerate(texts, 1)))
    known = verdicts.select(
        "sample_id",
        pl.when(pl.col("verdict") == "relabel")
        .then(pl.lit(""))
        .otherwise("verdict")
        .alias("verdict"),
        "corrected_label",
        "reviewer",
        "reviewed_at",
    )
    joined = rows.with_columns(
        pl.Series("parents", told, dtype=pl.String),
        # as doubles: a float32 of .34 is .3400000035762787 in JSON and Excel
        pl.col("round_trip_cosine", "label_confidence").cast(pl.Float64).round(3),
    ).join(known, on="sample_id", how="left", maintain_order="left")
    return joined.select(FILE_COLUMNS).with_columns(
        pl.col("verdict", "corrected_label", "reviewer", "reviewed_at").fill_null("")
    )


def review_xlsx(frame: pl.DataFrame, labels: Sequence[str]) -> bytes:
    """One sheet, every cell of text a text: Excel makes no number or date of an id.

    Raises:
        ImportError: xlsxwriter is not installed.
    """
    try:
        import xlsxwriter
    except ImportError as error:
        raise ImportError(
            "Excel needs the package xlsxwriter: pip install 'smotext[export]', or a .csv"
        ) from error
    file = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_numbers": False,
        "strings_to_urls": False,
    }
    with xlsxwriter.Workbook(file, options) as book:
        book.set_properties({"created": datetime(2026, 1, 1, tzinfo=UTC)})  # the same bytes again
        sheet = book.add_worksheet("review")
        text, head = book.add_format({"num_format": "@", "text_wrap": True}), book.add_format()
        head.set_bold()
        sheet.write_row(0, 0, frame.columns, head)
        for line, row in enumerate(guarded(frame).iter_rows(), 1):
            for column, cell in enumerate(row):
                if isinstance(cell, str):
                    sheet.write_string(line, column, cell, text)
                elif cell is not None:
                    sheet.write_number(line, column, cell)
        place = frame.columns.index
        for name, choice in (("verdict", [*VERDICTS]), ("corrected_label", list(labels))):
            if len(",".join(choice)) < 256:  # Excel takes no longer list
                sheet.data_validation(
                    1, place(name), max(frame.height, 1), place(name),
                    {"validate": "list", "source": choice, "ignore_blank": True},
                )  # fmt: skip
        sheet.set_column(place("text"), place("parents"), 60)
        sheet.freeze_panes(1, 0)
    return file.getvalue()


def read_review(data: bytes, *, name: str) -> pl.DataFrame:
    """The cells of a CSV or Excel file, strings, empty ones "", in its order.

    Raises:
        ValueError: it is neither, or lacks a column.
        ImportError: fastexcel is not installed.
    """
    if name.endswith(".xlsx"):
        frame = _read_xlsx(data)
    elif name.endswith(".csv"):
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name} must be UTF-8, byte {error.start} is not: save it as CSV UTF-8"
            ) from error
        first = text.partition("\n")[0]
        separator = max(",;\t", key=first.count)  # spreadsheets write what their country does
        try:
            frame = pl.read_csv(text.encode(), infer_schema=False, separator=separator)
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"{name} is no CSV that can be read: {error}") from error
    else:
        raise ValueError(f"a review file ends in .csv or .xlsx, got {name!r}")
    if missing := [column for column in NEEDED if column not in frame.columns]:
        raise ValueError(
            f"{name} needs the columns {', '.join(NEEDED)}, as `smotext review --export` writes "
            f"them; {', '.join(missing)} are missing from {json.dumps(frame.columns)}"
        )
    absent = [pl.lit("").alias(column) for column in FILE_COLUMNS if column not in frame.columns]
    return frame.with_columns(absent).select(pl.col(FILE_COLUMNS).fill_null(""))


def _read_xlsx(data: bytes) -> pl.DataFrame:
    try:
        import fastexcel
    except ImportError as error:
        raise ImportError(
            "Excel needs the package fastexcel: pip install 'smotext[export]', or save as CSV"
        ) from error
    try:
        sheet = fastexcel.read_excel(data).load_sheet(0, dtypes="string")
    except fastexcel.FastExcelError as error:
        raise ValueError(f"this is no Excel file that can be read: {error}") from error
    frame = pl.DataFrame(sheet)
    return frame.select(pl.col(name).cast(pl.String) for name in frame.columns)
