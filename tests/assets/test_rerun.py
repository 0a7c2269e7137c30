"""Materialised again: after no change, and after a change of corpus or encoder."""

from pathlib import Path

import polars as pl
import pytest

from smotext_assets.graph.partitions import labels, range_tags, runs
from smotext_assets.graph.table_io import Table, with_vectors
from smotext_assets.store.tables import MissingPartition, Store
from smotext_core.schemas import conform, embeddings_schema
from tests.assets.conftest import (
    BY_LABEL_AND_RUN,
    COUNTS,
    Calls,
    Home,
    copy_of,
    corpus_rows,
    failures,
    write_corpus,
)


def test_rerun_changes_no_byte_and_asks_the_generator_nothing(
    finished: Home, tmp_path: Path, corpus: Path
) -> None:
    home = copy_of(finished, tmp_path)
    files, tables = home.files(), home.tables()
    assert home.main("run", str(corpus), "--run", "r1") == 0
    assert home.files() == files
    assert home.tables() == tables
    assert (Calls.encoded, Calls.decoded) == ([], 0)


def test_rerun_labels_in_another_order_give_the_same_bytes(
    finished: Home, home: Home, corpus: Path
) -> None:
    home.instance.add_dynamic_partitions(str(labels.name), ["medicine", "gone", "astronomy"])
    assert home.main("run", str(corpus), "--run", "r1", "--seed", "7", "--labels", "medicine") == 0
    assert {p["label"] for p in home.store.partitions("synthetic_table")} == {"medicine"}
    assert home.main("run", str(corpus), "--run", "r1", "--labels", "cooking,astronomy") == 0
    assert home.files(without=["runs"]) == finished.files(without=["runs"])
    # of partitions taken in later the rows stand below, until the warehouse is made anew
    here, there = home.tables(), finished.tables()
    del here["runs"], there["runs"]
    assert {name: sorted(rows, key=repr) for name, rows in here.items()} == {
        name: sorted(rows, key=repr) for name, rows in there.items()
    }
    assert home.main("warehouse", "--rebuild") == 0
    assert home.tables() | {"runs": []} == there | {"runs": []}


def test_rerun_new_text_redoes_its_label_alone(finished: Home, tmp_path: Path) -> None:
    home = copy_of(finished, tmp_path)
    new = "the surgeon gave insulin after the biopsy and the wound scan"
    corpus = write_corpus(tmp_path / "more.csv", [*corpus_rows(), (new, "medicine")])
    before = home.files()
    assert home.materialize(corpus, ["raw_corpus", "labelled_texts"]).success
    tags = range_tags(["astronomy", "medicine"])
    assert home.materialize(corpus, ["embeddings"], tags=tags).success
    assert Calls.encoded == [new]
    changed = {name for name, sha in home.files().items() if before.get(name) != sha}
    assert {name.rpartition("/")[0] for name in changed} == {
        "raw_corpus",
        "labelled_texts",
        "embeddings/label=medicine",
    }


def test_rerun_with_another_seed_searches_no_neighbours(
    finished: Home, tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copy_of(finished, tmp_path)
    table = home.store.read("neighbors", {"label": "medicine"})
    before = home.store.manifest("neighbors", {"label": "medicine"})
    pairs = home.store.read("class_pairs", {"label": "medicine", "run": "r1"})
    near = dict(table.select("text_id", "neighbor_ids").iter_rows())
    assert all(
        neighbor in near[base] for base, neighbor in pairs["parent_ids"].to_list() if base in near
    )
    assert set(near) >= set(pairs["parent_ids"].explode())

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("neighbours were searched for")

    home.instance.add_dynamic_partitions(str(runs.name), ["r2"])
    with monkeypatch.context() as patch:
        patch.setattr("smotext_core.neighbors.table.find_neighbors", refuse)
        patch.setattr("smotext_core.mixing.strategies.nearest_neighbors", refuse)
        config = {"ops": {"class_pairs": {"config": {"seed": 8, "lam": "0.5"}}}}
        result = home.materialize(
            corpus, ["class_pairs"], partition_key="medicine|r2", run_config=config
        )
    assert result.success
    assert home.store.manifest("neighbors", {"label": "medicine"}) == before
    assert home.store.read("class_pairs", {"label": "medicine", "run": "r2"}).height


def test_rerun_finished_run_refuses_another_corpus(finished: Home, tmp_path: Path) -> None:
    home = copy_of(finished, tmp_path)
    inputs, rows = ["raw_corpus", "labelled_texts", "embeddings"], home.tables()
    before = home.files(without=inputs)
    # the same row numbers are other texts now
    corpus = write_corpus(tmp_path / "other.csv", corpus_rows()[::-1])
    assert home.materialize(corpus, inputs[:2]).success
    for label in COUNTS:
        assert home.materialize(corpus, ["embeddings"], partition_key=label).success
    for name in ("class_pairs", "synthetic_texts"):
        result = home.materialize(corpus, [name], partition_key="medicine|r1")
        assert "the run r1 is frozen and corpus_sha256 was" in failures(result)["medicine|r1"]
    for name in ("evaluation", "privacy_audit", "dataset_card"):
        result = home.materialize(corpus, [name], partition_key="r1")
        assert "the run r1 is frozen and corpus_sha256 was" in failures(result)["r1"]
    result = home.materialize(corpus, ["interpolated_vectors"], partition_key="medicine|r1")
    assert "the pairs were made of other embeddings" in failures(result)["medicine|r1"]
    assert home.files(without=inputs) == before
    assert home.tables()["synthetic_texts"] == rows["synthetic_texts"]


def test_rerun_vectors_of_another_corpus_or_encoder_do_not_count(
    finished: Home, tmp_path: Path
) -> None:
    home = copy_of(finished, tmp_path)
    counts = {"banking": 10, "football": 6, "medicine": 5}
    corpus = write_corpus(tmp_path / "other.csv", corpus_rows(counts))
    assert home.materialize(corpus, ["raw_corpus", "labelled_texts"], dimension=16).success
    home.instance.add_dynamic_partitions(str(runs.name), ["r2"])
    stale = home.materialize(corpus, ["class_pairs"], partition_key="medicine|r2", dimension=16)
    reason = failures(stale)["medicine|r2"]
    assert "none of these texts has a vector of the encoder fake-encoder-16" in reason
    for label in counts:
        assert home.materialize(corpus, ["embeddings"], partition_key=label, dimension=16).success
    # astronomy and cooking are still there, under the same ids, of 32 dimensions
    for label in counts:
        key = f"{label}|r2"
        assert home.materialize(
            corpus, BY_LABEL_AND_RUN, partition_key=key, dimension=16
        ).success, label
    evidence = ["evaluation", "privacy_audit", "dataset_card"]
    assert home.materialize(corpus, evidence, partition_key="r2", dimension=16).success
    made = dict(
        home.query("SELECT label, count(*) FROM synthetic_texts WHERE run = 'r2' GROUP BY label")
    )
    assert set(made) <= {"football", "medicine"}
    assert made
    texts = home.store.read("labelled_texts")
    real = dict(texts.select("text_id", "label").iter_rows())
    parents = home.query(
        "SELECT parent_id, label FROM lineage JOIN synthetic_texts USING (sample_id) "
        "WHERE run = 'r2'"
    )
    assert all(real[parent] == label for parent, label in parents)


def test_rerun_decoding_refuses_vectors_of_another_encoder(
    finished: Home, tmp_path: Path, corpus: Path
) -> None:
    home = copy_of(finished, tmp_path)
    result = home.materialize(corpus, ["decoded_texts"], partition_key="medicine|r1", dimension=16)
    assert "the vectors are of the encoder fake-encoder-32" in failures(result)["medicine|r1"]


def test_with_vectors_takes_what_this_encoder_made_of_these_texts(tmp_path: Path) -> None:
    store = Store(str(tmp_path))

    def embed(slug: str, encoder: str, texts: dict[str, str], dimension: int = 2) -> str:
        frame = pl.DataFrame(
            {
                "text_id": list(texts),
                "content_hash": list(texts.values()),
                "embedding": [[float(n)] * dimension for n in range(1, len(texts) + 1)],
            }
        )
        frame = conform(frame, embeddings_schema(dimension))
        metadata = {"encoder": encoder}
        return store.write("embeddings", frame, {"label": slug}, metadata=metadata).sha256

    sha256 = embed("a", "new", {"0": "same", "1": "was another text", "9": "not asked for"})
    embed("b", "old", {"2": "of another encoder"}, dimension=3)
    embed("gone", "new", {"0": "same", "3": "of a label that left"})
    texts = pl.DataFrame(
        {
            "text_id": ["3", "2", "1", "0"],
            "content_hash": ["never embedded", "of another encoder", "is this text", "same"],
            "slug": ["c", "b", "a", "a"],
        }
    )
    found, used = with_vectors(texts, Table(store, "embeddings"), encoder="new")
    assert found.select("text_id", "slug").rows() == [("0", "a")]
    assert found["embedding"].to_list() == [[1.0, 1.0]]
    assert used == {"a": sha256}
    with pytest.raises(MissingPartition, match="none of these texts has a vector of the encoder x"):
        with_vectors(texts, Table(store, "embeddings"), encoder="x")
