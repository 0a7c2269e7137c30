"""What a suite leaves behind: processes, ports that are listened on, temporary files."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "TESTS_BEGUN_AS"  # in the environment of every process that is begun from here
SOON_S = 60  # a process that was told to end may take so long on a busy machine


class Leftovers:
    """Look at `found` when everything has been put away; `folder` is where tempfile writes.

    What was there before is nobody's leftover.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="smotext-tests-"))
        self.folder.chmod(0o755)  # Postgres does not run as root, and has its home here
        self.name = uuid.uuid4().hex
        self._listened = set(self._listening())
        self._there = {process.pid for process in psutil.Process().children()}

    def _ours(self) -> list[psutil.Process]:
        """Children, and who was begun by them and lives on without them."""
        own = psutil.Process()
        begun = [child for child in own.children() if child.pid not in self._there]
        found = {child.pid: child for child in begun}
        for child in begun:
            with suppress(psutil.Error):
                found |= {below.pid: below for below in child.children(recursive=True)}
        for process in psutil.process_iter():
            try:
                if process != own and process.environ().get(MARK) == self.name:
                    found[process.pid] = process
            except psutil.Error:
                continue  # ended, or somebody else's
        return [process for process in found.values() if not _is_only_a_tracker(process)]

    def _listening(self) -> list[str]:
        return [
            f"{connection.laddr.ip}:{connection.laddr.port}"
            for connection in psutil.Process().net_connections("inet")
            if connection.status == psutil.CONN_LISTEN and connection.type == socket.SOCK_STREAM
        ]

    def found(self, *, within_s: float = SOON_S) -> list[str]:
        """A line for each thing left; processes get time to end."""
        deadline = time.monotonic() + within_s
        while (processes := self._ours()) and time.monotonic() < deadline:
            time.sleep(0.2)
        left = [f"process {process.pid}: {_command(process)}" for process in processes]
        left += [f"port {at}" for at in self._listening() if at not in self._listened]
        return left + [_told(path) for path in sorted(self.folder.iterdir())]

    def clear(self) -> None:
        """End the processes and remove the files, so that the next suite does not meet them."""
        for process in self._ours():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _told(path: Path) -> str:
    """With the names in a folder, which say who made it."""
    try:
        within = ", ".join(sorted(file.name for file in path.iterdir()))
    except OSError:  # a file, or gone meanwhile
        within = ""
    return f"folder {path} with {within}" if within else f"file {path}"


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return "ended"


def _is_only_a_tracker(process: psutil.Process) -> bool:
    """multiprocessing's and joblib's, which end with the process that they belong to."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE or (
            process.ppid() == os.getpid() and "resource_tracker" in " ".join(process.cmdline())
        )
    except psutil.NoSuchProcess:
        return True
