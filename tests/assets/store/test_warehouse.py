import errno
import os
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from smotext_assets.store import warehouse
from smotext_assets.store.receipts import FORGOTTEN
from smotext_assets.store.tables import Store
from smotext_assets.store.warehouse import refresh_warehouse
from smotext_assets.store.warehouse_file import WarehouseFile, build, statements
from smotext_core.schemas import (
    EVALUATION,
    GATES,
    LABELLED_TEXTS,
    LINEAGE,
    PRIVACY_AUDIT,
    REJECTED_TEXTS,
    RUNS,
    SYNTHETIC_TEXTS,
    conform,
)

HOSTILE = [
    "'); DROP TABLE labelled_texts; --",
    "\"; ATTACH '/etc/passwd' AS x; --",
    "label|with/../everything\n\t\\",
    "$1 ? {} %s :name",
    "=HYPERLINK(1)",
    "a\0b",
    "é 😀 \u202e",
    " ",
]


def synthetic(run: str, label: str, texts: list[str]) -> pl.DataFrame:
    rows = len(texts)
    frame = pl.DataFrame(
        {
            "sample_id": [f"{run}.{label}.{number}" for number in range(rows)],
            "run": [run] * rows,
            "label": [label] * rows,
            "text": texts,
            "round_trip_cosine": [0.5] * rows,
            "parent_cosine": [0.5] * rows,
            "label_confidence": [0.5] * rows,
            "copied_words": [1] * rows,
            "parent_ids": [["d1", "d2"]] * rows,
            "weights": [[0.75, 0.25]] * rows,
            "generator": ["f"] * rows,
        },
        schema_overrides={"text": pl.String},
    )
    return conform(frame, SYNTHETIC_TEXTS)


def labelled(texts: list[str], labels: list[str]) -> pl.DataFrame:
    rows = len(texts)
    frame = pl.DataFrame(
        {
            "text_id": [f"d{number}" for number in range(rows)],
            "document_id": [f"d{number}" for number in range(rows)],
            "passage": [0] * rows,
            "text": texts,
            "content_hash": ["0" * 64] * rows,
            "label": labels,
            "slug": ["rare"] * rows,
            "split": ["train"] * rows,
        }
    )
    return conform(frame, LABELLED_TEXTS)


def commit(store: Store, run: str, label: str, texts: list[str]) -> None:
    store.write("synthetic_table", synthetic(run, label, texts), {"label": label, "run": run})


def ask(path: Path, query: str) -> list[Any]:
    with duckdb.connect(path, read_only=True) as connection:
        return connection.sql(query).fetchall()


def test_refresh_warehouse_holds_what_the_store_has_committed(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "warehouse.duckdb"
    store.write("labelled_texts", labelled(["one", "two"], ["rare", "rare"]))
    commit(store, "r2", "rare", ["c"])
    commit(store, "r1", "rare", ["a", "b"])
    accepted = synthetic("r1", "common", ["not yet in the table"])
    store.write("synthetic_texts", accepted, {"label": "common", "run": "r1"})
    refused = synthetic("r1", "rare", ["bad"]).with_columns(
        candidate=pl.lit(3, pl.Int32), reason=pl.lit("copies")
    )
    store.write("rejected_texts", conform(refused, REJECTED_TEXTS), {"label": "rare", "run": "r1"})
    run = {
        "run": "r1",
        "seed": 2**40,
        "sampling_strategy": "auto",
        "k_neighbors": 5,
        "generator": "mini",
        "generator_fingerprint": "f",
        "corpus_sha256": "0" * 64,
        "created_at": "2026-11-22T03:00:00Z",
        "config": '{"seed": 1}',
    }
    store.write("runs", pl.DataFrame([run], schema=RUNS), {"run": "r1"})
    for secret in ("embeddings", "class_pairs", "interpolated_vectors"):
        store.write(secret, pl.DataFrame({"vector": [[1.0, 2.0]]}), {"label": "rare"})

    counts = refresh_warehouse(store, path)

    assert counts == {
        "evaluation": 0,
        "forgotten": 0,
        "gates": 0,
        "labelled_texts": 2,
        "lineage": 6,
        "privacy_audit": 0,
        "rejected_texts": 1,
        "runs": 1,
        "synthetic_texts": 3,
    }
    assert ask(path, "SHOW TABLES") == [(name,) for name in sorted(counts)]
    assert ask(path, "SELECT sample_id, text FROM synthetic_texts") == [
        ("r1.rare.0", "a"),
        ("r1.rare.1", "b"),
        ("r2.rare.0", "c"),
    ]
    assert ask(path, "SELECT * FROM lineage LIMIT 2") == [
        ("r1.rare.0", "d1", 0.75),
        ("r1.rare.0", "d2", 0.25),
    ]
    assert ask(path, "SELECT reason, candidate FROM rejected_texts") == [("copies", 3)]
    assert ask(path, "SELECT seed, config->>'seed' FROM runs") == [(2**40, "1")]
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


def test_refresh_warehouse_types_empty_tables(local_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    counts = refresh_warehouse(local_store, path)
    assert set(counts.values()) == {0}
    schemas = {
        "labelled_texts": LABELLED_TEXTS,
        "synthetic_texts": SYNTHETIC_TEXTS,
        "rejected_texts": REJECTED_TEXTS,
        "lineage": LINEAGE,
        "runs": RUNS,
        "evaluation": EVALUATION,
        "privacy_audit": PRIVACY_AUDIT,
        "gates": GATES,
        "forgotten": pl.Schema(list(FORGOTTEN.items())[:-1]),  # all but `done`
    }
    with duckdb.connect(path, read_only=True) as connection:
        assert {name: connection.table(name).pl().schema for name in counts} == schemas


def test_refresh_warehouse_stores_hostile_text_verbatim(local_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    local_store.write("labelled_texts", labelled(HOSTILE, HOSTILE))
    frame = synthetic("r1", "rare", HOSTILE).with_columns(label=pl.Series(HOSTILE))
    local_store.write("synthetic_table", frame, {"label": "rare", "run": "r1"})
    refresh_warehouse(local_store, path)
    both = [(text, text) for text in HOSTILE]
    assert ask(path, "SELECT text, label FROM labelled_texts") == both
    assert ask(path, "SELECT text, label FROM synthetic_texts") == both


def test_refresh_warehouse_drops_what_the_store_forgot(local_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    commit(local_store, "r1", "rare", ["forget me please"])
    commit(local_store, "r1", "other", ["kept"])
    refresh_warehouse(local_store, path)
    assert b"forget me please" in path.read_bytes()
    local_store.delete("synthetic_table", {"label": "rare", "run": "r1"})
    refresh_warehouse(local_store, path)
    assert ask(path, "SELECT text FROM synthetic_texts") == [("kept",)]
    assert ask(path, "SELECT DISTINCT sample_id FROM lineage") == [("r1.other.0",)]
    assert b"forget me please" not in path.read_bytes()


def test_refresh_warehouse_explodes_any_number_of_parents(
    local_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "w.duckdb"
    frame = synthetic("r1", "rare", ["three", "none", "null"]).with_columns(
        parent_ids=pl.Series([["a", "b", "c"], [], None], dtype=pl.List(pl.String)),
        weights=pl.Series([[0.5, 0.3, 0.2], [], None], dtype=pl.List(pl.Float64)),
    )
    local_store.write("synthetic_table", frame, {"label": "rare", "run": "r1"})
    assert refresh_warehouse(local_store, path)["lineage"] == 3
    assert ask(path, "SELECT parent_id, weight FROM lineage") == [
        ("a", 0.5),
        ("b", 0.3),
        ("c", 0.2),
    ]


def test_refresh_warehouse_removes_files_of_killed_refreshes(
    local_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "w[1].duckdb"
    half = [".w[1].duckdb.0.building", ".w[1].duckdb.0.building.wal", "w[1].duckdb.wal"]
    for name in half:
        (tmp_path / name).write_bytes(b"half")
    commit(local_store, "r1", "rare", ["a"])
    refresh_warehouse(local_store, path)
    assert not [name for name in half if (tmp_path / name).exists()]
    assert ask(path, "SELECT text FROM synthetic_texts") == [("a",)]


def test_refresh_warehouse_with_a_damaged_partition_keeps_the_old_file(
    local_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "w.duckdb"
    commit(local_store, "r1", "rare", ["a"])
    refresh_warehouse(local_store, path)
    commit(local_store, "r2", "rare", ["b"])
    for run, rebuild in (("r2", False), ("r2", True), ("r1", True)):
        manifest = local_store.manifest("synthetic_table", {"label": "rare", "run": run})
        assert manifest is not None
        sound = Path(local_store.root, manifest.path).read_bytes()
        Path(local_store.root, manifest.path).write_bytes(b"damaged")
        with pytest.raises(ValueError, match="was changed or damaged"):
            refresh_warehouse(local_store, path, rebuild=rebuild)
        Path(local_store.root, manifest.path).write_bytes(sound)
    assert ask(path, "SELECT text FROM synthetic_texts") == [("a",)]
    refresh_warehouse(local_store, path)
    assert ask(path, "SELECT text FROM synthetic_texts") == [("a",), ("b",)]


def test_refresh_warehouse_refuses_a_partition_without_a_column(
    local_store: Store, tmp_path: Path
) -> None:
    frame = synthetic("r1", "rare", ["a"]).drop("generator")
    local_store.write("synthetic_table", frame, {"label": "rare", "run": "r1"})
    with pytest.raises(ValueError, match=r"\['generator'\] are missing"):
        refresh_warehouse(local_store, tmp_path / "w.duckdb")


def test_refresh_warehouse_refuses_vectors(
    local_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = pl.DataFrame({"vector": pl.Series([[1.0]], dtype=pl.Array(pl.Float32, 1))})
    local_store.write("texts", vectors)
    monkeypatch.setitem(warehouse._SOURCES, "texts", ("texts", vectors.schema))
    with pytest.raises(TypeError, match=r"texts\.vector is Array\(Float32"):
        refresh_warehouse(local_store, tmp_path / "w.duckdb")
    assert not (tmp_path / "w.duckdb").exists()


def test_refresh_warehouse_that_fails_keeps_the_old_file(
    local_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.duckdb"
    commit(local_store, "r1", "rare", ["a"])
    refresh_warehouse(local_store, path)
    commit(local_store, "r2", "rare", ["b"])
    there = sorted(file.name for file in tmp_path.iterdir())

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for rebuild in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", refuse)
            with pytest.raises(OSError, match=r"the old one stays: .*No space left.*; free space"):
                refresh_warehouse(local_store, path, rebuild=rebuild)
    assert ask(path, "SELECT text FROM synthetic_texts") == [("a",)]
    assert sorted(file.name for file in tmp_path.iterdir()) == there


def test_build_where_no_folder_can_be_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/w\.duckdb could not be written.*another path"):
        build(tmp_path / "file" / "w.duckdb", lambda file: True, on_copy=False)


def test_build_keeps_rows_and_their_order_under_hostile_names(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            'a "quoted" column': ["b", None, "a"],
            "flag": [True, False, None],
            "small": pl.Series([2, None, 1], dtype=pl.Int32),
            "cosine": pl.Series([0.1, None, 0.3], dtype=pl.Float32),
            "weights": pl.Series([[0.1], [], None], dtype=pl.List(pl.Float64)),
        }
    )
    path, name = tmp_path / "w.duckdb", 'b"; DROP'

    def fill(file: WarehouseFile) -> bool:
        file.create(statements({name: frame.schema, "a": frame.schema}, {}))
        file.put(name, "label='x", "part", [frame[:2], frame[2:]])
        file.put("a", "", "part", [frame[:1]])
        return True

    assert build(path, fill, on_copy=False) == {name: 3, "a": 1}
    with duckdb.connect(path, read_only=True) as connection:
        assert connection.sql('FROM "b""; DROP"').pl().equals(frame)
