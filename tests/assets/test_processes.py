"""A command that was killed does not hold up the others."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from smotext_assets.automation import unfinished_runs
from smotext_assets.processes import PROCESS, dead_runs, fail_dead_runs, this_process
from tests.assets.conftest import Home

# A run that lives in its command's process and never ends by itself.
_COMMAND = """
import time
import dagster as dg
from smotext_assets.processes import this_process

@dg.asset(pool="gpu")
def raw_corpus() -> None:
    print("started", flush=True)
    time.sleep(600)

job = dg.Definitions([raw_corpus]).resolve_implicit_global_asset_job_def()
with dg.DagsterInstance.get() as instance:
    job.execute_in_process(
        instance=instance, tags=this_process(), asset_selection=[dg.AssetKey("raw_corpus")]
    )
"""


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return dg.DagsterInstance.from_config(str(tmp_path))


def test_killed_command_is_failed_and_its_pool_slot_free(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", _COMMAND],
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (found := instance.get_runs(dg.RunsFilter(tags={}))) or (
            found[0].status != dg.DagsterRunStatus.STARTED
        ):
            assert command.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        run = found[0]
        assert fail_dead_runs(instance) == []  # it lives
        assert unfinished_runs(instance) == [run.run_id]
    finally:
        command.send_signal(signal.SIGKILL)
        command.wait()
    assert unfinished_runs(instance) == []
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.FAILURE
    # What counts against a pool of runs is what is in progress.
    assert instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])) == []


@pytest.mark.parametrize("process", ["elsewhere 1 1", "", "none"])
def test_runs_of_other_hosts_are_left_alone(instance: dg.DagsterInstance, process: str) -> None:
    run = instance.create_run_for_job(
        _job(), tags={PROCESS: process}, status=dg.DagsterRunStatus.STARTED
    )
    assert fail_dead_runs(instance) == []
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED  # type: ignore[union-attr]


def test_a_process_number_given_anew_is_another_process(instance: dg.DagsterInstance) -> None:
    tag = this_process()[PROCESS]
    host, number, started = tag.split(" ")
    for given, dead in ((tag, False), (f"{host} {number} {started}1", True)):
        run = instance.create_run_for_job(
            _job(), tags={PROCESS: given}, status=dg.DagsterRunStatus.STARTED
        )
        assert fail_dead_runs(instance) == ([run.run_id] if dead else [])


def test_run_that_ends_while_it_is_looked_at_is_not_failed(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = instance.create_run_for_job(
        _job(), tags={PROCESS: _dead()}, status=dg.DagsterRunStatus.STARTED
    )
    listed = instance.get_runs()
    instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name), run.run_id
    )
    monkeypatch.setattr(instance, "get_runs", lambda **_: listed)
    assert fail_dead_runs(instance) == []
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.SUCCESS  # type: ignore[union-attr]


def test_repeated_run_is_not_taken_for_dead_by_the_tag_of_the_first(
    instance: dg.DagsterInstance,
) -> None:
    first = instance.create_run_for_job(
        _job(), tags={PROCESS: _dead()}, status=dg.DagsterRunStatus.FAILURE
    )
    again = instance.create_run_for_job(
        _job(),
        tags={PROCESS: _dead()},
        status=dg.DagsterRunStatus.STARTED,
        parent_run_id=first.run_id,
        root_run_id=first.run_id,
    )
    assert fail_dead_runs(instance) == []
    host, number, started = _dead().split(" ")
    instance.add_run_tags(again.run_id, {PROCESS: f"{host} {number} {started}2"})
    assert fail_dead_runs(instance) == [again.run_id]


def test_materialization_tags_its_run_with_its_process(home: Home, corpus: Path) -> None:
    assert home.materialize(corpus, ["raw_corpus"]).success
    (run,) = home.instance.get_runs()
    assert run.tags[PROCESS] == this_process()[PROCESS]


def test_dead_runs_fails_what_has_no_process(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(
        _job(), tags={PROCESS: _dead()}, status=dg.DagsterRunStatus.STARTED
    )
    for told in (f"failed, for their process was killed: {run.run_id}", "none is dead"):
        with dg.build_sensor_context(instance) as context:
            assert dead_runs(context) == dg.SkipReason(told)


def _dead() -> str:
    """The tag of a process that there was on this host."""
    return this_process()[PROCESS] + "1"


def _job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None:
        pass

    @dg.job
    def quiet() -> None:
        nothing()

    return quiet
