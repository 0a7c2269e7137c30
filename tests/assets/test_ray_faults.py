"""The graph on Ray where a batch is poisoned, the head dies, or the object store is too small."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import psutil
import pytest

from smotext_assets.graph.engine import Engine
from smotext_assets.graph.partitions import range_tags
from smotext_assets.graph.ray_pool import Pool
from smotext_core.streams import sample_seeds
from tests.assets.conftest import (
    CountingGenerator,
    FakeGeneratorResource,
    Home,
    corpus_rows,
    failures,
    write_corpus,
)
from tests.assets.test_ray import DeadlyHome, assert_same, cluster, load, made

__all__ = ["cluster"]

ROOT = Path(__file__).parents[2]
COUNTS = {"astronomy": 20, "banking": 8, "cooking": 8, "football": 8}
BAD = "cooking"


class PoisonedGenerator(CountingGenerator):
    """Raises, or dies of SIGKILL, at the batch that begins with this seed, again and again."""

    def __init__(self, dimension: int, seed: int, kills: bool) -> None:
        super().__init__(dimension)
        self.seed, self.kills = seed, kills

    def decode_candidates(self, vectors: Any, **options: Any) -> Any:
        if options["seeds"][0] == self.seed:
            if self.kills:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("a vector that cannot be decoded")
        return super().decode_candidates(vectors, **options)


class PoisonedResource(FakeGeneratorResource):
    seed: str  # beyond what JSON's integers hold
    kills: bool

    def load(self) -> PoisonedGenerator:
        return PoisonedGenerator(self.dimension, int(self.seed), self.kills)


class PoisonedHome(Home):
    seed, kills = 0, False

    def resources(self, corpus: Path, *, dimension: int = 32) -> dict[str, Any]:
        poisoned = PoisonedResource(
            generator="fake", dimension=dimension, seed=str(self.seed), kills=self.kills
        )
        return super().resources(corpus, dimension=dimension) | {"generator": poisoned}


def prepared(home: Home, corpus: Path) -> Home:
    """Up to the mixed vectors of four labels; made in this process."""
    labels, engine = list(COUNTS), home.engine
    home.engine = Engine()
    assert home.materialize(corpus, ["raw_corpus", "labelled_texts"]).success
    assert home.materialize(corpus, ["embeddings"], tags=range_tags(labels)).success
    home.instance.add_dynamic_partitions("smotext_run", ["r1"])
    names = ["class_pairs", "interpolated_vectors"]
    assert home.materialize(corpus, names, tags=of_run()).success
    home.engine = engine
    return home


def of_run() -> dict[str, str]:
    return range_tags([f"{label}|r1" for label in COUNTS])


def batches(result: dg.ExecuteInProcessResult) -> dict[str, int]:
    """How many were made now, by partition."""
    return {
        str(event.partition): sum(
            json.loads(
                json.dumps(event.materialization.metadata["batches_by_worker"].value)
            ).values()
        )
        for event in result.get_asset_materialization_events()
    }


@pytest.mark.parametrize("kills", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_label_of_a_poisoned_batch_fails_alone(cluster: Any, tmp_path: Path, kills: bool) -> None:
    corpus = write_corpus(tmp_path / "corpus.csv", corpus_rows(COUNTS))
    alone = prepared(Home(tmp_path / "local"), corpus)
    assert alone.materialize(corpus, ["decoded_texts"], tags=of_run()).success

    many = prepared(PoisonedHome(tmp_path / "ray"), corpus)
    many.engine = Engine(engine="ray", address=cluster.address, workers=2)
    (many.seed,) = sample_seeds(np.arange(1), seed=0, label=BAD).tolist()
    many.kills = kills
    result = many.materialize(corpus, ["decoded_texts"], tags=of_run())
    why = (
        r"4 workers died at this batch" if kills else "ValueError: a vector that cannot be decoded"
    )
    assert not result.success
    told = failures(result)
    assert list(told) == [f"{BAD}|r1"]
    assert why in told[f"{BAD}|r1"]
    (failed,) = [event for event in result.all_node_events if event.is_step_failure]
    assert f"1 of {len(COUNTS)} partitions failed" in str(failed.step_failure_data.error)
    assert f"{BAD}|r1: " in str(failed.step_failure_data.error)

    good = sorted(f"{label}|r1" for label in COUNTS if label != BAD)
    made_now = many.instance.get_materialized_partitions(dg.AssetKey("decoded_texts"))
    assert sorted(made_now) == good
    committed = many.store.partitions("decoded_texts")
    assert [at["label"] for at in committed] == sorted(set(COUNTS) - {BAD})
    for at in committed:
        assert many.store.manifest("decoded_texts", at) == alone.store.manifest("decoded_texts", at)

    many.seed = 0
    result = many.materialize(corpus, ["decoded_texts"], tags=of_run())
    assert result.success
    assert {key: n for key, n in batches(result).items() if n} == {f"{BAD}|r1": 1}
    for table in ("calibration", "decoded_texts"):
        assert many.store.partitions(table) == alone.store.partitions(table)
        for at in alone.store.partitions(table):
            assert many.store.manifest(table, at) == alone.store.manifest(table, at)


DRIVER = """
import sys
from pathlib import Path

from smotext_assets.graph.engine import Engine
from tests.assets.conftest import failures
from tests.assets.test_ray import DeadlyHome, made

folder, address, corpus = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
home = DeadlyHome(folder)
home.seconds = 30  # a batch must not end before the loss is seen, 5 to 15 s after it
home.engine = Engine(engine="ray", address=address, workers=2)
kept, materialize = [], home.materialize
home.materialize = lambda *a, **o: kept.append(materialize(*a, **o)) or kept[-1]
try:
    made(home, corpus)
except AssertionError:
    for key, reason in sorted(failures(kept[-1]).items()):
        print("FAILED", key, reason, flush=True)
"""


@pytest.fixture
def head() -> Iterator[Any]:
    """A cluster of its own, with a head that may be killed: never this process's."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    small = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **small})
    try:
        yield found
    finally:
        agents = getattr(found, "agents", [])
        found.shutdown()
        for process in psutil.wait_procs(agents, timeout=5)[1]:  # they outlive a dead head a while
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.mark.soak
def test_head_that_is_killed_fails_the_run_and_the_next_one_makes_the_same_bytes(
    head: Any, cluster: Any, tmp_path: Path
) -> None:
    """In a process of its own: Ray ends one whose head is away for a minute."""
    corpus = write_corpus(tmp_path / "corpus.csv", corpus_rows())
    alone = made(Home(tmp_path / "local"), corpus)
    folder = tmp_path / "ray"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder), head.address, str(corpus)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 300
        while not (folder / "marks" / "decoding").exists():
            assert driver.poll() is None, driver.communicate()
            assert time.monotonic() < deadline, "no batch was decoded"
            time.sleep(0.05)
        (gcs,) = head.head_node.all_processes["gcs_server"]
        (raylet,) = head.head_node.all_processes["raylet"]
        head.agents = psutil.Process(raylet.process.pid).children(recursive=True)
        os.kill(gcs.process.pid, signal.SIGKILL)
        out, err = driver.communicate(timeout=200)
    finally:
        driver.kill()
        driver.communicate()
    told = [line for line in out.splitlines() if line.startswith("FAILED")]
    assert told, (driver.returncode, out[-3000:], err[-3000:])
    assert driver.returncode == 0, err[-3000:]
    for line in told:
        assert "the Ray cluster is lost" in line
        assert f"no Ray cluster answers at {head.address}" in line
        assert "start it and run the same again" in line

    again = DeadlyHome(folder)
    for table in ("decoded_texts", "calibration"):
        for at in again.store.partitions(table):  # whole, or not there
            assert again.store.manifest(table, at) == alone.store.manifest(table, at)
            again.store.read(table, at)
    assert len(again.store.partitions("decoded_texts")) < len(
        alone.store.partitions("decoded_texts")
    )
    again.engine = Engine(engine="ray", address=cluster.address, workers=2)
    made(again, corpus)
    assert_same(again, alone)


def doubled(
    generator: None, item: "np.ndarray[Any, Any]", progress: Callable[[int], None]
) -> pl.DataFrame:
    progress(len(item))
    return pl.DataFrame({"number": item * 2})


@pytest.mark.soak
def test_batches_larger_than_the_object_store_come_through(cluster: Any) -> None:
    """Ray's least store is 75 MiB a node, here 80: together, and one alone, they are larger."""
    mib = 2**20 // 8
    items = [np.arange(n * mib, n * mib + size * mib) for n, size in enumerate([30] * 6 + [120])]
    pool = Pool(cluster.address, workers=2, num_cpus=1, num_gpus=0)
    try:
        futures = [pool.submit("none", load, doubled, item) for item in items[:4]]
        for item, future in zip(items[4:], futures, strict=False):
            future.result(timeout=200)
            futures.append(pool.submit("none", load, doubled, item))
        for item, future in zip(items, futures, strict=True):
            frame, rows, _ = future.result(timeout=200)
            assert rows == len(item)
            assert np.array_equal(frame["number"].to_numpy(), item * 2)
    finally:
        pool.close()
