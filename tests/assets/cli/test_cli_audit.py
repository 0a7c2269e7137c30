"""`smotext audit`: any table of synthetic texts against the corpus it was made from."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.assets.conftest import Home, write_corpus
from tests.fakes import fake_corpus

# Three draws of the same kinds of text: parents, texts that nobody saw, and honest new ones.
NAMES = {"medicine": "medicine", "cooking": "[red]cooking"}
ROWS = [
    (text, NAMES[topic])
    for text, topic in zip(*fake_corpus(dict.fromkeys(NAMES, 150)), strict=True)
]
TRAIN, HOLDOUT, HONEST = ROWS[0::3], ROWS[1::3], ROWS[2::3]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    rewritten = [(f"{text.rsplit(' ', 1)[0]} again", label) for text, label in TRAIN]
    found = {"train": TRAIN, "holdout": HOLDOUT, "honest": HONEST, "leak": rewritten}
    return {name: str(write_corpus(tmp_path / f"{name}.csv", rows)) for name, rows in found.items()}


def audit(home: Home, files: dict[str, str], name: str, *more: str) -> int:
    return home.main("audit", files[name], "--against", files["train"], *more)


def test_audit_is_green_for_honest_texts(
    home: Home, files: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "measures.parquet"
    assert audit(home, files, "honest", "--holdout", files["holdout"], "--out", str(out)) == 0
    printed = capfd.readouterr().out
    assert "leakage of honest.csv" in printed
    assert "[red]cooking"[:5] in printed  # a label is no markup
    assert "Passing is no guarantee" in printed
    measures = pl.read_parquet(out)
    assert measures["passed"].any()
    assert set(measures["label"]) == {None, "medicine", "[red]cooking"}
    assert set(measures["run"]) == {"honest.csv"}


def test_audit_is_red_for_rewritten_texts(
    home: Home, files: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "measures.json"
    assert audit(home, files, "leak", "--holdout", files["holdout"], "--out", str(out)) == 1
    assert "red" in capfd.readouterr().out
    whole = {m["measure"]: m["passed"] for m in json.loads(out.read_text()) if not m["label"]}
    assert whole["membership_auc"] is whole["dcr_train_share"] is False


def test_audit_without_a_holdout_judges_copies_alone(
    home: Home, files: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "measures.parquet"
    assert audit(home, files, "honest", "--out", str(out)) == 0
    judged = pl.read_parquet(out).filter(pl.col("passed").is_not_null())["measure"]
    assert {"identical_share", "copied_run_share"} <= set(judged)
    assert not {"membership_auc", "dcr_train_share"} & set(judged)
    assert audit(home, files, "train") == 1


def test_audit_refuses_what_it_cannot_compare(
    home: Home, files: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = str(write_corpus(tmp_path / "other.csv", [("A quiet day.", "weather")]))
    assert home.main("audit", other, "--against", files["train"]) == 2
    assert "labels that the corpus does not have, ['weather']" in capfd.readouterr().err
    assert audit(home, files, "honest", "--out", "measures.csv") == 2
    assert "ends in .parquet or .json, got 'measures.csv'" in capfd.readouterr().err
    assert home.main("audit", "absent.csv", "--against", files["train"]) == 2
    assert "absent.csv" in capfd.readouterr().err


def desktop_export(path: Path, rows: list[tuple[str, str]], *, encoding: str) -> str:
    """Semicolons and a German name of the label's column, as a European desktop writes."""
    lines = ["Text;Größe", *(f'"Größe: {text}";{label}' for text, label in rows)]
    path.write_bytes("\r\n".join(lines).encode(encoding))
    return str(path)


def measured(path: Path) -> list[tuple[object, ...]]:
    return pl.read_parquet(path).drop("run").rows()


def test_audit_reads_every_file_as_its_options_say(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = [
        desktop_export(tmp_path / f"{name}.csv", rows, encoding="cp1252")
        for name, rows in (("made", HONEST), ("train", TRAIN), ("holdout", HOLDOUT))
    ]
    given = [paths[0], "--against", paths[1], "--holdout", paths[2], "--label", "Größe"]
    outs = [tmp_path / "found.parquet", tmp_path / "given.parquet"]
    assert home.main("audit", *given, "--out", str(outs[0])) == 0
    told = " ".join(capfd.readouterr().out.split())
    assert told.count("CSV with semicolons, cp1252; text in 'Text', label in 'Größe'") == 3
    options = ["--delimiter", ";", "--encoding", "windows-1252"]
    assert home.main("audit", *given, *options, "--out", str(outs[1])) == 0
    assert measured(outs[0]) == measured(outs[1])

    capfd.readouterr()
    assert home.main("audit", *given, "--delimiter", ",") == 2
    assert "needs one column 'text'" in capfd.readouterr().err


def test_audit_takes_the_encoding_that_its_bytes_leave_in_doubt(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made, train = (
        desktop_export(tmp_path / f"{name}.csv", rows, encoding="cp850")
        for name, rows in (("made", HONEST), ("train", TRAIN))
    )
    given = [made, "--against", train, "--label", "Größe"]
    assert home.main("audit", *given) == 2
    assert "made.csv is in doubt" in capfd.readouterr().err
    assert home.main("audit", *given, "--encoding", "cp850") == 0
    assert "label in 'Größe'" in capfd.readouterr().out


def test_audit_counts_a_text_of_several_labels_once_in_the_whole(
    home: Home, files: dict[str, str], tmp_path: Path
) -> None:
    of_one = tmp_path / "of_one.parquet"
    assert audit(home, files, "honest", "--holdout", files["holdout"], "--out", str(of_one)) == 0
    rows = {"train": TRAIN, "holdout": HOLDOUT, "honest": HONEST}
    several = {
        name: str(
            write_corpus(tmp_path / f"{name}_2.csv", [(text, f"{of};all") for text, of in own])
        )
        for name, own in rows.items()
    }
    of_two = tmp_path / "of_two.parquet"
    given = ["--holdout", several["holdout"], "--explode", "--out", str(of_two)]
    assert audit(home, several, "honest", *given) == 0
    one, two = pl.read_parquet(of_one).drop("run"), pl.read_parquet(of_two).drop("run")
    assert two.filter(pl.col("label") != "all").equals(one.filter(pl.col("label").is_not_null()))
    assert two.filter(pl.col("label").is_null()).equals(one.filter(pl.col("label").is_null()))
    every = two.filter(pl.col("label") == "all").drop("label")
    assert every.height == one["measure"].n_unique()
