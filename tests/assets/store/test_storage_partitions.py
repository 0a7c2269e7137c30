"""Partitions written frame by frame, and many partitions of a table."""

import hashlib
import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from smotext_assets.store.tables import JSON, Encoded, Inputs, MissingPartition, Store
from tests.frames import ONE, RARE, TWO, frames

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
    monkeypatch.setattr("smotext_assets.store.parquet.VECTOR_BYTES", 12 * 10)
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


def test_what_is_encoded_beforehand_is_the_same_input(local_store: Store) -> None:
    vectors: JSON = {"é": "12", "b": [1, 0.5, None]}
    frame = pl.DataFrame({"a": [1]})

    def once(inputs: Inputs) -> bool:
        return local_store.write_once("t", {}, inputs=inputs, make=lambda: (frame, {}))[2]

    assert once({"zone": "x", "vectors": vectors, "k": 5})
    assert not once({"k": 5, "vectors": Encoded.of(vectors), "zone": "x"})
    assert once({"k": 5, "vectors": Encoded.of({"é": "12"}), "zone": "x"})
    old = hashlib.sha256(b'{"k": 5, "table": "t", "vectors": {"a": "1"}}').hexdigest()
    once({"vectors": Encoded.of({"a": "1"}), "k": 5})
    manifest = local_store.manifest("t", {})
    assert manifest is not None
    assert manifest.fingerprint == old


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


def test_purge_leaves_what_lies_beside_the_tables(store: Store) -> None:
    store.write("t", ONE, RARE)
    foreign = (
        "inbox/label=login/part-0.parquet",
        "exports/demo/delta/part-00000-2f0c-c000.snappy.parquet",
        "exports/batch-1.csv",
    )
    for name in (*foreign, "t/label=rare/run=r1/part-0000000000000000.parquet"):
        store._files.put(name, b"something")
    store.purge()
    assert set(foreign) < set(store._files.list(""))
    assert "t/label=rare/run=r1/part-0000000000000000.parquet" not in store._files.list("")
    assert store.read("t", RARE).equals(ONE)


def test_purge_deletes_old_versions_of_its_own_files_alone(s3_client: Any) -> None:
    bucket = f"versions-{uuid.uuid4().hex}"
    s3_client.create_bucket(Bucket=bucket)
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = Store(f"s3://{bucket}/root", client=s3_client)
    foreign = (
        "inbox/label=login/notes.csv",
        "inbox/notes.csv",
        "exports/r1/README.md",
        "exports/delta/label=a/run=r1/part-00000-2f0c-c000.snappy.parquet",
        "exports/r1/_manifest.json",
        "backup/t/label=rare/run=r1/part-0000000000000000.parquet",
    )
    for content in (b"1", b"2"):
        for name in foreign:
            s3_client.put_object(Bucket=bucket, Key=f"root/{name}", Body=content)
    s3_client.delete_object(Bucket=bucket, Key=f"root/{foreign[0]}")
    for frame in (ONE, TWO):
        store.write("t", frame, RARE)
        store.write("whole", frame)
        store.write_bytes("dataset_card/r1.html", str(frame).encode())
        store.write_bytes("generators/a/adaptation.json", str(frame).encode())
    store.write("t", ONE, RARE | {"run": "r2"})
    store.delete("t", RARE | {"run": "r2"})
    store.delete_bytes("generators")
    store.purge()
    listed = s3_client.list_object_versions(Bucket=bucket)
    marked = [item["Key"].removeprefix("root/") for item in listed["DeleteMarkers"]]
    assert marked == [foreign[0]]
    old = [item["Key"].removeprefix("root/") for item in listed["Versions"] if not item["IsLatest"]]
    assert sorted(old) == sorted([foreign[0], *foreign])
    assert store.read("t", RARE).equals(TWO)


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
    named = [name for name in deleted if "/.tmp-" not in name]
    assert named == ["t/label=rare/run=r1/_manifest.json", manifest.path]
