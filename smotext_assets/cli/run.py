"""`smotext run`: corpus in, new rows of the rare classes out."""

import argparse
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from smotext_assets.cli.corpus import asked_corpus, check_reads, unlabelled_corpus
from smotext_assets.cli.materializing import Graph
from smotext_assets.cli.pairs import pair_options
from smotext_assets.cli.run_options import adapt_steps, asked_options
from smotext_assets.cli.summary import print_adaptation, print_summary
from smotext_assets.graph import (
    BY_LABEL_AND_RUN,
    BY_RUN,
    Corpus,
    GeneratorResource,
    Progress,
    StoreResource,
    Table,
    check_decodes,
    check_made_by,
    frozen_run,
    generator_in_use,
    labels,
    run_config,
    run_options,
    runs,
)
from smotext_assets.stages import (
    LabelledTextsConfig,
    Options,
    holds_where_it_hurts,
    options_of_labels,
    source_frames,
    store_corpus,
    store_labelled,
)
from smotext_assets.store import Store
from smotext_core.xrag import described


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


def run_command(
    given: argparse.Namespace,
    *,
    instance: dg.DagsterInstance,
    found: dict[str, Any],
    console: Console,
) -> int:
    """Materialise what the run lacks and print what came of it; returns the exit status.

    Args:
        found: the resources of the environment, of which the options take the place.

    Raises:
        ValueError: a run key, label or option that cannot be, or a failure of no label's own.
    """
    run = given.run or datetime.now(UTC).strftime("%Y%m%dT%H%M")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", run):
        raise ValueError(f"a run key has letters, digits, - and _ only, got {run!r}")
    tables = found["store"].open()
    known = tables.manifest("runs", {"run": run}) is not None
    if known:
        check_decodes(run, run_config(tables, run))  # before anything is trained again
    if known and not given.corpus:
        check_reads(given, run=run)
    usual = found["generator"]
    found["generator"] = type(usual)(  # a copy would be configured as the original is
        generator=given.generator or usual.generator,
        device=given.device or usual.device,
        dtype=usual.dtype,
        workspace=usual.workspace,
    )
    asked = asked_options(given)  # refused here, not after minutes
    adapts = not known or given.adapt is not None or _readapts(tables, run, found["generator"])
    found["corpus"] = asked_corpus(given, usual=found["corpus"])
    found["unlabelled"] = unlabelled_corpus(given, usual=found["unlabelled"])
    found["progress"] = TerminalProgress(descriptor=os.dup(2))
    ingests = bool(given.corpus) or not known
    told = found["corpus"].source if ingests else "the corpus in the store"
    console.print(
        f"run {run}: {told}, generator {described(found['generator'].generator)} "
        f"(licence: {found['generator'].licence})",
        markup=False,
        highlight=False,
    )
    if known and ingests:
        workspace = Path(found["generator"].workspace).expanduser().absolute()
        _check_corpus(tables, run, found["corpus"], found["store"], workspace=workspace)
    graph = Graph(instance, found, {}, console)
    if ingests:
        graph.materialize(["raw_corpus", "labelled_texts"])
        _print_how_read(tables, "raw_corpus", console)
    if given.unlabelled or (ingests and (found["unlabelled"].source or _n_unlabelled(tables))):
        graph.materialize(["unlabelled_texts"])
        _print_how_read(tables, "unlabelled_texts", console)
        rows = tables.read("unlabelled_texts").height
        console.print(f"{rows} unlabelled passages", highlight=False)
    if given.found and not _n_unlabelled(tables):
        raise ValueError("--found needs unlabelled texts: name some with --unlabelled FILE")
    corpus = pl.concat(tables.read_frames("labelled_texts", columns=["slug", "split"]))
    n_train = (corpus["split"] == "train").sum()
    adaptation = _adaptation(tables, given, known=run if known else None, n_train=n_train)
    graph.ops = {"generator": adaptation}
    slugs = sorted(set(corpus["slug"]))
    instance.add_dynamic_partitions(str(labels.name), slugs)  # it may be a new instance
    chosen = given.labels.split(",") if given.labels else slugs
    for option, named in (
        ("--labels", chosen),
        ("--publish-anyway", asked["synthetic_table"].get("publish_anyway", {})),
    ):
        if unknown := sorted(set(named) - set(slugs)):
            raise ValueError(f"{option}: the corpus has {slugs}, not {unknown}")
    pairs = pair_options(given)
    run_options(corpus, pairs)
    bad: dict[str, str] = {}
    try:
        bad |= graph.materialize_labels(["embeddings"], slugs, suffix="")
        if adapts:
            graph.materialize(["generator"])
        if adapts and adaptation["adapt_steps"]:
            print_adaptation(tables, console)
        frozen_run(
            tables,
            run,
            labelled_texts=Table(tables, "labelled_texts"),
            generator=found["generator"],
            asked=pairs,
        )
        instance.add_dynamic_partitions(str(runs.name), [run])
        made = options_of_labels(tables, run) if known else {}
        hold = given.hold_where_it_hurts
        if hold is None:
            hold = holds_where_it_hurts(tables, run)

        def materialize(stages: Sequence[str]) -> dict[str, str]:
            failed: dict[str, str] = {}
            good = [slug for slug in chosen if slug not in bad]
            for graph.ops, slugs in _alike(asked, made, good):
                failed |= graph.materialize_labels(stages, slugs, suffix=f"|{run}")
            return failed

        *texts, table = BY_LABEL_AND_RUN
        if hold:
            bad |= materialize(texts)
            if set(chosen) - bad.keys():
                graph.ops = {}
                bad |= graph.materialize(["evaluation"], partition_key=run)
        bad |= materialize([table] if hold else BY_LABEL_AND_RUN)
        if set(chosen) - bad.keys():
            graph.ops = {}
            bad |= graph.materialize(BY_RUN, partition_key=run)
        print_summary(tables, found["warehouse"].file, run, Console())
    finally:
        for key, reason in bad.items():
            console.print(f"{key} failed: {reason}", markup=False, style="red")
    return 1 if bad else 0


def _check_corpus(
    tables: Store, run: str, corpus: Corpus, store: StoreResource, *, workspace: Path
) -> None:
    """Read the corpus of a run that is there, before it takes the place of the one in the store.

    It is read into a folder of the workspace: what a kill leaves there `smotext forget` deletes.

    Raises:
        ValueError: it is not the one that the run is frozen on.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=workspace) as folder:
        apart = Store(folder)
        for at in tables.partitions("forgotten"):  # what has a receipt stays away here too
            apart.write("forgotten", tables.read("forgotten", at), at)
        store_corpus(apart, source_frames(corpus, store, tell=lambda line: None), metadata={})
        texts, _ = store_labelled(apart, LabelledTextsConfig())
    frozen = run_config(tables, run)["corpus_sha256"]
    if texts.sha256 != frozen:
        raise ValueError(
            f"the run {run} is frozen and corpus_sha256 was {frozen!r}, {corpus.source} gives "
            f"{texts.sha256!r}: start a run with another key, or leave the corpus out to take the "
            "one in the store, which stays as it was"
        )


def _print_how_read(tables: Store, table: str, console: Console) -> None:
    for line in Table(tables, table).metadata().get("read_as", []):  # type: ignore[union-attr]
        console.print(line, markup=False, highlight=False)


def _n_unlabelled(tables: Store) -> int:
    """Unlabelled texts in the store; those of another corpus go with it."""
    manifest = tables.manifest("unlabelled_texts")
    return 0 if manifest is None else manifest.rows


def _adaptation(
    tables: Store, given: argparse.Namespace, *, known: str | None, n_train: int
) -> dict[str, Any]:
    """What the generator is adapted with: as asked, as the run `known` was, or, where there is
    unlabelled text that is not to become rows, if that brings held-out texts nearer."""
    if given.adapt is not None:
        return {"adapt_steps": given.adapt}
    if known is not None:
        return {"adapt_steps": run_config(tables, known).get("adapt_steps", 0)}
    unlabelled = _n_unlabelled(tables)
    if given.found or not unlabelled:
        return {"adapt_steps": 0}
    return {"adapt_steps": adapt_steps(n_train + unlabelled), "only_if_nearer": True}


def _readapts(tables: Store, run: str, generator: GeneratorResource) -> bool:
    """Whether the generator's record is another one than that of the run, which is the plain one or
    was adapted from it.

    Raises:
        ValueError: the run was made by neither.
    """
    frozen, used = run_config(tables, run), generator_in_use(tables, generator)
    if used.fingerprint == frozen["generator_fingerprint"] and not used.fault:
        return tables.manifest("generator") is None
    check_made_by(run, frozen, generator, in_use=used)
    return True


def _alike(
    asked: Mapping[str, Mapping[str, Any]], made: Mapping[str, Options], slugs: Sequence[str]
) -> list[tuple[dict[str, dict[str, Any]], list[str]]]:
    """Options by asset, what was asked, else as it was made; and the labels that have them."""
    groups: dict[str, list[str]] = {}
    for slug in slugs:
        before = {asset: dict(options) for asset, options in made.get(slug, {}).items()}
        before.get("synthetic_table", {}).pop("publish_anyway", None)  # of record, by gate
        options = {asset: {**before.get(asset, {}), **given} for asset, given in asked.items()}
        groups.setdefault(json.dumps(options, sort_keys=True), []).append(slug)
    return [(json.loads(options), alike) for options, alike in groups.items()]
