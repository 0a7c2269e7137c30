"""The asset `generator`: adaptation, what it records, and who may decode."""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from smotext_assets.cli import command as cli
from smotext_assets.cli import run_options
from smotext_assets.definitions import definitions
from smotext_assets.graph.frozen_runs import run_config
from smotext_assets.graph.generator_in_use import generator_in_use, load_in_use
from smotext_assets.graph.partitions import range_tags
from smotext_assets.graph.resources import Corpus, GeneratorResource, StoreResource
from smotext_assets.stages import generator as stage
from smotext_assets.store.tables import Store
from smotext_core.schemas import GENERATOR
from smotext_core.training import loop as training
from smotext_core.training.adaptation import prompt_of
from smotext_core.training.objectives import held_out_nll
from smotext_core.xrag.folder import manifest_fingerprint, read_manifest
from tests.assets.conftest import BY_LABEL_AND_RUN, Home, copy_of, failures, write_corpus
from tests.tiny import tales, write_tiny_generator

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from smotext_core.xrag import Generator

ADAPT = {"adapt_steps": 120, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_generator(tmp_path_factory.mktemp("generators"))


@pytest.fixture(scope="module")
def corpus_of_tales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"The nurse": 24, "A banker": 14, "The cook": 9}
    rows = [(text, who.split()[1]) for who, n in counts.items() for text in tales(who, n)]
    return write_corpus(tmp_path_factory.mktemp("corpus") / "tales.csv", rows)


def configured(home: Home, tiny: Path) -> GeneratorResource:
    return GeneratorResource(generator=str(tiny), workspace=str(home.folder / "generators"))


def materialize(
    home: Home, tiny: Path, corpus: Path, names: list[str], *, config: Any = None, **options: Any
) -> dg.ExecuteInProcessResult:
    """As a click on Materialize does, on real models."""
    resources = {
        **home.resources(corpus),
        "store": StoreResource(root=home.root, endpoint_url=os.environ.get("AWS_ENDPOINT_URL")),
        "generator": configured(home, tiny),
    }
    ops = {"generator": {"config": config}} if config else {}
    return (
        definitions(resources)
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            instance=home.instance,
            asset_selection=[dg.AssetKey(name) for name in names],
            raise_on_error=False,
            run_config={"ops": ops},
            **options,
        )
    )


def prepare(home: Home, tiny: Path, corpus: Path) -> None:
    assert materialize(home, tiny, corpus, ["raw_corpus", "labelled_texts"]).success
    tags = range_tags(["banker", "nurse"])
    assert materialize(home, tiny, corpus, ["embeddings"], tags=tags).success


def message(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = [e.step_failure_data.error for e in result.all_node_events if e.is_step_failure]
    while failure and failure.cause:
        failure = failure.cause
    return str(failure.message) if failure else ""


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, tiny: Path, corpus_of_tales: Path) -> Home:
    """A home with an adapted generator and the run r1. Look, don't touch: copy it to change."""
    home = Home(tmp_path_factory.mktemp("adapted") / "home")
    prepare(home, tiny, corpus_of_tales)
    result = materialize(home, tiny, corpus_of_tales, ["generator"], config=ADAPT)
    assert result.success, message(result)
    home.instance.add_dynamic_partitions("smotext_run", ["r1"])
    tags = range_tags(["banker|r1", "nurse|r1"])
    result = materialize(home, tiny, corpus_of_tales, BY_LABEL_AND_RUN, tags=tags)
    assert result.success, failures(result)
    return home


def record(home: Home) -> dict[str, Any]:
    return home.store.read("generator").row(0, named=True)


def test_generator_records_what_adaptation_gained_and_risks(adapted: Home, tiny: Path) -> None:
    frame = adapted.store.read("generator")
    assert frame.schema == GENERATOR
    assert frame.height == 1
    row = record(adapted)
    assert (row["name"], row["licence"], row["lm"]) == ("tiny", "CC0-1.0", "tiny")
    assert row["encoder"] == read_manifest(str(tiny))["encoder"]["name"]
    assert row["adapt_steps"] == 120
    assert row["fingerprint"] != manifest_fingerprint(read_manifest(str(tiny)))
    assert row["cosine_after"] > row["cosine_before"] + 0.1
    assert row["memorised_before"] == row["memorised_mixed_before"] == 0
    assert row["memorised_after"] > 0.3
    event = adapted.instance.get_latest_materialization_event(dg.AssetKey("generator"))
    assert event is not None
    metadata = event.asset_materialization.metadata  # type: ignore[union-attr]
    assert metadata["memorised_after"].value == row["memorised_after"]
    assert not list((adapted.folder / "generators").glob("training-*/"))  # done: swept


def test_run_holds_the_adapted_generator(adapted: Home, tiny: Path) -> None:
    frozen = run_config(adapted.store, "r1")
    fingerprint = record(adapted)["fingerprint"]
    assert frozen["generator_fingerprint"] == fingerprint
    assert frozen["generator"] == "tiny-adapted"
    used = generator_in_use(adapted.store, configured(adapted, tiny))
    assert load_in_use(adapted.store, configured(adapted, tiny), used).fingerprint == fingerprint
    rejected = adapted.store.read_all("rejected_texts", {"run": "r1"})
    made = adapted.store.read_all("synthetic_texts", {"run": "r1"})
    assert set(rejected["generator"]) | set(made["generator"]) == {fingerprint}


def test_filters_refuse_what_the_generator_learnt_by_heart(adapted: Home) -> None:
    candidates = adapted.store.read_all("decoded_texts", {"run": "r1"})
    rejected = adapted.store.read_all("rejected_texts", {"run": "r1"})
    made = adapted.store.read_all("synthetic_texts", {"run": "r1"})
    copies = rejected.filter(pl.col("copied_words") >= 9)
    assert copies.height > 0.1 * candidates.height
    assert "copies a real text" in set(copies["reason"])
    assert made.filter(pl.col("copied_words") >= 9).is_empty()


def test_generator_again_trains_nothing(
    adapted: Home,
    tiny: Path,
    corpus_of_tales: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = copy_of(adapted, tmp_path)
    before = home.files()
    # to the configured one and back, as two runs with and without --adapt do
    assert materialize(home, tiny, corpus_of_tales, ["generator"]).success
    row = record(home)
    assert row["fingerprint"] == manifest_fingerprint(read_manifest(str(tiny)))
    assert (row["adapt_steps"], row["nll_after"], row["memorised_after"]) == (0, None, None)
    result = materialize(home, tiny, corpus_of_tales, ["class_pairs"], partition_key="cook|r1")
    assert "frozen and generator_fingerprint was" in failures(result)["cook|r1"]
    result = materialize(home, tiny, corpus_of_tales, ["decoded_texts"], partition_key="cook|r1")
    assert "frozen and generator_fingerprint was" in failures(result)["cook|r1"]
    monkeypatch.setattr("smotext_core.training.adaptation.adapt", None)
    assert materialize(home, tiny, corpus_of_tales, ["generator"], config=ADAPT).success
    assert home.files() == before


def test_generator_killed_goes_on_to_the_same_weights(
    adapted: Home, tiny: Path, corpus_of_tales: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    prepare(home, tiny, corpus_of_tales)
    saved: list[int] = []
    save = training._save

    def dying(state: dict[str, Any], path: Path) -> None:
        save(state, path)
        saved.append(int(state["state"]["step"]))
        if saved == [25, 50]:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_save", dying)
        assert not materialize(home, tiny, corpus_of_tales, ["generator"], config=ADAPT).success
        assert home.store.partitions("generator") == []
        assert materialize(home, tiny, corpus_of_tales, ["generator"], config=ADAPT).success
    assert saved == [25, 50, 75, 100, 120]
    assert record(home) == record(adapted)


def test_generator_adapted_to_something_else_does_not_decode(
    adapted: Home, tiny: Path, corpus_of_tales: Path, tmp_path: Path
) -> None:
    home = copy_of(adapted, tmp_path)
    renamed = tmp_path / "other"
    renamed.mkdir()
    for path in tiny.iterdir():
        (renamed / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((renamed / "generator.json").read_text())
    (renamed / "generator.json").write_text(json.dumps({**manifest, "licence": "other"}))
    result = materialize(home, renamed, corpus_of_tales, ["class_pairs"], partition_key="cook|r1")
    assert "was adapted from the generator" in failures(result)["cook|r1"]
    lines = corpus_of_tales.read_text().splitlines(keepends=True)
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("".join(lines[:-1]))
    assert materialize(home, tiny, fewer, ["raw_corpus", "labelled_texts"]).success
    home.instance.add_dynamic_partitions("smotext_run", ["r2"])
    result = materialize(home, tiny, fewer, ["class_pairs"], partition_key="cook|r2")
    assert "adapted to another corpus, whose train texts may be test" in failures(result)["cook|r2"]
    assert "materialise generator again" in failures(result)["cook|r2"]


def test_generator_adaptation_needs_all_vectors(
    tiny: Path, corpus_of_tales: Path, home: Home
) -> None:
    assert materialize(home, tiny, corpus_of_tales, ["raw_corpus", "labelled_texts"]).success
    materialize(home, tiny, corpus_of_tales, ["embeddings"], partition_key="nurse")
    result = materialize(home, tiny, corpus_of_tales, ["generator"], config=ADAPT)
    assert "vectors of all 47 texts, 24 have one" in message(result)
    assert "partitions ['banker', 'cook']" in message(result)


def test_generator_is_adapted_on_unlabelled_texts_too(
    adapted: Home,
    tiny: Path,
    corpus_of_tales: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = copy_of(adapted, tmp_path)
    file = tmp_path / "unlabelled.csv"
    file.write_text("\n".join(["text", *tales("The pilot", 20)]) + "\n")
    monkeypatch.setattr(
        home,
        "resources",
        lambda corpus, of=home.resources: {
            **of(corpus),
            "unlabelled": Corpus(source=str(file), label=None),
        },
    )
    assert materialize(home, tiny, corpus_of_tales, ["unlabelled_texts"]).success
    texts = home.store.read("unlabelled_texts")
    assert texts.height == 20
    result = materialize(home, tiny, corpus_of_tales, ["generator"], config=ADAPT)
    assert result.success, message(result)
    row, before = record(home), record(adapted)
    assert row["fingerprint"] != before["fingerprint"]  # it was trained on more
    used = generator_in_use(home.store, configured(home, tiny))
    generator = load_in_use(home.store, configured(home, tiny), used)
    train = home.store.read("labelled_texts").filter(split="train")
    assert generator.manifest["adapted"]["texts"] == train.height + 20

    def nll(of: "Generator") -> float:
        return held_out_nll(
            of.decoder.lm, of.decoder.projector, of.decoder.tokenizer, texts, prompt=prompt_of(of)
        )

    plain = load_in_use(
        adapted.store,
        configured(adapted, tiny),
        generator_in_use(adapted.store, configured(adapted, tiny)),
    )
    assert nll(generator) < nll(plain) - 0.2  # of texts that the other one never saw


def test_load_in_use_mends_its_copy_and_refuses_a_damaged_store(
    adapted: Home, tiny: Path, tmp_path: Path
) -> None:
    home = copy_of(adapted, tmp_path)
    resource = configured(home, tiny)
    used = generator_in_use(home.store, resource)
    load_in_use(home.store, resource, used)
    local = home.folder / "generators" / used.fingerprint / "projector.safetensors"
    whole = local.read_bytes()
    local.write_bytes(whole[:-1])
    load_in_use(home.store, resource, used)
    assert local.read_bytes() == whole
    home.store.write_bytes(f"{used.adapted}/projector.safetensors", whole[:-1])
    load_in_use(home.store, resource, used)  # the copy is whole
    local.unlink()
    with pytest.raises(ValueError, match="are not those of the generator"):
        load_in_use(home.store, resource, used)


def test_generator_adapted_in_a_bucket(
    adapted: Home,
    s3_home: Home,
    s3_client: "S3Client",
    tiny: Path,
    corpus_of_tales: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in s3_home.environment.items():
        monkeypatch.setenv(name, value)
    prepare(s3_home, tiny, corpus_of_tales)
    result = materialize(s3_home, tiny, corpus_of_tales, ["generator"], config=ADAPT)
    assert result.success, message(result)
    store = Store(s3_home.root, client=s3_client)
    assert store.read("generator").equals(adapted.store.read("generator"))
    resource = configured(s3_home, tiny)
    used = generator_in_use(store, resource)
    assert load_in_use(store, resource, used).fingerprint == used.fingerprint


def test_run_adapts_before_it_freezes_the_run(
    home: Home, tiny: Path, corpus_of_tales: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "dagster_instance", lambda: home.instance)
        patch.setenv("SMOTEXT_HOME", str(home.folder))
        patch.setenv("SMOTEXT_STORE", home.root)
        command = ["run", str(corpus_of_tales), "--generator", str(tiny), "--run", "r1"]
        small = ["--candidates", "2", "--labels", "cook"]
        assert cli.main([*command, *small, "--adapt", "3"]) == 0
        assert run_config(home.store, "r1")["generator_fingerprint"] == record(home)["fingerprint"]
        said = " ".join(capfd.readouterr().err.split())
        assert "adapting the generator: steps: 3 done" in said
        row = record(home)
        assert f"round-trip cosine {row['cosine_before']:.3f} → {row['cosine_after']:.3f}" in said
        assert f"nine words of a train text: {row['memorised_before']:.3f} → " in said
        # Asked for again, with or without its corpus, it stays as it was made.
        files = home.files()
        card = home.store.read_bytes("dataset_card/r1.md").decode()
        for line in ("--generator tiny --run r1", "--candidates 2 --adapt 3", "--labels cook"):
            assert line in card
        assert cli.main([*command, *small]) == 0
        assert cli.main(["run", "--generator", str(tiny), "--run", "r1", "--labels", "cook"]) == 0
        assert home.files() == files
        capfd.readouterr()
        assert cli.main([*command, *small, "--adapt", "0"]) == 2
        assert "frozen and generator_fingerprint was" in " ".join(capfd.readouterr().err.split())
        # Now the adapted one is not in use: it comes back with the run.
        assert record(home)["adapt_steps"] == 0
        assert cli.main([*command, *small]) == 0
        assert "adapting the generator: steps" not in capfd.readouterr().err  # it was kept
        assert home.files() == files
        # Of another generator nothing is made.
        other = shutil.copytree(tiny, home.folder / "other")
        manifest = json.loads((other / "generator.json").read_text())
        (other / "generator.json").write_text(json.dumps({**manifest, "name": "other"}))
        assert cli.main([*command, *small, "--generator", str(other)]) == 2
        said = " ".join(capfd.readouterr().err.split())
        assert "the run r1 was made by the generator tiny-adapted" in said
        assert "give --generator, and --adapt" in said
        assert cli.main([*command, "--adapt", "-1"]) == 2
        assert "--adapt: Input should be" in capfd.readouterr().err
        assert home.files() == files


def test_run_adapts_to_unlabelled_texts_unless_rows_are_made_of_them(
    home: Home,
    tiny: Path,
    corpus_of_tales: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "dagster_instance", lambda: home.instance)
    monkeypatch.setattr(run_options, "ADAPT_STEPS", (3, 3))
    monkeypatch.setattr(stage, "_is_nearer", lambda found: True)
    monkeypatch.setenv("SMOTEXT_HOME", str(home.folder))
    monkeypatch.setenv("SMOTEXT_STORE", home.root)
    more = tmp_path / "more.csv"
    more.write_text("\n".join(["text", *tales("A sailor", 12)]) + "\n")
    command = ["run", str(corpus_of_tales), "--generator", str(tiny), "--candidates", "2"]
    command += ["--labels", "cook", "--unlabelled", str(more)]
    assert cli.main([*command, "--run", "r1"]) == 0
    assert record(home)["adapt_steps"] == 3
    assert record(home)["nll_after"] is not None
    assert "adapted in 3 steps" in " ".join(capfd.readouterr().err.split())
    card = home.store.read_bytes("dataset_card/r1.md").decode()
    assert "--adapt 3 --unlabelled UNLABELLED" in card
    files = home.files()
    assert cli.main([*command, "--run", "r1"]) == 0  # as it was made
    assert home.files() == files
    assert cli.main([*command, "--run", "r2", "--adapt", "2"]) == 0
    assert record(home)["adapt_steps"] == 2
    assert cli.main([*command, "--run", "r3", "--found"]) == 0
    assert record(home)["adapt_steps"] == 0
    assert cli.main([*command, "--run", "r1"]) == 0
    assert record(home)["adapt_steps"] == 3
    # The variable does as the option; of texts that are all refused nothing is learnt.
    monkeypatch.setenv("SMOTEXT_UNLABELLED", str(more))
    without = [*command[:-2], "--run"]
    assert cli.main([*without, "r4"]) == 0
    assert record(home)["adapt_steps"] == 3
    # Where it does not write nearer it stays as it was, and says so.
    monkeypatch.setattr(stage, "_is_nearer", lambda found: False)
    capfd.readouterr()
    assert cli.main([*without, "r5"]) == 0
    assert record(home)["adapt_steps"] == 0
    assert record(home)["cosine_after"] is not None
    assert record(home)["fingerprint"] == configured(home, tiny).fingerprint
    assert "trained, and not taken" in " ".join(capfd.readouterr().err.split())
    card = home.store.read_bytes("dataset_card/r5.md").decode()
    assert "--adapt 0 --unlabelled UNLABELLED" in card
    more.write_text("text\n" + tales("The nurse", 24)[0] + "\n")
    assert cli.main([*without, "r6"]) == 0
    assert record(home)["cosine_after"] is None  # nothing was trained


def test_generator_is_nearer_only_where_held_out_texts_say_so() -> None:
    assert stage._is_nearer({"cosine_before": 0.5, "cosine_after": 0.51})
    assert not stage._is_nearer({"cosine_before": 0.5, "cosine_after": 0.5})
    assert not stage._is_nearer({"cosine_before": None, "cosine_after": None})
