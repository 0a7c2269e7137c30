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
