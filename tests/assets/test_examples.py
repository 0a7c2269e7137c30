"""The scripts of examples/, run as somebody would."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

import dagster as dg
import pytest

from smotext_assets.cli import command
from smotext_core.texts import read_corpus
from tests.assets.conftest import FakeGeneratorResource, Home, write_corpus

ROOT = Path(__file__).parents[2]


def run(name: str, *arguments: str) -> int:
    """The exit status of a script, in this process: nothing is loaded twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [name, *arguments])
        try:
            runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
    return 0


@pytest.fixture(scope="module")
def notes() -> dict[str, list[tuple[str, str]]]:
    """Notes of three specialties, of each the last third apart."""
    frame = read_corpus("clinic_notes")[0]
    found: dict[str, list[tuple[str, str]]] = {"seen": [], "unseen": []}
    for label, n in (("cardiology", 36), ("neurology", 36), ("psychiatry", 15)):
        texts = frame.filter(label=label)["text"].to_list()[:n]
        found["seen"] += [(text, label) for text in texts[: n * 2 // 3]]
        found["unseen"] += [(text, label) for text in texts[n * 2 // 3 :]]
    return found


def test_every_example_is_run_here_and_shown_on_the_site() -> None:
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    names = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert names == {"classifier.py", "own_bucket.py", "audit_table.py"}
    assert all(f"examples/{name}" in page for name in names)


def test_classifier_scores_all_on_the_same_real_texts(
    tmp_path: Path, notes: dict[str, list[tuple[str, str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row for row in notes["seen"] if row[1] != "neurology"][8:]  # 16 and 10
    path = write_corpus(tmp_path / "notes.csv", rows)
    assert run("classifier.py", str(path), "--generator", "mini") == 0
    printed = capsys.readouterr().out
    scores = re.findall(r"^(real.*): (\d+) texts, macro-F1 (\d\.\d{3}) on 8 test", printed, re.M)
    assert [(name, n) for name, n, _ in scores] == [
        ("real", "18"),
        ("real, class weights", "18"),
        ("real + word edits", "22"),
        ("real + SMOTExT", "22"),
        ("real + SMOTExT + word edits", "26"),
    ]
    parents = re.findall(r"(0\.\d\d) × «(.*?)»", printed)
    assert len(parents) == 6
    assert all(any(text.startswith(start) for text, _ in rows) for _, start in parents)


def test_own_bucket_keeps_the_graph_there_and_decodes_nothing_twice(
    s3_home: Home, corpus: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    for name, value in s3_home.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("SMOTEXT_STORE", "SMOTEXT_HOME"):
        monkeypatch.setenv(name, "")  # what the script sets is undone after it
    monkeypatch.setattr("smotext_assets.definitions.GeneratorResource", FakeGeneratorResource)
    instance = dg.DagsterInstance.ephemeral()
    monkeypatch.setattr(command, "dagster_instance", lambda: instance)
    bucket = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    bucket.create_bucket(Bucket="own")

    given = ("own", str(corpus), "--home", str(s3_home.folder), "--labels", "medicine")
    assert run("own_bucket.py", *given) == 0
    first = capfd.readouterr()
    assert re.search(r"^medicine: (\d+) new texts of \d parents$", first.out, re.MULTILINE)
    keys = {each["Key"] for each in bucket.list_objects_v2(Bucket="own")["Contents"]}
    assert "inbox/corpus.csv" in keys
    assert any(key.startswith("smotext/synthetic_texts/") for key in keys)
    assert "medicine: decoding: " in first.err
    assert run("own_bucket.py", *given) == 0
    again = capfd.readouterr()
    assert again.out == first.out
    assert "done" not in again.err


def test_audit_table_is_red_for_copies_and_green_for_unseen_texts(
    tmp_path: Path, notes: dict[str, list[tuple[str, str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = notes["unseen"][0::2]
    files = {"real": notes["seen"], "unseen": notes["unseen"][1::2], "fresh": fresh}
    files["copies"] = [(f"{text} Again.", label) for text, label in notes["seen"]]
    paths = {n: str(write_corpus(tmp_path / f"{n}.csv", rows)) for n, rows in files.items()}
    against = ("--real", paths["real"], "--unseen", paths["unseen"])
    assert run("audit_table.py", paths["copies"], *against) == 1
    assert "red, the whole table: synthetic texts with a long run" in capsys.readouterr().out
    assert run("audit_table.py", paths["fresh"], *against) == 0
    assert re.search(r"^0 of \d+ measures are red", capsys.readouterr().out)
