"""Backfills: which partitions Dagster holds for failed or missing, and that only those are made."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from smotext_assets.partitions import label_by_run, labels, range_tags, runs
from tests.assets.conftest import COUNTS, Calls, Home, corpus_rows, write_corpus
from tests.assets.test_day import REPOSITORY, Day

BACKFILL = """mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
STATUS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status runs: unfinishedRuns(limit: 1) { status } } } }"""
DECODED = dg.AssetKey("decoded_texts")


def statuses(home: Home, keys: Sequence[str]) -> dict[str, str | None]:
    """By partition of decoded_texts; None is missing."""
    found = home.instance.get_status_by_partition(DECODED, list(keys), label_by_run)
    return {key: status and status.value for key, status in (found or {}).items()}


def test_failed_and_missing_partitions_are_told_from_finished_ones(
    home: Home, corpus: Path
) -> None:
    asked = [f"{label}|r1" for label in COUNTS]
    home.instance.add_dynamic_partitions(str(runs.name), ["r1"])
    assert home.materialize(corpus, ["raw_corpus", "labelled_texts"]).success
    for label in ("astronomy", "medicine"):
        assert home.materialize(corpus, ["embeddings"], partition_key=label).success
    first_two = ["class_pairs", "interpolated_vectors"]
    for label in ("astronomy", "medicine"):
        assert home.materialize(corpus, first_two, partition_key=f"{label}|r1").success
    result = home.materialize(
        corpus, ["decoded_texts"], tags=range_tags(["astronomy|r1", "cooking|r1"])
    )
    assert not result.success
    told = statuses(home, asked)
    assert told["astronomy|r1"] == "MATERIALIZED"
    assert told["cooking|r1"] == "FAILED"
    assert told["medicine|r1"] is None

    assert home.materialize(corpus, ["embeddings"], partition_key="cooking").success
    assert home.materialize(corpus, first_two, partition_key="cooking|r1").success
    before = Calls.decoded
    result = home.materialize(
        corpus, ["decoded_texts"], tags=range_tags(["astronomy|r1", "medicine|r1"])
    )
    assert result.success
    assert set(statuses(home, asked).values()) == {"MATERIALIZED"}
    left = [home.store.read("class_pairs", {"label": k, "run": "r1"}) for k in COUNTS]
    assert Calls.decoded - before == sum(frame.height for frame in left)  # astronomy has none


@pytest.mark.soak
def test_backfill_of_the_ui_by_label_by_run_and_of_what_is_missing(tmp_path: Path) -> None:
    day = Day(tmp_path / "home")
    corpus = write_corpus(day.inbox / "corpus.csv", corpus_rows())
    home = day.home
    assert home.materialize(corpus, ["raw_corpus", "labelled_texts"]).success
    assert home.materialize(
        corpus, ["embeddings"], tags=range_tags(["astronomy", "medicine"])
    ).success
    home.instance.add_dynamic_partitions(str(runs.name), ["r1", "r2"])
    assert home.instance.get_dynamic_partitions(str(labels.name)) == sorted(COUNTS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/graphql"

    def graphql(query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def backfill(keys: Sequence[str]) -> None:
        names = ("class_pairs", "interpolated_vectors", "decoded_texts")
        params = {"assetSelection": [{"path": [n]} for n in names], "partitionNames": list(keys)}
        launched = graphql(BACKFILL, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        ended = ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "COMPLETED")

        def status() -> str:
            found = graphql(STATUS, id=launched["backfillId"])["partitionBackfillOrError"]
            return str(found["status"])

        wait(lambda: status() in ended)
        assert status() == "COMPLETED_SUCCESS"

    def wait(is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 240
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.5)

    def made() -> set[str]:
        return set(home.instance.get_materialized_partitions(DECODED))

    def up() -> bool:
        try:
            return bool(graphql("{ version }"))
        except OSError:
            return False

    command = [sys.executable, "-m", "dagster_webserver", "-f", str(day.location), "-p", str(port)]
    with (day.home.folder / "webserver.log").open("wb") as log:
        webserver = subprocess.Popen(
            command, cwd=REPOSITORY, env=day.environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    daemon = day.start()
    try:
        wait(up)
        backfill(["medicine|r1", "medicine|r2"])  # by label
        assert made() == {"medicine|r1", "medicine|r2"}
        backfill([f"{label}|r1" for label in COUNTS])  # by run; one is there
        assert made() == {"medicine|r2", *(f"{label}|r1" for label in COUNTS)}
        every = [f"{label}|{run}" for label in COUNTS for run in ("r1", "r2")]
        backfill([key for key, status in statuses(home, every).items() if status is None])
        assert made() == set(every)
    finally:
        for process in (daemon, webserver):
            os.killpg(process.pid, signal.SIGTERM)
        for process in (daemon, webserver):
            process.wait(60)
