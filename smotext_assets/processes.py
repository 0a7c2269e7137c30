"""Runs that live in the process of a command, and what is left of those that were killed.

Dagster's daemon watches the processes it launched. A run of `smotext run` lives in the command's
own process: killed, it would stay "started" for good, hold its place in the pool `gpu`, and keep
the inbox and `smotext forget` waiting.
"""

import os
import socket
from pathlib import Path

import dagster as dg

PROCESS = "smotext/process"  # host, process number, when it was started


def this_process() -> dict[str, str]:
    """The tag of a run that lives in this process."""
    return {PROCESS: f"{socket.gethostname()} {os.getpid()} {_started(os.getpid())}"}


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Record as failed what ran in a process of this host that is no longer there; the run ids."""
    dead = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        host, _, process = run.tags.get(PROCESS, "").partition(" ")
        if host != socket.gethostname():  # nobody can tell from here
            continue
        number, _, started = process.partition(" ")
        if _started(int(number)) != started:
            instance.report_run_failed(run, "The process of this run was killed.")
            dead.append(run.run_id)
    return dead


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
