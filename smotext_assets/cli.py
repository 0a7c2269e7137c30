"""`smotext`: the asset graph from a terminal, on the same instance as the UI."""

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

import dagster as dg
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from smotext_assets.automation import root_cause, unfinished_runs
from smotext_assets.cli_audit import add_audit, audit_command
from smotext_assets.cli_card import add_card, card_command
from smotext_assets.cli_evidence import add_evaluate, evaluate_command
from smotext_assets.cli_pairs import add_pair_options, pair_options
from smotext_assets.cli_train import add_train_generator, train_generator_command
from smotext_assets.definitions import dagster_instance, definitions, resources
from smotext_assets.forget import forget
from smotext_assets.partitions import BY_LABEL_AND_RUN, BY_RUN, neighbours, range_tags
from smotext_assets.partitions import labels as label_partitions
from smotext_assets.partitions import runs as run_partitions
from smotext_assets.processes import fail_dead_runs, this_process
from smotext_assets.resources import Corpus, GeneratorResource, Progress, Table
from smotext_assets.runs import frozen_run, run_options
from smotext_assets.summary import print_adaptation, print_runs, print_summary

_INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


class TerminalProgress(Progress):
    """Bars in a terminal, lines elsewhere."""

    descriptor: int = Field(
        description="Of the terminal: a copy of 2, which Dagster redirects to its log in a step."
    )

    @contextmanager
    def track(self, context: dg.AssetExecutionContext, what: str, total: int) -> Iterator[Any]:
        console = Console(file=os.fdopen(self.descriptor, "w", closefd=False), soft_wrap=True)
        if not console.is_terminal:
            with super().track(context, what, total) as advance:
                yield advance
            console.print(f"{what}: {total} done", markup=False, highlight=False)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Bar(*columns, TimeElapsedColumn(), console=console) as bar:
            # labels are data: brackets in them are not markup
            task = bar.add_task(what.replace("[", r"\["), total=total)
            yield lambda rows: bar.advance(task, rows)


def _console() -> Console:
    return Console(file=sys.__stderr__, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="smotext", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands.add_parser("run", help="corpus in, new rows of the rare classes out"))
    commands.add_parser("status", help="what the store holds, run by run")
    _add_forget(commands.add_parser("forget", help="remove texts and all that descends from them"))
    add_evaluate(commands.add_parser("evaluate", help="does a run help a classifier"))
    add_audit(commands.add_parser("audit", help="does a table of synthetic texts leak"))
    add_card(commands.add_parser("card", help="where the card of a run is, or a copy of it"))
    train = "a generator of any encoder and any causal language model"
    add_train_generator(commands.add_parser("train-generator", help=train))
    given = parser.parse_args(arguments)
    try:
        if given.command == "status":
            found = resources()
            print_runs(found["store"].open(), Console(), generator=found["generator"])
            return 0
        if given.command == "forget":
            return _forget(given.id)
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
        if given.command == "card":
            return card_command(given, **_of_run(given.run, "dataset_card"))
        return _run(given)
    except KeyboardInterrupt:
        how = " with --run KEY" if given.command == "run" else ""
        _console().print(f"smotext: interrupted; the same command{how} goes on from there")
        return 130
    except (ValueError, LookupError, OSError, ImportError) as error:
        _console().print(f"smotext: {error}", markup=False, style="red")
        return 2


def _add_forget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "id",
        nargs="+",
        help="of a document, or of one of its passages, which stands for its document",
    )


def _forget(ids: Sequence[str]) -> int:
    instance, found = dagster_instance(), resources()
    if busy := unfinished_runs(instance):
        raise ValueError(
            f"the runs {', '.join(busy)} are not finished and could write a text back: let them "
            "finish or cancel them"
        )
    store = found["store"].open()
    receipt = forget(store, found["warehouse"].file, ids).row(0, named=True)
    for at in store.partitions("synthetic_table"):
        if at["label"] in receipt["labels"] and at["run"] in receipt["runs"]:
            for table in ("synthetic_texts", "synthetic_table"):
                instance.report_runless_asset_event(  # evidence follows, where follow_up is started
                    dg.AssetMaterialization(table, partition=f"{at['label']}|{at['run']}")
                )
    gone = dict(zip(receipt["tables"], receipt["rows"], strict=True))
    lines = (
        f"forgotten  {', '.join(receipt['document_ids'])}",
        f"rows       {', '.join(f'{n} of {table}' for table, n in gone.items()) or 'none'}",
        f"labels     {', '.join(receipt['labels']) or 'none'}",
        f"runs       {', '.join(receipt['runs']) or 'none'}",
        "Materialise evaluation, privacy_audit and dataset_card of these runs again.",
        "Left to you: the file the corpus is read from, backups, generators trained elsewhere, and "
        "Dagster's record of past runs, which quotes samples.",
    )
    Console().print(Text("\n".join(lines)), soft_wrap=True)
    return 0


def _evaluate(given: argparse.Namespace) -> int:
    return evaluate_command(given, **_of_run(given.run, "evaluation"))


def _of_run(run: str, asset: str) -> dict[str, Any]:
    """The store, the console, and what materialises one asset of a run that is there."""
    console, instance, found = _console(), dagster_instance(), resources()
    found["generator"] = GeneratorResource(**found["generator"].model_dump())

    def materialize(config: Mapping[str, Any]) -> Mapping[str, str]:
        instance.add_dynamic_partitions(str(run_partitions.name), [run])
        graph = _Graph(instance, found, {asset: config} if config else {}, console)
        return graph.materialize([asset], partition_key=run)

    return {"store": found["store"].open(), "materialize": materialize, "console": Console()}


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "corpus",
        nargs="?",
        help="a .csv, .jsonl or .parquet file by path or s3:// address, clinic_notes, 20newsgroups "
        "or hf:NAME; default: SMOTEXT_CORPUS, else clinic_notes",
    )
    parser.add_argument("--text", default="text", metavar="COLUMN", help="column of texts")
    parser.add_argument("--label", default="label", metavar="COLUMN", help="column of labels")
    parser.add_argument("--id", default=None, metavar="COLUMN", help="column of ids")
    parser.add_argument(
        "--newsgroups", action="store_true", help="strip headers, quotes and footers of posts"
    )
    parser.add_argument("--generator", help="mini or a folder; default: SMOTEXT_GENERATOR")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: SMOTEXT_DEVICE, or cpu")
    parser.add_argument("--run", help="key of the run; default: the time, such as 20261122T0300")
    parser.add_argument("--labels", help="only these, by slug, separated by commas")
    add_pair_options(parser)
    parser.add_argument("--candidates", type=int, default=8, help="texts decoded per sample")
    parser.add_argument(
        "--max-rouge-l",
        type=float,
        metavar="F1",
        help="refuse texts that repeat a closer one of their label to this ROUGE-L, such as 0.7; "
        "default: no such filter",
    )
    parser.add_argument(
        "--publish-anyway",
        action="append",
        default=[],
        metavar="SLUG=REASON",
        help="publish a label that a gate holds back; the reason is kept",
    )
    parser.add_argument(
        "--hold-where-it-hurts",
        action="store_true",
        help="evaluate before publishing, and hold back labels whose rows hurt a classifier",
    )
    parser.add_argument(
        "--adapt",
        type=int,
        default=0,
        metavar="STEPS",
        help="train the generator on the train texts first; default: 0, not at all",
    )
    parser.add_argument("--temperature", type=float, default=0.5, help="of the sampled candidates")


def _run(given: argparse.Namespace) -> int:
    console, instance = _console(), dagster_instance()
    run = given.run or datetime.now(UTC).strftime("%Y%m%dT%H%M")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", run):
        raise ValueError(f"a run key has letters, digits, - and _ only, got {run!r}")
    found = resources()
    source = given.corpus or found["corpus"].source
    found["corpus"] = Corpus(
        source=source if "://" in source or not os.path.exists(source) else os.path.abspath(source),
        text=given.text,
        label=given.label,
        document_id=given.id,
        newsgroups=given.newsgroups,
    )
    found["generator"] = GeneratorResource(
        generator=given.generator or found["generator"].generator,
        device=given.device or found["generator"].device,
        dtype=found["generator"].dtype,
        workspace=found["generator"].workspace,
    )
    found["progress"] = TerminalProgress(descriptor=os.dup(2))
    decoding = {"n_candidates": given.candidates, "temperature": given.temperature}
    ops = {
        "decoded_texts": decoding,
        "synthetic_texts": {"max_rouge_l": given.max_rouge_l},
        "generator": {"adapt_steps": given.adapt},
        "synthetic_table": {
            "publish_anyway": _reasons(given.publish_anyway),
            "hold_where_it_hurts": given.hold_where_it_hurts,
        },
    }
    console.print(
        f"run {run}: {found['corpus'].source}, generator {found['generator'].generator} "
        f"(licence: {found['generator'].licence})",
        markup=False,
        highlight=False,
    )
    graph = _Graph(instance, found, ops, console)
    graph.materialize(["raw_corpus", "labelled_texts"])
    tables = found["store"].open()
    corpus = tables.read("labelled_texts")
    slugs = sorted(set(corpus["slug"]))
    chosen = given.labels.split(",") if given.labels else slugs
    if unknown := sorted(set(chosen) - set(slugs)):
        raise ValueError(f"--labels: the corpus has {slugs}, not {unknown}")
    asked = pair_options(given)
    run_options(corpus, asked)  # refused here, not after minutes
    bad: dict[str, str] = {}
    try:
        bad |= graph.materialize_labels(["embeddings"], slugs, suffix="")
        graph.materialize(["generator"])
        if given.adapt:
            print_adaptation(tables, console)
        frozen_run(
            tables,
            run,
            labelled_texts=Table(tables, "labelled_texts"),
            generator=found["generator"],
            asked=asked,
        )
        instance.add_dynamic_partitions(str(run_partitions.name), [run])
        good = [slug for slug in chosen if slug not in bad]
        stages: Sequence[str] = BY_LABEL_AND_RUN
        if given.hold_where_it_hurts:
            *texts, table = stages
            bad |= graph.materialize_labels(texts, good, suffix=f"|{run}")
            good, stages = [slug for slug in good if slug not in bad], [table]
            bad |= graph.materialize(["evaluation"], partition_key=run) if good else {}
        bad |= graph.materialize_labels(stages, good, suffix=f"|{run}")
        if set(chosen) - bad.keys():
            bad |= graph.materialize(BY_RUN, partition_key=run)
        print_summary(tables, found["warehouse"].file, run, Console())
    finally:
        for key, reason in bad.items():
            console.print(f"{key} failed: {reason}", markup=False, style="red")
    return 1 if bad else 0


def _reasons(given: Sequence[str]) -> dict[str, str]:
    """Of "slug=reason" the reason by slug."""
    found = {}
    for pair in given:
        slug, _, reason = pair.partition("=")
        if not reason.strip():
            raise ValueError(f"--publish-anyway takes slug=reason, got {pair!r}: say why")
        found[slug] = reason.strip()
    return found


class _Graph:
    """Materialises assets of the code location in this process."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        resources: Mapping[str, Any],
        ops: Mapping[str, Mapping[str, Any]],
        console: Console,
    ) -> None:
        self.job = definitions(resources).resolve_implicit_global_asset_job_def()
        self.instance, self.ops, self.console = instance, ops, console
        fail_dead_runs(instance)

    def materialize(
        self, names: Sequence[str], *, tags: Mapping[str, str] = {}, **options: Any
    ) -> dict[str, str]:
        """Materialise and return the partitions that failed, each with its reason.

        Raises:
            ValueError: a failure that is not of some partitions alone.
            KeyboardInterrupt: Dagster was interrupted, which it records as a failure.
        """
        self.console.print(f"{', '.join(names)} …", highlight=False)
        result = self.job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in names],
            run_config={
                "ops": {n: {"config": dict(self.ops[n])} for n in names if n in self.ops},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            tags={**tags, **this_process()},
            raise_on_error=False,
            **options,
        )
        if result.success:
            return {}
        failures = [e.step_failure_data for e in result.all_node_events if e.is_step_failure]
        if any(f.error and f.error.cls_name in _INTERRUPTS for f in failures):
            raise KeyboardInterrupt
        failed: dict[str, str] = {}
        for failure in failures:
            data = failure.user_failure_data
            if data and (keys := data.metadata.get("failed_partitions")):
                failed |= cast("dict[str, str]", keys.value)
        if not failed:
            causes = "; ".join(root_cause(f.error) for f in failures) or "the run did not start"
            raise ValueError(f"{', '.join(names)} failed: {causes}")
        return failed

    def materialize_labels(
        self, names: Sequence[str], slugs: Sequence[str], *, suffix: str
    ) -> dict[str, str]:
        """One Dagster run for neighbouring labels; without the bad ones, if some failed."""
        order = self.instance.get_dynamic_partitions(str(label_partitions.name))
        bad: dict[str, str] = {}
        todo = neighbours(slugs, order)
        while todo:
            group = todo.pop(0)
            tags = range_tags([f"{slug}{suffix}" for slug in group])
            failed = self.materialize(names, tags=tags)
            bad |= {key.removesuffix(suffix): reason for key, reason in failed.items()}
            if failed:
                todo = neighbours([s for s in group if s not in bad], order) + todo
        return bad


if __name__ == "__main__":
    sys.exit(main())
