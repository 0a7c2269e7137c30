"""After forgetting, a run of an adapted generator, which is deleted: its rows are judged, no more
are made."""

import json
import shutil
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from smotext_assets.cli import command as cli
from smotext_assets.definitions import definitions
from smotext_assets.graph.frozen_runs import run_config
from smotext_assets.graph.partitions import BY_RUN
from smotext_assets.graph.resources import GeneratorResource
from tests.assets.conftest import Home, copy_of, failures, write_corpus
from tests.tiny import tales, write_tiny_generator


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_generator(tmp_path_factory.mktemp("generators"))


def main(home: Home, tiny: Path, *arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "dagster_instance", lambda: home.instance)
        patch.setenv("SMOTEXT_HOME", str(home.folder))
        patch.setenv("SMOTEXT_STORE", home.root)
        patch.setenv("SMOTEXT_GENERATOR", str(tiny))
        return cli.main(arguments)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"The nurse": 24, "A banker": 14, "The cook": 9}
    rows = [(text, who.split()[1]) for who, n in counts.items() for text in tales(who, n)]
    return write_corpus(tmp_path_factory.mktemp("corpus") / "tales.csv", [*rows, (" ", "cook")])


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, tiny: Path, corpus: Path) -> Home:
    """A run of a generator adapted to all texts. Look, don't touch: copy it to change."""
    home = Home(tmp_path_factory.mktemp("adapted") / "home")
    more = home.folder.parent / "more.csv"
    more.write_text("\n".join(["text", *tales("A sailor", 12)]) + "\n")
    given = ("run", str(corpus), "--run", "r1", "--candidates", "4", "--labels", "cook,banker")
    given += ("--unlabelled", str(more), "--adapt", "100")
    published = ("--publish-anyway", "cook=a test", "--publish-anyway", "banker=a test")
    assert main(home, tiny, *given, *published) == 0
    assert "adapted_from" in run_config(home.store, "r1")
    return home


def materialize(
    home: Home, tiny: Path, corpus: Path, names: list[str], key: str
) -> dg.ExecuteInProcessResult:
    """As the UI does, and follow_up."""
    generator = GeneratorResource(generator=str(tiny), workspace=str(home.folder / "generators"))
    graph = definitions({**home.resources(corpus), "generator": generator})
    return graph.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=home.instance,
        asset_selection=[dg.AssetKey(name) for name in names],
        partition_key=key,
        raise_on_error=False,
    )


def parents(home: Home) -> list[str]:
    """Those of some published rows and not of all."""
    rows = home.store.read_all("synthetic_table", {"run": "r1"})
    few = rows.explode("parent_ids")["parent_ids"].value_counts().sort("count", "parent_ids")
    assert few["count"][0] < rows.height
    return few["parent_ids"].to_list()


def card(home: Home) -> str:
    return home.store.read_bytes("dataset_card/r1.md").decode()


@pytest.mark.parametrize("by", ["the command", "follow_up"])
def test_rows_left_of_a_deleted_generator_are_judged_again(
    adapted: Home, tiny: Path, corpus: Path, tmp_path: Path, by: str
) -> None:
    home = copy_of(adapted, tmp_path)
    before = {name: home.store.manifest(name, {"run": "r1"}) for name in BY_RUN[:2]}
    n_rows = home.store.read_all("synthetic_table", {"run": "r1"}).height
    assert "--adapt 100" in card(home)
    assert main(home, tiny, "forget", parents(home)[0]) == 0
    assert not list(Path(home.root).glob("generators/*/*"))
    left = home.store.read_all("synthetic_table", {"run": "r1"})
    assert 0 < left.height < n_rows
    assert "was withdrawn" in card(home)
    if by == "the command":
        assert main(home, tiny, "card", "r1") == 0
    else:
        result = materialize(home, tiny, corpus, BY_RUN, "r1")
        assert result.success, failures(result)
    for name, old in before.items():
        new = home.store.manifest(name, {"run": "r1"})
        assert new is not None
        assert old is not None
        assert new.fingerprint != old.fingerprint
    assert f"{left.height} synthetic" in card(home)
    for told in ("were forgotten after this run", "These rows cannot be made again"):
        assert told in card(home)
    assert "withdrawn" not in card(home)
    assert "smotext run CORPUS" not in card(home)  # nothing to follow
    files = home.files()
    assert main(home, tiny, "card", "r1") == 0
    assert home.files() == files


@pytest.mark.parametrize("gone", ["a train text", "an unlabelled text"])
def test_run_of_a_deleted_generator_gets_no_more_rows(
    adapted: Home,
    tiny: Path,
    corpus: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    gone: str,
) -> None:
    home = copy_of(adapted, tmp_path)
    id_ = parents(home)[0] if gone == "a train text" else "unlabelled:3"
    assert main(home, tiny, "forget", id_) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "No more rows can be made for r1, whose generator may have been trained on a for" in said
    files = home.files()
    for more in ([], ["--adapt", "100"], [str(corpus)]):
        assert main(home, tiny, "run", *more, "--run", "r1") == 2
        said = " ".join(capfd.readouterr().err.split())
        assert "the run r1 gets no more rows: its generator may have been trained on texts" in said
        assert "Start a run with another key" in said
        assert "adapting" not in said  # nothing is trained for a refusal
    for name in ("class_pairs", "decoded_texts"):
        result = materialize(home, tiny, corpus, [name], "cook|r1")
        assert "the run r1 gets no more rows" in failures(result)["cook|r1"]
    assert home.files() == files
    # Another run is made by the generator that is configured.
    assert home.store.manifest("generator") is None
    home.instance.add_dynamic_partitions("smotext_run", ["r2"])
    result = materialize(home, tiny, corpus, ["class_pairs"], "cook|r2")
    assert result.success, failures(result)
    assert run_config(home.store, "r2")["generator"] == "tiny"


def test_forgetting_a_text_that_adaptation_does_not_take_ends_no_run(
    adapted: Home, tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(adapted, tmp_path)
    texts = home.store.read("labelled_texts").filter(pl.col("split") != "train")
    assert main(home, tiny, "forget", texts["document_id"][0]) == 0
    assert "No more rows" not in capfd.readouterr().out
    assert "generator_forgotten" not in run_config(home.store, "r1")
    assert main(home, tiny, "forget", parents(home)[0]) == 0
    assert run_config(home.store, "r1")["generator_forgotten"] is True


def test_forgetting_what_nothing_was_trained_on_lets_the_generator_be_made_again(
    adapted: Home, tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(adapted, tmp_path)
    frozen, rows = run_config(home.store, "r1"), home.store.read_all("synthetic_table")
    refused = home.store.read("rejected_rows", {"stage": "raw_corpus"})["document_id"]
    assert main(home, tiny, "forget", *refused) == 0
    assert "No more rows" not in capfd.readouterr().out
    assert run_config(home.store, "r1") == frozen
    assert main(home, tiny, "run", "--run", "r1") == 0
    assert "adapting the generator: steps: 100 done" in capfd.readouterr().err
    assert home.store.read_all("synthetic_table").equals(rows)


def test_evidence_needs_the_generator_that_a_run_was_made_by_or_adapted_from(
    adapted: Home, tiny: Path, corpus: Path, tmp_path: Path
) -> None:
    home = copy_of(adapted, tmp_path)
    home.store.delete("generator")  # as another run's configured one comes into use
    result = materialize(home, tiny, corpus, BY_RUN, "r1")
    assert result.success, failures(result)
    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    manifest = json.loads((other / "generator.json").read_text())
    (other / "generator.json").write_text(json.dumps({**manifest, "name": "other"}))
    result = materialize(home, other, corpus, ["evaluation"], "r1")
    assert "the run r1 was made by the generator tiny-adapted" in failures(result)["r1"]
