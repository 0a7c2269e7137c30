"""`smotext evaluate`: does a run help a classifier."""

import argparse
import os
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smotext_assets.graph import check_run
from smotext_assets.store import Store
from smotext_core.efficacy import MOST_LABELS, best_with_rows, verdicts

_COLORS = {"helps": "green", "hurts": "red"}


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("run", help="key of a run, as `smotext status` lists them")
    parser.add_argument("--seeds", type=int, default=10, help="paired subsamples; default: 10")
    parser.add_argument(
        "--other-encoder",
        metavar="FOLDER",
        help="a second encoder to judge by, in sentence-transformers' layout",
    )


def evaluate_command(
    given: argparse.Namespace,
    *,
    store: Store,
    materialize: Callable[[Mapping[str, Any]], Mapping[str, str]],
    console: Console,
) -> int:
    """Materialise `evaluation` of the run and print its verdicts; returns the exit status.

    Args:
        materialize: given the asset's configuration, makes it; returns what failed and why.

    Raises:
        LookupError: there is no such run.
        ValueError: the run has no accepted rows, or its evaluation failed.
    """
    run = given.run
    check_run(store, run, command="evaluate")
    if not any(at["run"] == run for at in store.partitions("synthetic_texts")):
        raise ValueError(f"the run {run} has no synthetic_texts yet: finish it by `smotext run`")
    other = given.other_encoder
    if other and os.path.isdir(other):
        other = os.path.abspath(other)
    if failed := materialize({"n_seeds": given.seeds, "other_encoder": other}):
        raise ValueError("; ".join(f"{key}: {reason}" for key, reason in failed.items()))
    print_verdicts(store.read("evaluation", {"run": run}), run, console)
    corpus = pl.concat(store.read_frames("labelled_texts", columns=["label"]))
    if (n_labels := corpus["label"].n_unique()) > MOST_LABELS:
        console.print(f"of {n_labels} labels {MOST_LABELS} were judged, those with rows first")
    return 0


def print_verdicts(evaluation: pl.DataFrame, run: str, console: Console) -> None:
    """What the synthetic rows did for each label under each head, and macro-F1 of every arm."""
    advice = verdicts(evaluation)
    if advice.is_empty():
        console.print(f"run {run}: no synthetic row was made, so there is nothing to judge")
    heads = [name for name in advice.columns if name not in ("label", "advice")]
    of_row = {
        (row["arm"], row["head"]): row
        for row in evaluation.filter(pl.col("metric") == "macro_f1").iter_rows(named=True)
    }
    if advice.height:
        of_best = {
            (row["head"], row["label"]): row
            for row in best_with_rows(evaluation).iter_rows(named=True)
        }
        title = f"run {run}: F1 with synthetic rows, over the best arm that needs none"
        table = Table(title=title, title_justify="left")
        for name in ("label", *heads, "advice"):
            table.add_column(name, overflow="fold")
        for label, *_, advised in advice.iter_rows():
            cells = [_over(of_best.get((head, label))) for head in heads]
            named = "all labels (macro-F1)" if label is None else label
            table.add_row(Text(named), *cells, Text(advised))
        console.print(table)
    table = Table(title="macro-F1 by training rows", title_justify="left")
    for name in ("arm", *heads):
        table.add_column(name)
    for arm in evaluation["arm"].unique(maintain_order=True):
        table.add_row(arm, *(_cell(of_row.get((arm, head))) for head in heads))
    console.print(table)
    console.print(
        "Above, the best arm with synthetic rows beside the best without, below every arm beside "
        "the real rows alone, with 95 % intervals; where one spans 0 there is no evidence."
    )


def _cell(row: Mapping[str, Any] | None) -> Text:
    if row is None:
        return Text("–")
    if row["difference"] is None:
        return Text(f"{row['value']:.3f}")
    figures = f"{row['difference']:+.3f} ({row['low']:+.3f}, {row['high']:+.3f})"
    return Text(f"{figures} {row['verdict']}", style=_COLORS.get(row["verdict"], ""))


def _over(row: Mapping[str, Any] | None) -> Text:
    if row is None:
        return Text("–")
    figures = f"{row['over_cheap']:+.3f} ({row['over_low']:+.3f}, {row['over_high']:+.3f})"
    told = f"{figures} {row['over_verdict']}: {row['arm']} over {row['cheap_arm']}"
    return Text(told, style=_COLORS.get(row["over_verdict"], ""))
