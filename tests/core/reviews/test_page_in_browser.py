"""The review page in a real Chromium: read by the keyboard alone, and the CSV it writes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from smotext_core.reviews import read_review, review_frame, review_page, review_rows
from smotext_core.schemas import REVIEWS
from smotext_core.texts import csv_bytes
from tests.core.reviews.test_reviews import parsed, rows
from tests.ui.browser import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not on PATH")
KEYS = {"ArrowLeft": 37, "ArrowRight": 39}
EVIL = "</script><script>document.title = 'owned'</script><img src=x onerror='document.title=1'>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM is not None
    found = Browser(CHROMIUM, tmp_path_factory.mktemp("profile") / "chromium")
    yield found
    found.close()


def press(browser: Browser, key: str) -> None:
    text = {"text": key} if len(key) == 1 else {}
    code = KEYS.get(key, ord(key[0].upper()))
    for kind in ("keyDown", "keyUp"):
        told = text if kind == "keyDown" else {}
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **told
        )


def saved(browser: Browser, folder: Path) -> bytes:
    folder.mkdir()
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    press(browser, "s")
    deadline = time.monotonic() + 30
    while not (found := list(folder.glob("*.csv"))):
        assert time.monotonic() < deadline, "nothing was saved"
        time.sleep(0.1)
    return found[0].read_bytes()


def frame(n_sample: int = 2) -> pl.DataFrame:
    chosen = review_rows(rows(), n_sample=n_sample, n_unsure=1)
    return review_frame(chosen, REVIEWS.to_frame(), {"1": EVIL})


def test_the_page_is_driven_by_keys_and_writes_the_csv(browser: Browser, tmp_path: Path) -> None:
    asked = frame()
    page = tmp_path / "review.html"
    page.write_text(review_page(asked, run="r1", labels=["a", "b", EVIL]), encoding="utf-8")
    browser.open(page.as_uri())
    browser.wait_for("1 of 6, 0 read", asked["text"][0].splitlines()[0], EVIL)
    browser.evaluate("document.getElementById('reviewer').focus()")
    browser.call("Input.insertText", text='=Ada, "A"')
    press(browser, "k")  # into the name: nothing is judged
    browser.evaluate("document.getElementById('reviewer').blur()")
    press(browser, "k")
    browser.wait_for("2 of 6, 1 read")
    press(browser, "d")
    browser.wait_for("3 of 6, 2 read")
    press(browser, "d")
    press(browser, "ArrowLeft")
    browser.wait_for("3 of 6, 3 read", "Dropped.")
    press(browser, "u")
    browser.wait_for("3 of 6, 2 read")
    press(browser, "ArrowRight")
    browser.wait_for("4 of 6")
    other = "b" if asked["label"][3] == "a" else "a"
    press(browser, "l")
    press(browser, other)  # the list is chosen by its first letter
    browser.evaluate("document.getElementById('corrected').dispatchEvent(new Event('change'))")
    browser.wait_for("5 of 6, 3 read")
    assert browser.evaluate("document.title") == "Review of run r1"
    cells = read_review(saved(browser, tmp_path / "first"), name="review.csv")
    found = parsed(cells, reviewer=None)
    assert found.faults == []
    told = {row["sample_id"]: row for row in found.verdicts.iter_rows(named=True)}
    ids = asked["sample_id"].to_list()
    assert {i: told[i]["verdict"] for i in told} == {
        ids[0]: "keep", ids[1]: "drop", ids[3]: "relabel"
    }  # fmt: skip
    assert told[ids[3]]["corrected_label"] == other
    assert {row["reviewer"] for row in told.values()} == {'=Ada, "A"k'}
    assert found.unread == 3
    assert cells["text"].to_list() == [f"'{text}" for text in asked["text"]]  # no formulas

    for _ in range(20):  # closed and opened again, nothing is lost, once Chromium has written it
        browser.open("about:blank")
        browser.open(page.as_uri())
        if "3 read" in browser.wait_for("of 6"):
            break
    browser.wait_for("3 of 6, 3 read")
    assert read_review(saved(browser, tmp_path / "second"), name="x.csv").equals(cells)


def test_the_page_takes_back_what_came_with_the_file(browser: Browser, tmp_path: Path) -> None:
    asked = frame()
    told = ["keep", "drop", *[""] * 4]
    asked = asked.with_columns(
        pl.Series("verdict", told), reviewer=pl.lit("Bob"), reviewed_at=pl.lit("2026-11-01")
    )
    page = tmp_path / "review.html"
    page.write_text(review_page(asked, run="r1", labels=["a", "b"]), encoding="utf-8")
    browser.open(page.as_uri())
    browser.wait_for("3 of 6, 2 read")
    browser.evaluate("document.getElementById('reviewer').value = 'Ada'")
    press(browser, "k")
    browser.wait_for("4 of 6, 3 read")
    for place, read in ((3, 2), (2, 1), (1, 0)):  # the third came without: nothing to take back
        press(browser, "ArrowLeft")
        browser.wait_for(f"{place} of 6, {read + 1} read")
        press(browser, "u")
        browser.wait_for(f"{place} of 6, {read} read", *(["Taken back."] if place < 3 else []))
    press(browser, "d")
    browser.wait_for("2 of 6, 1 read")
    found = parsed(
        read_review(saved(browser, tmp_path / "saved"), name="review.csv"), reviewer=None
    )
    assert found.faults == []
    said = {
        row["sample_id"]: (row["verdict"], row["reviewer"]) for row in found.verdicts.to_dicts()
    }
    ids = asked["sample_id"].to_list()
    assert said == {ids[0]: ("drop", "Ada"), ids[1]: ("undecided", "Ada")}
    assert set(found.verdicts["reviewed_at"]) != {"2026-11-01T00:00:00+00:00"}
    assert found.unread == 4


def test_the_page_asks_for_nothing_and_runs_no_other_script(
    browser: Browser, tmp_path: Path
) -> None:
    text = review_page(frame(3), run="r1", labels=["a", "b"])
    page = tmp_path / "review.html"
    page.write_text(
        text.replace("</body>", "<script>document.title = 'owned'</script></body>"),
        encoding="utf-8",
    )
    browser.events.clear()
    browser.open(page.as_uri())
    browser.wait_for("1 of 8")
    assert browser.evaluate("document.title") == "Review of run r1"
    asked = [e["params"]["request"]["url"] for e in browser.events
             if e["method"] == "Network.requestWillBeSent"]  # fmt: skip
    assert [url for url in asked if not url.startswith("file:")] == []
    for width in (390, 1280):
        browser.size(width, 800)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_texts_are_shown_as_text_and_leave_as_the_csv_file_has_them(
    browser: Browser, tmp_path: Path
) -> None:
    hostile = [
        EVIL,
        "<!--<script>",
        "'=HYPERLINK(1)",
        "''plain",
        '@a, "b"\r\nc',
        "\t+1\u2028\u2029 end",
        "<b>bold</b>&amp;&lt;",
        "\u202eabc \u05e9\u05dc\u05d5\u05dd \U0001f469\u200d\U0001f52c",
    ]
    made = rows().head(len(hostile)).with_columns(pl.Series("text", hostile), label=pl.lit(EVIL))
    asked = review_frame(review_rows(made), REVIEWS.to_frame(), {"1": EVIL, "2#0": "=2"})
    page = tmp_path / "review.html"
    page.write_text(review_page(asked, run="r1", labels=[EVIL]), encoding="utf-8")
    browser.open(page.as_uri())
    for place, text in enumerate(asked["text"], 1):
        browser.wait_for(f"{place} of {len(hostile)}, 0 read")
        assert browser.evaluate("document.getElementById('text').textContent") == text
        assert browser.evaluate("document.getElementById('text').childElementCount") == 0
        press(browser, "ArrowRight")
    assert browser.evaluate("document.title") == "Review of run r1"
    assert browser.evaluate("document.querySelectorAll('img, b, script').length") == 2  # ours
    cells = read_review(saved(browser, tmp_path / "saved"), name="review.csv")
    assert cells.rows() == read_review(csv_bytes(asked), name="review.csv").rows()
    assert not set(cells["text"].str.head(1)) & set("=+-@\t\r")
