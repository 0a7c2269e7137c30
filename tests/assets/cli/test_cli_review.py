"""`smotext review`: rows out to a reader, verdicts back, and what they do to what is published."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from smotext_assets.forgetting.forget import forget
from smotext_assets.store.tables import Store
from smotext_core.texts import csv_bytes
from tests.assets.conftest import Home, copy_of


@pytest.fixture
def home(finished: Home, tmp_path: Path) -> Home:
    return copy_of(finished, tmp_path)


def exported(home: Home, folder: Path, *options: str, kind: str = "csv") -> Path:
    file = folder / f"review.{kind}"
    assert home.main("review", "r1", "--export", str(file), *options) == 0
    return file


def judge(file: Path, verdicts: dict[str, dict[str, str]]) -> None:
    """Fill in the file's rows by id, as a spreadsheet would save it."""
    frame = pl.read_csv(file, infer_schema=False).fill_null("")
    for name in ("verdict", "corrected_label", "reviewed_at"):
        told = [
            verdicts.get(i, {}).get(name, old) for i, old in frame.select("sample_id", name).rows()
        ]
        frame = frame.with_columns(pl.Series(name, told, dtype=pl.String))
    file.write_bytes(b"\xef\xbb\xbf" + frame.write_csv().encode())


def rows(store: Store, table: str = "synthetic_table", label: str = "medicine") -> pl.DataFrame:
    return store.read(table, {"label": label, "run": "r1"})


def test_dropped_rows_leave_and_corrected_ones_change_at_the_next_run(
    home: Home, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before, made = rows(home.store), rows(home.store, "synthetic_texts")
    drop, relabel, keep = before["sample_id"].head(3).to_list()
    file = exported(home, tmp_path, "--sample", "100")
    judge(
        file,
        {
            drop: {"verdict": "drop"},
            relabel: {"corrected_label": "cooking"},
            keep: {"verdict": "keep"},
        },
    )
    assert home.main("review", "r1", "--import", str(file), "--reviewer", "Ada") == 0
    told = capfd.readouterr().out
    assert "3 verdicts imported" in told
    assert "medicine: 3 read, 1 of 3 drawn at random accepted, 33% (6% to 79%)" in told
    assert rows(home.store).equals(before)  # until the table is made again
    assert home.main("run", "--run", "r1") == 0
    left = rows(home.store)
    assert set(before["sample_id"]) - set(left["sample_id"]) == {drop}
    assert left.filter(sample_id=relabel)["label"].to_list() == ["cooking"]
    assert home.query(f"SELECT count(*) FROM synthetic_texts WHERE sample_id = '{drop}'") == [(0,)]
    assert rows(home.store, "synthetic_texts").equals(made)  # dropped, not lost
    card = home.store.read_bytes("dataset_card/r1.md").decode()
    assert "| medicine | 3 | 3 | 1 | 33% (6% to 79%) |" in card
    assert "Readers kept 1 of 3 texts drawn at random" in card
    files = home.files(without=["dataset_card"])
    assert home.main("run", "--run", "r1") == 0  # verdicts survive, and change nothing more
    assert home.files(without=["dataset_card"]) == files
    # the reader's mind changed: the row comes back
    file = exported(home, tmp_path, "--sample", "100")
    again = pl.read_csv(file, infer_schema=False).filter(sample_id=drop)
    assert again["verdict"].to_list() == ["drop"]
    judge(file, {drop: {"verdict": "keep", "reviewed_at": ""}})
    assert home.main("review", "r1", "--import", str(file)) == 0
    assert home.main("run", "--run", "r1") == 0
    assert drop in set(rows(home.store)["sample_id"])


def test_export_says_and_leaves_out_what_a_reader_dropped_since(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (drop,) = rows(home.store)["sample_id"].head(1)
    file = exported(home, tmp_path, "--sample", "100")
    judge(file, {drop: {"verdict": "drop"}})
    assert home.main("review", "r1", "--import", str(file), "--reviewer", "Ada") == 0
    to = tmp_path / "out"
    assert home.main("export", "r1", "--to", str(to), "--formats", "csv") == 0
    assert "1 rows of medicine: dropped by a reader" in capfd.readouterr().out
    assert drop not in (to / "r1" / "csv" / "synthetic.csv").read_text()


def test_a_card_that_nobody_has_read_for_says_so(finished: Home) -> None:
    card = finished.store.read_bytes("dataset_card/r1.md").decode()
    assert "Nobody has read the texts." in card
    assert "Nobody has read these texts." in card


def test_min_accepted_holds_a_label_back_and_stays(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ids = rows(home.store)["sample_id"].to_list()
    file = exported(home, tmp_path, "--sample", "100")
    judge(file, {i: {"verdict": "drop" if n % 2 else "keep"} for n, i in enumerate(ids)})
    assert home.main("review", "r1", "--import", str(file), "--reviewer", "Ada") == 0
    assert home.main("run", "--run", "r1", "--min-accepted", "0.8") == 0
    assert rows(home.store).is_empty()
    assert rows(home.store, label="cooking").height  # nobody looked: it is not held back
    gates = home.store.read_all("gates", {"run": "r1"}).filter(gate="accepted_by_readers")
    assert dict(gates.select("label", "passed").iter_rows())["cooking"] is None
    assert home.main("run", "--run", "r1") == 0  # as it was made
    assert rows(home.store).is_empty()
    assert "--min-accepted 0.8" in home.store.read_bytes("dataset_card/r1.md").decode()
    assert home.main("export", "r1", "--to", str(tmp_path / "out"), "--formats", "csv") == 0
    assert "of medicine: held back by accepted_by_readers" in capfd.readouterr().out
    assert home.main("run", "--run", "r1", "--min-accepted", "0.3") == 0
    assert rows(home.store).height == (len(ids) + 1) // 2
    assert home.main("run", "--run", "r1", "--min-accepted", "1.3") == 2


def test_checks_tell_what_was_read_and_accepted(home: Home, corpus: Path, tmp_path: Path) -> None:
    def checks() -> dict[str, bool]:
        result = home.materialize(corpus, ["reviews"], partition_key="r1")
        assert result.success
        return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}

    assert checks() == {"reviewed_enough": False, "accepted_enough": True}
    file = exported(home, tmp_path, "--sample", "100")
    ids = home.store.read_all("synthetic_texts")["sample_id"].to_list()
    judge(file, {i: {"verdict": "keep"} for i in ids})
    assert home.main("review", "r1", "--import", str(file), "--reviewer", "Ada") == 0
    assert checks() == {"reviewed_enough": True, "accepted_enough": True}
    judge(file, {i: {"verdict": "drop"} for i in ids})
    assert home.main("review", "r1", "--import", str(file), "--reviewer", "Ada") == 0
    assert checks() == {"reviewed_enough": True, "accepted_enough": False}


def test_a_file_with_a_faulty_line_is_not_half_imported(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = exported(home, tmp_path)
    ids = pl.read_csv(file, infer_schema=False)["sample_id"].to_list()
    judge(file, {i: {"verdict": "keep"} for i in ids[:5]} | {ids[3]: {"verdict": "perhaps"}})
    before = home.files()
    arguments = ("review", "r1", "--import", str(file), "--reviewer", "Ada")
    assert home.main(*arguments) == 2
    told = capfd.readouterr()
    assert "line 5: the verdict must be keep, drop or undecided, got 'perhaps'" in told.out
    assert "nothing of it was imported" in " ".join(told.err.split())
    assert home.files() == before
    assert home.main(*arguments, "--skip-faulty") == 0
    assert "4 verdicts imported, 1 lines skipped" in capfd.readouterr().out


def test_review_refuses_what_it_does_not_know(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for arguments, reason in (
        (("r9",), "the store has: r1"),
        (("r1", "--export", str(tmp_path / "x.ods")), ".csv, .xlsx or .html"),
        (("r1", "--import", str(tmp_path / "none.csv")), "No such file"),
        (("r1", "--export", str(tmp_path / "x.csv"), "--sample", "-1"), "0 or more"),
    ):
        assert home.main("review", *arguments) == 2
        assert reason in " ".join(capfd.readouterr().err.split())


def test_review_shows_parents_only_where_it_may(home: Home, tmp_path: Path) -> None:
    texts = home.store.read("labelled_texts")["text"].to_list()
    for kind in ("csv", "html"):
        with_them = exported(home, tmp_path, kind=kind).read_text()
        assert any(text in with_them for text in texts)
        without = exported(home, tmp_path, "--without-parents", kind=kind).read_text()
        assert not any(text in without for text in texts)


def test_verdicts_go_with_a_forgotten_text(home: Home, tmp_path: Path) -> None:
    made = home.store.read_all("synthetic_texts")
    file = exported(home, tmp_path, "--sample", "100")
    judge(file, {i: {"verdict": "keep"} for i in made["sample_id"]})
    assert home.main("review", "r1", "--import", str(file), "--reviewer", "Ada") == 0
    parent = made["parent_ids"][0][0]
    children = set(made.filter(pl.col("parent_ids").list.contains(parent))["sample_id"])
    before = set(home.store.read_all("reviews", {"run": "r1"})["sample_id"])
    assert children < before
    receipt = forget(home.store, home.warehouse, [parent]).row(0, named=True)
    after = set(home.store.read_all("reviews", {"run": "r1"})["sample_id"])
    assert not after & children
    gone = dict(zip(receipt["tables"], receipt["rows"], strict=True))
    assert gone["reviews"] == len(before - after)


def test_a_spreadsheet_that_changed_the_ids_is_refused_whole(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = exported(home, tmp_path)
    frame = pl.read_csv(file, infer_schema=False).fill_null("")
    frame = frame.with_columns(sample_id=pl.lit("01.02.2003"), verdict=pl.lit("keep"))
    file.write_bytes(csv_bytes(frame))
    assert home.main("review", "r1", "--import", str(file), "--reviewer", "Ada") == 2
    assert "a spreadsheet changed it" in " ".join(capfd.readouterr().out.split())
    assert home.store.partitions("reviews") == []
