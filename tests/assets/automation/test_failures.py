"""The sensor `failures` says which label failed; the others go on."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._cli.asset import asset_materialize_command

from smotext_assets.automation import schedules as automation
from smotext_assets.graph.partitions import labels, runs
from tests.assets.automation.test_day import LOCATION, Day
from tests.assets.conftest import (
    Home,
    copy_of,
)

if TYPE_CHECKING:
    pass
from tests.assets.automation.conftest import launch


def failed(home: Home, result: dg.ExecuteInProcessResult) -> tuple[list[Any], Mapping[str, str]]:
    """What the sensor asks for, and the tags that the failed run has got."""
    context = dg.build_run_status_sensor_context(
        sensor_name="failures",
        dagster_event=result.get_run_failure_event(),
        dagster_instance=home.instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()
    found: Any = automation.failures(context)
    requests = [r for r in found if isinstance(r, dg.RunRequest)]
    run = home.instance.get_run_by_id(result.run_id)
    assert run is not None
    return requests, run.tags


def test_failures_name_the_label_and_the_others_go_on(
    finished: Home,
    tmp_path: Path,
    corpus: Path,
    tick: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = copy_of(finished, tmp_path)
    (request,) = tick(home)
    home.store.write(
        "embeddings",
        home.store.read("embeddings", {"label": "cooking"})[:1],
        {"label": "cooking"},
        metadata={"encoder": "fake-encoder-32"},
    )
    result = launch(home, request, corpus)
    assert not result.success
    assert home.query("SELECT count(*) FROM synthetic_texts WHERE run <> 'r1'") == [(0,)]

    rest, tags = failed(home, result)
    key = "cooking|20261122T0300"
    assert tags["smotext/failed"].startswith(f"class_pairs {key}: ValueError: ")
    assert "materialise embeddings" in tags["smotext/failed"]
    assert tags["smotext/rerun"] == (
        "dagster asset materialize -m smotext_assets.definitions --select 'key:class_pairs or "
        "key:interpolated_vectors or key:decoded_texts or key:found_texts or "
        f"key:synthetic_texts or key:synthetic_table' --partition '{key}'"
    )
    assert len(rest) == 2
    for request in rest:
        assert launch(home, request, corpus).success
    assert home.query("SELECT DISTINCT label FROM synthetic_texts WHERE run <> 'r1'") == [
        ("medicine",)
    ]

    # the cause is gone, and the command is entered as it was told
    assert home.materialize(corpus, ["embeddings"], partition_key="cooking").success
    dagster, asset, materialize, module, _, *asked = shlex.split(tags["smotext/rerun"])
    assert (dagster, asset, materialize, module) == ("dagster", "asset", "materialize", "-m")
    location = tmp_path / "location.py"  # of this home and its generator
    location.write_text(LOCATION)
    day = Day(tmp_path / "day")
    for definition in (labels, runs):
        name = str(definition.name)
        keys = home.instance.get_dynamic_partitions(name)
        day.home.instance.add_dynamic_partitions(name, keys)
    monkeypatch.setenv("DAGSTER_HOME", day.environment["DAGSTER_HOME"])
    monkeypatch.setenv("SMOTEXT_HOME", str(home.folder))
    done = CliRunner().invoke(asset_materialize_command, [*asked, "-f", str(location)])
    assert done.exit_code == 0, done.output
    made = home.query("SELECT label, count(*) FROM synthetic_texts WHERE run <> 'r1' GROUP BY 1")
    assert dict(made) == {"cooking": 8, "medicine": 10}


def test_failures_of_a_whole_step_ask_for_nothing_again(
    finished: Home, tmp_path: Path, corpus: Path, tick: Callable[..., Any]
) -> None:
    home = copy_of(finished, tmp_path)
    (request,) = tick(home)
    home.store.delete("labelled_texts")
    result = launch(home, request, corpus)
    assert not result.success
    rest, tags = failed(home, result)
    assert rest == []  # every label would fail again, and so on at every tick
    assert tags["smotext/failed"].startswith("class_pairs: ")
    asked = "--partition-range 'astronomy|20261122T0300...medicine|20261122T0300'"
    assert tags["smotext/rerun"].endswith(asked)


def test_failures_of_the_corpus_say_how_to_rerun(home: Home, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("text,label\n")
    result = home.materialize(bad, automation.INGESTION)
    requests, tags = failed(home, result)
    assert requests == []
    assert "can be used: 0 rows" in tags["smotext/failed"]
    assert "--select 'key:raw_corpus or key:labelled_texts'" in tags["smotext/rerun"]
