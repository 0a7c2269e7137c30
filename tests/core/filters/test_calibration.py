from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smotext_core.filters import calibration, label_classifier
from smotext_core.schemas import CALIBRATION
from smotext_core.xrag.search import Candidates
from tests.fakes import FakeGenerator, fake_corpus


def labelled(n: int, *, rare: int) -> pl.DataFrame:
    rows = [(f"{i:03}", f"h{i * 7 % (n + rare):03}", "big") for i in range(n)]
    rows += [(f"{i:03}", f"h{i * 7 % (n + rare):03}", "rare") for i in range(n, n + rare)]
    frame = pl.DataFrame(rows, schema=["text_id", "content_hash", "label"], orient="row")
    return frame.with_columns(pl.lit("holdout").alias("split"), document_id=pl.col("text_id"))


def test_calibration_texts_take_labels_in_turn_and_no_train_text() -> None:
    texts = labelled(40, rare=4)
    train = texts.with_columns(pl.lit("train").alias("split"), pl.lit("a").alias("content_hash"))
    chosen = calibration.calibration_texts(pl.concat([train, texts]), n=10)
    assert chosen["split"].unique().to_list() == ["holdout"]
    assert chosen["label"].to_list() == ["big", "rare"] * 4 + ["big"] * 2
    shuffled = calibration.calibration_texts(texts.sample(fraction=1, shuffle=True, seed=1), n=10)
    assert shuffled.equals(chosen)
    assert calibration.calibration_texts(texts, n=0).is_empty()


def decoded(n: int, cosines: np.ndarray) -> tuple[Candidates, np.ndarray]:
    """Candidates at the given cosine to their vectors, which are orthogonal."""
    vectors = np.eye(n, 2 * n, dtype=np.float32)
    beside = np.eye(n, 2 * n, k=n, dtype=np.float32)
    rows = cosines[:, None] * vectors + np.sqrt(1 - cosines[:, None] ** 2) * beside
    texts = [["a text"]] * n
    return Candidates(texts, cosines[:, None].astype(np.float32), rows[:, None]), vectors


def test_calibrate_round_trip_refuses_one_in_twenty() -> None:
    cosines = np.linspace(0.4005, 0.8005, 41)  # the 5 % quantile is the third
    found, vectors = decoded(41, cosines)
    documents, labels = [str(i) for i in range(41)], ["a", *["b"] * 40]
    frame = calibration.calibrate_round_trip(found, vectors, documents, labels)
    assert frame.schema == CALIBRATION
    assert frame.row(0) == ("round_trip_cosine", None, 0.42, 39 / 41, 0.0, 41, 80)
    assert calibration.threshold_of(frame) == 0.42


def test_calibrate_round_trip_tells_how_many_strangers_pass() -> None:
    found, _ = decoded(20, np.full(20, 0.5))
    same = np.tile(np.eye(1, 40, dtype=np.float32), (20, 1))  # a generator that ignores its vector
    alike = found._replace(embeddings=same[:, None])
    documents, labels = [str(i) for i in range(20)], ["a", "b"] * 10
    row = calibration.calibrate_round_trip(alike, same, documents, labels).row(0, named=True)
    assert (row["own_passing"], row["others_passing"], row["n_others"]) == (1.0, 1.0, 200)
    alone = calibration.calibrate_round_trip(alike, same, documents, ["a"] * 20)
    assert alone.row(0, named=True)["others_passing"] is None
    one = calibration.calibrate_round_trip(alike, same, ["d"] * 20, labels)
    assert one.row(0, named=True)["n_others"] == 0


def test_calibrate_round_trip_needs_rows() -> None:
    found, vectors = decoded(19, np.full(19, 0.5))
    names = [str(i) for i in range(19)]
    assert calibration.threshold_of(
        calibration.calibrate_round_trip(found, vectors, names, names)
    ) is None  # fmt: skip
    with pytest.raises(ValueError, match="19 texts, 19 vectors, 18 documents"):
        calibration.calibrate_round_trip(found, vectors, names[1:], names)


def topics(seed: int = 0) -> tuple[np.ndarray, list[str], list[str]]:
    counts = {"astronomy": 120, "cooking": 40, "medicine": 20, "banking": 4}
    texts, labels = fake_corpus(counts, seed=seed)
    return FakeGenerator().encode(texts), labels, [f"d{i:03}" for i in range(len(texts))]


def test_calibrate_labels_passes_nine_in_ten_and_few_others() -> None:
    frame = calibration.calibrate_labels(*topics())
    assert frame["label"].to_list() == ["astronomy", "banking", "cooking", "medicine"]
    assert frame["n_own"].to_list() == [120, 4, 40, 20]
    assert frame["threshold"].is_null().to_list() == [False, True, False, False]  # four are too few
    told = frame.drop_nulls("threshold")
    assert (told["others_passing"] <= 0.06).all()  # 5 %, and the row that is the quantile
    assert (told["own_passing"] >= 0.85).all()
    assert frame.equals(calibration.calibrate_labels(*topics()))
    assert calibration.threshold_of(frame, "banking") is None
    assert calibration.threshold_of(frame, "no such label") is None


def test_calibrate_labels_judges_texts_the_classifier_did_not_see() -> None:
    """Labels drawn at random: nobody can tell them, and a classifier that saw them could."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(120, 64)).astype(np.float32)
    labels = ["a", "b"] * 60
    row = calibration.calibrate_labels(rows, labels, [str(i) for i in range(120)])
    assert (row["own_passing"] < 0.2).all()
    # Passages of one document are judged together: copies under one id give nothing away.
    twice = np.concatenate([rows, rows])
    ids = [str(i) for i in range(120)] * 2
    copies = calibration.calibrate_labels(twice, labels * 2, ids)
    assert (copies["own_passing"] < 0.2).all()


def test_calibrate_labels_asks_for_more_than_knowing_nothing() -> None:
    """One in seven of a rare label's texts lies among another label's: both quantiles are low."""
    rng = np.random.default_rng(0)
    axes = [0] * 600 + [1] * 600 + [2] * 36 + [1] * 6
    rows = np.eye(4, dtype=np.float32)[axes] + 0.02 * rng.normal(size=(1242, 4)).astype(np.float32)
    labels = ["a"] * 600 + ["b"] * 600 + ["rare"] * 42
    documents = [str(i) for i in rng.permutation(1242)]
    frame = calibration.calibrate_labels(rows, labels, documents)
    rare = frame.row(2, named=True)
    assert rare["threshold"] == 0.333
    assert rare["own_passing"] == pytest.approx(36 / 42)
    assert rare["others_passing"] == 0


def test_calibrate_labels_keeps_lone_documents_in_training() -> None:
    rows, labels, _ = topics()
    two = [label if label == "astronomy" else "rest" for label in labels]
    documents = ["one" if label == "rest" else f"d{i}" for i, label in enumerate(two)]
    frame = calibration.calibrate_labels(rows, two, documents)
    assert frame["n_own"].to_list() == [120, 0]
    assert frame["threshold"].null_count() == 2
    with pytest.raises(ValueError, match="184 rows, 183 labels"):
        calibration.calibrate_labels(rows, labels[1:], documents)


def test_competence_is_the_share_nearer_than_another_label_s_text() -> None:
    # Ten texts of each label lie in pairs, one of each, at a cosine of .6.
    vectors = np.repeat(np.eye(10, 20, dtype=np.float32), 2, axis=0)
    vectors[1::2] = 0.6 * vectors[1::2] + 0.8 * np.eye(10, 20, k=10, dtype=np.float32)
    labels, documents = ["a", "b"] * 10, [str(i) for i in range(20)]
    cosines = np.where(np.arange(20) < 13, 0.7, 0.5).astype(np.float32)
    found = Candidates([["a text"]] * 20, cosines[:, None], vectors[:, None])
    frame = calibration.calibrate_round_trip(found, vectors, documents, labels)
    assert frame["measure"].to_list() == ["round_trip_cosine", "competence"]
    assert calibration.competence_of(frame) == 13 / 20
    assert frame.row(1) == ("competence", None, 0.5, 0.65, None, 20, 0)
    assert calibration.threshold_of(frame) == 0.5  # that of the round trip
    # with one label, or one document, there is nothing to be nearer than
    for names in (["a"] * 20, labels):
        of_one = documents if names[1] == "a" else ["d"] * 20
        alone = calibration.calibrate_round_trip(found, vectors, of_one, names)
        assert calibration.competence_of(alone) is None


def test_calibration_texts_take_a_text_of_several_labels_once() -> None:
    rows = [("d#0", "d", "h", "a"), ("d#1", "d", "h", "b"), ("e", "e", "i", "b")]
    texts = pl.DataFrame(
        rows, schema=["text_id", "document_id", "content_hash", "label"], orient="row"
    ).with_columns(pl.lit("test").alias("split"))
    chosen = calibration.calibration_texts(texts, n=10)
    assert chosen.select("document_id", "labels").rows() == [("d", ["a", "b"]), ("e", ["b"])]


def test_calibrate_round_trip_knows_a_text_of_several_labels_as_no_stranger() -> None:
    found, _ = decoded(20, np.full(20, 0.5))
    same = np.tile(np.eye(1, 40, dtype=np.float32), (20, 1))
    alike = found._replace(embeddings=same[:, None])
    documents, labels = [str(i) for i in range(20)], [["a"], ["b"]] * 9 + [["a", "b"]] * 2
    row = calibration.calibrate_round_trip(alike, same, documents, labels).row(0, named=True)
    assert row["n_others"] == 2 * 9 * 9  # the last two share a label with every text


def test_calibrate_labels_of_texts_with_two_labels_counts_none_as_another_s() -> None:
    rows, labels, documents = topics()
    both = [n for n, label in enumerate(labels) if label == "medicine"]
    # every text of medicine is one of surgery, too
    rows = np.concatenate([rows, rows[both]])
    labels = [*labels, *["surgery"] * len(both)]
    documents = [*documents, *(documents[n] for n in both)]
    frame = calibration.calibrate_labels(rows, labels, documents)
    own = {row["label"]: row for row in frame.iter_rows(named=True)}
    for label in ("medicine", "surgery"):
        assert own[label]["n_own"] == len(both)
        assert own[label]["n_others"] == len(set(documents)) - len(both)
        # seen in training under the other label, it would be told by heart: at most a half is left
        assert own[label]["own_passing"] >= 0.85
        assert own[label]["others_passing"] <= 0.1
    folds = calibration._folds(labels, documents)
    of = dict(zip(documents, folds, strict=True))
    assert [of[document] for document in documents] == folds.tolist()


def test_calibrate_labels_judges_by_the_classifier_that_will_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(4, 8)), 25, axis=0) + 0.4 * rng.normal(size=(100, 8))
    labels = [f"l{row // 25}" for row in range(100)]
    # both documents of l3 are also of l0, in whose first fold they are: without it l3 is unknown
    documents = [f"d{row:02}" for row in range(75)] + ["d00", "d05"] * 12 + ["d00"]
    asked = []

    def fit(*given: Any, n_labels: int) -> label_classifier.LabelClassifier:
        asked.append((len(set(given[1])), n_labels))
        return label_classifier.fit_label_classifier(*given, n_labels=n_labels)

    monkeypatch.setattr(calibration, "fit_label_classifier", fit)
    calibration.calibrate_labels(rows.astype(np.float32), labels, documents)
    assert (3, 4) in asked
    assert {n for _, n in asked} == {4}


def test_fit_label_classifier_takes_the_kind_of_the_whole_corpus() -> None:
    rows = np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)
    labels = [f"l{row % 4}" for row in range(40)]
    few = label_classifier.fit_label_classifier(rows, labels)
    many = label_classifier.fit_label_classifier(rows, labels, n_labels=4)
    part = label_classifier.fit_label_classifier(
        rows, labels, n_labels=label_classifier.MOST_REGRESSED + 1
    )
    np.testing.assert_array_equal(few.weights, many.weights)
    assert np.abs(part.weights - few.weights).max() > 0.1


def test_calibrate_labels_says_the_same_of_labels_in_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, labels, documents = topics()
    whole = calibration.calibrate_labels(rows, labels, documents)
    monkeypatch.setattr(calibration, "SCORES_AT_ONCE", 1)
    assert_frame_equal(calibration.calibrate_labels(rows, labels, documents), whole)
