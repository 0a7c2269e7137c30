"""`smotext card`: where the dataset card of a run is, or a copy of it."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from smotext_assets.graph import BY_RUN, check_run
from smotext_assets.store import WITHDRAWN, Store


def add_card(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("run", help="key of a run, as `smotext status` lists them")
    parser.add_argument("--out", metavar="FILE", help="write a copy: FILE.html or FILE.md")


def card_command(
    given: argparse.Namespace,
    *,
    store: Store,
    materialize: Callable[[Sequence[str]], Mapping[str, str]],
    console: Console,
) -> int:
    """Print where the card is or write it to `--out`; make it first where there is none.

    Where it was withdrawn the run's evidence is made again before it.

    Args:
        materialize: makes these assets of the run; returns what failed and why.

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
    page = _page(store, name)
    if page is None or WITHDRAWN.encode() in page:
        if page is None:
            _needs(store, run)
        if failed := materialize(["dataset_card"] if page is None else BY_RUN):
            raise ValueError("; ".join(f"{key}: {why}" for key, why in failed.items()))
        page = store.read_bytes(name)
    if out:
        Path(out).write_bytes(page)
    console.print(out or f"{store.root}/{name}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _page(store: Store, name: str) -> bytes | None:
    try:
        return store.read_bytes(name)
    except FileNotFoundError:
        return None


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
