"""Which process a run lives in, and what is left of those that were killed.

A run of `smotext run` lives in the command's own process; one that the daemon launched in a worker
of the code location, which reports a worker that dies. It cannot while the instance's Postgres is
away, and never again after that. Such a run would stay "started" for good, hold its place in the
pool `gpu`, and keep the inbox and `smotext forget` waiting: so each run says where it lives.
"""

import os
import socket
from pathlib import Path

import dagster as dg

PROCESS = "smotext/process"  # host, process number, when it was started


def this_process() -> dict[str, str]:
    """The tag of a run that lives in this process."""
    return {PROCESS: f"{socket.gethostname()} {os.getpid()} {_started(os.getpid())}"}


def tag_process(context: dg.InitResourceContext) -> None:
    """Tag the run that `context` is of with this process."""
    if context.instance is None or context.run_id is None:  # of no run
        return
    run = context.instance.get_run_by_id(context.run_id)
    if run is not None and run.tags.get(PROCESS) != this_process()[PROCESS]:
        context.instance.add_run_tags(context.run_id, this_process())


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Record as failed what ran in a process of this host that is no longer there; the run ids."""
    dead = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        host, _, process = _process_of(instance, run).partition(" ")
        if host != socket.gethostname():  # nobody can tell from here
            continue
        number, _, started = process.partition(" ")
        if _started(int(number)) == started:
            continue
        now = instance.get_run_by_id(run.run_id)
        if now is not None and now.status == dg.DagsterRunStatus.STARTED:  # it did not just end
            instance.report_run_failed(now, "The process of this run was killed.")
            dead.append(run.run_id)
    return dead


@dg.sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Fails runs whose process is gone, so that they hold no place in the pool `gpu`.

    It runs where the workers of the code location do. Runs of other hosts are left alone.
    """
    dead = fail_dead_runs(context.instance)
    return dg.SkipReason(
        f"failed, for their process was killed: {', '.join(dead)}" if dead else "none is dead"
    )


def _process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Its tag; "" where it has none, or only that of the run it repeats, as it has at first."""
    repeated = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    tag = run.tags.get(PROCESS, "")
    return "" if repeated is not None and repeated.tags.get(PROCESS) == tag else tag


def _started(process: int) -> str:
    """When a process was started, so that a number given anew is told from the old one.

    "" where there is no such process; "unknown" where the system does not say when.
    """
    if Path("/proc/self/stat").exists():
        try:
            # The name of the program, in brackets, may hold blanks; 19 fields behind it: starttime.
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return ""
        state, *fields = stat.rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "unknown"
