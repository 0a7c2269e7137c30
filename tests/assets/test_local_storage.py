"""Dagster's SQLite storage against the one that writes events together: the same is read back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from smotext_assets.local_storage import BATCH_SIZE
from smotext_assets.partitions import for_each_partition, label_by_run, labels, range_tags, runs

FIRST, SECOND = dg.AssetKey("first"), dg.AssetKey("second")
STAGE: Mapping[str, Any] = {
    "partitions_def": label_by_run,
    "backfill_policy": dg.BackfillPolicy.single_run(),
}
pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


def instance_of(folder: Path, *, ours: bool) -> dg.DagsterInstance:
    config = {"base_dir": str(folder)}
    where = {"module": "smotext_assets.local_storage", "class": "LocalStorage", "config": config}
    storage = {"custom": where} if ours else {"sqlite": config}
    settings = {"storage": storage, "telemetry": {"enabled": False}}
    return dg.DagsterInstance.local_temp(str(folder), settings)


def backfill(instance: dg.DagsterInstance, n_labels: int, *, bad: str = "") -> list[str]:
    """A run of two stages over label-0 … × r1, r2; the keys."""

    @dg.asset(**STAGE)
    def first(context: dg.AssetExecutionContext) -> None:
        def make(label: str, run: str) -> dict[str, object]:
            if label == bad:
                raise ValueError("bad")
            return {"told": f"{label} of {run}"}

        for_each_partition(context, make)

    @dg.asset(**STAGE, deps=[first])
    def second(context: dg.AssetExecutionContext) -> None:
        for_each_partition(context, lambda label, run: {"rows": 1})

    @dg.asset_check(asset=first)
    def first_is_there() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    slugs = [f"label-{n}" for n in range(n_labels)]
    instance.add_dynamic_partitions(str(labels.name), slugs)
    instance.add_dynamic_partitions(str(runs.name), ["r1", "r2"])
    keys = [f"{slug}|{run}" for slug in slugs for run in ("r1", "r2")]
    tags = range_tags([keys[0], keys[-1]])
    assets = [first, second, first_is_there]
    result = dg.materialize(assets, instance=instance, tags=tags, raise_on_error=False)
    assert result.success == (not bad)
    return keys


def told(instance: dg.DagsterInstance, keys: list[str]) -> dict[str, Any]:
    """What the pages of runs and assets show, without times and ids."""
    found: dict[str, Any] = {}
    for key in (FIRST, SECOND):
        records = instance.fetch_materializations(key, limit=1000).records
        found[f"{key} made"] = sorted(
            (str(r.partition_key), _told_of(r.asset_materialization)) for r in records
        )
        statuses = instance.get_status_by_partition(key, keys, label_by_run) or {}
        found[f"{key} status"] = {k: s and s.value for k, s in statuses.items()}
        (record,) = instance.get_asset_records([key])
        found[f"{key} run"] = record.asset_entry.last_run_id is not None
        last = instance.get_latest_materialization_event(key)
        found[f"{key} last"] = (
            last and last.asset_materialization and _told_of(last.asset_materialization)
        )
        tags = instance.get_event_tags_for_asset(key, filter_tags={"dagster/partition/run": "r2"})
        found[f"{key} tags"] = sorted(str(tag["dagster/partition/label"]) for tag in tags)
    found["events"] = [
        [(str(e.dagster_event_type), e.dagster_event and e.dagster_event.partition) for e in events]
        for run in instance.get_runs()
        for events in [[e for e in instance.all_logs(run.run_id) if e.is_dagster_event]]
    ]
    return found


def _told_of(event: dg.AssetMaterialization | None) -> str:
    assert event is not None
    metadata = {name: value.value for name, value in event.metadata.items() if name != "seconds"}
    dimensions = {k: v for k, v in (event.tags or {}).items() if k.startswith("dagster/partition/")}
    return f"{metadata} {sorted(dimensions.items())}"


@pytest.mark.parametrize("bad", ["", "label-1"])
def test_events_written_together_are_read_as_dagsters_own(
    tmp_path: Path, bad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    for ours in (True, False):
        monkeypatch.setenv(BATCH_SIZE, "4" if ours else "0")  # 6 partitions: a batch and a rest
        folder = tmp_path / str(ours)
        folder.mkdir()
        with instance_of(folder, ours=ours) as instance:
            seen[ours] = told(instance, backfill(instance, 3, bad=bad))
    assert seen[True] == seen[False]
    statuses = seen[True][f"{FIRST} status"]
    assert statuses["label-1|r1"] == ("FAILED" if bad else "MATERIALIZED")
    assert statuses["label-2|r2"] == "MATERIALIZED"


@pytest.mark.parametrize("ours", [True, False])
def test_each_storage_reads_what_the_other_wrote(
    tmp_path: Path, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BATCH_SIZE, "500")
    with instance_of(tmp_path, ours=ours) as instance:
        keys = backfill(instance, 2)
        before = told(instance, keys)
    with instance_of(tmp_path, ours=not ours) as instance:
        assert told(instance, keys) == before
        backfill(instance, 2)
        made = instance.fetch_materializations(FIRST, limit=100).records
        assert len(made) == 2 * len(keys)


def test_a_wider_range_opens_the_event_log_no_oftener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BATCH_SIZE, "500")
    opened = 0
    connect = SqliteEventLogStorage._connect

    @contextmanager
    def counted(self: SqliteEventLogStorage, shard: str) -> Iterator[Any]:
        nonlocal opened
        opened += 1
        with connect(self, shard) as connection:
            yield connection

    monkeypatch.setattr(SqliteEventLogStorage, "_connect", counted)
    found = []
    for n_labels in (2, 12):
        folder = tmp_path / str(n_labels)
        folder.mkdir()
        with instance_of(folder, ours=True) as instance:
            before = opened
            backfill(instance, n_labels)
            found.append(opened - before)
    assert found[0] == found[1]
