"""The schedule: each night a new run makes rows of the labels below target."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from smotext_assets.automation import schedules as automation
from smotext_assets.definitions import definitions
from smotext_assets.graph.partitions import labels, runs
from smotext_assets.graph.resources import StoreResource
from tests.assets.conftest import (
    FakeGeneratorResource,
    Home,
    copy_of,
)

if TYPE_CHECKING:
    pass


NIGHT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> dg.DagsterInstance:
    """A schedule's context opens its instance by reference: one in memory has none."""
    folder = tmp_path_factory.mktemp("dagster")
    return dg.DagsterInstance.local_temp(str(folder), {"telemetry": {"enabled": False}})


@pytest.fixture
def tick(on_disk: dg.DagsterInstance) -> Callable[..., Any]:
    """Evaluates the schedule for a home."""

    def evaluate(home: Home, time: datetime = NIGHT, *, dimension: int = 32) -> Any:
        for definition in (labels, runs):
            name = str(definition.name)
            for key in on_disk.get_dynamic_partitions(name):
                on_disk.delete_dynamic_partition(name, key)
            on_disk.add_dynamic_partitions(name, home.instance.get_dynamic_partitions(name))
        store = StoreResource(root=home.root)
        generator = FakeGeneratorResource(generator="fake", dimension=dimension)
        context = dg.build_schedule_context(
            instance=on_disk,
            scheduled_execution_time=time,
            resources={"store": store, "generator": generator},
        )
        with context:  # which closes the instance that it has opened
            result = automation.nightly("0 3 * * *")(context)
        keys = on_disk.get_dynamic_partitions(str(runs.name))
        home.instance.add_dynamic_partitions(str(runs.name), keys)
        return result

    return evaluate


def launch(home: Home, request: dg.RunRequest, corpus: Path) -> dg.ExecuteInProcessResult:
    """Execute the request as the daemon would."""
    job = definitions(home.resources(corpus)).resolve_job_def("synthesis")
    return job.execute_in_process(
        instance=home.instance,
        run_config=request.run_config,
        tags=dict(request.tags),
        raise_on_error=False,
    )


def test_nightly_run_makes_a_new_run_of_all_labels_below_the_target(
    finished: Home, tmp_path: Path, corpus: Path, tick: Callable[..., Any]
) -> None:
    home = copy_of(finished, tmp_path)
    (request,) = tick(home)
    assert home.instance.get_dynamic_partitions(str(runs.name)) == ["r1", "20261122T0300"]
    assert request.tags["smotext/run"] == "20261122T0300"
    assert launch(home, request, corpus).success
    made = dict(
        home.query(
            "SELECT label, count(*) FROM synthetic_texts WHERE run = '20261122T0300' GROUP BY 1"
        )
    )
    assert made == {"cooking": 8, "medicine": 10}
    ((seed, of_r1),) = home.query(
        "SELECT a.seed, b.seed FROM runs a, runs b WHERE a.run <> 'r1' AND b.run = 'r1'"
    )
    assert seed == int(NIGHT.timestamp()) // 60
    assert of_r1 == 7
    partition = {"run": "r1"}
    assert home.store.read_all("synthetic_table", partition).equals(
        finished.store.read_all("synthetic_table", partition)
    )


def test_nightly_runs_of_two_nights_make_other_texts(
    finished: Home, tmp_path: Path, corpus: Path, tick: Callable[..., Any]
) -> None:
    home = copy_of(finished, tmp_path)
    for time in (NIGHT, NIGHT.replace(day=23)):
        (request,) = tick(home, time)
        assert launch(home, request, corpus).success
    same = home.query(
        "SELECT count(*) FROM synthetic_texts a JOIN synthetic_texts b USING (label, text) "
        "WHERE a.run < b.run AND b.run LIKE '2026%' AND a.run LIKE '2026%'"
    )
    assert same == [(0,)]


def test_nightly_run_leaves_out_labels_without_vectors(
    finished: Home, tmp_path: Path, tick: Callable[..., Any]
) -> None:
    home = copy_of(finished, tmp_path)
    home.store.delete("embeddings", {"label": "cooking"})
    requests = tick(home)  # a range would take cooking too
    assert [request.tags["dagster/asset_partition_range_start"] for request in requests] == [
        "astronomy|20261122T0300",
        "medicine|20261122T0300",
    ]
    skipped = tick(home, dimension=16)  # another encoder
    assert "none of the labels ['astronomy', 'cooking', 'medicine'] has" in skipped.skip_message


def test_nightly_run_without_a_corpus_says_what_to_do(home: Home, tick: Callable[..., Any]) -> None:
    assert "materialise raw_corpus" in tick(home).skip_message
    assert home.instance.get_dynamic_partitions(str(runs.name)) == []
