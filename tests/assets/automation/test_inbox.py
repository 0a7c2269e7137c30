"""The inbox: files that are put there come in, each once."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._daemon.sensor import fetch_existing_runs

from smotext_assets.automation import schedules as automation
from smotext_assets.definitions import definitions, resources
from smotext_assets.graph.resources import Corpus, StoreResource, Warehouse
from smotext_assets.graph.table_io import TableIOManager
from tests.assets.conftest import (
    Home,
    corpus_rows,
    write_corpus,
)
from tests.conftest import S3_BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


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


class Daemon:
    """Carries out what a sensor asks for, unless Dagster has a run of the same key."""

    def __init__(self, home: Home, source: str) -> None:
        given = home.resources(home.folder) | {"corpus": Corpus(source=source)}
        self.job = definitions(given).resolve_job_def("ingest")
        self.home = home

    def launch(self, result: dg.SensorResult | dg.SkipReason) -> bool:
        """Whether it ran; False where Dagster skips it as done before."""
        assert isinstance(result, dg.SensorResult)
        assert result.run_requests
        (request,) = result.run_requests
        inbox: Any = SimpleNamespace(name="inbox")
        if fetch_existing_runs(self.home.instance, inbox, [request]):
            return False
        tags = {"dagster/sensor_name": "inbox"}
        if request.run_key is not None:
            tags["dagster/run_key"] = request.run_key
        return self.job.execute_in_process(
            instance=self.home.instance, run_config=request.run_config, tags=tags
        ).success

    def documents(self) -> list[str]:
        return self.home.store.read("raw_corpus")["document_id"].to_list()


def test_inbox_brings_in_again_what_it_had_before(folder: Path, home: Home, inbox: Inbox) -> None:
    daemon = Daemon(home, f"{folder}/")
    for content in (corpus_rows(), corpus_rows()[:30], corpus_rows(), corpus_rows()[:30]):
        write_corpus(folder / "a.csv", content)
        inbox.tick()
        assert daemon.launch(inbox.tick())
        assert len(daemon.documents()) == len(content)


def test_inbox_whose_cursor_was_reset_brings_everything_in_once(
    folder: Path, home: Home, inbox: Inbox
) -> None:
    daemon = Daemon(home, f"{folder}/")
    write_corpus(folder / "a.csv", corpus_rows())
    inbox.tick()
    assert daemon.launch(inbox.tick())
    before = daemon.documents()
    write_corpus(folder / "b.csv", corpus_rows()[:3])
    inbox.cursor = None
    assert inbox.asked() is None  # both may still grow
    assert daemon.launch(inbox.tick())
    assert daemon.documents() == [*before, "b.csv/0", "b.csv/1", "b.csv/2"]
    assert inbox.said() == "no new file"


def test_inbox_goes_on_from_the_cursor_of_an_older_version(folder: Path, inbox: Inbox) -> None:
    write_corpus(folder / "a.csv", corpus_rows())
    inbox.tick()
    assert inbox.asked() == ["a.csv"]
    inbox.cursor = json.dumps(json.loads(inbox.cursor or "") | {"number": 7})
    assert inbox.said() == "no new file"


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
