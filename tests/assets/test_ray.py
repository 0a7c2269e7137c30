"""The graph on workers of a real local Ray cluster: the bytes of one process, killed or not."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from smotext_assets.graph.engine import Engine
from smotext_assets.graph.ray_pool import Pool
from tests.assets.conftest import (
    CountingGenerator,
    FakeGeneratorResource,
    Home,
    corpus_rows,
    write_corpus,
)

SAME = ("embeddings", "class_pairs", "interpolated_vectors", "calibration", "decoded_texts")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without workers, and two nodes of two."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    small = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    try:
        for _ in range(2):
            found.add_node(num_cpus=2, object_store_memory=80 * 2**20)
        yield found
    finally:
        ray.shutdown()
        found.shutdown()
        shutil.rmtree(Path(tempfile.gettempdir()) / "ray", ignore_errors=True)  # its logs


@pytest.fixture
def pool(cluster: Any) -> Iterator[Pool]:
    found = Pool(cluster.address, workers=3, num_cpus=1, num_gpus=0)
    yield found
    found.close()


def made(home: Home, corpus: Path) -> Home:
    labels = ["astronomy", "cooking", "medicine"]
    range_ = {
        "dagster/asset_partition_range_start": labels[0],
        "dagster/asset_partition_range_end": labels[-1],
    }
    assert home.materialize(corpus, ["raw_corpus", "labelled_texts"]).success
    assert home.materialize(corpus, ["embeddings"], tags=range_).success
    home.instance.add_dynamic_partitions("smotext_run", ["r1"])
    names = ["class_pairs", "interpolated_vectors", "decoded_texts"]
    tags = {key: f"{label}|r1" for key, label in range_.items()}
    result = home.materialize(corpus, names, tags=tags)
    assert result.success
    told = [
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("decoded_texts")
    ]
    assert all("batches_by_worker" in metadata for metadata in told)
    return home


class DeadlyGenerator(CountingGenerator):
    """The first worker that comes to encode, and the first to decode, dies of SIGKILL."""

    def __init__(self, dimension: int, marks: str, seconds: float) -> None:
        super().__init__(dimension)
        self.marks, self.seconds = marks, seconds

    def dies_once(self, stage: str) -> None:
        assert str(os.getpid()) != Path(self.marks, "tests").read_text(), "not made by a worker"
        with suppress(FileExistsError):
            os.close(os.open(f"{self.marks}/{stage}", os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)

    def encode(self, texts: Sequence[str], **options: Any) -> Any:
        if options.get("progress") is not None:
            self.dies_once("encoding")
        return super().encode(texts, **options)

    def decode_candidates(self, vectors: Any, **options: Any) -> Any:
        self.dies_once("decoding")
        time.sleep(self.seconds)
        return super().decode_candidates(vectors, **options)


class DeadlyResource(FakeGeneratorResource):
    marks: str
    seconds: float = 0

    def load(self) -> DeadlyGenerator:
        return DeadlyGenerator(self.dimension, self.marks, self.seconds)


class DeadlyHome(Home):
    """Its generator kills workers; `seconds` is what a batch to decode takes at least."""

    seconds = 0.0

    def resources(self, corpus: Path, *, dimension: int = 32) -> dict[str, Any]:
        marks = self.folder / "marks"
        marks.mkdir(parents=True, exist_ok=True)
        (marks / "tests").write_text(str(os.getpid()))
        deadly = DeadlyResource(
            generator="fake", dimension=dimension, marks=str(marks), seconds=self.seconds
        )
        return super().resources(corpus, dimension=dimension) | {"generator": deadly}


def assert_same(many: Home, alone: Home) -> None:
    for table in SAME:
        partitions = alone.store.partitions(table)
        assert partitions
        assert many.store.partitions(table) == partitions
        for partition in partitions:
            assert many.store.manifest(table, partition) == alone.store.manifest(table, partition)


def test_workers_of_which_two_are_killed_make_the_bytes_of_one_process(
    cluster: Any, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus.csv", corpus_rows())
    alone = made(Home(tmp_path / "local"), corpus)
    many = DeadlyHome(tmp_path / "ray")
    many.engine = Engine(engine="ray", address=cluster.address, workers=3)
    made(many, corpus)
    killed = {path.name for path in (many.folder / "marks").iterdir()} - {"tests"}
    assert killed == {"encoding", "decoding"}
    assert_same(many, alone)


@pytest.mark.soak
def test_node_that_is_killed_costs_no_row(cluster: Any, tmp_path: Path) -> None:
    """Its two workers have no other place: the one that is left makes their batches."""
    corpus = write_corpus(tmp_path / "corpus.csv", corpus_rows())
    alone = made(Home(tmp_path / "local"), corpus)
    many = DeadlyHome(tmp_path / "ray")
    many.seconds = 3
    many.engine = Engine(engine="ray", address=cluster.address, workers=4)

    def kill() -> None:
        while not (many.folder / "marks" / "decoding").exists():
            time.sleep(0.05)
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        made(many, corpus)
        killer.join(timeout=60)
        assert len(cluster.worker_nodes) == 1
        assert_same(many, alone)
    finally:
        if len(cluster.worker_nodes) == 1:
            cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)


def load() -> None:
    """No generator."""


def kills_first_worker(
    generator: None, item: tuple[str, int], progress: Callable[[int], None]
) -> pl.DataFrame:
    """The first that comes to item 2 dies of it."""
    folder, number = item
    try:
        if number == 2:
            os.close(os.open(f"{folder}/killed", os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)
    except FileExistsError:
        pass
    progress(1)
    return pl.DataFrame({"number": [number]})


def kills_every_worker(generator: None, item: int, progress: Callable[[int], None]) -> pl.DataFrame:
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if item == 3:
        raise ValueError("a text that cannot be read")
    return pl.DataFrame({"number": [item]})


def test_batch_of_a_killed_worker_runs_again(pool: Pool, tmp_path: Path) -> None:
    items = [(str(tmp_path), number) for number in range(8)]
    futures = [pool.submit("none", load, kills_first_worker, item) for item in items[:6]]
    futures += [pool.submit("none", load, kills_first_worker, item) for item in items[6:]]
    found = [future.result(timeout=200) for future in futures]
    assert (tmp_path / "killed").exists()
    assert [frame["number"].to_list() for frame, _, _ in found] == [[n] for n in range(8)]
    assert [rows for _, rows, _ in found] == [1] * 8


@pytest.mark.soak
def test_batch_that_kills_its_workers_fails_alone(pool: Pool) -> None:
    futures = [pool.submit("none", load, kills_every_worker, item) for item in range(5)]
    with pytest.raises(RuntimeError, match="4 workers died at this batch"):
        futures[1].result(timeout=200)
    with pytest.raises(ValueError, match="a text that cannot be read"):
        futures[3].result(timeout=200)
    assert [futures[n].result(timeout=200)[0]["number"][0] for n in (0, 2, 4)] == [0, 2, 4]


@pytest.mark.soak
def test_more_workers_than_there_is_room_for_are_refused(cluster: Any) -> None:
    with pytest.raises(ValueError, match=r"9 workers of 1 CPUs .*lower SMOTEXT_WORKERS"):
        Pool(cluster.address, workers=9, num_cpus=1, num_gpus=0)
    with pytest.raises(ValueError, match=r"the Ray cluster has 4 CPUs and 0 GPUs"):
        Pool(cluster.address, workers=1, num_cpus=1, num_gpus=1)


@pytest.mark.soak
def test_workers_of_another_smotext_are_refused(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"smotext": "0" * 16}
    monkeypatch.setattr("smotext_assets.graph.ray_pool.software", lambda: other)
    with pytest.raises(ValueError, match="start the Ray cluster from the same image"):
        Pool(cluster.address, workers=1, num_cpus=1, num_gpus=0)


def test_address_that_nobody_answers_is_refused() -> None:
    with pytest.raises(ConnectionError, match=r"no Ray cluster answers at ray://127.0.0.1:1:"):
        Pool("ray://127.0.0.1:1", workers=1, num_cpus=1, num_gpus=0)
