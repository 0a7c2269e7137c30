"""SIGKILL in the middle of a run of thousands of rows: no row lost or doubled, little redone."""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from smotext_assets.store.tables import Store
from tests.conftest import S3_BUCKET
from tests.kills import TABLES, Killed, Work, run_killed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SMALL = Work(texts=900, samples=1000, encoded=128, decoded=128)


def check(killed: Killed, clean: Store, disturbed: Store, work: Work) -> None:
    # an attempt may redo the batch that the kill before it fell into, and no other
    assert max(killed.redone) <= 1, killed.redone
    for table in TABLES:
        (partition,) = clean.partitions(table)
        assert disturbed.partitions(table) == [partition]
        assert disturbed.manifest(table, partition) == clean.manifest(table, partition), table
        disturbed.read(table, partition)  # its sha256 is checked
    rows = disturbed.read("decoded_texts", {"label": "medicine", "run": "r1"})
    assert rows.height == rows.select("sample_id", "candidate").n_unique() == work.samples
    assert not [name for name in disturbed._files.list("") if "/batch-" in name]


def undisturbed(folder: Path, work: Work) -> tuple[Path, Store]:
    corpus, root = work.corpus(folder), str(folder / "clean" / "store")
    run_killed(folder / "clean", work, corpus=corpus, store=root, kills=0)
    return corpus, Store(root)


def test_killed_twice_ends_with_the_undisturbed_bytes(tmp_path: Path) -> None:
    corpus, clean = undisturbed(tmp_path, SMALL)
    root = str(tmp_path / "killed" / "store")
    killed = run_killed(tmp_path / "killed", SMALL, corpus=corpus, store=root, kills=2)
    assert killed.kills == 2
    check(killed, clean, Store(root), SMALL)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["local", "s3"])
def test_killed_twenty_times_through_ten_thousand_rows(
    kind: str, tmp_path: Path, s3_endpoint: str, s3_client: "S3Client"
) -> None:
    work = Work()
    corpus, clean = undisturbed(tmp_path, work)
    root = str(tmp_path / "killed" / "store")
    store, environment = Store(root), {}
    if kind == "s3":
        root = f"s3://{S3_BUCKET}/{uuid.uuid4().hex}"
        store = Store(root, client=s3_client)
        environment = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": s3_endpoint,
            "AWS_ENDPOINT_URL_S3": s3_endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    killed = run_killed(
        tmp_path / "killed",
        work,
        corpus=corpus,
        store=root,
        kills=20,
        environment=environment,
    )
    print(f"{kind}: {killed.kills} kills in {killed.seconds:.0f} s, redone {killed.redone}")
    assert killed.kills == 20
    check(killed, clean, store, work)


def test_batches_of_other_inputs_or_damaged_do_not_count(store: Store) -> None:
    partition, made = {"label": "rare"}, []

    def batch(rows: slice) -> pl.DataFrame:
        made.append(rows.start)
        if len(made) == 3:
            raise RuntimeError("killed")
        return pl.DataFrame({"row": range(rows.start, rows.stop)})

    def each(blocks: Sequence[slice]) -> Iterator[tuple[int, pl.DataFrame]]:
        return ((place, batch(rows)) for place, rows in enumerate(blocks))

    def make(inputs: str) -> pl.DataFrame:
        made.clear()
        kept = store.batches("t", partition, inputs={"of": inputs})
        return kept.make(5, size=2, make=each, progress=lambda rows: None)

    with pytest.raises(RuntimeError, match="killed"):
        make("a")
    with pytest.raises(RuntimeError, match="killed"):
        make("b")
    assert made == [0, 2, 4]
    damaged = [name for name in sorted(store._files.list("t/")) if "-000000000-" in name]
    for name in damaged:
        store._files.put(name, b"half a batch")
    assert store.partitions("t") == []
    assert make("a")["row"].to_list() == [0, 1, 2, 3, 4]
    assert made == [0, 4]
    store.write("t", pl.DataFrame({"row": range(5)}), partition)
    assert [name for name in store._files.list("t/") if "batch-" in name] == []


def test_batches_of_a_partition_that_is_never_finished_are_purged(store: Store) -> None:
    def go(remove: str) -> list[str]:
        kept = store.batches("t", {"label": "rare"}, inputs={})
        kept.make(
            2,
            size=1,
            make=lambda blocks: enumerate([pl.DataFrame({"text": ["of someone"]})] * 2),
            progress=lambda rows: None,
        )
        assert len([name for name in store._files.list("t/") if "/batch-" in name]) == 2
        store.purge() if remove == "purge" else store.delete("t", {"label": "rare"})
        return [name for name in store._files.list("t/") if "/batch-" in name]

    assert go("purge") == []
    assert go("delete") == []
