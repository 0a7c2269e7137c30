"""A day in the life: file arrives → corpus → embeddings → nightly run → table → card → evidence,
by a daemon of its own, while nobody touches anything."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from smotext_assets.graph.partitions import BY_RUN
from tests.assets.conftest import Home, corpus_rows, write_corpus

REPOSITORY = Path(__file__).parents[3]
DEADLINE_S = 1200.0
LOCATION = """
import os
from pathlib import Path
from smotext_assets.definitions import definitions
from tests.assets.conftest import Home

home = Home(Path(os.environ["SMOTEXT_HOME"]))
defs = definitions(home.resources(f"{home.folder}/inbox/"), cron_schedule="* * * * *")
"""
INSTANCE = """
storage:
  sqlite: {base_dir: %s}
telemetry: {enabled: false}
concurrency:
  pools: {default_limit: 1, granularity: run}
"""

pytestmark = pytest.mark.soak


class Day:
    """A home, a Dagster instance on disk, and a daemon beside this process."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.inbox, dagster_home = folder / "inbox", folder / "dagster"
        for path in (self.inbox, dagster_home):
            path.mkdir(parents=True)
        (dagster_home / "dagster.yaml").write_text(INSTANCE % dagster_home)
        self.location = folder / "location.py"
        self.location.write_text(LOCATION)
        self.environment = {
            **os.environ,
            "DAGSTER_HOME": str(dagster_home),
            "SMOTEXT_HOME": str(folder),
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
        }
        self.home.instance = dg.DagsterInstance.from_config(str(dagster_home))
        self.log = folder / "daemon.log"

    def dagster(self, *arguments: str) -> None:
        """`dagster ARGUMENTS`, to its end."""
        command = [sys.executable, "-m", "dagster", *arguments, "-f", str(self.location)]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]

    def start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "dagster._daemon", "run", "-f", str(self.location)]
        with self.log.open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, what: str, found: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not found():
            assert time.monotonic() < deadline, f"no {what}: {self.log.read_text()[-4000:]}"
            time.sleep(2)

    def made(self, asset: str) -> set[str]:
        return set(self.home.instance.get_materialized_partitions(dg.AssetKey(asset)))


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    day = Day(tmp_path / "home")
    day.dagster("sensor", "start", "--start-all")
    daemon = day.start()
    yield day
    os.killpg(daemon.pid, signal.SIGINT)
    try:
        daemon.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(daemon.pid, signal.SIGKILL)


def test_day_from_a_file_to_the_card_without_a_hand(day: Day) -> None:
    home = day.home
    # follow_up must have looked once: what was before its first look does not count
    instance = home.instance

    def has_looked() -> bool:
        (state,) = [s for s in instance.all_instigator_state() if s.instigator_name == "follow_up"]
        return bool(instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1))

    day.wait("first look of follow_up", has_looked)
    write_corpus(day.inbox / ".corpus.csv.part", corpus_rows())
    (day.inbox / ".corpus.csv.part").rename(day.inbox / "corpus.csv")
    labels = {"astronomy", "cooking", "medicine"}
    day.wait("vectors", lambda: day.made("embeddings") == labels)
    assert home.store.read("raw_corpus")["document_id"][0] == "corpus.csv/0"

    day.dagster("schedule", "start", "nightly_run")
    day.wait("rows", lambda: bool(day.made("synthetic_table")))
    day.dagster("schedule", "stop", "nightly_run")
    key = sorted(k.partition("|")[2] for k in day.made("synthetic_table"))[0]
    assert len(key) == len("20261122T0300")
    day.wait("card", lambda: key in day.made("dataset_card"))
    for asset in BY_RUN:
        assert key in day.made(asset)
    assert "cooking" in home.store.read_bytes(f"dataset_card/{key}.html").decode()
    made = dict(
        home.query(f"SELECT label, count(*) FROM synthetic_texts WHERE run = '{key}' GROUP BY 1")
    )
    assert made == {"cooking": 8, "medicine": 10}
    failed = instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    assert failed == []
