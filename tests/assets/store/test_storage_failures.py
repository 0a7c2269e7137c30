"""What breaks while a partition is written or read, and what stays."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from botocore.stub import Stubber

from smotext_assets.store.damaged import damaged, read_if_sound, read_sound
from smotext_assets.store.tables import MissingPartition, Store
from tests.frames import ONE, RARE, TWO, parts


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
from smotext_assets.store.damaged import damaged, read_if_sound, read_sound
from smotext_assets.store.tables import Store
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


def test_what_people_brought_in_is_imported_again_not_materialised(store: Store) -> None:
    at = {"run": "r1", "taken": "20261130-0a1b"}
    manifest = store.write("reviews", ONE, at)
    remedy = "delete reviews/run=r1/taken=20261130-0a1b and import the file that was read again"
    store._files.put(manifest.path, b"PAR1 something else")
    with pytest.raises(ValueError, match=f"changed or damaged; {remedy}$"):
        store.read("reviews", at)
    store._files.put(f"{manifest.path.rpartition('/')[0]}/_manifest.json", b"{")
    with pytest.raises(ValueError, match=rf"_manifest.json is damaged .*; {remedy}$"):
        store.read("reviews", at)


@pytest.mark.parametrize(
    ("table", "at", "remedy"),
    [
        ("gates", RARE, r"materialise synthetic_table, partition 'rare\|r1'"),
        ("rejected_texts", RARE, r"materialise synthetic_texts, partition 'rare\|r1'"),
        ("calibration", RARE, r"materialise decoded_texts, partition 'rare\|r1'"),
        ("exports", {"run": "r1"}, "materialise exported_dataset, partition 'r1'"),
        ("rejected_rows", {"stage": "raw_corpus"}, "materialise raw_corpus"),
        ("runs", {"run": "r1"}, "backup, or delete it and ask for the run again .* on its card"),
        ("forgotten", {"receipt": "ab"}, "back from a backup: it says which texts stay away"),
    ],
)
def test_damage_names_what_there_is_to_materialise(
    store: Store, table: str, at: dict[str, str], remedy: str
) -> None:
    manifest = store.write(table, ONE, at)
    store._files.put(manifest.path, b"PAR1 something else")
    with pytest.raises(ValueError, match=f"changed or damaged; .*{remedy}$"):
        store.read(table, at)


def test_read_sound_goes_past_what_is_damaged(store: Store) -> None:
    other = {"label": "common", "run": "r1"}
    for at, frame in ((RARE, ONE), (other, TWO), (RARE | {"run": "r2"}, TWO)):
        store.write("t", frame, at)
    schema = ONE.schema
    assert damaged(store, "t") == []
    manifest = store.manifest("t", RARE)
    assert manifest is not None
    store._files.put(manifest.path, b"PAR1 something else")
    frame, told = read_sound(store, "t", {"run": "r1"}, schema=schema)
    assert frame.equals(TWO)
    assert len(told) == 1
    assert "materialise t, partition 'rare|r1'" in told[0]
    assert damaged(store, "t") == damaged(store, "t", {"label": "rare"}) == told
    assert damaged(store, "t", {"run": "r2"}) == []
    assert read_if_sound(store, "t", RARE) is None
    assert read_if_sound(store, "t", {"label": "nobody", "run": "r1"}) is None
    empty, told = read_sound(store, "t", {"run": "r9"}, schema=schema)
    assert (empty.schema, empty.height, told) == (schema, 0, [])


def test_read_sound_raises_where_the_bucket_refuses(s3_client: Any) -> None:
    with (
        refusing(s3_client, "list_objects_v2", "AccessDenied", 403) as store,
        pytest.raises(PermissionError, match="s3:ListBucket"),
    ):
        read_sound(store, "t", schema=ONE.schema)


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
