import errno
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from botocore.stub import Stubber
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smotext_assets.files import file_lock
from smotext_assets.resources import StoreResource, Table, TableIOManager
from smotext_assets.storage import MissingPartition, Store

RARE = {"label": "rare", "run": "r1"}
ONE = pl.DataFrame({"text": ["one"], "number": [1]})
TWO = pl.DataFrame({"text": ["two", "two"], "number": [2, 2]})

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(0, 6))
    dimension = draw(st.integers(1, 4))

    def column(values: st.SearchStrategy[Any], dtype: Any) -> pl.Series:
        nullable = st.one_of(st.none(), values)
        drawn = draw(st.lists(nullable, min_size=rows, max_size=rows))
        return pl.Series(drawn, dtype=dtype)

    float32 = st.floats(width=32, allow_nan=False)
    return pl.DataFrame(
        {
            "text": column(TEXT, pl.String),
            "number": column(st.integers(-(2**63), 2**63 - 1), pl.Int64),
            "small": column(st.integers(-(2**31), 2**31 - 1), pl.Int32),
            "passed": column(st.booleans(), pl.Boolean),
            "parent_ids": column(st.lists(TEXT, max_size=3), pl.List(pl.String)),
            "weights": column(
                st.lists(st.floats(allow_nan=False), max_size=3), pl.List(pl.Float64)
            ),
            "vector": column(
                st.lists(float32, min_size=dimension, max_size=dimension),
                pl.Array(pl.Float32, dimension),
            ),
        }
    )


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "_manifest.json")


# one frame in, the same frame out


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
    assert list(store._leftovers("t/label=rare/run=r1")) == [new.path]
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
    assert other in s3_store._leftovers("t/label=rare/run=r1")
    monkeypatch.setattr(s3_store._files, "grace_s", 0.0)
    kept = s3_store.write("t", ONE, RARE)
    assert list(s3_store._leftovers("t/label=rare/run=r1")) == [kept.path]


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


# what breaks, and what stays


@pytest.mark.parametrize("crash", [1, 2])  # the part's rename, the manifest's
def test_write_that_crashes_leaves_the_old_state(
    local_store: Store, monkeypatch: pytest.MonkeyPatch, crash: int
) -> None:
    old = local_store.write("t", ONE, RARE)
    folder = Path(local_store.root, old.path).parent
    calls: list[Path] = []

    def replace(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == crash:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(OSError, match=r"No space left .* what was there stays; free space"):
            local_store.write("t", TWO, RARE)
    assert len(calls) == crash
    assert local_store.manifest("t", RARE) == old
    assert local_store.read("t", RARE).equals(ONE)
    assert not [name for name in parts(folder) if name.startswith(".tmp-")]
    new = local_store.write("t", TWO, RARE)
    assert parts(folder) == [new.file]


def test_write_that_is_killed_between_part_and_manifest_leaves_the_old_state(
    local_store: Store,
) -> None:
    old = local_store.write("t", ONE, RARE)
    script = """
import os, sys
import polars as pl
from smotext_assets.storage import Store
rename, calls = os.replace, []
def replace(source, target):
    calls.append(target)
    if len(calls) == 2:
        os._exit(9)
    rename(source, target)
os.replace = replace
Store(sys.argv[1]).write("t", pl.DataFrame({"text": ["new"]}), {"label": "rare", "run": "r1"})
"""
    assert subprocess.run([sys.executable, "-c", script, local_store.root]).returncode == 9
    folder = Path(local_store.root, old.path).parent
    assert len(parts(folder)) == 3  # the old part, the new one, the manifest's temporary file
    assert local_store.read("t", RARE).equals(ONE)
    assert local_store.partitions("t") == [RARE]
    new = local_store.write("t", TWO, RARE)
    assert parts(folder) == [new.file]


def test_write_that_fails_in_a_bucket_leaves_the_old_state(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = s3_store.write("t", ONE, RARE)
    put = s3_store._files.put

    def put_no_manifest(name: str, data: bytes) -> None:
        if name.endswith("_manifest.json"):
            raise ConnectionError("S3 cannot be reached")
        put(name, data)

    monkeypatch.setattr(s3_store._files, "put", put_no_manifest)
    with pytest.raises(ConnectionError):
        s3_store.write("t", TWO, RARE)
    assert s3_store.manifest("t", RARE) == old
    assert s3_store.read("t", RARE).equals(ONE)


def test_write_where_no_folder_can_be_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "t").write_text("a file in the table's place")
    with pytest.raises(OSError, match=r"t/\.lock could not be written.*choose another one"):
        Store(str(tmp_path / "store")).write("t", ONE)
    assert (tmp_path / "store" / "t").read_text() == "a file in the table's place"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write in read-only folders")
def test_write_in_a_read_only_folder_leaves_the_old_state(local_store: Store) -> None:
    old = local_store.write("t", ONE, RARE)
    folder = Path(local_store.root, old.path).parent
    folder.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match="make its folder writable"):
            local_store.write("t", TWO, RARE)
        assert local_store.read("t", RARE).equals(ONE)
        assert parts(folder) == [old.file]
    finally:
        folder.chmod(0o755)


def test_write_when_old_files_cannot_be_deleted_commits_and_warns(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.write("t", ONE, RARE)

    def refuse(name: str) -> None:
        raise PermissionError("no s3:DeleteObject")

    monkeypatch.setattr(store._files, "delete", refuse)
    store.write("t", TWO, RARE)
    assert store.read("t", RARE).equals(TWO)
    assert "its old files may remain: no s3:DeleteObject" in caplog.text


def test_read_refuses_a_changed_file(store: Store) -> None:
    manifest = store.write("t", ONE, RARE)
    store._files.put(manifest.path, b"PAR1 something else")
    found = hashlib.sha256(b"PAR1 something else").hexdigest()
    message = f"{manifest.file} has sha256 {found}, its manifest says {manifest.sha256}"
    with pytest.raises(ValueError, match=rf"{message}.*materialise t, partition 'rare\|r1'"):
        store.read("t", RARE)
    with pytest.raises(ValueError, match=message):
        store.read_all("t")
    store.write("t", ONE, RARE)
    assert store.read("t", RARE).equals(ONE)


def test_read_without_the_file_that_the_manifest_names(store: Store) -> None:
    manifest = store.write("t", ONE, RARE)
    store._files.delete(manifest.path)
    with pytest.raises(FileNotFoundError, match=rf"{manifest.file} is gone.*materialise t"):
        store.read("t", RARE)


def test_read_follows_a_writer_that_replaces_the_partition(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("t", ONE, RARE)
    look, looks = store._files.open, []

    def look_after_a_write(name: str) -> IO[bytes] | None:
        looks.append(name)
        if len(looks) == 1:  # the manifest is read, its file not yet
            store.write("t", TWO, RARE)
        return look(name)

    monkeypatch.setattr(store._files, "open", look_after_a_write)
    assert store.read("t", RARE).equals(TWO)


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b'{"table": "t"}', b"\xff", "other partition", "foreign file"],
)
def test_manifest_refuses_damage_and_write_heals_it(store: Store, damage: bytes | str) -> None:
    store.write("t", ONE, RARE)
    name = "t/label=rare/run=r1/_manifest.json"
    described = json.loads(store._files.get(name) or b"")
    if damage == "other partition":
        damage = json.dumps(described | {"partition": {"label": "common"}}).encode()
    elif damage == "foreign file":
        damage = json.dumps(described | {"file": "../../../secret.parquet"}).encode()
    assert isinstance(damage, bytes)
    store._files.put(name, damage)
    with pytest.raises(ValueError, match=r"label=rare/run=r1/_manifest.json is damaged"):
        store.read("t", RARE)
    store.write("t", TWO, RARE)
    assert store.read("t", RARE).equals(TWO)


def test_read_of_a_missing_partition_says_how_to_make_it(store: Store) -> None:
    store.write("t", ONE, RARE)
    message = r"t/label=common/run=r1 is not in .*; materialise t, partition 'common\|r1'"
    with pytest.raises(MissingPartition, match=message):
        store.read("t", {"label": "common", "run": "r1"})
    with pytest.raises(MissingPartition, match=r"labelled_texts is not in .*materialise label"):
        store.read("labelled_texts")
    assert store.manifest("labelled_texts") is None


# frames that come one after the other


def vectors_frame(rows: int) -> pl.DataFrame:
    numbers = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    return pl.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(rows)],
            "parent_ids": [["a", f"t{i}"] for i in range(rows)],
            "vector": pl.Series(numbers, dtype=pl.Array(pl.Float32, 3)),
        }
    )


@pytest.mark.parametrize("cuts", [[], [10], [1, 2, 3, 24], [0, 24, 24]])
def test_write_of_frames_gives_the_same_bytes_however_they_are_cut(
    store: Store, monkeypatch: pytest.MonkeyPatch, cuts: list[int]
) -> None:
    monkeypatch.setattr("smotext_assets.parquet.VECTOR_BYTES", 12 * 10)
    frame = vectors_frame(25)
    bounds = [0, *cuts, 25]
    parts = [frame[a:b] for a, b in itertools.pairwise(bounds)]
    manifest = store.write("t", iter(parts), RARE, metadata={"a": 1})
    assert manifest == store.write("t", iter([frame]), RARE, metadata={"a": 1})
    assert manifest.rows == 25
    assert manifest.schema == [[name, str(dtype)] for name, dtype in frame.schema.items()]
    assert store.read("t", RARE).equals(frame)
    groups = list(store.read_frames("t", RARE))
    assert [group.height for group in groups] == [10, 10, 5]
    assert pl.concat(groups).equals(frame)
    assert pl.concat(groups).schema == frame.schema
    ids = list(store.read_frames("t", RARE, columns=["sample_id"]))
    assert ids[0].columns == ["sample_id"]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(frame=frames())
def test_write_of_frames_then_read_gives_them(local_store: Store, frame: pl.DataFrame) -> None:
    local_store.write("t", iter([frame.clear(), frame]), RARE)
    assert local_store.read("t", RARE).equals(frame)
    assert local_store.read("t", RARE).schema == frame.schema


def test_write_of_frames_that_fails_halfway_leaves_the_old_state(store: Store) -> None:
    old = store.write("t", ONE, RARE)

    def breaking() -> Iterator[pl.DataFrame]:
        yield TWO
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        store.write("t", breaking(), RARE)
    with pytest.raises(ValueError, match="at least one frame"):
        store.write("t", iter([]), RARE)
    with pytest.raises(ValueError, match="must have the same columns"):
        store.write("t", iter([ONE, ONE.rename({"text": "other"})]), RARE)
    assert store.manifest("t", RARE) == old
    assert store.read("t", RARE).equals(ONE)
    left = {name.rpartition("/")[2] for name in store._files.list("")} - {".lock"}
    assert left == {"_manifest.json", old.file}


def test_stream_once_makes_a_partition_once(store: Store) -> None:
    made = []

    def make() -> tuple[Iterator[pl.DataFrame], dict[str, int]]:
        told: dict[str, int] = {}

        def frames() -> Iterator[pl.DataFrame]:
            made.append(1)
            yield ONE
            told["seen"] = 1

        return frames(), told

    manifest, now = store.stream_once("t", RARE, inputs={"seed": 1}, make=make)
    assert now
    assert manifest.metadata == {"seen": 1}  # told after the last frame
    assert store.stream_once("t", RARE, inputs={"seed": 1}, make=make) == (manifest, False)
    assert store.stream_once("t", RARE, inputs={"seed": 2}, make=make)[1]
    assert len(made) == 2
    store._files.put(manifest.path, b"damaged")
    assert store.stream_once("t", RARE, inputs={"seed": 2}, make=make)[1]
    assert store.read("t", RARE).equals(ONE)


def test_read_frames_refuses_a_changed_file(store: Store) -> None:
    manifest = store.write("t", iter([ONE]), RARE)
    store._files.put(manifest.path, b"PAR1 something else")
    with pytest.raises(ValueError, match="it was changed or damaged"):
        next(store.read_frames("t", RARE))
    with pytest.raises(MissingPartition):
        next(store.read_frames("t", {"label": "none"}))


# many partitions


def test_read_all_concatenates_what_is_committed(store: Store) -> None:
    for label in ("b", "a", "c"):
        for run in ("r2", "r1"):
            frame = pl.DataFrame({"key": [f"{label}{run}"]})
            store.write("t", frame, {"label": label, "run": run})
    store.write("t2", ONE)
    store.delete("t", {"label": "c", "run": "r1"})
    every = [{"label": a, "run": b} for a in "abc" for b in ("r1", "r2") if a + b != "cr1"]
    assert store.partitions("t") == every
    assert store.read_all("t")["key"].to_list() == ["ar1", "ar2", "br1", "br2", "cr2"]
    assert store.read_all("t", {"run": "r1"})["key"].to_list() == ["ar1", "br1"]
    assert store.read_all("t", {"run": "r1", "label": "b"})["key"].to_list() == ["br1"]
    with pytest.raises(
        ValueError, match=r"t is partitioned by \['label', 'run'\], not by 'colour'"
    ):
        store.read_all("t", {"colour": "red"})


def test_read_all_of_nothing_needs_a_schema(store: Store) -> None:
    schema = pl.Schema({"text": pl.String(), "vector": pl.Array(pl.Float32, 3)})
    empty = store.read_all("t", {"run": "r1"}, schema=schema)
    assert (empty.height, empty.schema) == (0, schema)
    with pytest.raises(MissingPartition, match="t has no partition in"):
        store.read_all("t", {"run": "r1"})


def test_read_all_refuses_partitions_of_unlike_columns(local_store: Store) -> None:
    for label, width in (("a", 2), ("b", 3)):
        vector = pl.Series([[0.0] * width], dtype=pl.Array(pl.Float32, width))
        local_store.write("t", pl.DataFrame({"vector": vector}), {"label": label})
    with pytest.raises(ValueError, match=r"partitions of t differ in columns.*\(2,\).*\(3,\)"):
        local_store.read_all("t")


def test_partitions_lists_more_than_one_page(s3_store: Store, monkeypatch: Any) -> None:
    for number in range(5):
        s3_store.write("t", ONE, {"label": f"l{number}"})
    paginator = s3_store._files.client.get_paginator("list_objects_v2")  # type: ignore[union-attr]
    tokens = []

    class TwoAPage:
        def paginate(self, **arguments: Any) -> Iterator[Any]:
            for page in paginator.paginate(**arguments, PaginationConfig={"PageSize": 2}):
                tokens.append(page["KeyCount"])
                yield page

    with monkeypatch.context() as patch:
        patch.setattr(s3_store._files.client, "get_paginator", lambda name: TwoAPage())  # type: ignore[union-attr]
        assert s3_store.partitions("t") == [{"label": f"l{number}"} for number in range(5)]
    assert len(tokens) == 5


def test_partitions_ignores_what_is_not_committed(local_store: Store) -> None:
    local_store.write("t", ONE, RARE)
    for name in ("t/label=b/run=r1/part-0.parquet", "t/backup/_manifest.json"):
        path = Path(local_store.root, name)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"{}")
    assert local_store.partitions("t") == [RARE]


def test_partitions_raises_where_listing_fails(local_store: Store) -> None:
    Path(local_store.root).mkdir()
    Path(local_store.root, "t").write_text("a file")
    with pytest.raises(NotADirectoryError):
        local_store.partitions("t")


def test_delete_removes_the_partition_and_no_other(store: Store) -> None:
    kept = {"label": "common", "run": "r1"}
    store.write("t", ONE, RARE)
    store.write("t", TWO, kept)
    store._files.put("t/label=rare/run=r1/part-0000000000000000.parquet", b"leftover")
    store.delete("t", RARE)
    store.delete("t", RARE)  # absent: nothing to do
    store.delete("t")  # the unpartitioned table is not the partitions
    assert store.partitions("t") == [kept]
    assert [name for name in store._files.list("t/") if "rare" in name] == []
    if store.root.startswith("/"):
        assert not Path(store.root, "t", "label=rare").exists()
    with pytest.raises(MissingPartition):
        store.read("t", RARE)


def test_delete_removes_the_manifest_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = store.write("t", ONE, RARE)
    delete, deleted = store._files.delete, []

    def note(name: str) -> None:
        deleted.append(name)
        delete(name)

    monkeypatch.setattr(store._files, "delete", note)
    store.delete("t", RARE)
    assert deleted == ["t/label=rare/run=r1/_manifest.json", manifest.path]


# writers at the same time

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


# a bucket that refuses


@contextmanager
def refusing(s3_client: Any, operation: str, code: str, status: int) -> Iterator[Store]:
    with Stubber(s3_client) as stub:
        stub.add_client_error(operation, code, "no", status)
        yield Store("s3://bucket/prefix", client=s3_client)


def test_bucket_tells_refused_from_missing(s3_client: Any, s3_store: Store) -> None:
    assert s3_store.manifest("t") is None
    with (
        refusing(s3_client, "get_object", "AccessDenied", 403) as store,
        pytest.raises(PermissionError, match=r"s3://bucket/prefix/t/_manifest.json .*s3:GetObject"),
    ):
        store.manifest("t")
    with (
        refusing(s3_client, "put_object", "AccessDenied", 403) as store,
        pytest.raises(PermissionError, match="s3:PutObject"),
    ):
        store.write("t", ONE)
    with (
        refusing(s3_client, "list_objects_v2", "AccessDenied", 403) as store,
        pytest.raises(PermissionError, match="s3:ListBucket"),
    ):
        store.partitions("t")
    with (
        refusing(s3_client, "delete_object", "AccessDenied", 403) as store,
        pytest.raises(PermissionError, match="s3:DeleteObject"),
    ):
        store.delete("t")
    with (
        refusing(s3_client, "list_objects_v2", "SlowDown", 503) as store,
        pytest.raises(OSError, match=r"S3 failed at s3://bucket/prefix/t/.*SlowDown"),
    ):
        store.read_all("t", schema=ONE.schema)


def test_bucket_that_is_missing_or_away_is_an_error(s3_client: Any) -> None:
    absent = Store("s3://absent-bucket/prefix", client=s3_client)
    for act in (absent.partitions, absent.read, absent.manifest, absent.delete):
        with pytest.raises(FileNotFoundError, match="there is no bucket absent-bucket"):
            act("t")
    import boto3
    from botocore.config import Config

    away = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, connect_timeout=1),
    )
    with pytest.raises(ConnectionError, match="S3 cannot be reached for s3://b/t/"):
        Store("s3://b", client=away).partitions("t")


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


# Dagster


def test_store_resource_opens_a_folder_and_a_bucket(
    tmp_path: Path, s3_endpoint: str, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    StoreResource(root=str(tmp_path)).open().write("t", ONE)
    assert Store(str(tmp_path)).read("t").equals(ONE)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    remote = StoreResource(root=s3_store.root, endpoint_url=s3_endpoint, region_name="us-east-1")
    remote.open().write("t", ONE)
    assert s3_store.read("t").equals(ONE)


def test_table_io_manager_hands_a_range_run_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = dg.DynamicPartitionsDefinition(name="smotext_label")
    run = dg.DynamicPartitionsDefinition(name="smotext_run")
    grid = dg.MultiPartitionsDefinition({"label": label, "run": run})
    loads = []
    load_input = TableIOManager.load_input

    def counted(self: TableIOManager, context: dg.InputContext) -> Table:
        loads.append(context.asset_key.to_user_string())
        return load_input(self, context)

    monkeypatch.setattr(TableIOManager, "load_input", counted)

    @dg.asset
    def labelled_texts(store: StoreResource) -> None:
        store.open().write("labelled_texts", ONE)

    @dg.asset(partitions_def=label, backfill_policy=dg.BackfillPolicy.single_run())
    def embeddings(
        context: dg.AssetExecutionContext, store: StoreResource, labelled_texts: Table
    ) -> None:
        assert labelled_texts.read().equals(ONE)
        for key in context.partition_keys:
            if key != "c":  # not embedded: the others go on
                store.open().write("embeddings", pl.DataFrame({"key": [key]}), {"label": key})

    @dg.asset(partitions_def=grid, backfill_policy=dg.BackfillPolicy.single_run())
    def class_pairs(
        context: dg.AssetExecutionContext, store: StoreResource, embeddings: Table
    ) -> None:
        for key in context.partition_keys:
            assert isinstance(key, dg.MultiPartitionKey)
            partition = dict(key.keys_by_dimension)
            if embeddings.manifest(label=partition["label"]) is not None:
                frame = embeddings.read(label=partition["label"])
                store.open().write("class_pairs", frame, partition)

    @dg.asset(
        partitions_def=run,
        ins={
            "class_pairs": dg.AssetIn(
                partition_mapping=dg.MultiToSingleDimensionPartitionMapping("run")
            )
        },
    )
    def evaluation(
        context: dg.AssetExecutionContext, store: StoreResource, class_pairs: Table
    ) -> None:
        frame = class_pairs.read_all(run=context.partition_key)
        store.open().write("evaluation", frame, {"run": context.partition_key})

    assets = [labelled_texts, embeddings, class_pairs, evaluation]
    resource = StoreResource(root=str(tmp_path))
    resources = {"store": resource, "io_manager": TableIOManager(store=resource)}
    span = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("smotext_label", ["a", "b", "c"])
        instance.add_dynamic_partitions("smotext_run", ["r1", "r2"])

        def go(asset: dg.AssetsDefinition, **options: Any) -> bool:
            return dg.materialize(
                assets, selection=[asset], instance=instance, resources=resources, **options
            ).success

        assert go(labelled_texts)
        assert go(embeddings, tags=dict(zip(span, ("a", "c"), strict=True)))
        assert go(class_pairs, tags=dict(zip(span, ("a|r1", "c|r2"), strict=True)))
        assert go(evaluation, partition_key="r2")
    assert loads == ["labelled_texts", "embeddings", "class_pairs"]
    store = resource.open()
    assert store.partitions("class_pairs") == [
        {"label": a, "run": b} for a in "ab" for b in ("r1", "r2")
    ]
    assert store.read("evaluation", {"run": "r2"})["key"].to_list() == ["a", "b"]


def test_table_io_manager_refuses_a_returned_frame(tmp_path: Path) -> None:
    @dg.asset
    def embeddings() -> Any:
        return ONE

    resource = StoreResource(root=str(tmp_path))
    with pytest.raises(TypeError, match=r"embeddings.* returned a DataFrame; assets commit"):
        dg.materialize([embeddings], resources={"io_manager": TableIOManager(store=resource)})
