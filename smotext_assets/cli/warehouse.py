"""`smotext warehouse`: the DuckDB file brought up to the store, or made anew."""

import argparse
from pathlib import Path

from rich.console import Console

from smotext_assets.store import Store, refresh_warehouse


def add_warehouse(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--rebuild", action="store_true", help="make it anew of the whole store, from nothing"
    )


def warehouse_command(
    given: argparse.Namespace, *, store: Store, path: Path, console: Console
) -> int:
    """Refresh the warehouse at `path`; print where it is and how many rows each table has.

    Raises:
        ValueError: a partition is damaged.
        OSError: the store or the file's folder failed, or another refresh goes on.
    """
    rows = refresh_warehouse(store, path, rebuild=given.rebuild)
    told = [str(path), *(f"{count:>12,}  {name}" for name, count in rows.items())]
    console.print("\n".join(told), markup=False, highlight=False, soft_wrap=True)
    return 0
