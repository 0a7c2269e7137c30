"""Writers and readers of one partition at the same time."""

import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest

from smotext_assets.files import file_lock
from smotext_assets.storage import Store
from tests.frames import RARE, parts

WRITER = """
import sys
import polars as pl
from smotext_assets.storage import Store
root, name = sys.argv[1:]
store = Store(root)
print("ready", flush=True)
sys.stdin.readline()
for number in range(15):
    frame = pl.DataFrame({"writer": [name] * 20, "number": [number % 3] * 20})
    store.write("t", frame, {"label": "rare", "run": "r1"}, metadata={"writer": name})
"""


def test_write_by_two_processes_never_tears(local_store: Store) -> None:
    first = local_store.write("t", pl.DataFrame({"writer": ["me"] * 20, "number": [0] * 20}), RARE)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, local_store.root, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    seen = set()
    while any(writer.poll() is None for writer in writers):
        frame = local_store.read("t", RARE)
        assert frame.height == 20
        assert frame.n_unique() == 1
        seen.add(frame["writer"][0])
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert {"a", "b"} <= seen
    last = local_store.manifest("t", RARE)
    assert last is not None
    assert local_store.read("t", RARE)["writer"][0] == last.metadata["writer"]
    assert parts(Path(local_store.root, first.path).parent) == [last.file]


def test_file_lock_times_out_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.lock"
    with (
        file_lock(path, timeout_s=1.0),
        pytest.raises(TimeoutError, match=r"has held .*warehouse.lock for 0.05 s; let it finish"),
        file_lock(path, timeout_s=0.05),
    ):
        raise AssertionError("two held the lock")
    with file_lock(path, timeout_s=0.0):
        assert path.exists()


def test_file_lock_waits_its_turn(tmp_path: Path) -> None:
    order, held = [], threading.Event()

    def hold() -> None:
        with file_lock(tmp_path / "lock", timeout_s=1.0):
            held.set()
            threading.Event().wait(0.1)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with file_lock(tmp_path / "lock", timeout_s=5.0):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
