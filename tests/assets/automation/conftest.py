"""The schedule, evaluated, and what it asks for, executed."""

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
