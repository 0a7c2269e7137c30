"""Refreshes of one warehouse at the same time, and who reads it meanwhile."""

import sys
import threading
import time
from pathlib import Path
from subprocess import PIPE, Popen

import duckdb
import pytest

from smotext_assets.store.files import file_lock
from smotext_assets.store.tables import Store
from smotext_assets.store.warehouse import refresh_warehouse
from tests.assets.store.test_warehouse import ask, commit
from tests.together import ended, started_together

REFRESHER = """
import sys
from pathlib import Path
from smotext_assets.store.tables import Store
from smotext_assets.store.warehouse import refresh_warehouse
from tests.assets.store.test_warehouse import commit
root, path, name, rounds = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(rounds)):
    commit(Store(root), f"{name}{number}", "rare", [f"{name} {number}"] * 50)
    refresh_warehouse(Store(root), Path(path))
"""


def test_refresh_warehouse_by_two_processes_loses_nothing_and_shows_whole_tables(
    local_store: Store, tmp_path: Path
) -> None:
    path, rounds = tmp_path / "w.duckdb", 8
    refresh_warehouse(local_store, path)
    words = (local_store.root, str(path))
    processes = started_together(REFRESHER, *((*words, name, str(rounds)) for name in ("a", "b")))
    seen = [0]
    while any(process.poll() is None for process in processes):
        with duckdb.connect(path, read_only=True) as reader:
            rows = reader.sql("SELECT run, count(*) FROM synthetic_texts GROUP BY run").fetchall()
            parents = reader.sql("SELECT count(*) FROM lineage").fetchall()
        assert {count for _, count in rows} <= {50}  # a run is there as a whole or not at all
        assert parents == [(100 * len(rows),)]  # as of the same moment
        assert len(rows) >= seen[-1]  # no refresh takes an older state for the newest
        seen.append(len(rows))
        time.sleep(0.01)
    ended(processes)
    assert len(set(seen)) > 3
    assert ask(path, "SELECT run FROM synthetic_texts GROUP BY run ORDER BY run") == sorted(
        (f"{name}{number}",) for name in "ab" for number in range(rounds)
    )
    assert not [found.name for found in tmp_path.iterdir() if "building" in found.name]


def test_refresh_warehouse_leaves_open_readers_their_snapshot(
    local_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "w.duckdb"
    commit(local_store, "r1", "rare", ["old"] * 3000)
    refresh_warehouse(local_store, path)
    script = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as reader:
    for _ in range(2):
        query = "SELECT count(*), any_value(text) FROM synthetic_texts"
        print(*reader.sql(query).fetchall()[0], flush=True)
        sys.stdin.readline()
"""
    arguments = [sys.executable, "-c", script, str(path)]
    with Popen(arguments, stdin=PIPE, stdout=PIPE, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline() == "3000 old\n"
        commit(local_store, "r2", "rare", ["new"] * 2000)
        refresh_warehouse(local_store, path)
        assert ask(path, "SELECT count(*) FROM synthetic_texts") == [(5000,)]
        reader.stdin.write("again\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "3000 old\n"
        reader.communicate("end\n")


def test_refresh_warehouse_serialises_writers_so_that_none_is_lost(
    local_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "w.duckdb"

    def work(name: str) -> None:
        for number in range(3):
            commit(local_store, f"{name}{number}", "rare", ["text"])
            refresh_warehouse(local_store, path)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ask(path, "SELECT run FROM synthetic_texts ORDER BY run") == [
        (f"{name}{number}",) for name in "abc" for number in range(3)
    ]


def test_refresh_warehouse_names_the_lock_it_could_not_have(
    local_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "w.duckdb"
    with (
        file_lock(tmp_path / "w.duckdb.lock", timeout_s=1.0),
        pytest.raises(TimeoutError, match=r"has held .*w\.duckdb\.lock for 0\.05 s"),
    ):
        refresh_warehouse(local_store, path, lock_timeout_s=0.05)
    assert not path.exists()
