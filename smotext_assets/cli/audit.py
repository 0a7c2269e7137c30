"""`smotext audit`: what a table of synthetic texts tells of the real ones, whoever made it."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smotext_assets.cli.corpus import add_label_options, add_reading_options
from smotext_core.privacy import MEASURES, audit_table
from smotext_core.texts import read_corpus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_RESULTS = {True: ("passed", "green"), False: ("red", "red"), None: ("not judged", "")}
_OUT = (".parquet", ".json")


def add_audit(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "file",
        help="the synthetic texts: a file by path or s3:// address, as a corpus; it and the two "
        "below are read in the same way",
    )
    parser.add_argument(
        "--against", required=True, metavar="CORPUS", help="the real texts that they were made from"
    )
    parser.add_argument(
        "--holdout",
        metavar="CORPUS",
        help="real texts of the same kind that they were not made from; without them only copies "
        "are judged",
    )
    add_reading_options(parser)
    add_label_options(parser)
    parser.add_argument("--out", metavar="FILE", help="keep the measures: .parquet or .json")


def audit_command(
    given: argparse.Namespace,
    *,
    encode: "Callable[[Sequence[str]], NDArray[np.float32]]",
    open_bytes: Callable[[str], IO[bytes]],
    console: Console,
) -> int:
    """Measure, print, and return the exit status: 1 where a measure is red.

    Raises:
        ValueError: a file that cannot be read, a label that the corpus does not have, another
            ending of --out.
    """
    if given.out and Path(given.out).suffix not in _OUT:
        raise ValueError(f"--out takes a file that ends in {' or '.join(_OUT)}, got {given.out!r}")

    def texts(source: str) -> pl.DataFrame:
        found, refused = read_corpus(
            source,
            text=given.text,
            label=given.label,
            newsgroups=given.newsgroups,
            delimiter=given.delimiter,
            encoding=given.encoding,
            explode=given.explode,
            open_bytes=open_bytes,
            tell=lambda line: console.print(Text(line)),
        )
        if refused.height:
            console.print(Text(f"{source}: {refused.height} rows left out, they cannot be used"))
        return found

    synthetic, train = texts(given.file), texts(given.against)
    holdout = texts(given.holdout) if given.holdout else train.clear()
    name = Path(given.file).name
    measures = audit_table(synthetic, train, holdout, encode=encode, name=name)
    if given.out:
        out = Path(given.out)
        write = measures.write_parquet if out.suffix == ".parquet" else measures.write_json
        partial = out.with_name(f".{out.name}.partial")
        write(partial)
        partial.replace(out)
    print_measures(measures, name, console)
    return int(measures.filter(~pl.col("passed")).height > 0)


def print_measures(measures: pl.DataFrame, name: str, console: Console) -> None:
    """A table of the measures; labels and names are data."""
    table = Table(title=Text(f"leakage of {name}"), title_justify="left")
    for column in ("measure", "rows", "found", "expected", "limit", "result"):
        table.add_column(column, overflow="fold")
    for row in measures.iter_rows(named=True):
        result, color = _RESULTS[row["passed"]]
        figures = (
            "–" if row[column] is None else f"{row[column]:.3f}"
            for column in ("value", "reference", "threshold")
        )
        table.add_row(
            MEASURES.get(row["measure"], row["measure"]),
            Text(row["label"] or "all"),
            *figures,
            Text(result, style=color),
        )
    console.print(table)
    console.print(
        "Passing is no guarantee: these measures found no more than chance explains, another one "
        "may find more. Not judged is not passed: too few rows, or no --holdout."
    )
