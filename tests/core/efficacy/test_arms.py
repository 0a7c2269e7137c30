"""The arms: as many rows each, of the subsample's own texts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from smotext_core.efficacy.advice import verdicts
from smotext_core.efficacy.arms import designs, edited_rows, subsample
from smotext_core.efficacy.evaluation import (
    ARMS,
)
from smotext_core.efficacy.word_edits import edit_texts
from smotext_core.xrag.encoder import read_embedder
from tests.core.efficacy.planted import as_synthetic, make_rows, run_with, vectors_of, verdict
from tests.tiny import write_encoder


def planned(corpus, n_made: int):
    """What each arm trains on: (seed, head, arm) → rows of features, codes, weights."""
    fresh = make_rows(n_made, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    edited = edited_rows(corpus["train"], synthetic, seed=0)
    texts = [*corpus["train"]["text"], *fresh["text"], *edited["text"], *corpus["test"]["text"]]
    # A row's only feature that is not zero is its number, so a fit shows which rows it had.
    pool = np.arange(1, len(texts) + 1, dtype=np.float32)[:, None] * np.ones(2, dtype=np.float32)
    found = {
        (number, arm): (np.rint(fitted[0][:, 0]).astype(int) - 1, fitted[1], fitted[2])
        for number, head, arm, fitted, *_ in designs(
            corpus["train"], corpus["test"], synthetic, edited, {}, {"embedding": pool},
            labels=["common", "rare"], run="r", n_seeds=2, seed=0,
        )
        if head == "embedding"
    }  # fmt: skip
    return found, synthetic, edited


def test_designs_add_as_many_rows_a_label_in_every_arm(corpus):
    found, synthetic, _ = planned(corpus, 60)
    for number in range(2):
        counts = {}
        for arm in ARMS:
            _, y, weights = found[number, arm]
            counts[arm] = np.bincount(y, weights=weights, minlength=2).tolist()
        real = np.bincount(found[number, "real"][1], minlength=2)
        added = counts["smotext"][1] - real[1]
        assert 0 < added < synthetic.height  # those whose parent is in the subsample
        for arm in ("oversample", "smote", "word_edits", "smotext"):
            assert counts[arm] == [real[0], real[1] + added]
        assert counts["smotext_word_edits"] == [real[0], real[1] + 2 * added]
        assert counts["smotext_alone"] == [real[0], added]
        for arm in ("class_weight", "smotext_class_weight"):
            np.testing.assert_allclose(counts[arm], sum(counts[arm]) / 2)
        rows = max(real.sum(), added)  # of mixup, each of them with the two codes' shares
        assert sum(counts["mixup"]) == pytest.approx(real.sum() + rows)


def test_designs_alone_have_no_real_row_of_the_augmented_labels(corpus):
    found, _, _ = planned(corpus, 60)
    n_train = corpus["train"].height
    for number in range(2):
        rows, y, _ = found[number, "smotext_alone"]
        assert (rows[y == 1] >= n_train).all()
        assert set(rows[y == 0]) == {r for r in found[number, "real"][0] if r >= 6}


def test_designs_edit_texts_of_the_subsample_alone(corpus):
    named = pl.col("text") + " " + pl.col("text_id")  # a word of its own in every text
    corpus = {**corpus, "train": corpus["train"].with_columns(text=named)}
    found, synthetic, edited = planned(corpus, 60)
    begin = corpus["train"].height + synthetic.height
    ids = corpus["train"]["text_id"].to_list()
    for number in range(2):
        real = {ids[int(row)] for row in found[number, "real"][0]}
        chosen = [int(row) - begin for row in found[number, "word_edits"][0] if row >= begin]
        assert chosen
        assert {edited["source"][row] for row in chosen} <= real
        texts = corpus["train"].filter(pl.col("text_id").is_in(sorted(real)))["text"]
        words = {word for text in texts for word in text.split()}
        assert {word for row in chosen for word in edited["inserted"][row]} <= words
        strange = set(edited["inserted"].explode().drop_nulls()) - words
        assert strange  # an edit that knew left-out texts was there to be taken


def test_edit_texts_repeats_itself_and_keeps_the_words_of_its_texts():
    texts = ["one two three four five six", "seven eight nine ten", "alone"]
    edited, sources, inserted = edit_texts(texts, 30, label="a", seed=1)
    assert (edited, sources, inserted) == edit_texts(texts, 30, label="a", seed=1)
    assert edited != edit_texts(texts, 30, label="a", seed=2).texts
    assert edited[:10] == edit_texts(texts, 10, label="a", seed=1).texts
    assert sources == [0, 1, 2] * 10
    known = {word for text in texts for word in text.split()}
    assert all(set(text.split()) <= known for text in edited)
    assert all(text == "alone" for text in edited[2::3])
    lengths = {len(text.split()) for text in edited[::3]}
    assert lengths == {5, 6, 7}  # deletion, swap, insertion
    longer = [row for row in range(30) if len(edited[row].split()) > len(texts[row % 3].split())]
    assert longer == [row for row in range(30) if inserted[row]]
    for row in longer:
        assert sorted(edited[row].split()) == sorted([*texts[row % 3].split(), *inserted[row]])
    assert edit_texts([], 3, label="a", seed=0) == ([], [], [])


def test_evaluate_with_another_encoder_has_its_head(corpus, tmp_path):
    other = read_embedder(str(write_encoder(tmp_path / "encoder")))
    fresh = make_rows(20, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    found = run_with(
        corpus, synthetic, vectors_of(fresh, seed=6), n_seeds=1, other_encode=other.encode
    )
    assert set(found.filter(pl.col("head") == "other_encoder")["arm"]) == set(ARMS)
    assert verdicts(found).columns == ["label", "embedding", "tfidf", "other_encoder", "advice"]


def test_evaluate_without_encode_has_no_word_edits(corpus):
    fresh = make_rows(20, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    found = run_with(corpus, synthetic, vectors_of(fresh, seed=6), n_seeds=1, encode=None)
    assert set(found["arm"]) == set(ARMS) - {"word_edits", "smotext_word_edits"}


def test_evaluate_gives_other_rows_arms_of_their_own(corpus):
    fresh = make_rows(60, 0, prefix="new", seed=5)
    found = as_synthetic(fresh, corpus["train"], label="rare")
    noise = as_synthetic(make_rows(0, 60, prefix="x", seed=7), corpus["train"], label="rare")
    table = run_with(
        corpus, noise, vectors_of(make_rows(0, 60, prefix="x", seed=7), seed=8),
        others={"found": (found, vectors_of(fresh, seed=6))},
    )  # fmt: skip
    assert verdict(table, "embedding", "smotext", "macro_f1", None) != "helps"
    assert verdict(table, "embedding", "found", "macro_f1", None) == "helps"
    assert set(table["arm"]) == {*ARMS, "found", "smotext_found"}
    stranger = found.with_columns(parent_ids=pl.Series([["nobody"]] * 60))
    with pytest.raises(ValueError, match="such as 'nobody'"):
        run_with(corpus, noise, vectors_of(fresh, seed=6),
                 others={"found": (stranger, vectors_of(fresh, seed=6))})  # fmt: skip


def test_subsample_keeps_or_leaves_a_document_with_all_its_labels():
    # of 30 documents all are of a, two in three also of b, the first of c alone beside
    of = {"a": range(30), "b": range(10, 30), "c": [0]}
    rows = [(str(n), label) for label, documents in of.items() for n in documents]
    train = pl.DataFrame(rows, schema=["document_id", "label"], orient="row")
    for number in range(20):
        kept = train.filter(subsample(train, list(of), seed=0, number=number))
        left = train.filter(~subsample(train, list(of), seed=0, number=number))
        assert not set(kept["document_id"]) & set(left["document_id"])
        assert set(kept["label"]) == set(of)
        assert (kept["label"] == "a").sum() in (24, 25)  # 80 %, and what c cannot do without
