"""One partition: the same frame comes back, replaced whole; names that are refused."""

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from smotext_assets.store.commits import leftovers
from smotext_assets.store.files import Folder
from smotext_assets.store.tables import Store
from tests.frames import ONE, RARE, TWO, frames, parts


def check_round_trip(store: Store, frame: pl.DataFrame) -> None:
    manifest = store.write("embeddings", frame, RARE, fingerprint="f", metadata={"rows": [1, None]})
    read = store.read("embeddings", RARE)
    assert read.schema == frame.schema
    assert read.equals(frame)
    assert store.manifest("embeddings", RARE) == manifest
    assert (manifest.rows, manifest.fingerprint) == (frame.height, "f")
    assert manifest.metadata == {"rows": [1, None]}
    assert manifest.schema == [[name, str(dtype)] for name, dtype in frame.schema.items()]
    assert manifest.file == f"part-{manifest.sha256[:16]}.parquet"


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(frame=frames())
def test_write_then_read_gives_the_frame_local(local_store: Store, frame: pl.DataFrame) -> None:
    check_round_trip(local_store, frame)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(frame=frames())
def test_write_then_read_gives_the_frame_s3(s3_store: Store, frame: pl.DataFrame) -> None:
    check_round_trip(s3_store, frame)


def test_write_gives_the_same_bytes_for_the_same_rows(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    frame = pl.DataFrame({"text": [f"text {i}" for i in range(500)]}).with_columns(
        vector=pl.Series(vectors, dtype=pl.Array(pl.Float32, 4))
    )
    pieces = pl.concat([frame[:1], frame[1:77], frame[77:]])  # other chunks, the same rows
    for name, same in (("a", frame), ("b", pieces), ("c", pieces)):
        store = Store(str(tmp_path / name))
        store.write("t", ONE, RARE)
        store.write("t", same, dict(reversed(RARE.items())), metadata={"y": 1, "x": {"b": 2.5}})

    def everything(name: str) -> dict[str, bytes]:
        found = (path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in found}

    assert everything("a") == everything("b") == everything("c")
    assert len(everything("a")) == 3  # lock, manifest, part


def test_write_lays_out_hive_folders(local_store: Store) -> None:
    manifest = local_store.write("synthetic_texts", ONE, {"run": "r1", "label": "rare"})
    folder = Path(local_store.root, "synthetic_texts", "label=rare", "run=r1")
    data = (folder / manifest.file).read_bytes()
    assert manifest.sha256 == hashlib.sha256(data).hexdigest()
    assert manifest.path == f"synthetic_texts/label=rare/run=r1/{manifest.file}"
    described = json.loads((folder / "_manifest.json").read_text())
    assert set(described) == {
        *("table", "partition", "file", "rows", "sha256", "fingerprint", "schema", "metadata")
    }
    hive = pl.read_parquet(
        Path(local_store.root, "synthetic_texts", "**", "*.parquet"), hive_partitioning=True
    )
    assert hive.select("label", "run").row(0) == ("rare", "r1")


def test_write_replaces_the_partition_and_its_file(store: Store) -> None:
    old = store.write("t", ONE, RARE)
    new = store.write("t", TWO, RARE)
    assert store.read("t", RARE).equals(TWO)
    assert list(leftovers(store._files, "t/label=rare/run=r1")) == [new.path]
    assert old.path != new.path


def test_write_deletes_leftovers_of_killed_writers(local_store: Store) -> None:
    kept = local_store.write("t", ONE, RARE)
    folder = Path(local_store.root, kept.path).parent
    for name in ("part-0000000000000000.parquet", ".tmp-0"):
        (folder / name).write_bytes(b"half")
    (folder / "notes.txt").write_bytes(b"not ours")
    local_store.write("t", ONE, RARE)
    assert parts(folder) == ["notes.txt", kept.file]


def test_write_in_a_bucket_leaves_young_parts_of_other_writers(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "t/label=rare/run=r1/part-0000000000000000.parquet"
    s3_store._files.put(other, b"its manifest comes next")
    s3_store.write("t", ONE, RARE)
    assert other in leftovers(s3_store._files, "t/label=rare/run=r1")
    monkeypatch.setattr(s3_store._files, "grace_s", 0.0)
    kept = s3_store.write("t", ONE, RARE)
    assert list(leftovers(s3_store._files, "t/label=rare/run=r1")) == [kept.path]


def test_write_in_a_bucket_restores_a_part_that_another_writer_deleted(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = s3_store._files.put
    lost: list[str] = []

    def put_and_lose_the_first_part(name: str, data: bytes) -> None:
        put(name, data)
        if name.endswith(".parquet") and not lost:
            lost.append(name)
            s3_store._files.delete(name)

    monkeypatch.setattr(s3_store._files, "put", put_and_lose_the_first_part)
    manifest = s3_store.write("t", ONE, RARE)
    assert lost == [manifest.path]
    assert s3_store.read("t", RARE).equals(ONE)


@pytest.mark.parametrize("metadata", [{"mean": float("nan")}, {"when": object()}])
def test_write_refuses_metadata_that_is_not_json(local_store: Store, metadata: Any) -> None:
    with pytest.raises(ValueError, match=r"metadata of t must be JSON"):
        local_store.write("t", ONE, metadata=metadata)
    assert local_store.partitions("t") == []


@pytest.mark.parametrize(
    "slug", ["", "..", "a/b", "a|b", "a b", "é", ".hidden", "a\n", "a\0", "x" * 201, "a=b", "😀"]
)
def test_write_refuses_values_that_cannot_be_paths(store: Store, slug: str) -> None:
    for partition in ({"label": slug}, {slug: "x"}):
        with pytest.raises(ValueError, match=re.escape(f"{slug!r} (table 't') cannot be a path")):
            store.write("t", ONE, partition)
    with pytest.raises(ValueError, match="cannot be a path"):
        store.write(slug, ONE)


@pytest.mark.parametrize("root", ["", "gs://bucket", "s3://", "s3:///prefix"])
def test_store_refuses_roots_it_cannot_use(s3_client: Any, root: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"got {root!r}")):
        Store(root, client=s3_client)
    with pytest.raises(ValueError, match="needs s3://bucket/prefix and a client"):
        Store("s3://bucket/prefix")


# files that are not tables


def test_write_bytes_then_read_bytes(store: Store) -> None:
    store.write_bytes("dataset_card/r1/card.md", "# é".encode())
    store.write_bytes("dataset_card/r1/card.md", b"# new")
    assert store.read_bytes("dataset_card/r1/card.md") == b"# new"
    with pytest.raises(FileNotFoundError, match=r"r2/card\.md does not exist"):
        store.read_bytes("dataset_card/r2/card.md")


@pytest.mark.parametrize(
    "name",
    [
        *("", "/etc/x", "../x", "a/../x", "a//b", "a/", ".x", "a b", "a\n", "é"),
        *("t/_manifest.json", "t/part-0.parquet", "t/.lock"),
    ],
)
def test_write_bytes_refuses_names_that_leave_the_store(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a file of the store"):
        store.write_bytes(name, b"")
    with pytest.raises(ValueError, match="cannot name a file of the store"):
        store.read_bytes(name)


def modes(root: Path) -> dict[str, int]:
    return {path.relative_to(root).as_posix(): stat.S_IMODE(path.stat().st_mode)
            for path in root.rglob("*")}  # fmt: skip


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_quarantined_tables_are_for_their_group_where_it_may_read(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        Folder(tmp_path).put("embeddings/label=old/run=a/part.parquet", b"rows")
        Folder(tmp_path).put("embeddings/label=other/part.parquet", b"rows")
        Folder(tmp_path).put("class_pairs/label=old/part.parquet", b"rows")
        (tmp_path / "embeddings").chmod(0o2700)  # whose group is handed on
        folder = Folder(tmp_path, group_readable=True)
        folder.put("embeddings/label=a/run=b/part.parquet", b"rows")
        folder.put("synthetic_table/label=a/part.parquet", b"rows")
        shared = modes(tmp_path)
        Folder(tmp_path).put("class_pairs/label=new/part.parquet", b"rows")
        closed = modes(tmp_path)
        folder.put("class_pairs/label=new/part.parquet", b"rows")
        again = modes(tmp_path)
    finally:
        os.umask(before)
    quarantined = [name for name in shared if not name.startswith("synthetic_table")]
    assert len(quarantined) == 12
    for name in quarantined:
        wanted = 0o640 if name.endswith(".parquet") else 0o750
        assert shared[name] & 0o777 == wanted, name
    # one of which nothing was written, too; who is not let into the folder reads nothing in it
    assert (shared["embeddings"], shared["class_pairs"]) == (0o2750, 0o750)
    assert shared["embeddings/label=a/run=b/part.parquet"] == 0o640
    # of the rest the umask decides, as before
    assert shared["synthetic_table/label=a/part.parquet"] == 0o666 & ~umask
    assert (closed["embeddings"], closed["class_pairs"]) == (0o2700, 0o700)
    assert closed["class_pairs/label=new/part.parquet"] == 0o600
    assert again["class_pairs"] == 0o750
    assert again["class_pairs/label=new/part.parquet"] == 0o640


def test_quarantined_tables_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder, umask = Folder(tmp_path), os.umask(0o022)
    try:
        (tmp_path / "class_pairs").mkdir()  # of an older version, open to all
        for table in ("embeddings", "class_pairs", "synthetic_table"):
            folder.put(f"{table}/label=a/part.parquet", b"rows")
    finally:
        os.umask(umask)
    mode = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777
            for path in tmp_path.rglob("*")}  # fmt: skip
    for table in ("embeddings", "class_pairs"):
        assert mode[table] == 0o700
        assert mode[f"{table}/label=a/part.parquet"] == 0o600
    assert mode["synthetic_table"] == 0o755
    assert mode["synthetic_table/label=a/part.parquet"] == 0o644
