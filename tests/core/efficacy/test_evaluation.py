"""Differences to real rows with their intervals, on a corpus where the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, f1_score

from smotext_core.efficacy.advice import verdicts
from smotext_core.efficacy.evaluation import (
    ARMS,
    FEW_ROWS,
    METRICS,
    evaluate,
    predict,
    scores,
)
from smotext_core.schemas import EVALUATION
from tests.core.efficacy.planted import (
    DIMENSION,
    as_synthetic,
    encode,
    make_rows,
    run_with,
    vectors_of,
    verdict,
)


@pytest.mark.parametrize("n_labels", [4, 80])
def test_scores_agree_with_scikit_learn(n_labels):
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, n_labels - 1, 50), rng.integers(0, n_labels, 50)
    weights = rng.integers(0, 4, (5, 50)).astype(np.float64)
    weights[0] = 1
    found = scores(truth, predicted, weights, n_labels=n_labels)
    there = sorted(set(truth.tolist()))
    for row, counts in zip(found, weights, strict=True):
        true = sorted(set(truth[counts > 0].tolist()))
        f1 = [
            f1_score(truth, predicted, labels=true, average=average, sample_weight=counts)
            for average in ("macro", "weighted", None)
        ]
        accuracy = accuracy_score(truth, predicted, sample_weight=counts)
        np.testing.assert_allclose(row[:3], [accuracy, f1[0], f1[1]], rtol=1e-12)
        np.testing.assert_allclose(row[3:][true], f1[2], rtol=1e-12)
        assert np.isnan(row[3:][sorted({*range(n_labels)} - set(there))]).all()  # never true


def test_scores_golden_values():
    # two of label 0 (one found), two of label 1 (both found, one too many)
    found = scores(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.ones((1, 4)), n_labels=2)
    np.testing.assert_allclose(found, [[0.75, (2 / 3 + 0.8) / 2, (2 / 3 + 0.8) / 2, 2 / 3, 0.8]])


def test_evaluate_finds_planted_help(helped):
    for head in ("embedding", "tfidf"):
        assert verdict(helped, head, "smotext", "f1", "rare") == "helps"
        assert verdict(helped, head, "smotext", "macro_f1", None) != "hurts"


def test_evaluate_finds_planted_harm(corpus):
    # rows of the common class under the rare label, enough to outnumber it
    fresh = make_rows(0, 200, prefix="new", seed=7)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    found = run_with(corpus, synthetic, vectors_of(fresh, seed=8))
    for head in ("embedding", "tfidf"):
        assert verdict(found, head, "smotext", "f1", "common") == "hurts"


def test_evaluate_gives_copies_no_more_than_duplicates(corpus):
    rare = corpus["train"]["label"] == "rare"
    originals = corpus["train"].filter(rare)
    synthetic = as_synthetic(pl.concat([originals] * 9), corpus["train"], label="rare")
    copies = np.tile(corpus["train_embeddings"][rare.to_numpy()], (9, 1))
    found = run_with(corpus, synthetic, copies)
    value = {
        (row["head"], row["arm"]): row["value"]
        for row in found.filter(pl.col("metric") == "accuracy").iter_rows(named=True)
    }
    for head in ("embedding", "tfidf"):
        assert verdict(found, head, "smotext", "accuracy", None) != "hurts"
        assert abs(value[head, "smotext"] - value[head, "oversample"]) < 0.05


def test_evaluate_is_a_table_of_every_head_arm_and_metric(helped):
    assert helped.schema == EVALUATION
    assert set(zip(helped["head"], helped["arm"], strict=True)) == {
        *(("embedding", arm) for arm in ARMS),
        *(("tfidf", arm) for arm in ARMS if arm not in ("smote", "mixup")),
    }
    keys = helped.select("head", "arm", "metric", "label")
    assert keys.is_unique().all()
    assert set(helped["metric"]) == {*METRICS, "f1"}
    assert helped["value"].is_between(0, 1).all()
    real = helped.filter(pl.col("arm") == "real")
    assert real.select("difference", "low", "high", "verdict").null_count().row(0) == (10,) * 4
    others = helped.filter(pl.col("arm") != "real")
    assert (others["low"] <= others["difference"] + 1e-12).all()
    assert (others["high"] >= others["difference"] - 1e-12).all()


def test_evaluate_pairs_differences_with_real(helped):
    values = helped.pivot("arm", index=["head", "metric", "label"], values="value")
    rows = helped.filter(pl.col("arm") == "smotext").join(
        values, on=["head", "metric", "label"], nulls_equal=True
    )
    np.testing.assert_allclose(rows["difference"], rows["smotext"] - rows["real"], atol=1e-12)


def test_evaluate_repeats_itself_and_follows_the_seed(corpus, helped):
    fresh = make_rows(60, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    again = run_with(corpus, synthetic, vectors_of(fresh, seed=6))
    assert again.equals(helped)
    assert not run_with(corpus, synthetic, vectors_of(fresh, seed=6), seed=1).equals(helped)


def test_evaluate_drops_rows_whose_parents_the_subsample_left_out(corpus):
    # Every synthetic row needs all six rare texts, of which a subsample keeps four: none remains.
    fresh = make_rows(60, 0, prefix="new", seed=5)
    everyone = corpus["train"].filter(pl.col("label") == "rare")["text_id"].to_list()
    synthetic = as_synthetic(fresh, corpus["train"], label="rare").with_columns(
        parent_ids=pl.Series([everyone] * 60)
    )
    found = run_with(corpus, synthetic, vectors_of(fresh, seed=6))
    differences = found.filter(
        pl.col("arm").is_in(("oversample", "smote", "word_edits", "smotext", "smotext_alone"))
    )
    assert (differences["difference"] == 0).all()
    assert set(differences["verdict"]) == {"no evidence"}


def test_evaluate_without_synthetic_rows_has_no_arm_smotext(corpus):
    none = as_synthetic(make_rows(0, 0, prefix="new", seed=0), corpus["train"], label="rare")
    found = run_with(corpus, none, np.empty((0, DIMENSION), dtype=np.float32), n_seeds=1)
    assert set(found["arm"]) == {"real", "class_weight", "oversample", "smote", "mixup"}
    assert verdicts(found).is_empty()


def test_evaluate_leaves_out_f1_of_a_label_without_test_rows(corpus):
    only_common = corpus["test"]["label"] == "common"
    part = {
        **corpus,
        "test": corpus["test"].filter(only_common),
        "test_embeddings": corpus["test_embeddings"][only_common.to_numpy()],
    }
    none = as_synthetic(make_rows(0, 0, prefix="new", seed=0), corpus["train"], label="rare")
    found = run_with(part, none, np.empty((0, DIMENSION), dtype=np.float32), n_seeds=1)
    assert set(found.filter(pl.col("metric") == "f1")["label"]) == {"common"}
    wide = found.filter(pl.col("arm") == "real", pl.col("head") == "tfidf")
    macro = wide.filter(pl.col("metric") == "macro_f1")["value"].item()
    assert macro == wide.filter(pl.col("metric") == "f1")["value"].item()


def test_evaluate_survives_labels_of_one_document_and_texts_without_words():
    rows = make_rows(1, 1, prefix="a", seed=1).with_columns(text=pl.Series(["!!! ???", "…"]))
    test = make_rows(1, 1, prefix="b", seed=2)
    synthetic = as_synthetic(make_rows(3, 0, prefix="c", seed=3), rows, label="rare")
    found = evaluate(
        rows, vectors_of(rows, seed=1), test, vectors_of(test, seed=2),
        synthetic, np.ones((3, DIMENSION), dtype=np.float32), run="r", n_seeds=1,
    )  # fmt: skip
    assert not found["value"].is_nan().any()


def test_evaluate_refuses_leaks_and_misfits(corpus):
    none = as_synthetic(make_rows(0, 0, prefix="new", seed=0), corpus["train"], label="rare")
    no_vectors = np.empty((0, DIMENSION), dtype=np.float32)
    stranger = pl.DataFrame({"text": ["x"], "label": ["rare"], "parent_ids": [["test0"]]})
    with pytest.raises(ValueError, match="parents are not among them, such as 'test0'"):
        run_with(corpus, stranger, np.ones((1, DIMENSION), dtype=np.float32))
    with pytest.raises(ValueError, match=r"synthetic needs one vector a row: 1 rows"):
        run_with(corpus, stranger.with_columns(parent_ids=pl.Series([["train0"]])), no_vectors)
    leaky = {**corpus, "test": corpus["train"], "test_embeddings": corpus["train_embeddings"]}
    with pytest.raises(ValueError, match="must not share documents; 66 are in both"):
        run_with(leaky, none, no_vectors)
    with pytest.raises(ValueError, match="needs two labels in train, got"):
        run_with(
            {**corpus, "train": corpus["train"].with_columns(label=pl.lit("rare"))},
            none,
            no_vectors,
        )
    with pytest.raises(ValueError, match="no test rows"):
        run_with({**corpus, "test": corpus["test"].clear()}, none, no_vectors)
    broken = np.full_like(corpus["train_embeddings"], np.nan)
    with pytest.raises(ValueError, match="NaN or infinity"):
        run_with({**corpus, "train_embeddings": broken}, none, no_vectors)
    with pytest.raises(ValueError, match="n_seeds must be at least 1, got 0"):
        run_with(corpus, none, no_vectors, n_seeds=0)


def test_evaluation_imports_no_heavy_library():
    source = Path(evaluate.__code__.co_filename).read_text(encoding="utf-8")
    top = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert not [line for line in top if "sklearn" in line or "matplotlib" in line]


def test_predict_of_many_rows_agrees_with_that_of_few(corpus, monkeypatch):
    """Both solvers fit one model: what differs is where scikit-learn stops too early."""
    fresh = make_rows(60, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")

    def found(few_rows):
        monkeypatch.setattr("smotext_core.efficacy.evaluation.FEW_ROWS", few_rows)
        return predict(
            corpus["train"], corpus["train_embeddings"], corpus["test"], corpus["test_embeddings"],
            synthetic, vectors_of(fresh, seed=6),
            labels=["common", "rare"], run="r1", n_seeds=4, seed=0, encode=encode,
        )  # fmt: skip

    few, many = found(10_000), found(10)
    assert few.keys() == many.keys()
    agree = [np.mean(np.stack(few[key]) == np.stack(many[key])) for key in few]
    assert min(agree) > 0.9
    assert np.mean(agree) > 0.97
    again = found(10)
    assert all(np.array_equal(many[key], again[key]) for key in many)


def test_predict_leaves_few_rows_to_scikit_learn(corpus, monkeypatch):
    """The published figures are of fewer rows than FEW_ROWS and must come out the same."""

    def refuse(*_, **__):
        raise AssertionError("a corpus this small is scikit-learn's")

    monkeypatch.setattr("smotext_core.efficacy.evaluation.fit_softmax", refuse)
    assert corpus["train"].height <= FEW_ROWS
    empty = as_synthetic(make_rows(0, 0, prefix="new", seed=5), corpus["train"], label="rare")
    run_with(corpus, empty, np.zeros((0, DIMENSION), dtype=np.float32))
    monkeypatch.setattr("smotext_core.efficacy.evaluation.FEW_ROWS", corpus["train"].height - 1)
    with pytest.raises(AssertionError, match="scikit-learn's"):
        run_with(corpus, empty, np.zeros((0, DIMENSION), dtype=np.float32))
