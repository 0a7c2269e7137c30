"""Which runs have lost their process.

A run of `smotext run` lives in the command's own process; one that the daemon launched in a worker
of the code location, which reports a worker that dies. It cannot while the instance's Postgres is
away, and never again after that. Such a run would stay "started" for good, hold its place in the
pool `gpu`, and keep the inbox and `smotext forget` waiting.

So a process holds, for as long as it lives, a lock on a file with the name of its run, in a folder
beside the warehouse. The kernel frees the lock with the process and what it forked, and never
before: numbers and names of processes, hosts and containers, which others may have too, decide
nothing. Where there is no such file, or no lock to be had, nobody can tell, and the run is left
alone.
"""

import fcntl
import os
import socket
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO

import dagster as dg

from smotext_assets.store.files import sync_folder

_held: dict[Path, IO[bytes]] = {}  # by this process


def run_files(warehouse: Path) -> Path:
    """The folder of the files that the processes of runs hold."""
    return warehouse.with_name(f"{warehouse.name}.runs")


def hold(instance: dg.DagsterInstance, warehouse: Path, run_id: str) -> None:
    """Show until this process ends that the run lives in it.

    Raises:
        OSError: the folder cannot be written, or its file system has no locks.
    """
    _release_ended(instance)
    path = run_files(warehouse) / run_id
    if path in _held:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{run_id}-{uuid.uuid4().hex}")
    file = new.open("xb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(_host())
        file.flush()
        os.fsync(file.fileno())  # a power cut kills processes too
        os.replace(new, path)  # under this name it was never free
    except OSError:
        file.close()
        new.unlink(missing_ok=True)
        raise
    _held[path] = file
    sync_folder(path.parent)


def fail_dead_runs(instance: dg.DagsterInstance, warehouse: Path) -> list[str]:
    """Record as failed the runs whose process is gone; their ids."""
    dead = []
    for path in sorted(run_files(warehouse).glob("[!.]*")):
        file = _freed(path)
        if file is None:
            continue
        with file:
            run = instance.get_run_by_id(path.name)
            if run is None:  # of another instance, which wants to know
                continue
            if run.status == dg.DagsterRunStatus.STARTED:
                instance.report_run_failed(run, "The process of this run was killed.")
                dead.append(run.run_id)
            elif not run.is_finished:
                continue
            with suppress(OSError):  # a folder of somebody else's
                path.unlink()
    return dead


def _release_ended(instance: dg.DagsterInstance) -> None:
    """Let go of the runs of this process that have ended: it may make many."""
    for path in list(_held):
        run = instance.get_run_by_id(path.name)
        if run is None or run.is_finished:
            path.unlink(missing_ok=True)  # first: it is never seen free
            _held.pop(path).close()


def _freed(path: Path) -> IO[bytes] | None:
    """The locked file of a process of this host that is gone; None if it lives or nobody can tell.

    Some network file systems keep locks within a host: so what another host wrote is left alone.
    """
    try:
        file = path.open("r+b")
    except OSError:  # let go of meanwhile, or not ours to open
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if file.read() == _host() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except OSError:  # held, no locks here, or let go of meanwhile
        pass
    file.close()
    return None


def _host() -> bytes:
    return socket.gethostname().encode()
