"""A disk without room and a store that nobody may write: a clear failure, and then on as before."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from smotext_assets.store.tables import Store
from smotext_assets.store.warehouse import refresh_warehouse
from tests.assets.conftest import Home
from tests.assets.store.test_warehouse import commit

RARE = {"label": "rare"}
OLD = pl.DataFrame({"text": ["old"]})
BIG = pl.DataFrame({"text": [os.urandom(1000).hex() for _ in range(4000)]})  # 4 MB once packed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    told = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        subprocess.run(told, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk of its own can be mounted here: {error}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_disk_keeps_the_old_partition_and_room_is_all_it_takes(small_disk: Path) -> None:
    store = Store(str(small_disk / "store"))
    old = store.write("t", OLD, RARE)
    for frames in (BIG, iter([BIG])):
        with pytest.raises(OSError, match=r"No space left on device: .*what was there stays; free"):
            store.write("t", frames, RARE)
    with pytest.raises(OSError, match="No space left on device"):
        store.batches("t", RARE, inputs={}).make(
            2,
            size=1,
            make=lambda blocks: ((n, BIG) for n in range(len(blocks))),
            progress=lambda rows: None,
        )
    assert store.manifest("t", RARE) == old
    assert store.read("t", RARE).equals(OLD)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    store.write("t", BIG, RARE)
    assert store.read("t", RARE).equals(BIG)
    left = [name for name in store._files.list("") if ".tmp-" in name or "batch-" in name]
    assert left == []


def test_full_disk_keeps_the_old_warehouse(small_disk: Path, tmp_path: Path) -> None:
    path, store = small_disk / "warehouse.duckdb", Store(str(tmp_path))
    commit(store, "r1", "rare", ["old"])
    refresh_warehouse(store, path)
    before = path.read_bytes()
    commit(store, "r2", "rare", BIG["text"].to_list())
    for rebuild in (False, True):
        with pytest.raises(OSError, match="could not be written, the old one stays"):
            refresh_warehouse(store, path, rebuild=rebuild)
        assert path.read_bytes() == before
        assert sorted(p.name for p in small_disk.iterdir()) == [path.name, f"{path.name}.lock"]


LIMITED = """
import resource, signal, sys
import polars as pl
from smotext_assets.store.tables import Store

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
frame = pl.DataFrame({"text": [str(n * 7919 % 100_003) for n in range(100_000)]})
try:
    Store(sys.argv[1]).write("t", frame, {"label": "rare"})
except OSError as error:
    print(error)
"""


def test_file_that_may_not_grow_keeps_the_old_partition(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    old = store.write("t", OLD, RARE)
    told = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "File too large" in told.stdout
    assert "what was there stays" in told.stdout
    assert store.manifest("t", RARE) == old
    assert store.read("t", RARE).equals(OLD)


def test_store_on_a_read_only_disk_says_so_and_can_be_read(small_disk: Path) -> None:
    store = Store(str(small_disk / "store"))
    store.write("t", OLD, RARE)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match=r"Read-only file system: .*make its folder writable"):
        store.write("t", OLD.clear(), RARE)
    assert store.read("t", RARE).equals(OLD)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    store.write("t", OLD.clear(), RARE)
    assert store.read("t", RARE).is_empty()


@pytest.mark.soak
def test_run_on_a_full_disk_goes_on_once_there_is_room(
    finished: Home, small_disk: Path, corpus: Path
) -> None:
    home = Home(small_disk / "home")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (2**21 - 150_000))
    asked = ("run", str(corpus), "--run", "r1", "--seed", "7")
    assert home.main(*asked) != 0
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert home.main(*asked) == 0
    assert home.files(without=["runs"]) == finished.files(without=["runs"])
