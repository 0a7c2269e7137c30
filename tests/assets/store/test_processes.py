"""A run whose process was killed holds nothing up; one that lives is never taken for dead."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from smotext_assets.automation import schedules as automation
from smotext_assets.automation.schedules import dead_runs, unfinished_runs
from smotext_assets.graph.resources import Corpus, StoreResource, Warehouse
from smotext_assets.store import processes
from smotext_assets.store.processes import fail_dead_runs, hold, run_files
from tests.assets.conftest import Home

# A run that lives in its command's process, or ends there. With a word more the process forks, and
# what it forked outlives it.
_RUN = """
import os, sys, time
from pathlib import Path
import dagster as dg
from smotext_assets.graph.resources import StoreResource, Warehouse
from smotext_assets.graph.table_io import TableIOManager

folder, forks = sys.argv[1], sys.argv[2:]

@dg.asset(pool="gpu")
def raw_corpus() -> None:
    if forks and os.fork():
        os.kill(os.getpid(), 9)
    print(os.getpid(), flush=True)
    time.sleep(600)

manager = TableIOManager(
    store=StoreResource(root=folder), warehouse=Warehouse(path=f"{folder}/warehouse.duckdb")
)
definitions = dg.Definitions([raw_corpus], resources={"io_manager": manager})
with dg.DagsterInstance.from_config(folder) as instance:
    definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey("raw_corpus")]
    )
"""
_JUDGE = """
import sys
from pathlib import Path
import dagster as dg
from smotext_assets.store.processes import fail_dead_runs

with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    print(fail_dead_runs(instance, Path(sys.argv[1], "warehouse.duckdb")))
"""
_MOMENTS = ("before", "after")
_APART = ("unshare", "--map-root-user", "--pid", "--fork", "--mount-proc")  # as another container


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture
def shared(tmp_path: Path) -> dg.DagsterInstance:
    """By several processes."""
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return dg.DagsterInstance.from_config(str(tmp_path))


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    """Starts a run; its command and the number of the process that it is in, as that sees it."""
    started: list[subprocess.Popen[str]] = []

    def start(*before: str, forks: bool = False) -> tuple[subprocess.Popen[str], int]:
        words = [*before, sys.executable, "-c", _RUN, str(tmp_path), *["forks"] * forks]
        command = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        started.append(command)
        assert command.stdout is not None
        return command, int(command.stdout.readline())

    yield start
    for command in started:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
        command.wait()
        command.stdout.close()  # type: ignore[union-attr]


def test_killed_command_is_failed_and_its_pool_slot_free(
    shared: dg.DagsterInstance, warehouse: Path, start: Any
) -> None:
    command, _ = start()
    (run,) = shared.get_runs()
    assert fail_dead_runs(shared, warehouse) == []  # it lives
    assert unfinished_runs(shared, warehouse) == [run.run_id]
    command.kill()
    command.wait()
    assert unfinished_runs(shared, warehouse) == []
    assert status(shared, run) == dg.DagsterRunStatus.FAILURE
    assert list(run_files(warehouse).iterdir()) == []
    # What counts against a pool of runs is what is in progress.
    assert shared.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])) == []


@pytest.mark.parametrize("apart", ["the run", "who judges"])
def test_live_run_in_a_container_of_the_same_host_name_is_not_failed(
    shared: dg.DagsterInstance, warehouse: Path, start: Any, apart: str
) -> None:
    """Its process has another number there, or none that can be seen, and the same host name."""
    tried = subprocess.run([*_APART, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no namespaces of processes here: {tried.stderr.strip()}")

    def judge() -> str:
        before = _APART if apart == "who judges" else ()
        words = [*before, sys.executable, "-c", _JUDGE, str(warehouse.parent)]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    command, _ = start(*(_APART if apart == "the run" else ()))
    (run,) = shared.get_runs()
    assert judge() == "[]"
    assert status(shared, run) == dg.DagsterRunStatus.STARTED
    os.killpg(command.pid, signal.SIGKILL)  # the namespace with its first process
    command.wait()
    assert soon(lambda: judge() != "[]")
    assert status(shared, run) == dg.DagsterRunStatus.FAILURE


def test_run_whose_child_still_works_is_not_failed(
    shared: dg.DagsterInstance, warehouse: Path, start: Any
) -> None:
    command, child = start(forks=True)
    command.wait()
    assert command.returncode == -signal.SIGKILL
    (run,) = shared.get_runs()
    assert fail_dead_runs(shared, warehouse) == []
    os.kill(child, signal.SIGKILL)
    assert soon(lambda: fail_dead_runs(shared, warehouse) == [run.run_id])


@pytest.mark.parametrize(
    "content", [b"elsewhere", b"", b"\xff\xfe", socket.gethostname().encode() + b" 1 2", None]
)
def test_what_nobody_can_tell_is_left_alone(
    instance: dg.DagsterInstance, warehouse: Path, content: bytes | None
) -> None:
    """Files of other hosts, damaged ones, a folder in place of one; and nothing raises."""
    run = started(instance)
    path = run_files(warehouse) / run.run_id
    path.parent.mkdir()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert fail_dead_runs(instance, warehouse) == []
    with dg.build_sensor_context(
        instance, resources={"warehouse": Warehouse(path=str(warehouse))}
    ) as context:
        assert dead_runs(context) == dg.SkipReason("none is dead")
    assert unfinished_runs(instance, warehouse) == [run.run_id]
    assert path.exists()


def test_run_without_a_file_is_left_alone(instance: dg.DagsterInstance, warehouse: Path) -> None:
    """It has only begun, or lives where another warehouse is."""
    run = started(instance)
    assert fail_dead_runs(instance, warehouse) == []
    assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_file_that_cannot_be_locked_is_left_alone(
    instance: dg.DagsterInstance, warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = killed(instance, warehouse)

    def refused(*_: object) -> None:
        raise OSError(37, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", refused)
        assert fail_dead_runs(instance, warehouse) == []
    assert fail_dead_runs(instance, warehouse) == [run.run_id]


def test_run_is_alive_from_the_first_moment_of_its_file(
    instance: dg.DagsterInstance, warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, looks, seen, judging = started(instance), [], [], []
    path = run_files(warehouse) / run.run_id

    def watched(module: Any, name: str) -> None:
        call = getattr(module, name)

        def judge(moment: str) -> None:
            judging.append(True)
            assert fail_dead_runs(instance, warehouse) == []
            judging.clear()
            looks.append(f"{moment} {name}")
            seen.append(path.exists())

        def judged(*arguments: Any, **options: Any) -> Any:
            if judging:
                return call(*arguments, **options)
            judge("before")
            result = call(*arguments, **options)
            judge("after")
            return result

        monkeypatch.setattr(module, name, judged)

    for module, name in ((Path, "open"), (processes.fcntl, "flock"), (os, "replace")):
        watched(module, name)
    hold(instance, warehouse, run.run_id)
    monkeypatch.undo()
    assert seen == [False] * 5 + [True]  # or who judges could hold what is about to be held
    assert looks == [f"{at} {name}" for name in ("open", "flock", "replace") for at in _MOMENTS]
    assert status(instance, run) == dg.DagsterRunStatus.STARTED
    assert fail_dead_runs(instance, warehouse) == []


def test_file_that_is_let_go_of_while_it_is_looked_at_tells_nothing(
    instance: dg.DagsterInstance, warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock is free then, but it was not killed: it ended, though this is read as it was."""
    run = started(instance)
    hold(instance, warehouse, run.run_id)
    flock = processes.fcntl.flock

    def let_go(file: Any, how: int) -> None:
        monkeypatch.setattr(processes.fcntl, "flock", flock)
        with monkeypatch.context() as patch:
            patch.setattr(instance, "get_run_by_id", lambda _: None)
            hold(instance, warehouse, "another")
        flock(file, how)

    monkeypatch.setattr(processes.fcntl, "flock", let_go)
    assert fail_dead_runs(instance, warehouse) == []
    assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_files_of_ended_runs_go_and_those_of_other_instances_stay(
    instance: dg.DagsterInstance, warehouse: Path
) -> None:
    ended, canceled = killed(instance, warehouse), killed(instance, warehouse)
    instance.report_run_failed(ended)
    instance.report_run_canceling(canceled)
    foreign = run_files(warehouse) / "foreign"
    foreign.write_bytes(socket.gethostname().encode())
    assert fail_dead_runs(instance, warehouse) == []
    left = {path.name for path in run_files(warehouse).iterdir()}
    assert left == {"foreign", canceled.run_id}
    assert status(instance, canceled) == dg.DagsterRunStatus.CANCELING  # for Dagster to end


def test_process_keeps_no_files_of_runs_that_ended(home: Home, corpus: Path) -> None:
    for _ in range(3):
        assert home.materialize(corpus, ["raw_corpus"]).success
    last, *_ = home.instance.get_runs()
    assert [path.name for path in run_files(home.warehouse).iterdir()] == [last.run_id]
    assert len([p for p in processes._held if p.parent == run_files(home.warehouse)]) == 1


def test_sensor_and_inbox_fail_what_has_no_process(home: Home, tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "a.csv").write_text("text,label\na,b\n")
    given = {
        "corpus": Corpus(source=f"{tmp_path}/inbox/"),
        "store": StoreResource(root=home.root),
        "warehouse": Warehouse(path=str(home.warehouse)),
    }
    run = killed(home.instance, home.warehouse)
    for told in (f"failed, for their process was killed: {run.run_id}", "none is dead"):
        with dg.build_sensor_context(home.instance, resources=given) as context:
            assert dead_runs(context) == dg.SkipReason(told)
    run, cursor = killed(home.instance, home.warehouse), None
    for _ in range(2):  # a file counts when two ticks have found it
        with dg.build_sensor_context(home.instance, cursor=cursor, resources=given) as context:
            result = automation.inbox(context)
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor
    assert result.run_requests
    assert status(home.instance, run) == dg.DagsterRunStatus.FAILURE


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def started(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run of `raw_corpus`."""

    @dg.asset
    def raw_corpus() -> None:
        pass

    job = dg.Definitions([raw_corpus]).resolve_implicit_global_asset_job_def()
    return instance.create_run_for_job(
        job,
        asset_selection=frozenset([dg.AssetKey("raw_corpus")]),
        status=dg.DagsterRunStatus.STARTED,
    )


def killed(instance: dg.DagsterInstance, warehouse: Path) -> dg.DagsterRun:
    """A run, and what its process left."""
    run = started(instance)
    hold(instance, warehouse, run.run_id)
    processes._held.pop(run_files(warehouse) / run.run_id).close()
    return run


def soon(is_so: Callable[[], bool]) -> bool:
    """The kernel takes a moment to end what was killed."""
    deadline = time.monotonic() + 60
    while not (found := is_so()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
