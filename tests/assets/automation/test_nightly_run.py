"""The schedule: each night a new run makes rows of the labels below target."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smotext_assets.graph.partitions import runs
from tests.assets.conftest import (
    Home,
    copy_of,
)

if TYPE_CHECKING:
    pass
from tests.assets.automation.conftest import NIGHT, launch


def test_nightly_run_makes_a_new_run_of_all_labels_below_the_target(
    finished: Home, tmp_path: Path, corpus: Path, tick: Callable[..., Any]
) -> None:
    home = copy_of(finished, tmp_path)
    (request,) = tick(home)
    assert home.instance.get_dynamic_partitions(str(runs.name)) == ["r1", "20261122T0300"]
    assert request.tags["smotext/run"] == "20261122T0300"
    assert launch(home, request, corpus).success
    made = dict(
        home.query(
            "SELECT label, count(*) FROM synthetic_texts WHERE run = '20261122T0300' GROUP BY 1"
        )
    )
    assert made == {"cooking": 8, "medicine": 10}
    ((seed, of_r1),) = home.query(
        "SELECT a.seed, b.seed FROM runs a, runs b WHERE a.run <> 'r1' AND b.run = 'r1'"
    )
    assert seed == int(NIGHT.timestamp()) // 60
    assert of_r1 == 7
    partition = {"run": "r1"}
    assert home.store.read_all("synthetic_table", partition).equals(
        finished.store.read_all("synthetic_table", partition)
    )


def test_nightly_runs_of_two_nights_make_other_texts(
    finished: Home, tmp_path: Path, corpus: Path, tick: Callable[..., Any]
) -> None:
    home = copy_of(finished, tmp_path)
    for time in (NIGHT, NIGHT.replace(day=23)):
        (request,) = tick(home, time)
        assert launch(home, request, corpus).success
    same = home.query(
        "SELECT count(*) FROM synthetic_texts a JOIN synthetic_texts b USING (label, text) "
        "WHERE a.run < b.run AND b.run LIKE '2026%' AND a.run LIKE '2026%'"
    )
    assert same == [(0,)]


def test_nightly_run_leaves_out_labels_without_vectors(
    finished: Home, tmp_path: Path, tick: Callable[..., Any]
) -> None:
    home = copy_of(finished, tmp_path)
    home.store.delete("embeddings", {"label": "cooking"})
    requests = tick(home)  # a range would take cooking too
    assert [request.tags["dagster/asset_partition_range_start"] for request in requests] == [
        "astronomy|20261122T0300",
        "medicine|20261122T0300",
    ]
    skipped = tick(home, dimension=16)  # another encoder
    assert "none of the labels ['astronomy', 'cooking', 'medicine'] has" in skipped.skip_message


def test_nightly_run_without_a_corpus_says_what_to_do(home: Home, tick: Callable[..., Any]) -> None:
    assert "materialise raw_corpus" in tick(home).skip_message
    assert home.instance.get_dynamic_partitions(str(runs.name)) == []
