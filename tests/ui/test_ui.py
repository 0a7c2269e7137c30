"""The Dagster UI as a person sees it: a real browser, clicks, and rows in the warehouse."""

import time
from urllib.parse import quote

import duckdb
import pytest

from tests.ui.browser import Browser
from tests.ui.conftest import ELSEWHERE, HOSTILE_LABEL, Site

pytestmark = pytest.mark.soak  # a minute and a half on two idle cores

UPSTREAM = [
    "raw_corpus",
    "labelled_texts",
    "embeddings",
    "class_pairs",
    "interpola…_vectors",  # as its box cuts it
    "decoded_texts",
    "synthetic_texts",
    "synthetic_table",
]
GROUPS = ["corpus", "generator", "mixing", "texts", "warehouse"]


def rows_of(site: Site, label: str) -> dict[str, int]:
    sql = "SELECT run, count(*) FROM synthetic_texts WHERE label = ? GROUP BY run"
    with duckdb.connect(site.home / "warehouse.duckdb", read_only=True) as connection:
        return dict(connection.execute(sql, [label]).fetchall())


def nothing_ran(browser: Browser) -> None:
    """No script of a text was run, and nothing of a text became an element or a request."""
    assert browser.evaluate("window.pwned === undefined")
    assert browser.evaluate("document.querySelectorAll('a[href^=\"javascript:\"]').length") == 0
    assert browser.evaluate("document.querySelectorAll('img[src=x],iframe,[onerror]').length") == 0
    asked = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked
    assert not [url for url in asked if url.startswith(ELSEWHERE)]


def test_ui_lineage_leads_from_the_corpus_to_the_table(site: Site, browser: Browser) -> None:
    browser.size(2600, 1000)
    view = "view=lineage&lineageScope=upstream&lineageDepth=9"
    browser.open(f"{site.url}/assets/synthetic_table?{view}")
    browser.wait_for(*UPSTREAM, *GROUPS)


def test_ui_backfill_of_one_label_by_clicks_publishes_its_rows(
    site: Site, browser: Browser
) -> None:
    browser.size(1500, 1000)
    browser.open(f"{site.url}/assets/synthetic_table?view=partitions")
    browser.wait_for("cooking", "medicine", "r1", "r2", "Materialized (3)", "Missing (5)")
    assert rows_of(site, "medicine") == {}

    browser.open(f"{site.url}/locations/tests.ui.location/jobs/synthesis")
    browser.click("Materialize all…")
    browser.wait_for("Launch backfill")
    for _ in range(20):  # until the keys have come, the button does nothing
        browser.click("All", tags="button")  # of the runs: the lower one
        time.sleep(1)
        if "r1\nr1\nr2\nr2" in browser.text:
            break
    browser.click("Select a partition or create one")
    browser.click("medicine")
    browser.click("label")
    browser.wait_for("2 partitions")
    browser.click("Launch backfill", tags="button")

    browser.open(f"{site.url}/overview/backfills")
    browser.wait_for("2 partitions", "Success", seconds=200)
    assert set(rows_of(site, "medicine")) == {"r1", "r2"}
    browser.open(f"{site.url}/assets/synthetic_table?view=partitions")
    browser.wait_for("Materialized (5)", "Missing (3)")


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("labelled_texts?view=events", "window.pwned"),
        ("synthetic_texts?view=partitions&partition=cooking|r1", "window.pwned"),
        ("dataset_card?view=partitions&partition=r1", "b onmouseover"),
    ],
)
def test_ui_metadata_shows_hostile_text_as_text(
    site: Site, browser: Browser, page: str, words: str
) -> None:
    browser.events.clear()
    browser.size(1500, 1000)
    browser.open(f"{site.url}/assets/{quote(page, safe='?=&')}")
    browser.wait_for("Metadata", "[Show Markdown]")
    nothing_ran(browser)
    browser.press("[Show Markdown]")  # the first: of synthetic_texts its samples
    browser.wait_for(words)
    nothing_ran(browser)


def test_card_in_a_browser_shows_hostile_text_as_text(site: Site, browser: Browser) -> None:
    browser.events.clear()
    browser.open((site.home / "store/dataset_card/r1.html").as_uri())
    browser.wait_for("Synthetic texts", "window.pwned", HOSTILE_LABEL)
    nothing_ran(browser)
