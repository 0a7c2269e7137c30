"""What happens by itself: the inbox, the nightly run, what follows, and failures told."""

import asyncio
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._cli.asset import asset_materialize_command
from dagster._core.definitions import freshness_evaluator
from dagster._core.loader import LoadingContextForTest

from smotext_assets.automation import schedules as automation
from smotext_assets.definitions import definitions, resources
from smotext_assets.graph.partitions import BY_RUN, labels, range_tags, runs
from smotext_assets.graph.resources import Corpus, StoreResource, Warehouse
from smotext_assets.graph.table_io import TableIOManager
from tests.assets.automation.test_day import LOCATION, Day
from tests.assets.conftest import (
    BY_LABEL_AND_RUN,
    COUNTS,
    FakeGeneratorResource,
    Home,
    copy_of,
    corpus_rows,
    write_corpus,
)
from tests.conftest import S3_BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NIGHT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


# inbox


class Inbox:
    """The sensor, tick by tick, on its own cursor."""

    def __init__(self, source: str, store: StoreResource, home: Home) -> None:
        warehouse = Warehouse(path=str(home.warehouse))
        self.given = {"corpus": Corpus(source=source), "store": store, "warehouse": warehouse}
        self.instance = home.instance
        self.cursor: str | None = None

    def tick(self) -> dg.SensorResult | dg.SkipReason:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources=self.given
        )
        result = automation.inbox(context)
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        if isinstance(result, dg.SensorResult):
            self.cursor = result.cursor
        return result

    def asked(self) -> list[str] | None:
        """The files that a tick wants ingested."""
        result = self.tick()
        if not isinstance(result, dg.SensorResult) or not result.run_requests:
            return None
        (request,) = result.run_requests
        files: list[str] = request.run_config["ops"]["raw_corpus"]["config"]["files"]
        return files

    def said(self) -> str:
        result = self.tick()
        skip = result.skip_reason if isinstance(result, dg.SensorResult) else result
        assert isinstance(skip, dg.SkipReason)
        return skip.skip_message or ""


@pytest.fixture
def inbox(folder: Path, home: Home) -> Inbox:
    return Inbox(f"{folder}/", StoreResource(root=home.root), home)


def test_inbox_ingests_each_file_once(folder: Path, inbox: Inbox) -> None:
    assert "no whole file" in inbox.said()
    write_corpus(folder / "a.csv", corpus_rows())
    assert inbox.asked() is None  # it may still grow
    assert inbox.asked() == ["a.csv"]
    assert inbox.said() == inbox.said() == "no new file"
    write_corpus(folder / "b.csv", corpus_rows())
    assert inbox.asked() is None
    assert inbox.asked() == ["a.csv", "b.csv"]
    (folder / "a.csv").unlink()
    assert inbox.asked() == ["b.csv"]
    assert inbox.said() == "no new file"


def test_inbox_leaves_a_growing_file_for_the_next_tick(folder: Path, inbox: Inbox) -> None:
    write_corpus(folder / "a.csv", corpus_rows())
    with (folder / "b.csv").open("w") as file:
        for tick in range(3):
            file.write("text,label\n" if tick == 0 else f"half a row {tick},")
            file.flush()
            assert inbox.asked() == (["a.csv"] if tick == 1 else None)
    assert inbox.asked() == ["a.csv", "b.csv"]


def test_inbox_waits_while_a_file_of_the_corpus_changes(folder: Path, inbox: Inbox) -> None:
    write_corpus(folder / "a.csv", corpus_rows())
    inbox.tick()
    assert inbox.asked() == ["a.csv"]
    write_corpus(folder / "b.csv", corpus_rows())
    inbox.tick()
    write_corpus(folder / "a.csv", corpus_rows()[:20])
    assert inbox.said() == "files of the corpus are being changed: ['a.csv']"
    assert inbox.asked() == ["a.csv", "b.csv"]


def test_inbox_ignores_hidden_and_partial_names(folder: Path, inbox: Inbox) -> None:
    for name in (".a.csv", "_b.csv", "~c.csv", "d.csv.part", "e.csv.tmp", "notes.txt", "_SUCCESS"):
        write_corpus(folder / name, corpus_rows())
    (folder / "folder.csv").mkdir()
    inbox.tick()
    assert "no whole file; growing: []" in inbox.said()


def test_inbox_asks_again_with_another_key_for_what_it_had_before(
    folder: Path, inbox: Inbox
) -> None:
    keys = []
    for content in (corpus_rows(), corpus_rows()[:30], corpus_rows(), corpus_rows()[:30]):
        write_corpus(folder / "a.csv", content)
        inbox.tick()
        result = inbox.tick()
        assert isinstance(result, dg.SensorResult)
        assert result.run_requests
        keys.append(result.run_requests[0].run_key)
    assert len(set(keys)) == 4  # Dagster launches a key once


def test_inbox_waits_for_unfinished_runs(folder: Path, inbox: Inbox) -> None:
    write_corpus(folder / "a.csv", corpus_rows())
    inbox.tick()
    job = definitions(resources()).resolve_job_def("synthesis")
    run = inbox.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert inbox.said() == f"run {run.run_id} is not finished: the corpus stays as it is until then"
    inbox.instance.report_run_failed(run)
    assert "their evidence comes first" in inbox.said()
    inbox.instance.delete_run(run.run_id)
    assert inbox.asked() == ["a.csv"]


@pytest.mark.parametrize("source", ["clinic_notes", "s3://bucket/posts.csv", "notes.csv"])
def test_inbox_without_a_folder_says_what_to_set(home: Home, source: str) -> None:
    inbox = Inbox(source, StoreResource(root=home.root), home)
    assert "set SMOTEXT_INBOX to one" in inbox.said()


def test_inbox_that_is_not_there_says_so(home: Home, tmp_path: Path) -> None:
    inbox = Inbox(f"{tmp_path}/nowhere/", StoreResource(root=home.root), home)
    assert "nowhere" in inbox.said()
    assert "make the folder" in inbox.said()


def test_inbox_in_a_bucket(
    home: Home, s3_endpoint: str, s3_client: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    store = StoreResource(root=home.root, endpoint_url=s3_endpoint, region_name="us-east-1")
    prefix = f"{home.folder.parent.name}/inbox/"
    inbox = Inbox(f"s3://{S3_BUCKET}/{prefix}", store, home)

    def put(name: str, body: bytes) -> None:
        s3_client.put_object(Bucket=S3_BUCKET, Key=prefix + name, Body=body)

    put("", b"")  # the console's folder
    put("deeper/x.csv", b"text,label\n")
    assert "no whole file" in inbox.said()
    put("a.csv", b"text,label\nsix,x\n")
    assert inbox.asked() == ["a.csv"]  # an object is whole
    put("a.csv", b"text,label\ntwo,x\n")  # the same size
    assert inbox.asked() == ["a.csv"]
    assert inbox.said() == "no new file"


def test_inbox_in_a_bucket_is_ingested_with_the_versions_that_are_there(
    s3_home: Home, s3_endpoint: str, s3_client: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_home.environment.items():
        monkeypatch.setenv(name, value)
    source = f"{s3_home.root}/inbox/"
    store = StoreResource(root=s3_home.root, endpoint_url=s3_endpoint, region_name="us-east-1")
    sensor = Inbox(source, store, s3_home)
    given = s3_home.resources(s3_home.folder)
    given |= {
        "corpus": Corpus(source=source),
        "store": store,
        "io_manager": TableIOManager(store=store, warehouse=given["warehouse"]),
    }
    job = definitions(given).resolve_job_def("ingest")

    def put(name: str, rows: str) -> None:
        key = f"{source.removeprefix(f's3://{S3_BUCKET}/')}{name}"
        s3_client.put_object(Bucket=S3_BUCKET, Key=key, Body=f"text,label\n{rows}".encode())

    def ingested() -> list[tuple[str, str]]:
        result = sensor.tick()
        assert isinstance(result, dg.SensorResult)
        assert result.run_requests
        (request,) = result.run_requests
        done = job.execute_in_process(instance=s3_home.instance, run_config=request.run_config)
        assert done.success
        rows = store.open().read("raw_corpus").select("document_id", "text").rows()
        return [(str(document_id), str(text)) for document_id, text in rows]

    put("a.csv", "one red hen,x\ntwo red hens,y\n")
    put("b.csv", "a blue cow,x\n")
    first = [("a.csv/0", "one red hen"), ("a.csv/1", "two red hens"), ("b.csv/0", "a blue cow")]
    assert ingested() == first
    assert sensor.said() == "no new file"
    put("a.csv", "six red hen,x\ntwo red hens,y\n")  # another version, of the same size
    assert ingested() == [("a.csv/0", "six red hen"), *first[1:]]
    assert sensor.said() == "no new file"


# raw_corpus of an inbox


def test_raw_corpus_of_an_inbox_is_all_its_files_in_order_of_name(home: Home, folder: Path) -> None:
    write_corpus(folder / "b.csv", [("b zero", "x"), ("b one", "y")])
    (folder / "a.jsonl").write_text('{"text": "a zero", "label": "x"}\n{"text": "", "label": "x"}')
    (folder / "c.csv").write_text("body,label\nc zero,x\n")
    (folder / "d.parquet").write_bytes(b"PAR1 cut off")
    (folder / "e.csv.gz").write_bytes(b"\x1f\x8b\x08 cut off")
    assert home.materialize(folder, ["raw_corpus"]).success
    assert home.store.read("raw_corpus").rows() == [
        ("a.jsonl/0", "a zero", "x"),
        ("b.csv/0", "b zero", "x"),
        ("b.csv/1", "b one", "y"),
    ]
    refused = home.store.read("rejected_rows", {"stage": "raw_corpus"})
    assert refused["document_id"].to_list() == ["a.jsonl/1", "c.csv", "d.parquet", "e.csv.gz"]
    assert refused["reason"][0] == "blank text"
    assert all(reason.startswith("unreadable file: ") for reason in refused["reason"][1:])
    assert str(folder) not in refused["reason"][1]


def test_raw_corpus_of_an_inbox_reads_the_files_asked_for(home: Home, folder: Path) -> None:
    for name in ("a.csv", "b.csv"):
        write_corpus(folder / name, [(f"text of {name}", "x")])

    def ingest(files: list[str]) -> dg.ExecuteInProcessResult:
        config = {"ops": {"raw_corpus": {"config": {"files": files}}}}
        return home.materialize(folder, ["raw_corpus"], run_config=config)

    assert ingest(["b.csv"]).success
    assert home.store.read("raw_corpus")["document_id"].to_list() == ["b.csv/0"]
    (folder.parent / "secret.csv").write_text("text,label\nsecret,x\n")
    result = ingest(["b.csv", "../secret.csv"])
    assert not result.success
    assert "not ['../secret.csv']" in str(result.all_events[-1].message) + str(
        [e.step_failure_data.error for e in result.all_node_events if e.is_step_failure]
    )
    assert home.store.read("raw_corpus")["document_id"].to_list() == ["b.csv/0"]


def test_inbox_of_the_environment_is_the_corpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SMOTEXT_CORPUS", "notes.csv")
    for value, source in (
        (str(tmp_path), f"{tmp_path}/"),
        ("s3://bucket/in/", "s3://bucket/in/"),
        ("", "notes.csv"),
    ):
        monkeypatch.setenv("SMOTEXT_INBOX", value)
        assert resources()["corpus"].source == source


# nightly_run


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> dg.DagsterInstance:
    """A schedule's context opens its instance by reference: one in memory has none."""
    folder = tmp_path_factory.mktemp("dagster")
    return dg.DagsterInstance.local_temp(str(folder), {"telemetry": {"enabled": False}})


@pytest.fixture
def tick(on_disk: dg.DagsterInstance) -> Callable[..., Any]:
    """Evaluates the schedule for a home."""

    def evaluate(home: Home, time: datetime = NIGHT, *, dimension: int = 32) -> Any:
        for definition in (labels, runs):
            name = str(definition.name)
            for key in on_disk.get_dynamic_partitions(name):
                on_disk.delete_dynamic_partition(name, key)
            on_disk.add_dynamic_partitions(name, home.instance.get_dynamic_partitions(name))
        store = StoreResource(root=home.root)
        generator = FakeGeneratorResource(generator="fake", dimension=dimension)
        context = dg.build_schedule_context(
            instance=on_disk,
            scheduled_execution_time=time,
            resources={"store": store, "generator": generator},
        )
        with context:  # which closes the instance that it has opened
            result = automation.nightly("0 3 * * *")(context)
        keys = on_disk.get_dynamic_partitions(str(runs.name))
        home.instance.add_dynamic_partitions(str(runs.name), keys)
        return result

    return evaluate


def launch(home: Home, request: dg.RunRequest, corpus: Path) -> dg.ExecuteInProcessResult:
    """Execute the request as the daemon would."""
    job = definitions(home.resources(corpus)).resolve_job_def("synthesis")
    return job.execute_in_process(
        instance=home.instance,
        run_config=request.run_config,
        tags=dict(request.tags),
        raise_on_error=False,
    )


def test_nightly_run_makes_a_new_run_of_all_labels_below_the_target(
    finished: Home, tmp_path: Path, corpus: Path, tick: Callable[..., Any]
) -> None:
    home = copy_of(finished, tmp_path)
    (request,) = tick(home)
    assert home.instance.get_dynamic_partitions(str(runs.name)) == ["r1", "20261122T0300"]
    assert request.tags["smotext/run"] == "20261122T0300"
    assert launch(home, request, corpus).success
    made = dict(
        home.query(
            "SELECT label, count(*) FROM synthetic_texts WHERE run = '20261122T0300' GROUP BY 1"
        )
    )
    assert made == {"cooking": 8, "medicine": 10}
    ((seed, of_r1),) = home.query(
        "SELECT a.seed, b.seed FROM runs a, runs b WHERE a.run <> 'r1' AND b.run = 'r1'"
    )
    assert seed == int(NIGHT.timestamp()) // 60
    assert of_r1 == 7
    partition = {"run": "r1"}
    assert home.store.read_all("synthetic_table", partition).equals(
        finished.store.read_all("synthetic_table", partition)
    )


def test_nightly_runs_of_two_nights_make_other_texts(
    finished: Home, tmp_path: Path, corpus: Path, tick: Callable[..., Any]
) -> None:
    home = copy_of(finished, tmp_path)
    for time in (NIGHT, NIGHT.replace(day=23)):
        (request,) = tick(home, time)
        assert launch(home, request, corpus).success
    same = home.query(
        "SELECT count(*) FROM synthetic_texts a JOIN synthetic_texts b USING (label, text) "
        "WHERE a.run < b.run AND b.run LIKE '2026%' AND a.run LIKE '2026%'"
    )
    assert same == [(0,)]


def test_nightly_run_leaves_out_labels_without_vectors(
    finished: Home, tmp_path: Path, tick: Callable[..., Any]
) -> None:
    home = copy_of(finished, tmp_path)
    home.store.delete("embeddings", {"label": "cooking"})
    requests = tick(home)  # a range would take cooking too
    assert [request.tags["dagster/asset_partition_range_start"] for request in requests] == [
        "astronomy|20261122T0300",
        "medicine|20261122T0300",
    ]
    skipped = tick(home, dimension=16)  # another encoder
    assert "none of the labels ['astronomy', 'cooking', 'medicine'] has" in skipped.skip_message


def test_nightly_run_without_a_corpus_says_what_to_do(home: Home, tick: Callable[..., Any]) -> None:
    assert "materialise raw_corpus" in tick(home).skip_message
    assert home.instance.get_dynamic_partitions(str(runs.name)) == []


# failures


def failed(home: Home, result: dg.ExecuteInProcessResult) -> tuple[list[Any], Mapping[str, str]]:
    """What the sensor asks for, and the tags that the failed run has got."""
    context = dg.build_run_status_sensor_context(
        sensor_name="failures",
        dagster_event=result.get_run_failure_event(),
        dagster_instance=home.instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()
    found: Any = automation.failures(context)
    requests = [r for r in found if isinstance(r, dg.RunRequest)]
    run = home.instance.get_run_by_id(result.run_id)
    assert run is not None
    return requests, run.tags


def test_failures_name_the_label_and_the_others_go_on(
    finished: Home,
    tmp_path: Path,
    corpus: Path,
    tick: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = copy_of(finished, tmp_path)
    (request,) = tick(home)
    home.store.write(
        "embeddings",
        home.store.read("embeddings", {"label": "cooking"})[:1],
        {"label": "cooking"},
        metadata={"encoder": "fake-encoder-32"},
    )
    result = launch(home, request, corpus)
    assert not result.success
    assert home.query("SELECT count(*) FROM synthetic_texts WHERE run <> 'r1'") == [(0,)]

    rest, tags = failed(home, result)
    key = "cooking|20261122T0300"
    assert tags["smotext/failed"].startswith(f"class_pairs {key}: ValueError: ")
    assert "materialise embeddings" in tags["smotext/failed"]
    assert tags["smotext/rerun"] == (
        "dagster asset materialize -m smotext_assets.definitions --select 'key:class_pairs or "
        "key:interpolated_vectors or key:decoded_texts or key:found_texts or "
        f"key:synthetic_texts or key:synthetic_table' --partition '{key}'"
    )
    assert len(rest) == 2
    for request in rest:
        assert launch(home, request, corpus).success
    assert home.query("SELECT DISTINCT label FROM synthetic_texts WHERE run <> 'r1'") == [
        ("medicine",)
    ]

    # the cause is gone, and the command is entered as it was told
    assert home.materialize(corpus, ["embeddings"], partition_key="cooking").success
    dagster, asset, materialize, module, _, *asked = shlex.split(tags["smotext/rerun"])
    assert (dagster, asset, materialize, module) == ("dagster", "asset", "materialize", "-m")
    location = tmp_path / "location.py"  # of this home and its generator
    location.write_text(LOCATION)
    day = Day(tmp_path / "day")
    for definition in (labels, runs):
        name = str(definition.name)
        keys = home.instance.get_dynamic_partitions(name)
        day.home.instance.add_dynamic_partitions(name, keys)
    monkeypatch.setenv("DAGSTER_HOME", day.environment["DAGSTER_HOME"])
    monkeypatch.setenv("SMOTEXT_HOME", str(home.folder))
    done = CliRunner().invoke(asset_materialize_command, [*asked, "-f", str(location)])
    assert done.exit_code == 0, done.output
    made = home.query("SELECT label, count(*) FROM synthetic_texts WHERE run <> 'r1' GROUP BY 1")
    assert dict(made) == {"cooking": 8, "medicine": 10}


def test_failures_of_the_corpus_say_how_to_rerun(home: Home, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("text,label\n")
    result = home.materialize(bad, automation.INGESTION)
    requests, tags = failed(home, result)
    assert requests == []
    assert "can be used: 0 rows" in tags["smotext/failed"]
    assert "--select 'key:raw_corpus or key:labelled_texts'" in tags["smotext/rerun"]


# follow_up


def followed(home: Home, graph: dg.Definitions, cursor: Any = None) -> tuple[set[Any], Any]:
    result = dg.evaluate_automation_conditions(
        defs=graph,
        instance=home.instance,
        asset_selection=dg.AssetSelection.assets("embeddings", *BY_RUN),
        cursor=cursor,
    )
    asked = {
        (key.to_user_string(), partition)
        for name in ("embeddings", *BY_RUN)
        for key in [dg.AssetKey(name)]
        for partition in result.get_requested_partitions(key)
    }
    return asked, result.cursor


def test_follow_up_never_makes_old_runs_again_when_embeddings_change(
    finished: Home, tmp_path: Path, corpus: Path
) -> None:
    home = copy_of(finished, tmp_path)
    graph = definitions(home.resources(corpus))
    everything = range_tags(["astronomy|r1", "medicine|r1"])
    of_labels = range_tags(["astronomy", "medicine"])
    assert home.materialize(corpus, automation.INGESTION).success
    assert home.materialize(corpus, ["embeddings"], tags=of_labels).success
    assert home.materialize(corpus, BY_LABEL_AND_RUN, tags=everything).success
    asked, cursor = followed(home, graph)
    assert asked == set()  # what was before it was started does not count

    assert home.materialize(corpus, automation.INGESTION).success
    asked, cursor = followed(home, graph, cursor)
    assert asked == {("embeddings", label) for label in COUNTS}
    assert home.materialize(corpus, ["embeddings"], tags=of_labels).success
    asked, cursor = followed(home, graph, cursor)
    assert asked == set()  # run-keyed assets stay

    home.instance.add_dynamic_partitions(str(labels.name), ["football"])
    home.instance.add_dynamic_partitions(str(runs.name), ["r2"])
    asked, cursor = followed(home, graph, cursor)
    assert asked == set()  # neither a new label nor a new run fills the matrix

    assert home.materialize(corpus, BY_LABEL_AND_RUN, partition_key="medicine|r2").success
    asked, cursor = followed(home, graph, cursor)
    assert asked == {(name, "r2") for name in BY_RUN}  # one label is enough
    assert home.materialize(corpus, BY_RUN, partition_key="r2").success
    asked, cursor = followed(home, graph, cursor)
    assert asked == set()

    # Published again by that verdict: what is made of the table follows, the verdict itself stays.
    held = {"ops": {"synthetic_table": {"config": {"hold_where_it_hurts": True}}}}
    at = {"partition_key": "medicine|r2", "run_config": held}
    assert home.materialize(corpus, ["synthetic_table"], **at).success
    asked, cursor = followed(home, graph, cursor)
    assert asked == {("privacy_audit", "r2"), ("dataset_card", "r2")}
    assert home.materialize(corpus, BY_RUN[1:], partition_key="r2").success
    assert followed(home, graph, cursor)[0] == set()


def test_automation_is_stopped_by_default() -> None:
    graph = definitions(resources(), cron_schedule="30 4 * * *")
    sensors = {s.name: s.default_status for s in graph.sensors or []}
    assert sensors.pop("dead_runs") == dg.DefaultSensorStatus.RUNNING  # it starts nothing
    assert sensors == dict.fromkeys(
        ("inbox", "follow_up", "failures"), dg.DefaultSensorStatus.STOPPED
    )
    (schedule,) = graph.schedules or []
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedule.cron_schedule == "30 4 * * *"


# freshness


@pytest.mark.parametrize(
    ("hours", "state"), [(0, "PASS"), (25, "PASS"), (27, "WARN"), (51, "FAIL")]
)
def test_table_is_fresh_until_two_nights_made_no_rows(
    finished: Home, hours: int, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = freshness_evaluator.get_current_timestamp() + hours * 3600
    monkeypatch.setattr(freshness_evaluator, "get_current_timestamp", lambda: now)
    node = definitions(resources()).resolve_asset_graph().get(dg.AssetKey("synthetic_table"))
    evaluator = freshness_evaluator.TimeWindowFreshnessPolicyEvaluator()
    found = evaluator.evaluate_freshness(LoadingContextForTest(finished.instance), node)
    assert asyncio.run(found).value == state


# staleness


def test_rows_are_current_until_the_corpus_or_the_generator_changes(
    finished: Home, tmp_path: Path, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)

    def stale(corpus: Path, **options: Any) -> list[str]:
        result = home.materialize(
            corpus, ["synthetic_table"], partition_key="medicine|r1", **options
        )
        (check,) = [
            event
            for event in result.get_asset_check_evaluations()
            if event.check_name == "rows_are_current"
        ]
        told = str(check.metadata["stale"].value)
        assert check.passed == (not told.count("r1"))
        return [line for line in told.splitlines() if "r1" in line]

    assert stale(corpus) == []
    assert len(stale(corpus, dimension=16)) == 3
    rows = [*corpus_rows(), ("a new fever in the clinic tonight", "medicine")]
    grown = write_corpus(tmp_path / "grown.csv", rows)
    assert home.materialize(grown, automation.INGESTION).success
    of_labels = range_tags(["astronomy", "medicine"])
    assert home.materialize(grown, ["embeddings"], tags=of_labels).success
    told = stale(grown)
    assert ["other texts of this label" in line for line in told] == [False, False, True]
    assert all("older corpus" in line for line in told)
    capfd.readouterr()
    assert home.main("status") == 0
    assert "older corpus, other texts of this label" in capfd.readouterr().out
