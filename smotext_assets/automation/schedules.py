"""What happens by itself, once somebody has started it: files come in, vectors follow, a run is
made each night, its evidence follows, and failures say how to go on.

Nothing here makes rows of an old run again: a run key is asked for by the schedule once, and what
follows a table follows that run's table alone.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from smotext_assets.graph import (
    BY_LABEL_AND_RUN,
    BY_RUN,
    RANGE_END,
    RANGE_START,
    Corpus,
    GeneratorResource,
    StoreResource,
    Warehouse,
    generator_in_use,
    label_by_run,
    labels,
    neighbours,
    range_tags,
    runs,
)
from smotext_assets.stages import inbox_files, is_inbox
from smotext_assets.store import Store, fail_dead_runs

INGESTION = ("raw_corpus", "labelled_texts")
_BETWEEN = ("embeddings", "unlabelled_texts", "generator")
FAILED_TAG, RERUN_TAG = "smotext/failed", "smotext/rerun"
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
# After a run's rows are made its evidence follows; both must find the same corpus.
_SETTLE = timedelta(minutes=2)

ingest = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.assets(*INGESTION)
    | dg.AssetSelection.checks(
        dg.AssetCheckKey(dg.AssetKey("synthetic_table"), "rows_are_current")
    ),
    description="The corpus anew, and which rows are now of an older one.",
)
synthesis = dg.define_asset_job(
    "synthesis",
    selection=dg.AssetSelection.assets(*BY_LABEL_AND_RUN),
    description="Pairs, mixed vectors, texts and the table of labels × run.",
)


def follow_up() -> dg.AutomationConditionSensorDefinition:
    """Carries out the conditions of the assets, see `partitions.follows`."""
    return dg.AutomationConditionSensorDefinition(
        "follow_up",
        target=dg.AssetSelection.assets(
            "embeddings", "unlabelled_texts", *BY_RUN, "exported_dataset"
        ),
        description="New texts get vectors; a run whose table has changed gets its evaluation, "
        "its audit and its card.",
    )


@dg.sensor(job=ingest, minimum_interval_seconds=30)
def inbox(
    context: dg.SensorEvaluationContext,
    corpus: Corpus,
    store: StoreResource,
    warehouse: Warehouse,
) -> dg.SensorResult | dg.SkipReason:
    """Ingests the corpus folder or prefix when a file came, changed or went.

    A local file counts once two ticks have found it with the same size and time: one that still
    grows waits. An object in a bucket is whole from the start.
    """
    if not is_inbox(corpus.source):
        return dg.SkipReason(
            f"the corpus is {corpus.source}, no folder and no s3://bucket/prefix/: set "
            "SMOTEXT_INBOX to one"
        )
    cursor: dict[str, Any] = {"ingested": {}, "seen": {}}
    cursor |= json.loads(context.cursor or "{}")
    try:
        found = inbox_files(corpus.source, store)
    except FileNotFoundError as error:
        return dg.SkipReason(f"{error}{'' if '://' in corpus.source else ': make the folder'}")
    before = cursor["ingested"] | cursor["seen"]
    whole = {
        name: stamp
        for name, stamp in found.items()
        if "://" in corpus.source or before.get(name) == stamp
    }
    growing = sorted(found.keys() - whole.keys())
    cursor["seen"] = dict(found.items() - cursor["ingested"].items())

    def wait(reason: str) -> dg.SensorResult:
        return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=json.dumps(cursor))

    if changing := [name for name in growing if name in cursor["ingested"]]:
        return wait(f"files of the corpus are being changed: {changing}")
    if not whole:
        return wait(f"{corpus.source} has no whole file; growing: {growing}")
    if whole == cursor["ingested"]:
        return wait("no new file")
    if busy := _busy(context.instance, warehouse.file):
        return wait(busy)
    new = sorted(name for name in whole if cursor["ingested"].get(name) != whole[name])
    gone = sorted(cursor["ingested"].keys() - whole.keys())
    context.log.info(f"{corpus.source}: new or changed {new}, gone {gone}")
    seen = dict(found.items() - whole.items())
    cursor = {"ingested": whole, "seen": seen}
    # No run_key: Dagster launches one once, whatever was reset since, and skips the files of the
    # next request that has it. A tick that is cut off goes on, for a day, by its reserved run id.
    request = dg.RunRequest(
        run_config={"ops": {"raw_corpus": {"config": {"files": sorted(whole)}}}},
        tags={"smotext/new_files": str(len(new))},
    )
    return dg.SensorResult(run_requests=[request], cursor=json.dumps(cursor))


def _busy(instance: dg.DagsterInstance, warehouse: Path) -> str | None:
    """Why the corpus must not change now."""
    if unfinished := unfinished_runs(instance, warehouse):
        return f"run {unfinished[0]} is not finished: the corpus stays as it is until then"
    just_ended = dg.RunsFilter(
        job_name=synthesis.name, statuses=_ENDED, updated_after=datetime.now(UTC) - _SETTLE
    )
    if instance.get_runs(filters=just_ended, limit=1):
        return f"rows were made less than {_SETTLE} ago: their evidence comes first"
    return None


def unfinished_runs(instance: dg.DagsterInstance, warehouse: Path) -> list[str]:
    """Ids of the runs that are making assets of this graph, or are going to."""
    fail_dead_runs(instance, warehouse)
    names = (*INGESTION, *_BETWEEN, *BY_LABEL_AND_RUN, *BY_RUN, "exported_dataset")
    ours = {dg.AssetKey(name) for name in names}
    return [
        run.run_id
        for run in instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED))
        if run.job_name in (ingest.name, synthesis.name) or ours & set(run.asset_selection or ())
    ]


@dg.sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def dead_runs(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SkipReason:
    """Fails runs whose process is gone, so that they hold no place in the pool `gpu`.

    It runs where the workers of the code location do. Runs of other hosts are left alone.
    """
    dead = fail_dead_runs(context.instance, warehouse.file)
    return dg.SkipReason(
        f"failed, for their process was killed: {', '.join(dead)}" if dead else "none is dead"
    )


def nightly(cron_schedule: str) -> dg.ScheduleDefinition:
    """A new run key at each tick, named by it, and all labels of the corpus for it."""

    @dg.schedule(job=synthesis, cron_schedule=cron_schedule, execution_timezone="UTC")
    def nightly_run(
        context: dg.ScheduleEvaluationContext, store: StoreResource, generator: GeneratorResource
    ) -> list[dg.RunRequest] | dg.SkipReason:
        """A new run: every class below the target gets new rows. Its seed is the time's."""
        time = context.scheduled_execution_time.astimezone(UTC)
        key, tables = time.strftime("%Y%m%dT%H%M"), store.open()
        if tables.manifest("labelled_texts") is None:
            return dg.SkipReason("the store has no corpus: materialise raw_corpus, labelled_texts")
        if fault := generator_in_use(tables, generator).fault:
            return dg.SkipReason(fault)
        ready, waiting = _embedded(tables, encoder=generator.encoder_fingerprint)
        if waiting:
            context.log.warning(f"without vectors, left out of {key}: {waiting}")
        groups = neighbours(ready, context.instance.get_dynamic_partitions(str(labels.name)))
        if not groups:
            return dg.SkipReason(
                f"none of the labels {waiting} has vectors: materialise embeddings"
            )
        context.instance.add_dynamic_partitions(str(runs.name), [key])
        seed = int(time.timestamp()) // 60  # another one each time, and told by the key
        return [
            dg.RunRequest(
                run_key=f"{key}-{group[0]}",
                run_config={"ops": {"class_pairs": {"config": {"seed": seed}}}},
                tags={**range_tags([f"{slug}|{key}" for slug in group]), "smotext/run": key},
            )
            for group in groups
        ]

    return nightly_run


def _embedded(tables: Store, *, encoder: str) -> tuple[list[str], list[str]]:
    """Labels of the corpus with a vector of this encoder for each text, and those without."""
    ready: list[str] = []
    waiting: list[str] = []
    counts = tables.read("labelled_texts").group_by("slug").len().sort("slug")
    for slug, count in counts.iter_rows():
        manifest = tables.manifest("embeddings", {"label": slug})
        whole = manifest and manifest.rows == count and manifest.metadata["encoder"] == encoder
        (ready if whole else waiting).append(slug)
    return ready, waiting


@dg.run_failure_sensor(request_job=synthesis)
def failures(context: dg.RunFailureSensorContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Says which partitions failed and how to ask for them again: in its log, and as tags of the
    run. The other labels of a nightly run go on."""
    run = context.dagster_run
    failed = _failed(context)
    commands = [_command(step, key, run.tags) for step, keys in failed.items() for key in keys]
    told = "; ".join(
        f"{step}{f' {key}' if key else ''}: {reason}"
        for step, keys in failed.items()
        for key, reason in keys.items()
    )
    told = told or str(context.failure_event.message)
    context.log.error(
        f"run {run.run_id} failed. {told}. When the cause is gone: "
        + (" && ".join(commands) or "re-execute the run from failure; what is finished is skipped")
    )
    tags = {FAILED_TAG: told[:500], RERUN_TAG: " && ".join(commands)[:2000]}
    context.instance.add_run_tags(run.run_id, {name: text for name, text in tags.items() if text})
    # Where a step failed as a whole, all labels did: asked for again they would fail for ever.
    rest = _rest(context, {key for keys in failed.values() for key in keys} - {""})
    if not rest or "synthetic_table" in failed:  # the last step: the others are published
        yield dg.SkipReason("told; no other label waits")
    for group in rest if "synthetic_table" not in failed else []:
        yield dg.RunRequest(
            run_key=f"{run.run_id}-{group[0]}",
            run_config=run.run_config,
            tags={**range_tags(group), "smotext/run": run.tags["smotext/run"]},
        )


def _failed(context: dg.RunFailureSensorContext) -> dict[str, dict[str, str]]:
    """Reasons by step and partition; the partition is "" where the whole step failed."""
    found: dict[str, dict[str, str]] = {}
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        step = (event.step_key or "").partition("[")[0]
        told = data.user_failure_data.metadata if data.user_failure_data else {}
        if "failed_partitions" in told:
            found[step] = dict(told["failed_partitions"].value)  # type: ignore[arg-type]
        else:
            key = context.dagster_run.tags.get("dagster/partition", "")
            found[step] = {key: root_cause(data.error) if data.error else "no error was recorded"}
    return found


def root_cause(error: Any) -> str:
    """The message of the first error of a chain that Dagster recorded."""
    while error.cause is not None:
        error = error.cause
    return str(error.message).strip()


def _command(step: str, key: str, tags: Mapping[str, str]) -> str:
    """The shell command that materialises the partition, of a whole step all that it was asked
    for, from the failed step on."""
    stages = next((s for s in (INGESTION, BY_LABEL_AND_RUN, BY_RUN) if step in s), (step,))
    names = stages[stages.index(step) :]
    selection = " or ".join(f"key:{name}" for name in names)
    command = ["dagster", "asset", "materialize", "-m", "smotext_assets.definitions"]
    which = ["--partition", key] if key else []
    if not key and RANGE_START in tags:
        which = ["--partition-range", f"{tags[RANGE_START]}...{tags[RANGE_END]}"]
    return shlex.join([*command, "--select", selection, *which])


def _rest(context: dg.RunFailureSensorContext, bad: set[str]) -> list[list[str]]:
    """The partitions of a nightly run that did not fail, in groups that a range can ask for."""
    tags = context.dagster_run.tags
    if not bad or "smotext/run" not in tags or RANGE_START not in tags:
        return []
    first, last = (
        label_by_run.get_partition_key_from_str(tags[name]).keys_by_dimension
        for name in (RANGE_START, RANGE_END)
    )
    order = list(context.instance.get_dynamic_partitions(str(labels.name)))
    asked = order[order.index(first["label"]) : order.index(last["label"]) + 1]
    good = [slug for slug in asked if f"{slug}|{first['run']}" not in bad]
    return [[f"{slug}|{first['run']}" for slug in group] for group in neighbours(good, order)]
