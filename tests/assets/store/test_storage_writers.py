"""Writers and readers of one partition at the same time."""

import threading
from pathlib import Path

import polars as pl
import pytest

from smotext_assets.store.files import file_lock
from smotext_assets.store.tables import Manifest, Store
from tests.frames import ONE, RARE, TWO
from tests.together import ended, started_together

# Two writers take turns with the same five frames, so that one often commits the very bytes that
# the other is just replacing.
WRITER = """
import sys
import polars as pl
from smotext_assets.graph.resources import StoreResource
root, endpoint, rounds, step = sys.argv[1:]
store = StoreResource(root=root, endpoint_url=endpoint or None, region_name="us-east-1").open()
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(rounds)):
    content = number * int(step) % 5
    frame = pl.DataFrame({"number": [content] * 20})
    store.write("t", frame, {"label": "rare", "run": "r1"}, metadata={"number": content})
"""


@pytest.mark.parametrize(("kind", "rounds"), [("local", 60), ("s3", 20)])
def test_write_by_two_processes_never_tears(
    kind: str,
    rounds: int,
    s3_endpoint: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store: Store = request.getfixturevalue(f"{kind}_store")
    store.write("t", pl.DataFrame({"number": [0] * 20}), RARE, metadata={"number": 0})
    endpoint = s3_endpoint if kind == "s3" else ""
    words = (store.root, endpoint, str(rounds))
    writers = started_together(WRITER, (*words, "1"), (*words, "2"))
    seen = set()
    while any(writer.poll() is None for writer in writers):
        frame = store.read("t", RARE)  # its sha256 is checked
        assert frame.height == 20
        assert frame.n_unique() == 1
        seen.add(frame["number"][0])
    ended(writers)
    assert len(seen) > 2
    last = store.manifest("t", RARE)
    assert last is not None
    assert store.read("t", RARE)["number"].to_list() == [last.metadata["number"]] * 20
    if kind == "s3":  # a file that lost a race may stay for an hour; a partition's copy never does
        assert not [name for name in store._files.list("t/") if ".tmp-" in name]
        monkeypatch.setattr(store._files, "grace_s", 0.0)  # the hour has passed
        last = store.write("t", pl.DataFrame({"number": [5] * 20}), RARE)
    files = {name.rpartition("/")[2] for name in store._files.list("t/label=rare/")}
    assert files == {last.file, "_manifest.json"}


@pytest.mark.parametrize("when", ["before it is copied", "before it is deleted"])
def test_file_that_is_committed_again_while_it_is_swept_stays(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """One writer replaces ONE by TWO; before it deletes ONE's file another commits ONE again."""
    old = s3_store.write("t", ONE, RARE)
    files, name = s3_store._files, "_copy" if when == "before it is copied" else "delete"
    other, call = Store(s3_store.root, client=files.client), getattr(files, name)  # type: ignore[union-attr]
    done: list[str] = []

    def act(file: str, *arguments: str) -> object:
        if file == old.path and not done:
            done.append(file)
            other.write("t", ONE, RARE)
        return call(file, *arguments)

    monkeypatch.setattr(files, name, act)
    s3_store.write("t", TWO, RARE)
    assert done
    assert other.manifest("t", RARE) == old
    assert other.read("t", RARE).equals(ONE)
    left = {name.rpartition("/")[2] for name in files.list("t/")}
    assert left == {old.file, "_manifest.json"}


def test_sweep_in_a_bucket_copies_no_batch_and_minds_no_file_that_is_gone(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied, copy = [], s3_store._files._copy  # type: ignore[union-attr]

    def noted(name: str, to: str) -> bool:
        if not copied:
            s3_store._files.delete(name)  # another writer was faster
        copied.append(name)
        return copy(name, to)

    kept = s3_store.batches("t", RARE, inputs={})
    kept.make(3, size=1, make=lambda blocks: enumerate([ONE] * 3), progress=lambda rows: None)
    old = s3_store.write("t", ONE, RARE)
    monkeypatch.setattr(s3_store._files, "_copy", noted)
    new = s3_store.write("t", TWO, RARE)
    assert copied == [old.path]
    left = {name.rpartition("/")[2] for name in s3_store._files.list("t/")}
    assert left == {new.file, "_manifest.json"}


def test_file_of_a_writer_that_was_overtaken_goes(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both replace nothing, for both looked before the other had written its manifest."""
    put, files = s3_store._files.put, s3_store._files
    other = Store(s3_store.root, client=files.client)  # type: ignore[union-attr]
    last: list[Manifest] = []

    def put_then_be_overtaken(name: str, data: bytes) -> None:
        put(name, data)
        if name.endswith("_manifest.json"):
            get, seen = other._files.get, []

            def as_it_was(name: str) -> bytes | None:
                seen.append(name)
                return None if len(seen) == 1 else get(name)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(other._files, "get", as_it_was)
                last.append(other.write("t", TWO, RARE))

    monkeypatch.setattr(files, "put", put_then_be_overtaken)
    s3_store.write("t", ONE, RARE)
    assert other.read("t", RARE).equals(TWO)
    left = {name.rpartition("/")[2] for name in files.list("t/")}
    assert left == {last[0].file, "_manifest.json"}


def test_read_in_a_bucket_waits_for_a_file_to_be_brought_back(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = s3_store.write("t", ONE, RARE)
    data = s3_store._files.get(manifest.path)
    assert data is not None
    s3_store._files.delete(manifest.path)
    pauses: list[float] = []

    def bring_back(seconds: float) -> None:
        pauses.append(seconds)
        s3_store._files.put(manifest.path, data)

    monkeypatch.setattr("smotext_assets.store.commits.time.sleep", bring_back)
    assert s3_store.read("t", RARE).equals(ONE)
    assert len(pauses) == 1


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
