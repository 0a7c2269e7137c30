"""Verdicts taken in at the same moment, twice, in the wrong order, or back again."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from smotext_assets.cli.review import keep_verdicts
from smotext_assets.forgetting.forget import forget
from smotext_assets.stages import reviews_of
from smotext_assets.store.tables import Store
from smotext_core.schemas import REVIEWS
from tests.assets.cli.test_cli_review import exported, judge, rows
from tests.assets.conftest import Home, copy_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
IMPORTS = 15
_READER = """
import sys
from datetime import UTC, datetime
from smotext_assets.cli.review import keep_verdicts
from smotext_assets.graph import StoreResource
from tests.assets.cli.test_review_imports import IMPORTS, verdicts

root, who = sys.argv[1:]
store = StoreResource(root=root).open()
print("ready", flush=True)
sys.stdin.readline()
for n in range(IMPORTS):
    told = verdicts({f"r1.a.{who}{n}": "keep"}, reviewer=who)
    keep_verdicts(store, "r1", told, now=datetime.now(UTC))
"""


def verdicts(told: dict[str, str], *, reviewer: str = "Ada", at: datetime = NOW) -> pl.DataFrame:
    """REVIEWS by sample id; of its text the hash is the id's own."""
    made = {
        "run": "r1",
        "label": "a",
        "corrected_label": None,
        "reviewer": reviewer,
        "reviewed_at": at.isoformat(timespec="seconds"),
        "sampled": True,
        "round_trip_cosine": 0.5,
        "label_confidence": 0.5,
    }
    told_of = [
        made | {"sample_id": i, "content_hash": i, "verdict": said} for i, said in told.items()
    ]
    return pl.DataFrame(told_of, schema=REVIEWS)


def said(store: Store) -> dict[str, str]:
    return dict(reviews_of(store, "r1").select("sample_id", "verdict").iter_rows())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_two_processes_that_import_at_the_same_moment_lose_nothing(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    home: Home = request.getfixturevalue("home" if place == "folder" else "s3_home")
    environment = {**os.environ, **home.environment}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _READER, home.root, who],
            env=environment,
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in ("ada", "bob")
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in running:
            process.communicate("go\n", timeout=120)
    finally:
        for process in running:
            process.kill()
            process.communicate()
    assert [process.returncode for process in running] == [0, 0]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in home.environment.items():
            patch.setenv(name, value)
        from smotext_assets.graph import StoreResource

        found = said(StoreResource(root=home.root).open())
    assert found == {f"r1.a.{who}{n}": "keep" for who in ("ada", "bob") for n in range(IMPORTS)}


def test_the_same_verdicts_taken_twice_are_one_partition(store: Store) -> None:
    def take(minutes: int, told: dict[str, str], *, untimed: bool) -> None:
        now = NOW + timedelta(minutes=minutes)
        at = now if untimed else NOW
        keep_verdicts(store, "r1", verdicts(told, at=at), now=now)

    for untimed, expected in ((False, 1), (True, 2)):
        for minutes in (1, 2, 2):
            take(minutes, {"r1.a.1": "keep"}, untimed=untimed)
        assert len(store.partitions("reviews")) == expected
    take(3, {"r1.a.1": "drop"}, untimed=True)
    assert said(store) == {"r1.a.1": "drop"}
    take(4, {"r1.a.1": "keep"}, untimed=True)  # again, and meant: it is the last one now
    assert said(store) == {"r1.a.1": "keep"}


def test_the_verdict_read_last_stands_whatever_the_order_of_imports(store: Store) -> None:
    later = verdicts({"r1.a.1": "drop", "r1.a.2": "keep"}, at=NOW + timedelta(hours=2))
    assert keep_verdicts(store, "r1", later, now=NOW + timedelta(hours=3)) == 0
    older = verdicts({"r1.a.1": "keep", "r1.a.3": "keep"}, at=NOW)
    assert keep_verdicts(store, "r1", older, now=NOW + timedelta(hours=4)) == 1
    assert said(store) == {"r1.a.1": "drop", "r1.a.2": "keep", "r1.a.3": "keep"}
    assert keep_verdicts(store, "r1", REVIEWS.to_frame(), now=NOW) == 0
    assert len(store.partitions("reviews")) == 2


def test_verdicts_of_an_older_store_are_read_and_can_be_replaced(store: Store) -> None:
    store.write("reviews", verdicts({"r1.a.1": "drop", "r1.a.2": "drop"}), {"run": "r1"})
    store.write("reviews", verdicts({"r2.a.1": "drop"}), {"run": "r2"})
    assert said(store) == {"r1.a.1": "drop", "r1.a.2": "drop"}
    keep_verdicts(store, "r1", verdicts({"r1.a.1": "undecided"}), now=NOW)  # of the same second
    assert said(store) == {"r1.a.2": "drop"}
    store.purge()
    assert said(store) == {"r1.a.2": "drop"}
    assert reviews_of(store, "r2").height == 1


def test_a_verdict_is_taken_back(
    finished: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)
    before = rows(home.store)
    (drop,) = before["sample_id"].head(1)
    file = exported(home, tmp_path, "--sample", "100")
    arguments = ("review", "r1", "--import", str(file), "--reviewer", "Ada")
    judge(file, {drop: {"verdict": "drop"}})
    assert home.main(*arguments) == 0
    assert home.main("run", "--run", "r1") == 0
    assert drop not in set(rows(home.store)["sample_id"])
    judge(file, {drop: {"verdict": "undecided"}})
    assert home.main(*arguments) == 0
    assert "Nobody has read these rows yet." in capfd.readouterr().out
    assert home.main("run", "--run", "r1") == 0
    assert rows(home.store).equals(before)
    again = pl.read_csv(exported(home, tmp_path, "--sample", "100"), infer_schema=False)
    assert set(again["verdict"].fill_null("")) == {""}


def test_forgetting_takes_verdicts_out_of_every_import(finished: Home, tmp_path: Path) -> None:
    home = copy_of(finished, tmp_path)
    made = home.store.read_all("synthetic_texts")
    parent = made["parent_ids"][0][0]
    children = set(made.filter(pl.col("parent_ids").list.contains(parent))["sample_id"])
    ids = made["sample_id"].to_list()
    home.store.write("reviews", verdicts(dict.fromkeys(ids, "keep")), {"run": "r1"})
    for n, told in enumerate((ids, sorted(children), [])):
        of = verdicts(dict.fromkeys(told, ("drop", "undecided", "keep")[n]))
        keep_verdicts(home.store, "r1", of, now=NOW + timedelta(minutes=n))
    assert len(home.store.partitions("reviews")) == 3
    forget(home.store, home.warehouse, [parent])
    left = home.store.read_all("reviews", {"run": "r1"})
    assert left.height
    assert not set(left["sample_id"]) & children
    assert len(home.store.partitions("reviews")) == 2  # that of the children alone is gone
