"""A run worker that is killed, and Postgres lost in the middle of a run: with deploy/dagster.yaml
as it is, all goes on by itself."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smotext_assets.graph.partitions import range_tags
from smotext_assets.store.tables import Store
from tests.assets.conftest import COUNTS, corpus_rows, write_corpus
from tests.deploy.conftest import Postgres, postgres_server
from tests.deploy.services import Platform, wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).parents[2]


class Encoder:
    """What tests/deploy/slow_location.py is told and tells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def hold(self, texts: int) -> None:
        """Wait in the label of so many texts."""
        (self.folder / "hold").write_text(str(texts))

    def go_on(self) -> None:
        (self.folder / "hold").unlink()

    def calls(self) -> list[tuple[int, int]]:
        """Process and number of texts of each call."""
        path = self.folder / "encoded"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(pid), int(n)) for pid, n in (line.split() for line in lines)]

    def worker_of(self, texts: int, *, after: int = 0) -> int:
        """The process that works on the label of so many texts, once there is one."""

        def found() -> int | None:
            pids = [pid for pid, n in self.calls()[after:] if n == texts]
            return pids[-1] if pids else None

        pid: int = wait_until(found, seconds=180, what=f"a worker with {texts} texts")
        return pid


@pytest.fixture
def server() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres(server: Postgres) -> dict[str, str]:
    """In place of the one that other tests use: this one is stopped."""
    return server.environment


@pytest.fixture
def encoder(environment: dict[str, str]) -> Encoder:
    return Encoder(Path(environment["SMOTEXT_HOME"]))


@pytest.fixture
def platform(
    environment: dict[str, str],
    encoder: Encoder,
    start: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
) -> Platform:
    """All services, and a corpus that is read and split."""
    corpus = write_corpus(tmp_path / "corpus.csv", corpus_rows())
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    platform = Platform(
        {**environment, "SMOTEXT_CORPUS": str(corpus), "PYTHONPATH": path},
        start,
        module="tests.deploy.slow_location",
    )
    platform.start_all()
    succeeds(platform, platform.launch("raw_corpus", "labelled_texts"))
    return platform


@pytest.fixture
def store(environment: dict[str, str], s3_client: "S3Client") -> Store:
    return Store(environment["SMOTEXT_STORE"], client=s3_client)


@pytest.mark.soak
def test_killed_workers_hold_nothing_up(platform: Platform, encoder: Encoder, store: Store) -> None:
    killed_worker(platform, encoder, "medicine", "astronomy")
    assert embedded(store) == {"astronomy", "medicine"}

    # with its whole code location, which Compose starts again
    encoder.hold(COUNTS["cooking"])
    run_id = platform.launch("embeddings", tags={"dagster/partition": "cooking"})
    worker = encoder.worker_of(COUNTS["cooking"])
    os.killpg(platform.processes["code-location"].pid, signal.SIGKILL)
    platform.processes["code-location"].wait()
    wait_until(lambda: not alive(worker), seconds=10, what="the end of the worker")
    encoder.go_on()
    assert platform.restart_what_ended() == ["code-location"]
    assert platform.ended(run_id)["status"] == "FAILURE"
    repeated(platform, run_id)
    assert embedded(store) == set(COUNTS)
    statuses = sorted(run["status"] for run in platform.runs())
    assert statuses == ["FAILURE"] * 2 + ["SUCCESS"] * 4


@pytest.mark.soak
def test_lost_postgres_holds_nothing_up(
    server: Postgres, platform: Platform, encoder: Encoder, store: Store, tmp_path: Path
) -> None:
    # for a moment: the run waits, and goes on
    run_id = lost(server, platform, encoder, "medicine")
    time.sleep(1)
    server.start()
    succeeds(platform, run_id)

    # for longer, while the worker still tries: the label may fail, and can be asked for again
    run_id = lost(server, platform, encoder, "cooking")
    time.sleep(25)
    server.start()
    print(f"away for 25 s: {platform.ended(run_id)['status']}")
    succeeds(platform, platform.launch("embeddings", tags={"dagster/partition": "cooking"}))
    assert embedded(store) == {"cooking", "medicine"}
    old = {p["label"]: store.manifest("embeddings", p) for p in store.partitions("embeddings")}
    texts, calls = store.read("labelled_texts"), len(encoder.calls())

    # until the worker has given up; all labels are asked for, and one is new
    run_id = lost(server, platform, encoder, "astronomy", asked=range_tags(sorted(COUNTS)))
    began = time.monotonic()
    worker = encoder.worker_of(COUNTS["astronomy"])
    wait_until(lambda: not alive(worker), seconds=240, what="the worker to give up")
    gave_up = time.monotonic() - began
    log = tmp_path / "code-location.log"
    wait_until(
        lambda: "Exception in thread grpc-server-cleanup" in log.read_text(),
        seconds=60,
        what="the code location to give up looking for dead workers",
    )
    assert store.read("labelled_texts").equals(texts)  # as before, meanwhile
    assert embedded(store) == old.keys()
    for label in old:
        store.read("embeddings", {"label": label})
    server.start()
    back = time.monotonic()
    ended: list[str] = []

    def failed() -> bool:
        ended.extend(platform.restart_what_ended())  # as Compose does
        return bool(platform.run(run_id)["status"] == "FAILURE")

    wait_until(failed, seconds=240, what="the dead run to be failed")
    print(f"the worker gave up after {gave_up:.0f} s; its run was failed ", end="")
    print(f"{time.monotonic() - back:.0f} s after Postgres was back; had to be started: {ended}")
    repeated(platform, run_id)
    assert embedded(store) == set(COUNTS)
    for label, count in COUNTS.items():
        frame = store.read("embeddings", {"label": label})
        assert frame.height == frame["text_id"].n_unique() == count
        assert store.manifest("embeddings", {"label": label}) == old.get(
            label, store.manifest("embeddings", {"label": label})
        )
    assert [n for _, n in encoder.calls()[calls:]] == [COUNTS["astronomy"]] * 2

    # the code location has noticed no dead worker since: the sensor does
    for label in ("astronomy", "medicine"):
        store.delete("embeddings", {"label": label})
    killed_worker(platform, encoder, "medicine", "astronomy")
    assert embedded(store) == set(COUNTS)


def lost(
    server: Postgres,
    platform: Platform,
    encoder: Encoder,
    label: str,
    *,
    asked: Mapping[str, str] | None = None,
) -> str:
    """Stop Postgres while a run embeds `label`, which then goes on; the run's id."""
    calls = len(encoder.calls())
    encoder.hold(COUNTS[label])
    run_id = platform.launch("embeddings", tags=asked or {"dagster/partition": label})
    encoder.worker_of(COUNTS[label], after=calls)
    server.stop()
    encoder.go_on()
    return run_id


def killed_worker(platform: Platform, encoder: Encoder, label: str, other: str) -> None:
    """Kill the worker of a run that embeds `label`, while another waits for its place in the pool:
    the one is failed and repeated, the other begins."""
    calls = len(encoder.calls())
    encoder.hold(COUNTS[label])
    running = platform.launch("embeddings", tags={"dagster/partition": label})
    worker = encoder.worker_of(COUNTS[label], after=calls)
    waiting = platform.launch("embeddings", tags={"dagster/partition": other})
    time.sleep(8)  # a daemon that lets it in does so within 5 s
    assert platform.run(waiting)["status"] == "QUEUED"
    assert [n for _, n in encoder.calls()[calls:]] == [COUNTS[label]]
    os.kill(worker, signal.SIGKILL)
    killed = time.time()
    encoder.go_on()
    assert platform.ended(running, seconds=240)["status"] == "FAILURE"
    succeeds(platform, waiting)
    repeated(platform, running)
    times = {run["runId"]: run for run in platform.runs()}
    print(f"worker killed: failed after {times[running]['endTime'] - killed:.0f} s, ", end="")
    print(f"the next run began after {times[waiting]['startTime'] - killed:.0f} s")


def succeeds(platform: Platform, run_id: str) -> None:
    found = platform.ended(run_id)
    assert found["status"] == "SUCCESS", found


def repeated(platform: Platform, run_id: str) -> None:
    """By itself, once, and with success."""
    wait_until(lambda: retries(platform, run_id), seconds=120, what="another attempt")
    (again,) = retries(platform, run_id)
    succeeds(platform, again)


def embedded(store: Store) -> set[str]:
    return {partition["label"] for partition in store.partitions("embeddings")}


def retries(platform: Platform, run_id: str) -> list[str]:
    return [run["runId"] for run in platform.runs() if run["parentRunId"] == run_id]


def alive(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
