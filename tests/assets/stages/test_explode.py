"""Texts of several labels through the whole graph: a row for each label, one document, one split.

Every text of medicine and half of those of astronomy are of science, too.
"""

import json
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from smotext_assets.stages.leakage import audit_rows
from smotext_core.mixing import make_pairs
from tests.assets.conftest import Home, copy_of, corpus_rows

SEVERAL = {"medicine": "medicine; science", "science": "science"}


def labelled_cells() -> list[tuple[str, str, str]]:
    """Id, text and the cell of labels."""
    rows = []
    for n, (text, label) in enumerate(corpus_rows()):
        cell = SEVERAL.get(label, label)
        if label == "astronomy" and n % 2:
            cell = json.dumps([label, "science"])
        rows.append((f"t{n}", text, cell))
    return rows


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.csv"
    columns = ["id", "text", "label"]
    pl.DataFrame(labelled_cells(), schema=columns, orient="row").write_csv(path)
    return path


@pytest.fixture(scope="module")
def exploded(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Home:
    """A finished run of it. Look, don't touch: copy it to change."""
    home = Home(tmp_path_factory.mktemp("exploded") / "home")
    options = ["--id", "id", "--run", "r1", "--strategy", "borderline-1", "--m-neighbors", "6"]
    assert home.main("run", str(corpus), "--explode", *options) == 0
    return home


def test_run_makes_a_row_of_each_label_and_tells_how_many(exploded: Home) -> None:
    texts = exploded.store.read("labelled_texts")
    counts = dict(texts.group_by("label").len().iter_rows())
    assert counts == {"astronomy": 24, "cooking": 12, "medicine": 8, "science": 8 + 12}
    assert texts["text_id"].n_unique() == texts.height == 64
    assert texts["document_id"].n_unique() == texts["content_hash"].n_unique() == 44
    splits = texts.group_by("document_id").agg(pl.col("split").n_unique())
    assert splits["split"].max() == 1
    for stage in ("raw_corpus", "labelled_texts"):
        assert exploded.store.read("rejected_rows", {"stage": stage}).is_empty()
    manifest = exploded.store.manifest("raw_corpus")
    assert manifest is not None
    assert "20 texts of several labels are 40 rows, one a label" in str(manifest.metadata)


def test_run_leads_each_row_to_train_texts_of_its_own_label(exploded: Home) -> None:
    texts = exploded.store.read("labelled_texts")
    made = exploded.store.read_all("synthetic_texts")
    assert set(made["label"]) >= {"medicine", "cooking"}
    parents = made.explode("parent_ids").join(texts, left_on="parent_ids", right_on="text_id")
    assert parents.height == made["parent_ids"].list.len().sum()
    assert (parents["label"] == parents["label_right"]).all()
    assert set(parents["split"]) == {"train"}
    joined = exploded.query(
        "SELECT count(*) FROM lineage l JOIN labelled_texts p ON p.text_id = l.parent_id"
    )
    assert joined == exploded.query("SELECT count(*) FROM lineage")


def test_run_of_several_labels_passes_the_checks(exploded: Home) -> None:
    records = exploded.instance.get_event_records(
        dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION), limit=100
    )
    found = {}
    for record in records:
        assert record.event_log_entry.dagster_event is not None
        data = record.event_log_entry.dagster_event.asset_check_evaluation_data
        found[data.check_name] = data.passed
    wanted = ("splits_share_no_document", "pairs_share_label", "texts_are_not_copies")
    assert [found[name] for name in (*wanted, "samples_are_unique")] == [True] * 4


def test_run_of_several_labels_can_be_made_again_from_its_card(exploded: Home) -> None:
    card = exploded.store.read_bytes("dataset_card/r1.md").decode()
    assert "--explode ';' --id id" in card or "--id id --explode ';'" in card


def test_texts_that_have_the_label_too_are_no_neighbours_of_another_one(exploded: Home) -> None:
    train = exploded.store.read("labelled_texts").filter(pl.col("split") == "train")
    at = {"label": "medicine", "run": "r1"}
    vectors = exploded.store.read_all("embeddings").unique("text_id").select("text_id", "embedding")
    train = train.join(vectors, on="text_id").sort("text_id")
    own = train.filter(pl.col("label") == "medicine")
    of_own = pl.col("document_id").is_in(own["document_id"].implode())
    assert train.filter(of_own).height == 2 * own.height  # each is of science, too
    pairs = exploded.store.read("class_pairs", at)
    assert pairs.height > 0

    def with_others(others: pl.DataFrame) -> tuple[pl.DataFrame, str | None]:
        return make_pairs(
            own["text_id"].to_list(),
            own["embedding"].to_numpy(),
            run="r1",
            label="medicine",
            slug="medicine",
            n_samples=pairs.height,
            strategy="borderline-1",
            m_neighbors=6,
            others=others["embedding"].to_numpy(),
            groups=own["document_id"].to_list(),
        )

    expected, fallback = with_others(train.filter(~of_own))
    assert pairs.sort("number").equals(expected.sort("number"))
    manifest = exploded.store.manifest("class_pairs", at)
    assert manifest is not None
    assert manifest.metadata["fallback"] == fallback
    # with their own copies among the others every text would look endangered
    assert with_others(train.filter(pl.col("label") != "medicine"))[1] != fallback


def test_audit_counts_a_text_of_several_labels_once() -> None:
    rng = np.random.default_rng(0)
    texts = [f"Text number {n} of the many." for n in range(60)]
    vectors = rng.normal(size=(60, 8)).astype(np.float32)
    real = pl.DataFrame(
        {
            "document_id": [f"d{n}" for n in range(60)],
            "content_hash": [str(n) for n in range(60)],
            "text": texts,
            "split": ["train", "holdout"] * 30,
            "embedding": pl.Series(vectors, dtype=pl.Array(pl.Float32, 8)),
        }
    )
    made = pl.DataFrame(
        {
            "text": [f"A new text {n}." for n in range(20)],
            "embedding": pl.Series(
                vectors[:40:2] + rng.normal(scale=0.1, size=(20, 8)).astype(np.float32),
                dtype=pl.Array(pl.Float32, 8),
            ),
        }
    )
    once = audit_rows(made, real, run="r1", label=None)
    twice = audit_rows(made, pl.concat([real, real[::3]]), run="r1", label=None)
    assert twice.equals(once)
    assert not once.filter(pl.col("measure") == "membership_auc")["passed"].item()  # it can be red


def test_forget_takes_all_rows_of_a_document(exploded: Home, tmp_path: Path) -> None:
    home = copy_of(exploded, tmp_path)
    texts = home.store.read("labelled_texts")
    used = home.store.read_all("class_pairs")["parent_ids"].explode()
    several = texts.filter(pl.col("text_id").is_in(used.implode()), pl.col("label") == "medicine")
    document, text = several.select("document_id", "text").row(0)
    rows = texts.filter(pl.col("document_id") == document)
    assert set(rows["label"]) == {"medicine", "science"}

    assert home.main("forget", rows["text_id"][0]) == 0  # by a row of one label

    ((ids, documents, labels),) = home.query("SELECT ids, document_ids, labels FROM forgotten")
    assert (ids, documents) == ([rows["text_id"][0]], [document])
    assert {"medicine", "science"} <= set(labels)
    for table in ("raw_corpus", "labelled_texts"):
        assert document not in home.store.read(table)["document_id"].to_list()
    for table, column in (("embeddings", "text_id"), ("class_pairs", "parent_ids")):
        left = home.store.read_all(table)[column]
        flat = left.explode() if left.dtype == pl.List(pl.String) else left
        assert not flat.str.replace(r"#\d+$", "").is_in([document]).any(), table
    written = b"".join(p.read_bytes() for p in Path(home.root).rglob("*.md") if p.is_file())
    assert text.encode() not in written


def test_check_tells_what_explode_makes_and_asks_for_it(
    home: Home, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert home.main("check", str(corpus), "--explode", "--id", "id") == 0
    told = " ".join(capfd.readouterr().out.split())
    assert "44 rows: 44 read, 0 refused" in told
    assert "20 texts of several labels are 40 rows, one a label" in told
    assert "science │ science │ 20 " in told

    assert home.main("check", str(corpus), "--id", "id") == 0
    told = " ".join(capfd.readouterr().out.split())
    assert "44 rows: 32 read, 12 refused" in told
    assert "label is a list" in told
    parted = tmp_path / "parted.csv"
    parted.write_text(
        "id,text,label\n" + "".join(f"{n},Text of number {n}x.,{c}\n" for n, c in
                                     enumerate(["a"] * 6 + ["b"] * 5 + ["a;b", "b; a", "a;z"]))
    )  # fmt: skip
    assert home.main("check", str(parted), "--id", "id") == 0
    told = " ".join(capfd.readouterr().out.split())
    assert "2 rows have labels like 'a;b': --explode makes a row of each" in told
    assert home.main("check", "--explode", str(corpus)) == 1
    assert "a corpus stands before it" in " ".join(capfd.readouterr().out.split())


def test_check_explodes_each_file_of_a_folder(
    home: Home, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    for name in ("one.csv", "two.csv"):
        (folder / name).write_bytes(corpus.read_bytes())
    options = ["--explode", "--id", "id"]
    assert home.main("check", str(folder), *options) == 0
    told = " ".join(capfd.readouterr().out.split())
    assert "40 texts of several labels are 80 rows, one a label" in told
    assert "duplicate of another text │ 64" in told  # of the second file every row of each
