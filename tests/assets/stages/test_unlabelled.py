"""Texts that nobody labelled: they become rows where that is asked for, and train the generator."""

from pathlib import Path

import polars as pl
import pytest

from smotext_assets.graph.table_io import Table, candidates_of
from smotext_core.schemas import SYNTHETIC_TEXTS
from tests.assets.conftest import Home, copy_of, corpus_rows, failures
from tests.fakes import fake_corpus

UNLABELLED = {"astronomy": 20, "cooking": 30, "medicine": 40}  # what they are, nobody has said
SECRET = "the zanzibar patient told the nurse of a purple fever and of the clinic"


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 new texts of the corpus's topics, a labelled text word for word, and one to forget."""
    texts, _ = fake_corpus(UNLABELLED, seed=9)
    file = tmp_path_factory.mktemp("unlabelled") / "texts.csv"
    texts = [*texts, corpus_rows()[0][0], SECRET]
    file.write_text("\n".join(["text", *texts]) + "\n")
    return file


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, corpus: Path, unlabelled: Path) -> Home:
    """A home whose run r1 has found rows. Look, don't touch: copy it to change."""
    home = Home(tmp_path_factory.mktemp("found") / "home")
    given = ("--unlabelled", str(unlabelled), "--found", "--totals", "medicine=70,cooking=10")
    assert home.main("run", str(corpus), "--run", "r1", "--seed", "7", *given) == 0
    return home


def rows_of(home: Home) -> pl.DataFrame:
    return home.store.read("synthetic_table", {"label": "medicine", "run": "r1"})


def test_found_rows_are_unlabelled_texts_with_the_lineage_of_their_vector(told: Home) -> None:
    texts = told.store.read("unlabelled_texts")
    real = told.store.read("labelled_texts")
    assert texts.height == 91  # all but the one that is labelled
    assert set(texts["text"]).isdisjoint(real["text"])
    refused = told.store.read("rejected_rows", {"stage": "unlabelled_texts"})
    assert refused["reason"].to_list() == ["near duplicate of a labelled text"]
    rows = rows_of(told)
    assert rows.schema == SYNTHETIC_TEXTS
    found = rows.filter(origin="found")
    assert found.height > 5
    text_of = dict(texts.select("text_id", "text").iter_rows())
    assert [text_of[id_] for id_ in found["found_id"]] == found["text"].to_list()
    train = set(real.filter(split="train", label="medicine")["text_id"])
    assert all(set(ids) <= train for ids in found["parent_ids"])
    assert found["sample_id"].n_unique() == found["text"].n_unique() == found.height
    decoded = rows.filter(origin="decoded")
    assert decoded["found_id"].null_count() == decoded.height > 0
    assert rows.height == decoded.height + found.height <= 70 - len(train)


def test_found_texts_come_before_decoded_ones_and_pass_the_filters(told: Home) -> None:
    at = {"label": "medicine", "run": "r1"}
    refused = told.store.read("rejected_texts", at)
    passed_over = refused.filter(origin="found", reason="more than wanted")
    assert passed_over.is_empty()  # decoded ones filled what was left
    texts, labels = fake_corpus(UNLABELLED, seed=9)
    medical = {text for text, label in zip(texts, labels, strict=True) if label == "medicine"}
    assert set(rows_of(told).filter(origin="found")["text"]) <= {*medical, SECRET}
    candidates = told.store.read("found_texts", at)
    assert candidates.height == 40 * candidates["sample_id"].n_unique()
    every = pl.concat([rows_of(told).select("sample_id"), refused.select("sample_id")]).height
    assert every == candidates.height + told.store.read("decoded_texts", at).height


@pytest.mark.parametrize("older", ["decoded_texts", "found_texts"])
def test_candidates_of_an_older_version_were_sampled(
    told: Home, tmp_path: Path, older: str
) -> None:
    home, at = copy_of(told, tmp_path), {"label": "medicine", "run": "r1"}
    tables = [Table(home.store, name) for name in ("decoded_texts", "found_texts")]
    expected = candidates_of(*tables, **at)
    home.store.write(older, home.store.read(older, at).drop("log_probability"), at)
    found = candidates_of(*tables, **at)
    assert found["log_probability"].null_count() == found.height
    assert found.select(expected.columns).equals(expected)


def test_found_rows_are_judged_alone_and_named_where_people_look(told: Home) -> None:
    arms = set(told.store.read("evaluation", {"run": "r1"})["arm"])
    assert {"smotext", "found"} <= arms
    assert "smotext_found" not in arms  # they are among the rows
    n = told.query("SELECT count(*) FROM synthetic_texts WHERE origin = 'found'")[0][0]
    card = told.store.read_bytes("dataset_card/r1.md").decode()
    assert f"{n} of them are real texts that somebody wrote" in card
    assert "\\--found 40" in card or "--found 40" in card


def test_a_run_with_found_rows_stays_as_it_is(told: Home, tmp_path: Path) -> None:
    home = copy_of(told, tmp_path)
    files = home.files(without=["dataset_card"])
    assert home.main("run", "--run", "r1") == 0
    assert home.files(without=["dataset_card"]) == files


def test_a_forgotten_unlabelled_text_leaves_nothing(told: Home, tmp_path: Path) -> None:
    home = copy_of(told, tmp_path)
    before = home.store.read("unlabelled_texts")
    (id_,) = before.filter(text=SECRET)["document_id"]
    candidates = home.store.read("found_texts", {"label": "medicine", "run": "r1"})
    assert id_ in set(candidates["found_id"])
    assert home.main("forget", id_) == 0
    assert home.store.read("unlabelled_texts").height == before.height - 1
    for path in sorted(home.folder.rglob("*")):
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path, hive_partitioning=False)
            for column in ("text", "found_id"):
                if column in frame.columns:
                    values = frame[column].drop_nulls()
                    assert not values.str.contains("zanzibar").any(), path
                    assert column == "text" or id_ not in set(values), path
        elif path.is_file():
            assert b"zanzibar" not in path.read_bytes(), path


def test_found_rows_of_nothing_are_an_error_that_says_what_to_do(
    finished: Home, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)
    assert home.main("run", "--run", "r1", "--found", "5") != 0
    assert "--found needs unlabelled texts: name some with --unlabelled" in capfd.readouterr().err
    assert home.main("run", "--run", "r1", "--found", "-1") != 0
    assert "--found: Input should be greater than or equal to 0" in capfd.readouterr().err
    asked = {"ops": {"found_texts": {"config": {"n_nearest": 5}}}}
    result = home.materialize(
        corpus, ["found_texts"], partition_key="medicine|r1", run_config=asked
    )
    (reason,) = failures(result).values()
    assert "found rows need unlabelled texts, and there are none: name a corpus with" in reason


def test_a_corpus_without_unlabelled_texts_takes_the_older_ones_away(
    told: Home,
    corpus: Path,
    unlabelled: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    home = copy_of(told, tmp_path)
    capfd.readouterr()
    again = ("--unlabelled", str(unlabelled), "--found", "--totals", "medicine=9")
    assert home.main("run", str(corpus), "--run", "r3", *again) == 0
    said = capfd.readouterr().err
    assert "texts.csv: CSV with commas, utf-8; text in 'text'" in " ".join(said.split())
    assert "91 unlabelled passages" in said
    assert home.main("run", str(corpus), "--run", "r2") == 0
    assert home.store.read("unlabelled_texts").is_empty()
    rows = home.store.read_all("synthetic_table", {"run": "r2"}, schema=SYNTHETIC_TEXTS)
    assert set(rows["origin"]) == {"decoded"}
