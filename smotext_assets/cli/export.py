"""`smotext export`: a run's published rows in the formats that others read."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from smotext_assets.graph import check_run
from smotext_assets.stages import FORMATS
from smotext_assets.store import Store


def add_export(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("run", help="key of a run, as `smotext status` lists them")
    parser.add_argument(
        "--to", metavar="FOLDER|s3://…", help="default: SMOTEXT_EXPORTS, else SMOTEXT_HOME/exports"
    )
    parser.add_argument("--labels", help="only these, by slug, separated by commas")
    parser.add_argument(
        "--formats", help=f"of {', '.join(FORMATS)}, separated by commas; default: all"
    )
    parser.add_argument(
        "--with-real", action="store_true", help="the real train and test texts beside them"
    )
    parser.add_argument("--bom", action="store_true", help="CSV by which Excel knows UTF-8")
    parser.add_argument(
        "--vacuum", action="store_true", help="delete former versions of the Delta table for good"
    )
    parser.add_argument("--licence", help="of the data set, as the hub writes it; default: other")
    parser.add_argument("--language", help="of its texts, as the hub writes it; default: en")


def export_command(
    given: argparse.Namespace,
    *,
    store: Store,
    materialize: Callable[[Mapping[str, Any]], Mapping[str, str]],
    console: Console,
) -> int:
    """Write the run and print where it lies and what stayed behind.

    Raises:
        LookupError: there is no such run.
        ValueError: a format or label that is not there, or the export failed.
    """
    check_run(store, given.run, command="export")
    formats = given.formats.split(",") if given.formats else list(FORMATS)
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise ValueError(f"--formats takes {', '.join(FORMATS)}; got {', '.join(unknown)}")
    to = given.to or ""
    config = {
        "to": str(Path(to).expanduser().absolute()) if to and "://" not in to else to,
        "formats": formats,
        "labels": given.labels.split(",") if given.labels else [],
        "with_real": given.with_real,
        "bom": given.bom,
        "vacuum": given.vacuum,
        "licence": given.licence,
        "language": given.language,
    }
    asked = {name: value for name, value in config.items() if value is not None}
    if failed := materialize(asked):
        raise ValueError("; ".join(f"{key}: {why}" for key, why in failed.items()))
    manifest = store.manifest("exports", {"run": given.run})
    for place in store.read("exports", {"run": given.run}).iter_rows(named=True):
        begun = "  (begun and not finished)" if place["done"] is False else ""
        line = f"{place['format']:<12} {place['rows']:>7,}  {place['place']}{begun}"
        console.print(Text(line), soft_wrap=True)
    left_out = manifest.metadata["left_out"] if manifest else []
    for reason in left_out if isinstance(left_out, list) else []:
        console.print(Text(f"left out     {reason}"), soft_wrap=True)
    return 0
