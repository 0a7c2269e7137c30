"""A forgotten text: nothing of it is left but the receipt, whatever happened in between."""

import hashlib
import io
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from smotext_assets.forgetting.forget import forget
from smotext_assets.graph.partitions import BY_RUN
from smotext_assets.store.tables import Store
from tests.assets.conftest import Home, copy_of, corpus_rows, write_corpus

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REPOSITORY = Path(__file__).parents[3]
SECRET = "the zanzibar patient told the nurse of a purple fever"
RUNS = ["r1", "r2"]


def secret_rows() -> list[tuple[str, str]]:
    """The text to forget is row 44; 45, its copy, is the one that labelled_texts keeps."""
    return [*corpus_rows(), (SECRET, "medicine"), (f"{SECRET.title()}!", "medicine")]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.csv", secret_rows())


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Home:
    """Two runs over a corpus with the text. Look, don't touch: copy it to change."""
    home = Home(tmp_path_factory.mktemp("told") / "home")
    for seed, run in enumerate(RUNS):
        totals = ("--totals", "medicine=30,cooking=10")
        assert home.main("run", str(corpus), "--run", run, "--seed", str(seed), *totals) == 0
    return home


def contents(files: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """Every string in the files, Parquet decoded, by file."""
    for name, data in files.items():
        if name.endswith(".parquet"):
            frame = pl.read_parquet(io.BytesIO(data))
            for column, dtype in frame.schema.items():
                cells = frame[column].explode() if dtype == pl.List(pl.String) else frame[column]
                if cells.dtype == pl.String:
                    for cell in cells.drop_nulls().unique():
                        yield f"{name}.{column}", cell
        yield name, data.decode("utf-8", "replace")


def assert_gone(files: Mapping[str, bytes], samples: set[str]) -> None:
    """Neither the text nor its hash nor its id in a lineage, nor a row that descends from it."""
    words = SECRET.split()
    for where, text in contents(files):
        table, _, column = where.partition("/")[0], None, where.rpartition(".")[2]
        lower = text.lower()
        assert "zanzibar" not in lower, where
        assert " ".join(words[3:8]) not in lower, where
        for form in (SECRET, f"{SECRET.title()}!"):
            assert hashlib.sha256(form.encode()).hexdigest() not in text, where
        assert not any(sample in text for sample in samples), where
        if column in ("text_id", "document_id", "parent_ids", "parent_id") and "." in where:
            # ingested again, a row of rejected_rows says of the id that it was left out
            told = table in ("forgotten", "rejected_rows")
            assert told or re.sub(r"#\d+$", "", text) not in ("44", "45"), where


def descendants(store: Store) -> set[str]:
    """Sample ids that have the text as a parent."""
    return {
        sample
        for partition in store.partitions("class_pairs")
        for sample in store.read("class_pairs", partition).filter(
            pl.col("parent_ids").list.contains("45")
        )["sample_id"]
    }


def on_disk(home: Home) -> dict[str, bytes]:
    return {
        path.relative_to(home.folder).as_posix().removeprefix("store/"): path.read_bytes()
        for path in sorted(home.folder.rglob("*"))
        if path.is_file()
    }


def without_receipts(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The warehouse holds the receipt, and when it was given: both differ from time to time."""
    return {
        name: data
        for name, data in files.items()
        if not name.startswith(("forgotten/", "warehouse.duckdb", "runs/"))
    }


def test_forget_leaves_nothing_but_the_receipt(told: Home, tmp_path: Path) -> None:
    home = copy_of(told, tmp_path)
    samples = descendants(home.store)
    assert samples, "the seeded split has changed: give the secret text other words"
    with pytest.raises(AssertionError):
        assert_gone(on_disk(home), set())  # the test can fail
    before = {name: len(rows) for name, rows in home.tables().items()}
    assert home.main("forget", "44") == 0

    files = on_disk(home)
    assert_gone(files, samples)
    warehouse = files["warehouse.duckdb"]  # its bytes too: old pages are gone
    assert b"zanzibar" not in warehouse.lower()
    assert not any(sample.encode() in warehouse for sample in samples)
    after = home.tables()
    lost = before["synthetic_texts"] - len(after["synthetic_texts"])
    assert lost == len(samples & set(told.store.read_all("synthetic_table")["sample_id"])) > 0
    assert before["labelled_texts"] - len(after["labelled_texts"]) == 1
    ((ids, documents, _, labels, runs, tables, rows),) = after["forgotten"]
    assert (ids, documents, labels, runs) == (["44"], ["44", "45"], ["medicine"], RUNS)
    counts = dict(zip(tables, rows, strict=True))
    assert counts["labelled_texts"] == counts["embeddings"] == 1
    assert counts["raw_corpus"] == 2
    assert counts["class_pairs"] == counts["interpolated_vectors"] == len(samples)
    assert counts["synthetic_table"] == lost
    # no other row has gone
    kept = told.store.read_all("synthetic_table").filter(~pl.col("sample_id").is_in(list(samples)))
    assert home.store.read_all("synthetic_table").equals(kept)


def test_forget_withdraws_the_cards_and_new_ones_say_so(
    told: Home, tmp_path: Path, corpus: Path
) -> None:
    home = copy_of(told, tmp_path)
    assert home.main("forget", "44") == 0
    told_dagster = home.instance.get_materialized_partitions(dg.AssetKey("synthetic_table"))
    assert set(told_dagster) == {"medicine|r1", "medicine|r2"}  # what follow_up acts on
    for name in ("html", "md"):
        card = home.store.read_bytes(f"dataset_card/r1.{name}").decode()
        assert "2 source documents of the labels medicine were forgotten after this run" in card
        assert "Materialise evaluation, privacy_audit and dataset_card" in card
    shas = {run: home.store.manifest("evaluation", {"run": run}) for run in RUNS}
    result = home.materialize(corpus, BY_RUN, partition_key="r1")  # as the card says
    assert result.success
    card = home.store.read_bytes("dataset_card/r1.html").decode()
    assert "Since this run was made" in card
    assert "Does it help?" in card
    assert "2 source documents of the labels medicine were forgotten" in card
    assert_gone(on_disk(home), set())
    assert home.store.manifest("evaluation", {"run": "r2"}) == shas["r2"]  # as it was measured


def test_forgotten_text_does_not_come_back(told: Home, tmp_path: Path, corpus: Path) -> None:
    home = copy_of(told, tmp_path)
    samples = descendants(home.store)
    assert home.main("forget", "44") == 0
    assert home.main("run", str(corpus), "--run", "r3") == 0  # the file still has it
    assert_gone(on_disk(home), samples)
    refused = home.store.read("rejected_rows", {"stage": "raw_corpus"})
    assert refused.select("document_id", "text", "label").rows() == [
        ("44", None, None),
        ("45", None, None),
    ]
    assert set(refused["reason"].str.head(10)) == {"forgotten "}
    assert "forgotten" not in home.store.read_bytes("dataset_card/r3.html").decode()


def test_forget_again_changes_nothing(told: Home, tmp_path: Path) -> None:
    home = copy_of(told, tmp_path)
    assert home.main("forget", "44") == 0
    before = home.files()
    assert home.main("forget", "44") == 0
    assert home.files() == before


class Killed(BaseException):
    """Not an Exception: nothing catches it, as nothing catches SIGKILL."""


STEPS = ("write", "delete", "write_bytes", "purge", "delete_bytes")


def test_forget_killed_anywhere_is_finished_by_the_same_call(
    told: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = copy_of(told, tmp_path / "clean")
    samples = descendants(clean.store)
    calls = 0

    def counted(stop: int | None) -> None:
        """Every change of the store counts; the one after `stop` of them does not happen."""
        nonlocal calls
        calls = 0
        for name in STEPS:
            original = getattr(Store, name)
            original = getattr(original, "original", original)

            def step(*args: Any, original: Any = original, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                if stop is not None and calls > stop:
                    raise Killed
                return original(*args, **options)

            step.original = original  # type: ignore[attr-defined]
            monkeypatch.setattr(Store, name, step)

    counted(None)
    receipt = forget(clean.store, clean.warehouse, ["44"])
    steps, expected = calls, without_receipts(on_disk(clean))
    assert steps > 15
    for stop in (*range(1, steps - 1, 3), steps - 1):
        home = copy_of(told, tmp_path / str(stop))
        counted(stop)
        with pytest.raises(Killed):
            forget(home.store, home.warehouse, ["44"])
        counted(None)
        again = forget(home.store, home.warehouse, ["44"])
        assert again.drop("forgotten_at").equals(receipt.drop("forgotten_at")), stop
        assert without_receipts(on_disk(home)) == expected, stop
        assert_gone(on_disk(home), samples)
        shutil.rmtree(home.folder)


KILL = """
import os, signal, sys
from pathlib import Path
from smotext_assets.forgetting.forget import forget
from smotext_assets.store.tables import Store

def write(self, table, *args, **options):
    if table == "class_pairs":
        os.kill(os.getpid(), signal.SIGKILL)
    return before(self, table, *args, **options)

before, Store.write = Store.write, write
forget(Store(sys.argv[1]), Path(sys.argv[2]), ["44"])
"""


def test_forget_of_a_killed_process_is_finished(told: Home, tmp_path: Path) -> None:
    home = copy_of(told, tmp_path)
    samples = descendants(home.store)
    worker = subprocess.run(
        [sys.executable, "-c", KILL, home.root, str(home.warehouse)], cwd=REPOSITORY
    )
    assert worker.returncode == -signal.SIGKILL
    assert home.store.read_all("forgotten")["done"].to_list() == [False]
    assert home.main("forget", "44") == 0
    assert_gone(on_disk(home), samples)


def test_forget_in_a_bucket_that_keeps_versions(
    told: Home, tmp_path: Path, s3_client: "S3Client", s3_endpoint: str
) -> None:
    bucket = "smotext-versions"
    s3_client.create_bucket(Bucket=bucket)
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for name, data in on_disk(told).items():
        if not name.endswith((".lock", ".duckdb")):
            s3_client.put_object(Bucket=bucket, Key=f"store/{name}", Body=data)
    s3_client.put_object(Bucket=bucket, Key="elsewhere", Body=SECRET.encode())
    orphan = "store/class_pairs/label=medicine/run=r1/part-0123456789abcdef.parquet"
    s3_client.put_object(Bucket=bucket, Key=orphan, Body=SECRET.encode())
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    home = Home(tmp_path / "home", store=f"s3://{bucket}/store", environment=environment)
    samples = descendants(Store(home.root, client=s3_client))
    assert home.main("forget", "44") == 0

    listed = s3_client.list_object_versions(Bucket=bucket, Prefix="store/", MaxKeys=1000)
    assert not listed["IsTruncated"]
    assert listed.get("DeleteMarkers", []) == []
    files = {}
    for item in listed["Versions"]:
        assert item["IsLatest"]
        body = s3_client.get_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])
        files[item["Key"].removeprefix("store/")] = body["Body"].read()
    assert len(files) > 40
    assert_gone(files, samples)
    local = copy_of(told, tmp_path)
    assert local.main("forget", "44") == 0
    expected = without_receipts(on_disk(local))
    assert without_receipts(files) == {
        name: data for name, data in expected.items() if not name.endswith(".lock")
    }
    assert s3_client.get_object(Bucket=bucket, Key="elsewhere")["Body"].read()


def test_forget_a_passage_forgets_its_document(home: Home, tmp_path: Path) -> None:
    rows = corpus_rows()
    *medicine, other = [row for row in rows if row[1] == "medicine"]
    long = " ".join(f"{text.capitalize()}." for text, _ in medicine)
    copy = (medicine[-1][0], "astronomy")  # refused: it is a passage of the long one
    corpus = write_corpus(tmp_path / "long.csv", [(long, "medicine"), *rows[:36], other, copy])
    assert home.main("run", str(corpus), "--run", "r1", "--labels", "astronomy") == 0
    passages = home.store.read("labelled_texts").filter(pl.col("document_id") == "0")["text_id"]
    assert len(passages) > 1
    assert home.main("forget", passages[1]) == 0
    assert "0" not in home.store.read("labelled_texts")["document_id"]
    assert "0" not in home.store.read("raw_corpus")["document_id"]
    vectors = home.store.read("embeddings", {"label": "medicine"})
    assert not vectors["text_id"].str.starts_with("0#").any()
    reasons = home.store.read("rejected_rows", {"stage": "labelled_texts"})["reason"]
    assert list(reasons) == ["duplicate of a forgotten text"]  # another document: it stays


def test_forget_a_document_that_has_left_the_corpus(told: Home, tmp_path: Path) -> None:
    home = copy_of(told, tmp_path)
    samples = descendants(home.store)
    smaller = write_corpus(tmp_path / "smaller.csv", corpus_rows())
    assert home.main("run", str(smaller), "--run", "r3") == 0
    assert home.main("forget", "45") == 0
    tables = dict(zip(*home.query("SELECT tables, rows FROM forgotten")[0], strict=True))
    assert tables["class_pairs"] == len(samples)
    assert "labelled_texts" not in tables
    for partition in home.store.partitions("decoded_texts"):
        assert not set(home.store.read("decoded_texts", partition)["sample_id"]) & samples
    assert home.query("SELECT count(*) FROM lineage WHERE parent_id = '45'") == [(0,)]


def test_forget_deletes_what_nobody_can_tell_the_content_of(told: Home, tmp_path: Path) -> None:
    home = copy_of(told, tmp_path)
    (part,) = Path(home.root, "decoded_texts/label=medicine/run=r2").glob("part-*")
    part.write_bytes(SECRET.encode())
    orphan = Path(home.root, "class_pairs/label=astronomy/run=r1/part-0123456789abcdef.parquet")
    orphan.write_bytes(SECRET.encode())  # of a writer that was killed
    home.store.write_bytes("generators/0123/model.safetensors", SECRET.encode())
    samples = descendants(home.store)
    assert home.main("forget", "44") == 0
    assert_gone(on_disk(home), samples)
    assert {"label": "medicine", "run": "r2"} not in home.store.partitions("decoded_texts")


QUOTING = {  # why a label is published though a gate is red, and whether it speaks of the text
    "row 44 is fine, I know her": True,
    "passage 45#2 was looked at": True,
    "'The Zanzibar patient told the nurse' is well known": True,
    "astronomy-44 is another id, and so is 144": False,
    "a purple fever is nothing special": False,
}


def test_forget_removes_reasons_that_speak_of_the_text(
    told: Home, tmp_path: Path, corpus: Path
) -> None:
    """Of whichever label: also of one that has none of the text's descendants."""
    for number, (reason, speaks) in enumerate(QUOTING.items()):
        label = ("cooking", "medicine")[number % 2]
        home = copy_of(told, tmp_path / str(number))
        home.store.delete("evaluation", {"run": "r1"})  # a gate that waits for it is red
        asked = {"publish_anyway": {label: reason}, "hold_where_it_hurts": True}
        assert home.materialize(
            corpus,
            ["synthetic_table"],
            partition_key=f"{label}|r1",
            run_config={"ops": {"synthetic_table": {"config": asked}}},
        ).success
        # nowhere but where it belongs, above all not in the run's frozen options
        (holding,) = {
            name.partition("/")[0]
            for name, text in contents(on_disk(home))
            if name.endswith("published_anyway") and reason in text
        }
        assert holding == "gates"
        samples = descendants(home.store)
        rows = home.store.read("synthetic_table", {"label": label, "run": "r1"})
        assert home.main("forget", "44") == 0
        files = on_disk(home)
        assert_gone(files, samples)
        left = {text for name, text in contents(files) if reason in text}
        assert bool(left) is not speaks
        gates = home.store.read("gates", {"label": label, "run": "r1"})
        expected = "the reason spoke of a forgotten text" if speaks else reason
        assert gates["published_anyway"].drop_nulls().to_list() == [expected]
        told_of = dict(zip(*home.query("SELECT tables, rows FROM forgotten")[0], strict=True))
        assert told_of.get("gates", 0) == (1 if speaks else 0)
        assert home.query("SELECT runs FROM forgotten") == [(RUNS,)]
        kept = home.store.read("synthetic_table", {"label": label, "run": "r1"})
        assert kept.equals(rows.filter(~pl.col("sample_id").is_in(list(samples))))


def test_forget_deletes_damaged_gates_and_what_they_let_pass(told: Home, tmp_path: Path) -> None:
    home = copy_of(told, tmp_path)
    (part,) = Path(home.root, "gates/label=cooking/run=r1").glob("part-*")
    part.write_bytes(SECRET.encode())
    assert home.main("forget", "44") == 0
    assert_gone(on_disk(home), set())
    place = {"label": "cooking", "run": "r1"}
    assert place not in home.store.partitions("gates")
    assert place not in home.store.partitions("synthetic_table")


def test_forget_tells_dagster_of_texts_that_have_no_table_yet(told: Home, tmp_path: Path) -> None:
    home = copy_of(told, tmp_path)
    home.store.delete("synthetic_table", {"label": "medicine", "run": "r1"})
    assert home.main("forget", "44") == 0
    for table, runs in (("synthetic_texts", RUNS), ("synthetic_table", RUNS[1:])):
        keys = home.instance.get_materialized_partitions(dg.AssetKey(table))
        assert {f"medicine|{run}" for run in runs} == {k for k in keys if "medicine" in k}


HOSTILE = [
    "../../etc/passwd",
    "'; DROP TABLE runs; --",
    "a|b",
    "",
    "label=x/run=y",
    "44' OR '1'='1",
]


@pytest.mark.parametrize("id_", HOSTILE)
def test_forget_of_an_unknown_id_changes_nothing(
    told: Home, id_: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = told.files()
    assert told.main("forget", "--", id_) == 2
    assert "no document or text has the id" in " ".join(capfd.readouterr().err.split())
    assert told.files() == before


def test_forget_of_a_hostile_id_removes_it(home: Home, tmp_path: Path) -> None:
    hostile = [id_ for id_ in HOSTILE if id_]
    lines = [f"{i},{text},{label}\n" for i, (text, label) in enumerate(corpus_rows())]
    quoted = [f'"{id_}",{SECRET} {n},medicine\n' for n, id_ in enumerate(hostile)]
    corpus = tmp_path / "hostile.csv"
    corpus.write_text("id,text,label\n" + "".join([*lines, *quoted]))
    assert home.main("run", str(corpus), "--run", "r1", "--id", "id") == 0
    assert home.main("forget", *hostile) == 0
    texts = {text for (text,) in home.query("SELECT text FROM labelled_texts")}
    assert texts
    assert not any("zanzibar" in text for text in texts)
    assert home.query("SELECT ids FROM forgotten") == [(sorted(hostile),)]


def test_forget_refuses_while_a_run_is_not_finished(
    told: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(told, tmp_path)
    from smotext_assets.definitions import defs

    job = defs.resolve_job_def("synthesis")
    run = home.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    before = home.files()
    assert home.main("forget", "44") == 2
    assert f"the runs {run.run_id} are not finished" in " ".join(capfd.readouterr().err.split())
    assert home.files() == before
