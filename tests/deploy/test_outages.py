"""A run worker that is killed, and Postgres lost in the middle of a run: with deploy/dagster.yaml
as it is, all goes on by itself."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smotext_assets.partitions import range_tags
from smotext_assets.storage import Store
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
def server() -> "Postgres":  # type: ignore[misc]
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres(server: Postgres) -> dict[str, str]:
    """In place of the one that other tests use: this one is stopped."""
    return server.environment


@pytest.mark.soak
def test_dead_workers_and_a_lost_postgres_hold_nothing_up(
    server: Postgres,
    environment: dict[str, str],
    start: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
    s3_client: "S3Client",
) -> None:
    encoder = Encoder(Path(environment["SMOTEXT_HOME"]))
    corpus = write_corpus(tmp_path / "corpus.csv", corpus_rows())
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    platform = Platform(
        {**environment, "SMOTEXT_CORPUS": str(corpus), "PYTHONPATH": path},
        start,
        module="tests.deploy.slow_location",
    )
    platform.start_all()
    store = Store(environment["SMOTEXT_STORE"], client=s3_client)
    first = platform.launch("raw_corpus", "labelled_texts")
    assert platform.ended(first)["status"] == "SUCCESS"

    told = killed_worker(platform, encoder, "medicine", "astronomy")
    print(f"worker killed: failed after {told[0]:.0f} s, the next run began after {told[1]:.0f} s")
    assert {p["label"] for p in store.partitions("embeddings")} == {"astronomy", "medicine"}
    old = {p["label"]: store.manifest("embeddings", p) for p in store.partitions("embeddings")}
    texts = store.read("labelled_texts")

    # away for a moment: the run waits, and goes on
    store.delete("embeddings", {"label": "astronomy"})
    calls = len(encoder.calls())
    encoder.hold(COUNTS["astronomy"])
    short = platform.launch("embeddings", tags={"dagster/partition": "astronomy"})
    encoder.worker_of(COUNTS["astronomy"], after=calls)
    server.stop()
    encoder.go_on()
    time.sleep(1)
    server.start()
    found = platform.ended(short)
    assert found["status"] == "SUCCESS", found
    assert len(encoder.calls()) == calls + 1

    # all labels again, one of them new; Postgres goes while that one is embedded
    encoder.hold(COUNTS["cooking"])
    run_id = platform.launch("embeddings", tags=range_tags(["astronomy", "medicine"]))
    worker = encoder.worker_of(COUNTS["cooking"])
    server.stop()
    lost = time.monotonic()
    encoder.go_on()
    wait_until(lambda: not alive(worker), seconds=240, what="the worker to give up")
    gave_up = time.monotonic() - lost
    log = tmp_path / "code-location.log"
    wait_until(
        lambda: "Exception in thread grpc-server-cleanup" in log.read_text(),
        seconds=60,
        what="the code location to give up looking for dead workers",
    )
    # what was committed can be read
    assert store.read("labelled_texts").equals(texts)
    for label, manifest in old.items():
        assert store.manifest("embeddings", {"label": label}) == manifest
        store.read("embeddings", {"label": label})
    ended = platform.restart_what_ended()
    server.start()
    back = time.monotonic()

    def failed() -> bool:
        ended.extend(platform.restart_what_ended())  # as Compose does
        return bool(platform.run(run_id)["status"] == "FAILURE")

    wait_until(failed, seconds=240, what="the dead run to be failed")
    seconds = time.monotonic() - back
    print(f"Postgres lost: the worker gave up after {gave_up:.0f} s, failed {seconds:.0f} s after")
    print(f"it was back. Ended meanwhile: {ended}")
    (again,) = wait_until(lambda: retries(platform, run_id), seconds=120, what="retry")
    found = platform.ended(again)
    assert found["status"] == "SUCCESS", found
    print(f"repeated {time.monotonic() - back:.0f} s after Postgres was back")
    labels = sorted(COUNTS)
    assert [p["label"] for p in store.partitions("embeddings")] == labels
    for label in labels:
        frame = store.read("embeddings", {"label": label})
        assert frame.height == frame["text_id"].n_unique() == COUNTS[label]
        if label in old:
            assert store.manifest("embeddings", {"label": label}) == old[label]
    # nothing was embedded twice but what a worker was at when it died, and what was deleted above
    twice = [COUNTS["medicine"], COUNTS["cooking"], COUNTS["astronomy"]]
    assert sorted(n for _, n in encoder.calls()) == sorted([*COUNTS.values(), *twice])

    # The code location has not noticed a dead worker since: the sensor does.
    store.delete("embeddings", {"label": "medicine"})
    store.delete("embeddings", {"label": "astronomy"})
    told = killed_worker(platform, encoder, "medicine", "astronomy")
    print(f"worker killed: failed after {told[0]:.0f} s, the next run began after {told[1]:.0f} s")
    assert [p["label"] for p in store.partitions("embeddings")] == labels
    assert [run["status"] for run in platform.runs() if run["status"] != "SUCCESS"] == [
        "FAILURE"
    ] * 3


def killed_worker(
    platform: Platform, encoder: Encoder, label: str, other: str
) -> tuple[float, float]:
    """Kill the worker of a run that embeds `label`, while another waits for its place in the pool.

    Returns:
        Seconds from the kill to the run's failure, and to the other's start.
    """
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
    found = platform.ended(waiting, seconds=240)
    assert found["status"] == "SUCCESS", found
    (again,) = wait_until(lambda: retries(platform, running), seconds=120, what="retry")
    found = platform.ended(again)
    assert found["status"] == "SUCCESS", found
    times = {run["runId"]: run for run in platform.runs()}
    return times[running]["endTime"] - killed, times[waiting]["startTime"] - killed


def retries(platform: Platform, run_id: str) -> list[str]:
    return [run["runId"] for run in platform.runs() if run["parentRunId"] == run_id]


def alive(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
