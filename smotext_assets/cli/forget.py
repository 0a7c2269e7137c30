"""`smotext forget`: remove texts and all that descends from them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import polars as pl
from rich.console import Console
from rich.text import Text

from smotext_assets.automation import unfinished_runs
from smotext_assets.forgetting import forget
from smotext_assets.graph import run_config
from smotext_assets.store import GENERATOR_FORGOTTEN, Store, read_sound
from smotext_core.schemas import EXPORTS


def add_forget(parser: argparse.ArgumentParser) -> None:
    """The command's argument."""
    parser.add_argument(
        "id",
        nargs="+",
        help="of a document, or of one of its passages, which stands for its document",
    )


def forget_command(
    ids: Sequence[str],
    *,
    instance: dg.DagsterInstance,
    store: Store,
    warehouse: Path,
    workspace: Path,
    console: Console,
) -> int:
    """Forget the documents and print the receipt; returns the exit status.

    Raises:
        ValueError: a run is in progress, or none of the documents is known.
    """
    if busy := unfinished_runs(instance, warehouse):
        raise ValueError(
            f"the runs {', '.join(busy)} are not finished and could write a text back: let them "
            "finish or cancel them"
        )
    receipt = forget(store, warehouse, ids, instance=instance, workspace=workspace).row(
        0, named=True
    )
    for table in ("synthetic_texts", "synthetic_table"):  # a label may have texts and no table yet
        for at in store.partitions(table):
            if at["label"] in receipt["labels"] and at["run"] in receipt["runs"]:
                instance.report_runless_asset_event(  # evidence follows, where follow_up is started
                    dg.AssetMaterialization(table, partition=f"{at['label']}|{at['run']}")
                )
    gone = dict(zip(receipt["tables"], receipt["rows"], strict=True))
    lines = (
        f"forgotten  {', '.join(receipt['document_ids'])}",
        f"rows       {', '.join(f'{n} of {table}' for table, n in gone.items()) or 'none'}",
        f"labels     {', '.join(receipt['labels']) or 'none'}",
        f"runs       {', '.join(receipt['runs']) or 'none'}",
        "Materialise evaluation, privacy_audit and dataset_card of these runs again: "
        "`smotext card RUN` does.",
        *_without_generator(store),
        *_exports(store, receipt["runs"]),
        "Left to you: the file the corpus is read from, backups, generators trained elsewhere, and "
        "compute logs that Dagster keeps in a bucket.",
    )
    console.print(Text("\n".join(lines)), soft_wrap=True)
    return 0


def _without_generator(store: Store) -> list[str]:
    """The runs whose generator is gone."""
    told = [
        at["run"]
        for at in store.partitions("runs")
        if GENERATOR_FORGOTTEN in run_config(store, at["run"])
    ]
    why = "whose generator may have been trained on a forgotten text and is deleted"
    return [f"No more rows can be made for {', '.join(told)}, {why}"] if told else []


def _exports(store: Store, runs: Sequence[str]) -> list[str]:
    """Where these runs went out to, and how their rows go there too."""
    there, damage = read_sound(store, "exports", schema=EXPORTS)
    unknown = [f"Exports that nobody can tell of: {told}" for told in damage]
    places = there.filter(pl.col("run").is_in(list(runs)))
    if places.is_empty():
        return unknown
    again = "Exports still have the rows: `smotext export RUN --to … --vacuum` writes them again"
    cut_off = pl.col("done").eq(False).fill_null(False)  # null: of an older version
    whole, begun = (sorted(set(places.filter(of)["place"])) for of in (~cut_off, cut_off))
    lines = [f"{again}. They lie at {', '.join(whole)}" if whole else f"{again}."]
    if begun:
        lines.append(f"Begun and not finished, there in part or not at all: {', '.join(begun)}")
    return lines + unknown
