"""`smotext`: the asset graph from a terminal, on the same instance as the UI."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from smotext_assets.cli.audit import add_audit, audit_command
from smotext_assets.cli.card import add_card, card_command
from smotext_assets.cli.check import add_check, check_command
from smotext_assets.cli.evaluate import add_evaluate, evaluate_command
from smotext_assets.cli.export import add_export, export_command
from smotext_assets.cli.forget import add_forget, forget_command
from smotext_assets.cli.materializing import Graph
from smotext_assets.cli.review import add_review, review_command
from smotext_assets.cli.run import run_command
from smotext_assets.cli.run_options import add_run
from smotext_assets.cli.summary import print_runs
from smotext_assets.cli.train import add_train_generator, train_generator_command
from smotext_assets.cli.warehouse import add_warehouse, warehouse_command
from smotext_assets.definitions import dagster_instance, resources
from smotext_assets.graph import runs


def _console() -> Console:
    return Console(file=sys.__stderr__, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="smotext", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add_check(commands.add_parser("check", help="what a corpus holds, and what a run would make"))
    add_run(commands.add_parser("run", help="corpus in, new rows of the rare classes out"))
    commands.add_parser("status", help="what the store holds, run by run")
    add_forget(commands.add_parser("forget", help="remove texts and all that descends from them"))
    add_evaluate(commands.add_parser("evaluate", help="does a run help a classifier"))
    add_audit(commands.add_parser("audit", help="does a table of synthetic texts leak"))
    add_card(commands.add_parser("card", help="where the card of a run is, or a copy of it"))
    add_export(commands.add_parser("export", help="a run's rows in formats that others read"))
    add_warehouse(commands.add_parser("warehouse", help="bring the DuckDB file up to the store"))
    add_review(commands.add_parser("review", help="let a person read the rows"))
    train = "a generator of any encoder and any causal language model"
    add_train_generator(commands.add_parser("train-generator", help=train))
    given = parser.parse_args(arguments)
    try:
        if given.command == "status":
            found = resources()
            print_runs(found["store"].open(), Console(), generator=found["generator"])
            return 0
        if given.command == "check":
            return check_command(given, found=resources(), console=Console())
        if given.command == "forget":
            found = resources()
            return forget_command(
                given.id,
                instance=dagster_instance(),
                store=found["store"].open(),
                warehouse=found["warehouse"].file,
                workspace=Path(found["generator"].workspace).expanduser(),
                console=Console(),
            )
        if given.command == "train-generator":
            store = resources()["store"]
            return train_generator_command(given, store=store, console=_console())
        if given.command == "evaluate":
            return _evaluate(given)
        if given.command == "audit":
            found = resources()
            return audit_command(
                given,
                encode=lambda texts: found["generator"].load().encode(texts),
                open_bytes=found["store"].open_bytes,
                console=Console(),
            )
        if given.command == "warehouse":
            found = resources()
            store, path = found["store"].open(), found["warehouse"].file
            return warehouse_command(given, store=store, path=path, console=Console())
        if given.command == "card":
            of_run = _of_run(given.run, "dataset_card")
            materialize = partial(of_run.pop("materialize"), {})
            return card_command(given, materialize=materialize, **of_run)
        if given.command == "export":
            return export_command(given, **_of_run(given.run, "exported_dataset"))
        if given.command == "review":
            return review_command(given, **_of_run(given.run, "reviews"))
        return run_command(
            given, instance=dagster_instance(), found=resources(), console=_console()
        )
    except KeyboardInterrupt:
        how = " with --run KEY" if given.command == "run" else ""
        _console().print(f"smotext: interrupted; the same command{how} goes on from there")
        return 130
    except (ValueError, LookupError, OSError, ImportError) as error:
        _console().print(f"smotext: {error}", markup=False, style="red")
        return 2


def _evaluate(given: argparse.Namespace) -> int:
    return evaluate_command(given, **_of_run(given.run, "evaluation"))


def _of_run(run: str, asset: str) -> dict[str, Any]:
    """The store, the console, and what materialises one asset of a run that is there."""
    console, instance, found = _console(), dagster_instance(), resources()

    def materialize(
        config: Mapping[str, Any], assets: Sequence[str] = (asset,)
    ) -> Mapping[str, str]:
        instance.add_dynamic_partitions(str(runs.name), [run])
        graph = Graph(instance, found, {asset: config} if config else {}, console)
        return graph.materialize(assets, partition_key=run)

    return {"store": found["store"].open(), "materialize": materialize, "console": Console()}


if __name__ == "__main__":
    sys.exit(main())
