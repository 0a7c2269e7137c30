"""`smotext export`: what leaves, what stays, and that others can read it."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from smotext_assets.definitions import definitions, resources
from smotext_assets.store.quarantine import QUARANTINED
from smotext_assets.store.tables import Store
from smotext_core.export import delta_rows
from tests.assets.conftest import Home, copy_of
from tests.conftest import S3_BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def home(finished: Home, tmp_path: Path) -> Home:
    return copy_of(finished, tmp_path)


def published(home: Home) -> pl.DataFrame:
    return home.store.read_all("synthetic_table", {"run": "r1"}).sort("sample_id")


def test_export_writes_every_format_of_the_published_rows(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import datasets
    import mlcroissant as mlc

    to = tmp_path / "out"
    assert home.main("export", "r1", "--to", str(to), "--licence", "cc0-1.0") == 0
    told = capfd.readouterr().out
    rows = published(home)
    assert rows.height > 10
    found = datasets.load_dataset(str(to / "r1"), cache_dir=str(tmp_path / "cache"))
    assert list(found) == ["synthetic"]
    assert sorted(found["synthetic"]["sample_id"]) == rows["sample_id"].to_list()
    described = mlc.Dataset(jsonld=str(to / "r1" / "croissant.json"))
    assert len(list(described.records("synthetic"))) == rows.height
    assert delta_rows(str(to / "delta")).equals(rows)
    assert pl.read_csv(to / "r1" / "csv" / "synthetic.csv").height == rows.height
    assert "left out" in told
    assert str(to / "delta") in told
    places = home.store.read("exports", {"run": "r1"})
    assert set(places["format"]) == {"huggingface", "croissant", "csv", "delta"}


def test_export_again_changes_nothing_and_takes_real_texts_away_again(
    home: Home, tmp_path: Path
) -> None:
    to = tmp_path / "out"

    def files() -> dict[str, bytes]:
        there = sorted(path for path in to.rglob("*") if path.is_file())
        return {path.relative_to(to).as_posix(): path.read_bytes() for path in there}

    assert home.main("export", "r1", "--to", str(to)) == 0
    before = files()
    assert home.main("export", "r1", "--to", str(to)) == 0
    assert files() == before
    assert home.main("export", "r1", "--to", str(to), "--with-real") == 0
    train = pl.read_parquet(io.BytesIO(files()["r1/data/train.parquet"]))
    assert set(train["split"] if "split" in train.columns else ["train"]) == {"train"}
    assert train.height == home.store.read("labelled_texts").filter(split="train").height
    assert home.main("export", "r1", "--to", str(to)) == 0
    assert files() == before


def parent(home: Home) -> str:
    """A text that a published row is made of."""
    return str(published(home)["parent_ids"][0][0])


KILL = """
import os, signal, sys
from pathlib import Path
from tests.assets.conftest import Home
from smotext_assets.graph import runs
import smotext_assets.store.files as files

folder, to, last = sys.argv[1:]
home = Home(Path(folder))
replace = os.replace

def killed(source, target):
    if str(target) == f"{to}/{last}":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

files.os.replace = killed
home.main("export", "r1", "--to", to)
"""


def test_export_of_a_killed_process_is_on_record_and_is_finished_by_the_next(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    to, whole = tmp_path / "out", tmp_path / "whole"

    def files(folder: Path) -> dict[str, bytes]:
        there = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in there}

    command = [sys.executable, "-c", KILL, str(home.folder), str(to), "r1/croissant.json"]
    worker = subprocess.run(command, cwd=REPOSITORY)
    assert worker.returncode == -signal.SIGKILL
    left = set(files(to))
    assert any(".tmp-" in name for name in left)
    assert {"r1/README.md", "r1/data/synthetic.parquet"} < left
    told = home.store.read("exports", {"run": "r1"})
    assert told["done"].to_list() == [False] * told.height
    named = {name for name in left if ".tmp-" not in name}
    assert {str(to / name) for name in named} < set(told["place"])
    assert str(to / "delta") in set(told["place"])

    assert home.main("forget", parent(home)) == 0
    said = capfd.readouterr().out
    assert "Begun and not finished, there in part or not at all: " in said
    assert str(to / "r1" / "README.md") in said
    assert "They lie at" not in said

    for folder in (to, whole):
        assert home.main("export", "r1", "--to", str(folder)) == 0
    finished = files(to)
    assert {n: d for n, d in finished.items() if not n.startswith("delta/")} == {
        n: d for n, d in files(whole).items() if not n.startswith("delta/")
    }
    assert delta_rows(str(to / "delta")).equals(published(home))
    assert home.store.read("exports", {"run": "r1"})["done"].all()


def test_export_that_fails_on_its_way_is_on_record(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert home.main("export", "r1", "--to", str(first)) == 0
    put, recorded = Store.write_bytes, []

    def refused(self: Store, name: str, data: bytes) -> None:
        recorded.append(home.store.read("exports", {"run": "r1"}))
        raise OSError("no room")

    monkeypatch.setattr(Store, "write_bytes", refused)
    assert home.main("export", "r1", "--to", str(second), "--formats", "csv") == 2
    monkeypatch.setattr(Store, "write_bytes", put)
    (told,) = recorded
    state = dict(told.select("place", "done").iter_rows())
    assert state.pop(str(second / "r1" / "csv" / "synthetic.csv")) is False
    assert set(state.values()) == {True}
    capfd.readouterr()
    assert home.main("export", "r1", "--to", str(first), "--formats", "csv") == 0
    assert "begun and not finished" in capfd.readouterr().out
    assert home.main("forget", parent(home)) == 0
    said = capfd.readouterr().out
    assert f"They lie at {first / 'delta'}" in said
    assert f"not at all: {second / 'r1' / 'csv' / 'synthetic.csv'}" in said


def test_exports_of_an_older_version_count_as_finished(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "out"
    assert home.main("export", "r1", "--to", str(to), "--formats", "csv") == 0
    told = home.store.read("exports", {"run": "r1"})
    home.store.write("exports", told.drop("done"), {"run": "r1"})
    assert home.main("forget", parent(home)) == 0
    said = capfd.readouterr().out
    assert f"They lie at {to / 'r1' / 'csv' / 'synthetic.csv'}" in said
    assert "not finished" not in said
    assert home.main("export", "r1", "--to", str(to), "--with-real") == 0
    assert home.main("export", "r1", "--to", str(to)) == 0
    told = home.store.read("exports", {"run": "r1"})
    assert all(Path(place).exists() for place in told["place"])  # no split that was taken away


def test_export_leaves_held_back_labels_and_quarantined_tables_at_home(
    finished: Home, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)
    # the table still has the rows, as where the gates were written and the table not yet
    at = {"label": "medicine", "run": "r1"}
    gates = home.store.read("gates", at)
    home.store.write("gates", gates.with_columns(passed=pl.lit(False)), at)
    to = tmp_path / "out"
    assert home.main("export", "r1", "--to", str(to), "--labels", "medicine,cooking") == 0
    told = capfd.readouterr().out
    assert "of medicine: held back by" in told
    assert QUARANTINED[0] in told
    left = delta_rows(str(to / "delta"))
    assert set(left["label"]) == {"cooking"}
    secrets = published(home).filter(label="medicine")["text"].to_list()
    assert secrets
    for path in (p for p in to.rglob("*") if p.is_file()):
        data = path.read_bytes()
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else None
        assert not any(text.encode() in data for text in secrets), path
        assert "medicine" not in path.as_posix(), path
        assert frame is None or not {"embedding", "vector"} & set(frame.columns)


def test_export_refuses_what_it_does_not_know(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for arguments, reason in (
        (("r9",), "the store has: r1"),
        (("r1", "--formats", "orc"), "--formats takes huggingface"),
        (("r1", "--labels", "nobody"), "not ['nobody']"),
    ):
        assert home.main("export", *arguments, "--to", str(tmp_path / "out")) == 2
        assert reason in " ".join(capfd.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_export_goes_from_a_bucket_to_a_bucket(
    finished: Home, s3_home: Home, s3_client: S3Client
) -> None:
    prefix = s3_home.root.removeprefix(f"s3://{S3_BUCKET}/")
    for path in (p for p in Path(finished.root).rglob("*") if p.is_file()):
        name = path.relative_to(finished.root).as_posix()
        s3_client.upload_file(str(path), S3_BUCKET, f"{prefix}/{name}")
    to = f"s3://{S3_BUCKET}/exports-of-a-test"
    assert s3_home.main("export", "r1", "--to", to) == 0
    assert s3_home.main("export", "r1", "--to", to, "--vacuum") == 0
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_home.environment.items():
            patch.setenv(name, value)
        patch.setenv("SMOTEXT_STORE", to)
        found = resources()["store"]
        left = delta_rows(f"{to}/delta", storage_options=found.delta_options())
        assert left.height > 10
        assert found.open().read_bytes("r1/croissant.json")


def test_exported_dataset_follows_the_card_only_where_it_is_turned_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def condition() -> object:
        graph = definitions(resources()).resolve_asset_graph()
        return graph.get(dg.AssetKey("exported_dataset")).automation_condition

    monkeypatch.delenv("SMOTEXT_EXPORTS", raising=False)
    assert condition() is None
    monkeypatch.setenv("SMOTEXT_EXPORTS", str(tmp_path))
    assert condition() is not None
