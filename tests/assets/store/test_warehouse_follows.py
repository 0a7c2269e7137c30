"""A refresh in a copy gives what a rebuild gives; what cannot be followed is made anew."""

import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest

from smotext_assets.store import warehouse, warehouse_file
from smotext_assets.store.tables import Store
from smotext_assets.store.warehouse import refresh_warehouse
from smotext_core.schemas import GATES, SYNTHETIC_TEXTS, conform
from tests.assets.store.test_warehouse import HOSTILE, ask, commit, labelled, synthetic
from tests.conftest import S3_BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RARE = {"label": "rare", "run": "r1"}


def rows(path: Path) -> dict[str, list[Any]]:
    """All rows of all tables, sorted: of partitions taken in later the order is another."""
    names = [name for (name,) in ask(path, "SHOW TABLES")]
    return {name: sorted(ask(path, f'FROM "{name}"'), key=repr) for name in names}


def taken_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The partitions that refreshes put in from now on."""
    seen: list[str] = []
    put = warehouse_file.WarehouseFile.put

    def watched(self: Any, table: str, partition: str, *rest: Any) -> None:
        seen.append(partition)
        put(self, table, partition, *rest)

    monkeypatch.setattr(warehouse_file.WarehouseFile, "put", watched)
    return seen


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.soak) for n in (1, 2))])
def test_refreshes_give_what_a_rebuild_gives(store: Store, tmp_path: Path, seed: int) -> None:
    draw, path, anew = random.Random(seed), tmp_path / "w.duckdb", tmp_path / "anew.duckdb"
    for step in range(12):
        for _ in range(draw.randint(0, 3)):
            at = {"label": draw.choice(["rare", "other"]), "run": f"r{draw.randint(1, 4)}"}
            act = draw.randint(0, 4)
            if act == 0:
                store.delete("synthetic_table", at)
            elif act == 1:
                store.write("labelled_texts", labelled([f"text {step}"], ["rare"]))
            elif act == 2:
                gates = pl.DataFrame(
                    {"run": [at["run"]], "label": [at["label"]], "value": [draw.random()]},
                )
                full = pl.concat([GATES.to_frame(), gates], how="diagonal_relaxed")
                store.write("gates", conform(full, GATES), at)
            else:
                texts = [draw.choice(HOSTILE) for _ in range(draw.randint(0, 5))]
                store.write("synthetic_table", synthetic(at["run"], at["label"], texts), at)
        counts = refresh_warehouse(store, path)
        assert counts == refresh_warehouse(store, anew, rebuild=True)
        assert rows(path) == rows(anew)


def test_refresh_takes_in_what_changed_and_no_more(
    local_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.duckdb"
    for run in ("r1", "r2", "r3"):
        commit(local_store, run, "rare", ["a", "b"])
    refresh_warehouse(local_store, path)
    seen, before = taken_in(monkeypatch), path.stat()
    assert refresh_warehouse(local_store, path)["synthetic_texts"] == 6
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    commit(local_store, "r2", "rare", ["c"])
    commit(local_store, "r4", "rare", ["d"])
    assert refresh_warehouse(local_store, path)["synthetic_texts"] == 6
    assert seen == [f"synthetic_table/label=rare/run={run}" for run in ("r2", "r4")]
    seen.clear()
    refresh_warehouse(local_store, path, rebuild=True)
    assert len(seen) == 4


def test_refresh_asks_the_manifest_where_a_killed_writer_left_a_file(
    local_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "w.duckdb"
    commit(local_store, "r1", "rare", ["a"])
    (Path(local_store.root) / "synthetic_table/label=rare/run=r1/part-0.parquet").write_bytes(b"")
    manifest = local_store.manifest("synthetic_table", RARE)
    assert manifest is not None
    assert local_store.contents("synthetic_table") == [(RARE, manifest.file)]
    refresh_warehouse(local_store, path)
    assert ask(path, "SELECT text FROM synthetic_texts") == [("a",)]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def scrambled(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:12288] + b"\xff" * (len(data) - 12288))


def of_another_version(path: Path) -> None:
    path.unlink()
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE synthetic_texts (sample_id VARCHAR)")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncated, scrambled, of_another_version, empty])
def test_refresh_makes_a_file_anew_that_it_cannot_follow(
    local_store: Store, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "w.duckdb"
    commit(local_store, "r1", "rare", ["a"])
    refresh_warehouse(local_store, path)
    damage(path)
    commit(local_store, "r2", "rare", ["b"])
    refresh_warehouse(local_store, path)
    assert ask(path, "SELECT text FROM synthetic_texts") == [("a",), ("b",)]


def test_refresh_makes_a_file_anew_whose_tables_have_other_columns(
    local_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.duckdb"
    commit(local_store, "r1", "rare", ["a"])
    fewer = pl.Schema(list(SYNTHETIC_TEXTS.items())[:-1])
    with monkeypatch.context() as patch:
        patch.setitem(warehouse._SOURCES, "synthetic_texts", ("synthetic_table", fewer))
        refresh_warehouse(local_store, path)
    refresh_warehouse(local_store, path)
    assert ask(path, "SELECT generator FROM synthetic_texts") == [("f",)]


def test_refreshes_that_replace_the_same_rows_do_not_grow_the_file_without_end(
    local_store: Store, tmp_path: Path
) -> None:
    path, sizes = tmp_path / "w.duckdb", []
    for number in range(12):
        commit(local_store, "r1", "rare", [f"{number} {row * 7919 % 10007}" for row in range(3000)])
        refresh_warehouse(local_store, path)
        sizes.append(path.stat().st_size)
    assert max(sizes) <= 4 * sizes[0], sizes
    assert ask(path, "SELECT count(*) FROM store.synthetic_texts") == [(3000,)]


def test_large_partition_is_taken_in_in_pieces(
    local_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.duckdb"
    texts = [f"text {number}" for number in range(70_000)]
    commit(local_store, "r1", "rare", texts)
    heights: list[int] = []

    def watched(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
        heights.append(frame.height)
        return conform(frame, schema)

    monkeypatch.setattr(warehouse, "conform", watched)
    assert refresh_warehouse(local_store, path)["lineage"] == 140_000
    assert max(heights) < 70_000
    assert [row for (row,) in ask(path, "SELECT text FROM synthetic_texts")] == texts


def test_warehouse_is_for_its_owner_until_somebody_shares_it(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    store.write("synthetic_table", synthetic("r1", "rare", ["one"]), RARE)
    refresh_warehouse(store, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    for text, rebuild in (("two", False), ("three", True)):
        store.write("synthetic_table", synthetic("r1", "rare", [text]), RARE)
        refresh_warehouse(store, path, rebuild=rebuild)
        assert ask(path, "SELECT text FROM synthetic_texts") == [(text,)]
        assert stat.S_IMODE(path.stat().st_mode) == 0o640  # and stays so


def test_warehouse_is_for_its_group_where_the_store_says_so(
    local_store: Store, s3_client: "S3Client", tmp_path: Path
) -> None:
    path, old = tmp_path / "w.duckdb", tmp_path / "old.duckdb"
    shared = Store(local_store.root, group_readable=True)
    bucket = Store(f"s3://{S3_BUCKET}/{tmp_path.name}", client=s3_client, group_readable=True)
    local_store.write("synthetic_table", synthetic("r1", "rare", ["one"]), RARE)
    refresh_warehouse(local_store, old)
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    for store in (shared, bucket):
        for rebuild in (True, False):
            path.unlink(missing_ok=True)
            refresh_warehouse(store, path, rebuild=rebuild)
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
    refresh_warehouse(shared, old)  # nothing has changed in it but who may read it
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert ask(old, "SELECT text FROM synthetic_texts") == [("one",)]
    old.chmod(0o604)
    refresh_warehouse(shared, old, rebuild=True)
    assert stat.S_IMODE(old.stat().st_mode) == 0o644  # what it was given stays
