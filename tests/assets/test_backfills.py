"""Backfills: which partitions Dagster holds for failed or missing, and that only those are made."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._cli.asset import asset_materialize_command

from smotext_assets.graph.partitions import BY_LABEL_AND_RUN, label_by_run, labels, range_tags, runs
from tests.assets.automation.test_day import REPOSITORY, Day
from tests.assets.conftest import COUNTS, Calls, Home, corpus_rows, write_corpus
from tests.deploy.conftest import free_port

BACKFILL = """mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
AGAIN = """mutation($id: String!) {
  reexecutePartitionBackfill(
    reexecutionParams: {parentRunId: $id, strategy: FROM_FAILURE}
  ) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
STATUS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status } } }"""
REPOSITORIES = """{ repositoriesOrError { ... on RepositoryConnection {
  nodes { name location { name } } } } }"""
ENDED = ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "COMPLETED", "CANCELED")
DECODED = dg.AssetKey("decoded_texts")
STAGES = ("class_pairs", "interpolated_vectors", "decoded_texts")


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


def test_command_line_materialises_a_range_of_both_dimensions(
    home: Home, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = Day(tmp_path / "day")
    home = day.home
    write_corpus(day.inbox / "corpus.csv", corpus_rows())
    assert home.materialize(day.inbox, ["raw_corpus", "labelled_texts"]).success
    labels_of = range_tags(["astronomy", "medicine"])
    assert home.materialize(day.inbox, ["embeddings"], tags=labels_of).success
    assert home.materialize(day.inbox, ["generator"]).success
    home.instance.add_dynamic_partitions(str(runs.name), ["r1", "r2", "r3"])
    for name in ("DAGSTER_HOME", "SMOTEXT_HOME"):
        monkeypatch.setenv(name, day.environment[name])
    select = "key:class_pairs or key:interpolated_vectors"
    asked = ["--select", select, "--partition-range", "cooking|r1...medicine|r2"]
    found = CliRunner().invoke(asset_materialize_command, [*asked, "-f", str(day.location)])
    assert found.exit_code == 0, found.output
    for name in ("class_pairs", "interpolated_vectors"):
        made = home.instance.get_materialized_partitions(dg.AssetKey(name))
        assert made == {f"{k}|{r}" for k in ("cooking", "medicine") for r in ("r1", "r2")}


class Site:
    """A webserver and a daemon on a home that has vectors of every label."""

    def __init__(self, folder: Path) -> None:
        self.day = day = Day(folder)
        self.home, self.instance = day.home, day.home.instance
        self.corpus = write_corpus(day.inbox / "corpus.csv", corpus_rows())
        assert self.home.materialize(self.corpus, ["raw_corpus", "labelled_texts"]).success
        all_labels = range_tags(["astronomy", "medicine"])
        assert self.home.materialize(self.corpus, ["embeddings"], tags=all_labels).success
        assert self.home.materialize(self.corpus, ["generator"]).success
        assert self.instance.get_dynamic_partitions(str(labels.name)) == sorted(COUNTS)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/graphql"
        command = [sys.executable, "-m", "dagster_webserver", "-f", str(day.location)]
        with (day.home.folder / "webserver.log").open("wb") as log:
            webserver = subprocess.Popen(
                [*command, "-p", str(port)], cwd=REPOSITORY, env=day.environment,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes = [day.start(), webserver]
        self.wait(self.up)
        (node,) = self.graphql(REPOSITORIES)["repositoriesOrError"]["nodes"]
        self.location, self.repository = node["location"]["name"], node["name"]

    def close(self) -> None:
        for process in self.processes:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            process.wait(60)

    def graphql(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def wait(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 400
        while not is_so():
            assert time.monotonic() < deadline, self.day.log.read_text()[-4000:]
            time.sleep(0.5)

    def up(self) -> bool:
        try:
            return bool(self.graphql("{ version }"))
        except OSError:
            return False

    def ended(self, launched: Mapping[str, str]) -> str:
        """The status in which the backfill ended."""
        assert launched["__typename"] == "LaunchBackfillSuccess", launched

        def status() -> str:
            found = self.graphql(STATUS, id=launched["backfillId"])["partitionBackfillOrError"]
            return str(found["status"])

        self.wait(lambda: status() in ENDED)
        return status()

    def launch(self, **params: Any) -> dict[str, str]:
        found = self.graphql(BACKFILL, params=params)["launchPartitionBackfill"]
        return cast("dict[str, str]", found)

    def launch_assets(self, keys: Sequence[str]) -> dict[str, str]:
        """As the page of assets does."""
        selection = [{"path": [name]} for name in STAGES]
        return self.launch(assetSelection=selection, partitionNames=list(keys))

    def launch_job(self, keys: Sequence[str]) -> dict[str, str]:
        """As the page of the job `synthesis` does."""
        where = {"repositoryLocationName": self.location, "repositoryName": self.repository}
        selector = {"repositorySelector": where, "partitionSetName": "synthesis_partition_set"}
        return self.launch(selector=selector, partitionNames=list(keys))

    def made(self, name: str, *keys: str) -> set[str]:
        """The partitions of an asset that are there, of the runs named."""
        found = self.instance.get_materialized_partitions(dg.AssetKey(name))
        return {key for key in found if key.partition("|")[2] in keys}

    def times(self, name: str, key: str) -> int:
        """How often a partition was recorded as made."""
        wanted = dg.AssetRecordsFilter(dg.AssetKey(name), asset_partitions=[key])
        return len(self.instance.fetch_materializations(wanted, limit=100).records)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("backfills") / "home")
    yield site
    site.close()


def both(labels: Sequence[str], runs: Sequence[str]) -> list[str]:
    return [f"{label}|{run}" for label in labels for run in runs]


@pytest.mark.soak
def test_backfill_by_label_by_run_and_of_what_is_missing(site: Site) -> None:
    site.instance.add_dynamic_partitions(str(runs.name), ["r1", "r2"])

    def backfill(keys: Sequence[str]) -> None:
        assert site.ended(site.launch_assets(keys)) == "COMPLETED_SUCCESS"

    def made() -> set[str]:
        return site.made("decoded_texts", "r1", "r2")

    backfill(["medicine|r1", "medicine|r2"])  # by label
    assert made() == {"medicine|r1", "medicine|r2"}
    backfill([f"{label}|r1" for label in COUNTS])  # by run; one is there
    assert made() == {"medicine|r2", *(f"{label}|r1" for label in COUNTS)}
    every = both(sorted(COUNTS), ["r1", "r2"])
    left = [key for key, status in statuses(site.home, every).items() if status is None]
    assert left == ["astronomy|r2", "cooking|r2"]
    backfill(left)
    assert made() == set(every)
    assert site.times("decoded_texts", "medicine|r2") == 1


@pytest.mark.soak
def test_backfill_of_both_dimensions_keeps_what_succeeded_and_makes_the_failed_alone_again(
    site: Site,
) -> None:
    site.instance.add_dynamic_partitions(str(runs.name), ["r3", "r4"])
    store, good = site.home.store, both(["medicine"], ["r3", "r4"])
    asked = both(["cooking", "medicine"], ["r3", "r4"])
    store.delete("embeddings", {"label": "cooking"})
    launched = site.launch_assets(asked)
    assert site.ended(launched) == "COMPLETED_FAILED"
    assert site.made("class_pairs", "r3", "r4") == set(good)
    failed = site.instance.get_status_by_partition(dg.AssetKey("class_pairs"), asked, label_by_run)
    assert failed is not None
    assert {key for key, status in failed.items() if status and status.value == "FAILED"} == (
        set(asked) - set(good)
    )
    manifests = [store.manifest("class_pairs", {"label": "medicine", "run": "r3"})]

    assert site.home.materialize(site.corpus, ["embeddings"], partition_key="cooking").success
    again = site.graphql(AGAIN, id=launched["backfillId"])["reexecutePartitionBackfill"]
    assert site.ended(again) == "COMPLETED_SUCCESS"
    for name in STAGES:
        assert site.made(name, "r3", "r4") == set(asked), name
    for key in asked:
        assert site.times("class_pairs", key) == 1
    manifests.append(store.manifest("class_pairs", {"label": "medicine", "run": "r3"}))
    assert manifests[0] == manifests[1]


@pytest.mark.soak
def test_backfill_of_the_job_makes_what_was_asked_for_and_no_more(site: Site) -> None:
    site.instance.add_dynamic_partitions(str(runs.name), ["r5", "r6", "r7"])
    asked = both(["astronomy", "medicine"], ["r5", "r6"])  # no neighbours
    assert site.ended(site.launch_job(asked)) == "COMPLETED_SUCCESS"
    for name in BY_LABEL_AND_RUN:
        assert site.made(name, "r5", "r6", "r7") == set(asked), name
        assert [site.times(name, key) for key in asked] == [1, 1, 1, 1], name


@pytest.mark.soak
def test_command_line_backfills_the_job(site: Site) -> None:
    site.instance.add_dynamic_partitions(str(runs.name), ["r8", "r9"])
    asked = both(["cooking", "medicine"], ["r8"])
    keys = ["--partitions", ",".join(asked), "--noprompt"]
    site.day.dagster("job", "backfill", "-j", "synthesis", *keys)
    site.wait(lambda: site.made("synthetic_table", "r8", "r9") == set(asked))
