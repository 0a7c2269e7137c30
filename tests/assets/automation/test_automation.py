"""What follows by itself, and what is told of age."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.definitions import freshness_evaluator
from dagster._core.loader import LoadingContextForTest

from smotext_assets.automation import schedules as automation
from smotext_assets.definitions import definitions, resources
from smotext_assets.graph.partitions import BY_RUN, labels, range_tags, runs
from tests.assets.conftest import (
    BY_LABEL_AND_RUN,
    COUNTS,
    Home,
    copy_of,
    corpus_rows,
    write_corpus,
)

if TYPE_CHECKING:
    pass


def followed(home: Home, graph: dg.Definitions, cursor: Any = None) -> tuple[set[Any], Any]:
    result = dg.evaluate_automation_conditions(
        defs=graph,
        instance=home.instance,
        asset_selection=dg.AssetSelection.assets("embeddings", *BY_RUN),
        cursor=cursor,
    )
    asked = {
        (key.to_user_string(), partition)
        for name in ("embeddings", *BY_RUN)
        for key in [dg.AssetKey(name)]
        for partition in result.get_requested_partitions(key)
    }
    return asked, result.cursor


def test_follow_up_never_makes_old_runs_again_when_embeddings_change(
    finished: Home, tmp_path: Path, corpus: Path
) -> None:
    home = copy_of(finished, tmp_path)
    graph = definitions(home.resources(corpus))
    everything = range_tags(["astronomy|r1", "medicine|r1"])
    of_labels = range_tags(["astronomy", "medicine"])
    assert home.materialize(corpus, automation.INGESTION).success
    assert home.materialize(corpus, ["embeddings"], tags=of_labels).success
    assert home.materialize(corpus, BY_LABEL_AND_RUN, tags=everything).success
    asked, cursor = followed(home, graph)
    assert asked == set()  # what was before it was started does not count

    assert home.materialize(corpus, automation.INGESTION).success
    asked, cursor = followed(home, graph, cursor)
    assert asked == {("embeddings", label) for label in COUNTS}
    assert home.materialize(corpus, ["embeddings"], tags=of_labels).success
    asked, cursor = followed(home, graph, cursor)
    assert asked == set()  # run-keyed assets stay

    home.instance.add_dynamic_partitions(str(labels.name), ["football"])
    home.instance.add_dynamic_partitions(str(runs.name), ["r2"])
    asked, cursor = followed(home, graph, cursor)
    assert asked == set()  # neither a new label nor a new run fills the matrix

    assert home.materialize(corpus, BY_LABEL_AND_RUN, partition_key="medicine|r2").success
    asked, cursor = followed(home, graph, cursor)
    assert asked == {(name, "r2") for name in BY_RUN}  # one label is enough
    assert home.materialize(corpus, BY_RUN, partition_key="r2").success
    asked, cursor = followed(home, graph, cursor)
    assert asked == set()

    # Published again by that verdict: what is made of the table follows, the verdict itself stays.
    held = {"ops": {"synthetic_table": {"config": {"hold_where_it_hurts": True}}}}
    at = {"partition_key": "medicine|r2", "run_config": held}
    assert home.materialize(corpus, ["synthetic_table"], **at).success
    asked, cursor = followed(home, graph, cursor)
    assert asked == {("privacy_audit", "r2"), ("dataset_card", "r2")}
    assert home.materialize(corpus, BY_RUN[1:], partition_key="r2").success
    assert followed(home, graph, cursor)[0] == set()


def test_follow_up_carries_out_every_condition_and_exports_where_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SMOTEXT_EXPORTS", str(tmp_path / "exports"))
    repository = definitions(resources()).get_repository_def()
    names = {s.name for s in repository.sensor_defs}
    assert "follow_up" in names
    assert not [name for name in names if "default" in name]  # Dagster's own, for what is left
    sensor = repository.get_sensor_def("follow_up")
    assert sensor.asset_selection is not None
    found = sensor.asset_selection.resolve(repository.asset_graph)
    assert dg.AssetKey("exported_dataset") in found


def test_automation_is_stopped_by_default() -> None:
    graph = definitions(resources(), cron_schedule="30 4 * * *")
    sensors = {s.name: s.default_status for s in graph.sensors or []}
    assert sensors.pop("dead_runs") == dg.DefaultSensorStatus.RUNNING  # it starts nothing
    assert sensors == dict.fromkeys(
        ("inbox", "follow_up", "failures"), dg.DefaultSensorStatus.STOPPED
    )
    (schedule,) = graph.schedules or []
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedule.cron_schedule == "30 4 * * *"


@pytest.mark.parametrize(
    ("hours", "state"), [(0, "PASS"), (25, "PASS"), (27, "WARN"), (51, "FAIL")]
)
def test_table_is_fresh_until_two_nights_made_no_rows(
    finished: Home, hours: int, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = freshness_evaluator.get_current_timestamp() + hours * 3600
    monkeypatch.setattr(freshness_evaluator, "get_current_timestamp", lambda: now)
    node = definitions(resources()).resolve_asset_graph().get(dg.AssetKey("synthetic_table"))
    evaluator = freshness_evaluator.TimeWindowFreshnessPolicyEvaluator()
    found = evaluator.evaluate_freshness(LoadingContextForTest(finished.instance), node)
    assert asyncio.run(found).value == state


def test_rows_are_current_until_the_corpus_or_the_generator_changes(
    finished: Home, tmp_path: Path, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)

    def stale(corpus: Path, **options: Any) -> list[str]:
        result = home.materialize(
            corpus, ["synthetic_table"], partition_key="medicine|r1", **options
        )
        (check,) = [
            event
            for event in result.get_asset_check_evaluations()
            if event.check_name == "rows_are_current"
        ]
        told = str(check.metadata["stale"].value)
        assert check.passed == (not told.count("r1"))
        return [line for line in told.splitlines() if "r1" in line]

    assert stale(corpus) == []
    assert len(stale(corpus, dimension=16)) == 3
    rows = [*corpus_rows(), ("a new fever in the clinic tonight", "medicine")]
    grown = write_corpus(tmp_path / "grown.csv", rows)
    assert home.materialize(grown, automation.INGESTION).success
    of_labels = range_tags(["astronomy", "medicine"])
    assert home.materialize(grown, ["embeddings"], tags=of_labels).success
    told = stale(grown)
    assert ["other texts of this label" in line for line in told] == [False, False, True]
    assert all("older corpus" in line for line in told)
    capfd.readouterr()
    assert home.main("status") == 0
    assert "older corpus, other texts of this label" in capfd.readouterr().out
