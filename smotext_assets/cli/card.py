"""`smotext card`: where the dataset card of a run is, or a copy of it."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from smotext_assets.graph import check_run
from smotext_assets.store import Store


def add_card(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("run", help="key of a run, as `smotext status` lists them")
    parser.add_argument("--out", metavar="FILE", help="write a copy: FILE.html or FILE.md")


def card_command(
    given: argparse.Namespace,
    *,
    store: Store,
    materialize: Callable[[Mapping[str, Any]], Mapping[str, str]],
    console: Console,
) -> int:
    """Print where the card is or write it to `--out`; make it first where there is none.

    Args:
        materialize: given the asset's configuration, makes it; returns what failed and why.

    Raises:
        LookupError: there is no such run.
        ValueError: `--out` ends otherwise, the run has no published rows or no evidence yet, or
            the card failed.
        OSError: the file cannot be written.
    """
    run, out = given.run, given.out
    if out and not out.endswith((".html", ".md")):
        raise ValueError(f"--out must end in .html or .md, which say what to write; got {out!r}")
    check_run(store, run, command="card")
    name = f"dataset_card/{run}.md" if out and out.endswith(".md") else f"dataset_card/{run}.html"
    try:
        page = store.read_bytes(name)
    except FileNotFoundError:
        _needs(store, run)
        if failed := materialize({}):
            raise ValueError("; ".join(f"{key}: {why}" for key, why in failed.items())) from None
        page = store.read_bytes(name)
    if out:
        Path(out).write_bytes(page)
    console.print(out or f"{store.root}/{name}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _needs(store: Store, run: str) -> None:
    """What the card is made of must be there."""
    tables = ("synthetic_table", "evaluation", "privacy_audit")
    missing = [
        table for table in tables if not any(at["run"] == run for at in store.partitions(table))
    ]
    if missing:
        raise ValueError(
            f"the card of run {run} needs {', '.join(missing)}, not yet there: finish the run by "
            "`smotext run`"
        )
