"""The suite ends by asking what it left; here is that the question finds something."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leftovers import MARK, Leftovers


@pytest.fixture
def leftovers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Leftovers]:
    own = Leftovers()
    monkeypatch.setenv(MARK, own.name)
    monkeypatch.setattr(tempfile, "tempdir", str(own.folder))
    yield own
    own.clear()


def test_leftovers_names_a_port_and_a_folder(leftovers: Leftovers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryDirectory() as folder:
        left = leftovers.found(within_s=0)
        assert f"port 127.0.0.1:{server.getsockname()[1]}" in left
        assert f"file {folder}" in left
    assert leftovers.found(within_s=0) == []


def test_leftovers_says_what_is_in_a_folder(leftovers: Leftovers) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("history", "compute_logs"):
            (Path(folder) / name).mkdir()
        assert leftovers.found(within_s=0) == [f"folder {folder} with compute_logs, history"]


def test_leftovers_names_a_process_whose_parent_has_ended(leftovers: Leftovers) -> None:
    wait = "import sys; sys.stdin.read()"
    begin = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {wait!r}, 'orphan'])"
    reads, writes = os.pipe()
    subprocess.run([sys.executable, "-c", begin], stdin=reads, check=True)
    os.close(reads)
    (line,) = leftovers.found(within_s=0)
    assert line.startswith("process ")
    assert line.endswith("orphan")
    leftovers.clear()
    os.close(writes)
    leftovers.folder.mkdir()
    assert leftovers.found() == []
