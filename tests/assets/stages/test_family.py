"""The SMOTE family in the graph: options, what a run freezes, where its vectors lie."""

import argparse
import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from smotext_assets.cli.pairs import add_pair_options, pair_options
from smotext_assets.graph.frozen_runs import DEFAULTS
from smotext_assets.graph.partitions import range_tags, runs
from smotext_assets.stages import card, placement
from smotext_assets.stages.pairs import ClassPairsConfig
from smotext_core import SMOTExT
from smotext_core.mixing.interpolation import MIXINGS
from smotext_core.mixing.strategies import STRATEGIES
from tests.assets.conftest import (
    BY_LABEL_AND_RUN,
    COUNTS,
    Home,
    copy_of,
    corpus_rows,
    failures,
    write_corpus,
)
from tests.fakes import FakeGenerator

PASS_ALL = {
    "min_round_trip": -1.0,
    "max_copied_words": 10**6,
    "near_duplicate": 1.0,
    "near_duplicate_cosine": 2.0,
    "min_words": 0,
    "check_label": False,
    "relevance": 1.0,
}


def embedded(home: Home, corpus: Path, *, labels: Any = COUNTS) -> Home:
    assert home.materialize(corpus, ["raw_corpus", "labelled_texts"]).success
    for label in labels:
        assert home.materialize(corpus, ["embeddings"], partition_key=label).success
    home.instance.add_dynamic_partitions(str(runs.name), ["r1"])
    return home


def make(home: Home, corpus: Path, *names: str, key: str = "medicine|r1", **ops: Any) -> Any:
    config = {name: {"config": options} for name, options in ops.items()}
    return home.materialize(corpus, names, partition_key=key, run_config={"ops": config})


def test_config_offers_the_enumerations_of_the_core() -> None:
    fields = ClassPairsConfig.to_config_schema().config_type.fields  # type: ignore[attr-defined]
    for name, values in (("strategy", STRATEGIES), ("mixing", MIXINGS)):
        offered = [value.config_value for value in fields[name].config_type.enum_values]
        assert offered == ["default", *values]
    assert set(fields) == {*DEFAULTS, "totals"}
    assert all(field.description for field in fields.values())


def test_command_offers_the_options_of_a_run() -> None:
    parser = argparse.ArgumentParser()
    add_pair_options(parser)
    assert pair_options(parser.parse_args([])) == dict.fromkeys(DEFAULTS)
    words = (
        "--seed 3 --sampling-strategy minority --strategy svm --k-neighbors 4 --m-neighbors 8 "
        "--n-parents 3 --lam beta:0.4 --mixing spherical --no-across-documents --oversample 2"
    )
    assert pair_options(parser.parse_args(words.split())) == {
        "seed": 3,
        "sampling_strategy": "minority",
        "strategy": "svm",
        "k_neighbors": 4,
        "m_neighbors": 8,
        "n_parents": 3,
        "lam": "beta:0.4",
        "mixing": "spherical",
        "across_documents": False,
        "oversample": 2.0,
    }
    totals = pair_options(parser.parse_args(["--totals", "a=3"]))
    assert totals["sampling_strategy"] == {"a": 3}


def test_graph_makes_the_numbers_of_the_sampler(home: Home, corpus: Path) -> None:
    embedded(home, corpus)
    options = {"strategy": "borderline-1", "mixing": "spherical", "lam": "beta:0.5", "seed": 11}
    options |= {"k_neighbors": 4, "m_neighbors": 6, "n_parents": 3}
    result = make(
        home,
        corpus,
        *BY_LABEL_AND_RUN[:-1],
        class_pairs={**options, "oversample": 1.0},
        synthetic_texts=PASS_ALL,
    )
    assert result.success
    store, partition = home.store, {"label": "medicine", "run": "r1"}
    train = store.read("labelled_texts").filter(pl.col("split") == "train").sort("text_id")
    smotext = SMOTExT(
        generator=FakeGenerator(), filters=None, random_state=options.pop("seed"), **options
    )  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="no text is in danger|only"):
        smotext.fit_resample(train["text"], train["label"])
    ours = smotext.lineage_.filter(pl.col("label") == "medicine")

    pairs = store.read("class_pairs", partition)
    ids = train["text_id"].to_list()
    assert [[ids[i] for i in row] for row in ours["parent_index"]] == pairs["parent_ids"].to_list()
    assert ours["weights"].to_list() == pairs["weights"].to_list()
    theirs = store.read("synthetic_texts", partition).sort("sample_id")
    assert ours["text"].to_list() == theirs["text"].to_list()
    assert ours["round_trip_cosine"].equals(theirs["round_trip_cosine"])
    assert len(ours) == 10

    config = json.loads(store.read("runs", {"run": "r1"})["config"][0])
    assert {name: config[name] for name in options} == options
    manifest = store.manifest("interpolated_vectors", partition)
    assert manifest is not None
    refused = make(home, corpus, "class_pairs", class_pairs={"strategy": "smote"})
    assert "strategy was 'borderline-1', is 'smote'" in failures(refused)["medicine|r1"]
    assert make(home, corpus, "class_pairs", class_pairs={"strategy": "default"}).success


def test_graph_label_with_another_slug_has_the_numbers_of_the_sampler(
    home: Home, tmp_path: Path
) -> None:
    rows = [(text, {"medicine": "Chest pain!"}.get(label, label)) for text, label in corpus_rows()]
    corpus = write_corpus(tmp_path / "corpus.csv", rows)
    assert home.materialize(corpus, ["raw_corpus", "labelled_texts"]).success
    texts = home.store.read("labelled_texts")
    (slug,) = texts.filter(pl.col("label") == "Chest pain!")["slug"].unique()
    assert slug != "Chest pain!"
    embedded(home, corpus, labels=[slug])
    key = f"{slug}|r1"
    names = BY_LABEL_AND_RUN[:-2]
    assert make(home, corpus, *names, key=key, class_pairs={"oversample": 1.0}).success
    train = texts.filter(pl.col("split") == "train").sort("text_id")
    smotext = SMOTExT(generator=FakeGenerator(), filters=None)
    smotext.fit_resample(train["text"], train["label"])
    ours = smotext.lineage_.filter(pl.col("label") == "Chest pain!")
    first = home.store.read("decoded_texts", {"label": slug, "run": "r1"}).filter(
        pl.col("candidate") == 0
    )
    assert ours["text"].to_list() == first["text"].to_list()


def test_graph_strategy_that_looks_around_needs_all_labels(home: Home, corpus: Path) -> None:
    embedded(home, corpus, labels=["medicine", "cooking"])
    result = make(home, corpus, "class_pairs", class_pairs={"strategy": "adasyn"})
    reason = failures(result)["medicine|r1"]
    assert "16 train texts that adasyn looks at have no vectors" in reason
    assert "partitions ['astronomy']" in reason
    assert home.materialize(corpus, ["embeddings"], partition_key="astronomy").success
    assert make(home, corpus, "class_pairs").success


# documents


def long_corpus(path: Path) -> Path:
    """Three labels; the documents of cooking are four passages each."""
    rows = corpus_rows({"astronomy": 40, "medicine": 12})
    sentences = [f"{text[0].upper()}{text[1:]}." for text, _ in corpus_rows({"cooking": 96})]
    documents = [" ".join(sentences[n : n + 12]) for n in range(0, 96, 12)]
    return write_corpus(path, [*rows, *((document, "cooking") for document in documents)])


@pytest.mark.parametrize("across", [True, False])
def test_graph_mixes_no_passages_of_one_document(home: Home, tmp_path: Path, across: bool) -> None:
    corpus = long_corpus(tmp_path / "corpus.csv")
    embedded(home, corpus, labels=["cooking"])
    config = {"totals": {"cooking": 400}, **({} if across else {"across_documents": False})}
    assert make(home, corpus, "class_pairs", key="cooking|r1", class_pairs=config).success
    texts = home.store.read("labelled_texts").filter(pl.col("label") == "cooking")
    document = dict(zip(texts["text_id"], texts["document_id"], strict=True))
    assert len(document) > len(set(document.values())) > 2
    pairs = home.store.read("class_pairs", {"label": "cooking", "run": "r1"})
    shared = sum(document[a] == document[b] for a, b in pairs["parent_ids"])
    assert (shared == 0) == across


# where vectors lie


def metadata_of(home: Home, key: str, of: str = "interpolated_vectors") -> dict[str, Any]:
    records = home.instance.fetch_materializations(dg.AssetKey(of), limit=50, ascending=True)
    return {
        r.partition_key: r.asset_materialization.metadata  # type: ignore[union-attr,misc]
        for r in records.records
    }[key]


def test_graph_tells_where_vectors_lie(finished: Home) -> None:
    told = metadata_of(finished, "medicine|r1")
    assert told["mean_norm"].value == pytest.approx(1, abs=1e-6)
    assert told["norm_outside"].value == 0
    assert 0 <= told["nearest_real_min"].value < told["nearest_real_median"].value < 0.5
    assert 0 <= told["foreign_share"].value <= told["real_foreign_share"].value < 0.5
    assert told["mixing"].value == "linear-norm"
    assert str(told["map"].value).startswith("![map](data:image/png;base64,")
    assert "map" not in metadata_of(finished, "astronomy|r1")  # no sample was wanted
    assert not {"foreign_share", "map"} & set(metadata_of(finished, "astronomy|r1"))


def test_maps_of_many_labels_are_not_all_drawn(
    finished: Home, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, keys = copy_of(finished, tmp_path), ["cooking|r1", "medicine|r1"]
    for stage in (card, placement):
        monkeypatch.setattr(stage, "MOST_MAPS", 1)
    for name in ("interpolated_vectors", "synthetic_texts"):
        assert home.materialize(corpus, [name], tags=range_tags(keys)).success
        assert all("map" not in metadata_of(home, key, of=name) for key in keys)
        assert home.materialize(corpus, [name], partition_key="cooking|r1").success
        assert "map" in metadata_of(home, "cooking|r1", of=name)
    assert home.materialize(corpus, ["dataset_card"], partition_key="r1").success
    html, markdown = (
        home.store.read_bytes(f"dataset_card/r1.{end}").decode() for end in ("html", "md")
    )
    assert "Maps of 1 of 2 labels with rows." in html
    assert "The HTML card has maps of 1 of 2 labels with rows." in markdown
    assert "Map of medicine" in html  # with 10 rows, cooking with 8
    assert "Map of cooking" not in html


def test_vectors_keep_norm_warns_of_shrunken_vectors(home: Home, corpus: Path) -> None:
    embedded(home, corpus)
    made = make(home, corpus, *BY_LABEL_AND_RUN[:2], class_pairs={"mixing": "linear"})
    assert made.success
    found = {e.check_name: e for e in made.get_asset_check_evaluations()}
    assert not found["vectors_keep_norm"].passed
    assert found["vectors_keep_norm"].severity == dg.AssetCheckSeverity.WARN
    above = str(found["vectors_keep_norm"].metadata["above"].value)
    assert "medicine" in above
    assert found["vectors_lie_in_class"].passed


def test_vectors_lie_in_class_warns_of_a_class_without_a_region(home: Home, tmp_path: Path) -> None:
    # every eighth text of astronomy bears another label
    rows = [
        (text, "odd" if n % 8 == 0 else label)
        for n, (text, label) in enumerate(corpus_rows({"astronomy": 80, "banking": 20}))
    ]
    corpus = write_corpus(tmp_path / "corpus.csv", rows)
    embedded(home, corpus, labels=["astronomy", "banking", "odd"])
    made = make(home, corpus, *BY_LABEL_AND_RUN[:2], key="odd|r1", class_pairs={"k_neighbors": 2})
    assert made.success
    found = {e.check_name: e for e in made.get_asset_check_evaluations()}
    assert found["vectors_keep_norm"].passed
    assert not found["vectors_lie_in_class"].passed
    assert "real_foreign_majority" in str(found["vectors_lie_in_class"].description)
    manifest = home.store.manifest("interpolated_vectors", {"label": "odd", "run": "r1"})
    assert manifest is not None
    vectors = home.store.read("interpolated_vectors", {"label": "odd", "run": "r1"})
    assert np.allclose(np.linalg.norm(vectors["vector"].to_numpy(), axis=1), 1, atol=1e-5)
