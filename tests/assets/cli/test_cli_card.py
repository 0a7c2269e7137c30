"""`smotext card`: where it says the card is, what it writes, and when it makes one."""

from pathlib import Path

import polars as pl
import pytest

from tests.assets.conftest import Home, copy_of


def test_card_says_where_the_card_is_and_copies_it(
    finished: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert finished.main("card", "r1") == 0
    page = finished.store.read_bytes("dataset_card/r1.html")
    told = Path(capfd.readouterr().out.strip())
    assert told.read_bytes() == page
    for ending in ("html", "md"):
        out = tmp_path / f"card.{ending}"
        assert finished.main("card", "r1", "--out", str(out)) == 0
        assert capfd.readouterr().out.strip() == str(out)
        assert out.read_bytes() == finished.store.read_bytes(f"dataset_card/r1.{ending}")


def test_card_makes_a_card_that_is_not_there(
    finished: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)
    before = home.store.read_bytes("dataset_card/r1.md")
    home.store.delete_bytes("dataset_card")
    assert home.main("card", "r1", "--out", str(tmp_path / "new.md")) == 0
    assert (tmp_path / "new.md").read_bytes() == before
    at = {"label": "medicine", "run": "r1"}
    gates = home.store.read("gates", at).with_columns(
        gate=pl.lit("leak"), passed=pl.lit(False), published_anyway=pl.lit("known")
    )
    home.store.write("gates", gates[:1], at)
    home.store.delete_bytes("dataset_card")
    assert home.main("card", "r1", "--out", str(tmp_path / "gates.md")) == 0
    told = (tmp_path / "gates.md").read_text()
    assert "Published all the same: medicine (leak)." in told
    assert "Published all the same" not in before.decode()
    home.store.delete_bytes("dataset_card")
    home.store.delete("evaluation", {"run": "r1"})
    capfd.readouterr()
    assert home.main("card", "r1") == 2
    assert "needs evaluation, not yet there" in capfd.readouterr().err


def test_card_refuses_an_unknown_run_and_another_ending(
    finished: Home, home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    assert finished.main("card", "r9") == 2
    assert "needs the key of a run, got 'r9'; the store has: r1" in capfd.readouterr().err
    assert home.main("card", "r1") == 2
    assert "the store has: none yet" in capfd.readouterr().err
    assert finished.main("card", "r1", "--out", "card.pdf") == 2
    assert "must end in .html or .md" in capfd.readouterr().err
