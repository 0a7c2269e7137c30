"""The whole way out: exported, read in the page, and exported without what a reader drops."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from smotext_core.export import delta_rows
from tests.assets.conftest import Home, copy_of
from tests.core.reviews.test_page_in_browser import press, saved
from tests.ui.browser import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def read_back(to: Path, cache: Path) -> dict[str, set[str]]:
    """The ids of a run's rows, by format, as the library of each reads them."""
    import datasets
    import mlcroissant as mlc

    found = datasets.load_dataset(str(to / "r1"), cache_dir=str(cache))["synthetic"]
    described = mlc.Dataset(jsonld=str(to / "r1" / "croissant.json")).records("synthetic")
    column = "synthetic/sample_id"
    return {
        "huggingface": set(found["sample_id"]),
        "croissant": {row[column].decode() for row in described},
        "csv": set(pl.read_csv(to / "r1" / "csv" / "synthetic.csv")["sample_id"]),
        "delta": set(delta_rows(str(to / "delta"))["sample_id"]),
    }


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not on PATH")
def test_a_run_goes_out_is_read_in_the_page_and_goes_out_without_the_dropped_rows(
    finished: Home, tmp_path: Path
) -> None:
    assert CHROMIUM is not None
    home, to = copy_of(finished, tmp_path), tmp_path / "out"
    there = set(home.store.read_all("synthetic_table", {"run": "r1"})["sample_id"])
    assert home.main("export", "r1", "--to", str(to)) == 0
    before = read_back(to, tmp_path / "cache-1")
    assert before == dict.fromkeys(before, there)

    page = tmp_path / "review.html"
    assert home.main("review", "r1", "--export", str(page), "--sample", "3", "--unsure", "0") == 0
    browser = Browser(CHROMIUM, tmp_path / "profile")
    try:
        browser.open(page.as_uri())
        browser.wait_for("1 of 6, 0 read")
        browser.evaluate("document.getElementById('reviewer').value = 'Ada'")
        for read, key in enumerate("dkdk", 1):
            press(browser, key)
            browser.wait_for(f"{read} read")
        file = tmp_path / "review.csv"
        file.write_bytes(saved(browser, tmp_path / "saved"))
    finally:
        browser.close()
    told = pl.read_csv(file, infer_schema=False).fill_null("")
    dropped = set(told.filter(verdict="drop")["sample_id"])
    assert len(dropped) == 2
    assert dropped < there

    assert home.main("review", "r1", "--import", str(file)) == 0
    assert home.main("run", "--run", "r1") == 0
    assert home.main("export", "r1", "--to", str(to)) == 0
    after = read_back(to, tmp_path / "cache-2")
    assert after == dict.fromkeys(after, there - dropped)
