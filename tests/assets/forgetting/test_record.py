"""Dagster's record of past runs: what is written there, and what `forget` takes out of it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from smotext_assets.forgetting.record import REDACTED
from smotext_core.texts import content
from tests.assets.conftest import Home, corpus_rows, write_corpus
from tests.assets.forgetting.test_forget import SECRET, descendants

ASSETS = ("labelled_texts", "decoded_texts", "synthetic_texts", "synthetic_table", "dataset_card")
WORDS = SECRET.split()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rows = [*corpus_rows(), (SECRET, "medicine")]  # row 44
    return write_corpus(tmp_path / "corpus.csv", rows)


@pytest.fixture
def kept(tmp_path: Path) -> Home:
    """A home whose Dagster instance lies in it, in SQLite, as a user's does."""
    home = Home(tmp_path / "home")
    folder = home.folder / "dagster"
    folder.mkdir(parents=True)
    home.instance = dg.DagsterInstance.local_temp(
        str(folder), overrides={"telemetry": {"enabled": False}}
    )
    return home


def files_with(folder: Path, words: str) -> set[str]:
    """Files that hold the words anywhere in their bytes, as they are or in a JSON string."""
    found = set()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and words.encode() in path.read_bytes().lower():
            found.add(path.relative_to(folder).as_posix())
    return found


def as_an_older_version(home: Home) -> None:
    """Events whose metadata quote texts, as was once written, with a great many others."""
    quoting = {
        "samples": dg.MetadataValue.md(f"| medicine | a *new* row | {SECRET} | other | 0.50 |"),
        "published_anyway": "accepted_share: row 44 is fine, I know her",
        "seconds": 3.5,
        "map": dg.MetadataValue.md("![map](data:image/png;base64,AAAA)"),
    }
    for number in range(30):  # free pages and the write-ahead log have it, too
        home.instance.report_runless_asset_event(
            dg.AssetMaterialization(
                "synthetic_texts", partition="medicine|r1", metadata={**quoting, "number": number}
            )
        )
    card = dg.MetadataValue.md(f"# Synthetic texts\n\n1.00 × {SECRET}")
    home.instance.report_runless_asset_event(
        dg.AssetMaterialization("dataset_card", partition="r1", metadata={"card": card})
    )


def test_dagster_never_gets_a_text(kept: Home, corpus: Path) -> None:
    """Neither of the corpus nor a synthetic one; a picture and the ids are there."""
    assert kept.main("run", str(corpus), "--run", "r1") == 0
    texts = set(kept.store.read("labelled_texts")["text"])
    for table in ("synthetic_texts", "rejected_texts", "decoded_texts"):
        texts |= set(kept.store.read_all(table, {"run": "r1"})["text"])
    quotes = {" ".join(content(text).split()[:5]) for text in texts}
    shown = []
    for name in ASSETS:
        for record in kept.instance.fetch_materializations(dg.AssetKey(name), limit=100).records:
            assert record.asset_materialization is not None
            told = record.asset_materialization.metadata
            shown += [content(str(v.value)) for key, v in told.items() if key != "map"]
    assert len(shown) > 50
    for told in shown:
        assert not [quote for quote in quotes if quote in told]
    for file in sorted((kept.folder / "dagster").rglob("*")):
        assert not file.is_file() or not [
            quote
            for quote in (" ".join(WORDS[:5]), "zanzibar")
            if quote in file.read_text("latin-1")
        ], file


def test_forget_takes_the_text_out_of_every_byte(kept: Home, corpus: Path) -> None:
    """Of event log, run records, compute logs, free pages, write-ahead logs and workspace."""
    assert kept.main("run", str(corpus), "--run", "r1", "--totals", "medicine=30") == 0
    as_an_older_version(kept)
    result = failing_run(kept)
    assert not result.success
    reason = {"publish_anyway": {"medicine": f"the text '{SECRET}' is public"}}
    kept.materialize(
        corpus,
        ["synthetic_table"],
        partition_key="medicine|r1",
        run_config={"ops": {"synthetic_table": {"config": reason}}},
    )
    log = kept.folder / "dagster" / "storage" / "a-run" / "compute_logs" / "step.err"
    log.parent.mkdir(parents=True)
    log.write_text(f"Traceback\nValueError: cannot encode {SECRET!r}\n")
    left = kept.folder / "generators" / "training-0123" / "texts.jsonl"
    left.parent.mkdir(parents=True)
    left.write_text(json.dumps({"text": SECRET}))
    before = files_with(kept.folder, "zanzibar")
    assert {"dagster/history/runs/index.db", "dagster/history/runs.db"} <= {
        name.removesuffix("-wal") for name in before
    }
    assert any(name.startswith("dagster/history/runs/") and "index" not in name for name in before)
    assert log.relative_to(kept.folder).as_posix() in before
    samples = descendants(kept.store)

    assert kept.main("forget", "44") == 0

    assert files_with(kept.folder, "zanzibar") == set()
    for words in (" ".join(WORDS[2:7]), "row 44 is fine"):
        assert files_with(kept.folder, words) == set()
    ((tables, rows),) = kept.query("SELECT tables, rows FROM forgotten")
    assert dict(zip(tables, rows, strict=True))["dagster_record"] > 30
    assert not kept.store.read_all("class_pairs")["sample_id"].is_in(list(samples)).any()
    records = kept.instance.fetch_materializations(dg.AssetKey("synthetic_texts"), limit=100)
    told = [r.asset_materialization.metadata for r in records.records if r.asset_materialization]
    older = [metadata for metadata in told if "number" in metadata]
    assert len(older) == 30  # the events are there, with all that does not quote
    for metadata in older:
        assert metadata["samples"].value == metadata["published_anyway"].value == REDACTED
        assert metadata["seconds"].value == 3.5
        assert metadata["map"].value == "![map](data:image/png;base64,AAAA)"
    for run in kept.instance.get_runs():  # Dagster can read its record
        kept.instance.all_logs(run.run_id)
    assert kept.main("forget", "44") == 0
    assert kept.query("SELECT tables, rows FROM forgotten") == [(tables, rows)]


def failing_run(home: Home) -> dg.ExecuteInProcessResult:
    """A run whose error quotes the text, with Dagster's own tag of it."""

    @dg.asset
    def stumbles(context: dg.AssetExecutionContext) -> None:
        context.log.info(f"looking at {SECRET}")
        raise RuntimeError(f"the encoder stumbled over {SECRET!r}")

    return dg.materialize(
        [stumbles], instance=home.instance, raise_on_error=False, tags={"told": SECRET}
    )


def test_forget_reaches_what_an_older_forget_left(kept: Home, corpus: Path) -> None:
    """The text has gone from the corpus already: what is known to quote goes all the same."""
    assert kept.main("run", str(corpus), "--run", "r1") == 0
    assert kept.main("forget", "44") == 0
    ((first,),) = kept.query("SELECT tables FROM forgotten")
    as_an_older_version(kept)
    assert files_with(kept.folder / "dagster", "zanzibar")
    assert kept.main("forget", "44") == 0
    assert files_with(kept.folder / "dagster", "zanzibar") == set()
    ((now,),) = kept.query("SELECT tables FROM forgotten")
    assert set(now) == {*first, "dagster_record"}


def test_forget_says_that_the_record_is_in_use(
    kept: Home, corpus: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept.main("run", str(corpus), "--run", "r1") == 0
    as_an_older_version(kept)
    monkeypatch.setattr("smotext_assets.forgetting.record._BUSY_S", 0)
    index = kept.folder / "dagster/history/runs/index.db"
    with closing(sqlite3.connect(index, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert kept.main("forget", "44") == 2
        told = " ".join(capfd.readouterr().err.split())
        assert "stop the UI and the daemon, then give the same command again" in told
        other.execute("ROLLBACK")
    assert kept.main("forget", "44") == 0
    assert files_with(kept.folder, "zanzibar") == set()
