"""Corpora become labelled passages with their splits; what cannot be used has its reason."""

import os
import random
import re
from collections import defaultdict
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smotext_core.schemas import LABELLED_TEXTS, RAW_CORPUS, REJECTED_CORPUS
from smotext_core.texts.corpora import read_corpus
from smotext_core.texts.passages import label_texts


def corpus(rows):
    """Build a raw frame from (text, label) rows, with the row's number as document id."""
    named = [(str(i), text, label) for i, (text, label) in enumerate(rows)]
    return pl.DataFrame(named, schema=RAW_CORPUS, orient="row")


def distinct(label, n):
    """Make n distinct texts of a label."""
    return [(f"Text {label} {chr(97 + i // 26)}{chr(97 + i % 26)}x.", label) for i in range(n)]


def reasons(rejected):
    return dict(zip(rejected["document_id"], rejected["reason"], strict=True))


def test_label_texts_makes_passages_of_long_texts():
    long = "The first sentence is here. The second one follows it. The third ends it all."
    raw = corpus([(long, "a"), ("Short  and\nclean.", "a"), ("Other.", "b")])

    labelled, rejected = label_texts(raw, seed=0, max_words=6)

    assert labelled.schema == LABELLED_TEXTS
    assert rejected.schema == REJECTED_CORPUS
    assert rejected.is_empty()
    assert labelled.select("text_id", "document_id", "passage", "text").rows() == [
        ("0#0", "0", 0, "The first sentence is here."),
        ("0#1", "0", 1, "The second one follows it."),
        ("0#2", "0", 2, "The third ends it all."),
        ("1", "1", 0, "Short and clean."),
        ("2", "2", 0, "Other."),
    ]
    # sha256 of "Other."
    assert labelled["content_hash"][-1].startswith("053a32f025d58ba6")


def test_label_texts_refuses_fragments_and_what_is_not_prose():
    text = "Six words make up this one. Yes. " + "So do six words right here. " + "\n\n1 2 3 4 5 6."
    raw = corpus([(text, "a"), ("Ok", "a"), ("😀", "a"), ("(!)", "a"), ("1234", "b"), ("b", "b")])

    labelled, rejected = label_texts(raw, seed=0, max_words=6)

    assert labelled["text_id"].to_list() == ["0#0", "0#2", "1", "5"]
    not_prose = "not prose: letters are fewer than half of its characters"
    assert rejected.rows() == [
        (0, "0", "Yes.", "a", "fewer than 4 words"),
        (0, "0", "1 2 3 4 5 6.", "a", not_prose),
        (2, "2", "😀", "a", not_prose),
        (3, "3", "(!)", "a", not_prose),
        (4, "4", "1234", "b", not_prose),
    ]


def test_label_texts_gives_a_duplicate_to_the_rarer_label():
    rows = [("Same text!", "a"), ("same  TEXT", "b"), ("Same text!", "b"), *distinct("a", 5)]

    labelled, rejected = label_texts(corpus(rows), seed=0)

    assert labelled.filter(pl.col("label") == "b")["text_id"].to_list() == ["2"]
    assert reasons(rejected) == {"0": "duplicate of 2", "1": "duplicate of 2"}


def test_label_texts_refuses_a_passage_another_document_has():
    shared = "This is the passage they share."
    rows = [
        (f"Here the first one begins now. {shared}", "a"),
        (f"And here begins the other text. {shared}", "b"),
        (shared, "b"),
        *distinct("b", 2),
    ]

    labelled, rejected = label_texts(corpus(rows), seed=0, max_words=6)

    assert labelled.filter(pl.col("text") == shared)["text_id"].to_list() == ["0#1"]
    assert rejected.select("document_id", "text", "reason").rows() == [
        ("1", shared, "duplicate of 0#1"),
        ("2", shared, "duplicate of 0#1"),
    ]


def test_label_texts_keeps_every_class_whatever_its_name():
    labels = ("-1", "1", "a/b", "A|B")  # texts that differ in no more than signs would be one
    rows = [(t, label) for n, label in enumerate(labels) for t, _ in distinct(f"no{n}", 2)]

    labelled, rejected = label_texts(corpus(rows), seed=0)

    assert dict(labelled["label"].value_counts().rows()) == {"-1": 2, "1": 2, "a/b": 2, "A|B": 2}
    assert labelled["slug"].n_unique() == 4
    assert rejected.is_empty()


def test_label_texts_keeps_text_ids_apart():
    long = "Four words are here. Four words are there."
    raw = pl.DataFrame(
        [("a", long, "x"), ("a#0", "Something else.", "x"), ("a#0#0", "More.", "y")],
        schema=RAW_CORPUS,
        orient="row",
    )

    labelled, _ = label_texts(raw, seed=0, max_words=4)

    assert labelled["text_id"].to_list() == ["a#0", "a#0#0", "a#1", "a#0#0#0"]


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, (1, 0, 0)), (2, (2, 0, 0)), (3, (2, 1, 0)), (4, (2, 1, 1)), (5, (3, 1, 1)),
        (10, (6, 2, 2)), (20, (14, 3, 3)), (100, (70, 15, 15)),
    ],
)  # fmt: skip
def test_label_texts_counts_of_splits(n, expected):
    labelled, _ = label_texts(corpus([*distinct("a", n), *distinct("b", 9)]), seed=0)

    splits = labelled.filter(pl.col("label") == "a")["split"].to_list()
    assert tuple(splits.count(split) for split in ("train", "test", "holdout")) == expected


def test_label_texts_always_leaves_a_text_to_train_on():
    raw = corpus([*distinct("a", 3), *distinct("b", 4)])

    labelled, _ = label_texts(raw, seed=0, test_fraction=0.49, holdout_fraction=0.5)
    no_test, _ = label_texts(raw, seed=0, test_fraction=0, holdout_fraction=0)

    assert set(labelled.filter(pl.col("split") == "train")["label"]) == {"a", "b"}
    assert set(no_test["split"]) == {"train"}


def test_label_texts_moves_few_documents_when_one_is_added():
    rows = [*distinct("a", 60), *distinct("b", 5)]
    before, _ = label_texts(corpus(rows), seed=3)
    after, _ = label_texts(corpus([*rows, ("A new text arrives.", "a")]), seed=3)

    both = before.join(after, on="document_id")
    assert both.height == 65
    assert (both["split"] != both["split_right"]).sum() <= 2


def test_label_texts_splits_by_seed():
    raw = corpus([*distinct("a", 40), *distinct("b", 40)])

    first, _ = label_texts(raw, seed=1)
    again, _ = label_texts(raw, seed=1)
    other, _ = label_texts(raw, seed=2)

    assert first.equals(again)
    assert first["split"].to_list() != other["split"].to_list()


def test_label_texts_refuses_one_class():
    with pytest.raises(ValueError, match=r"at least two labels; 3 texts leave \['a'\]"):
        label_texts(corpus(distinct("a", 3)), seed=0)
    with pytest.raises(ValueError, match=r"leave \['b'\]; refused: {'duplicate': 2}"):
        label_texts(corpus([("Same", "a"), ("same", "a"), ("Same", "b")]), seed=0)


def test_label_texts_refuses_bad_arguments():
    raw = corpus(distinct("a", 3))
    with pytest.raises(ValueError, match=r"sum to less than 1, not 0\.5 and 0\.5"):
        label_texts(raw, seed=0, test_fraction=0.5, holdout_fraction=0.5)
    with pytest.raises(ValueError, match="nulls, or rows of one document id that differ"):
        label_texts(pl.concat([raw, raw]), seed=0)


WORDS = st.sampled_from(
    ["red", "Red", "fish", "swims", "here.", "It", "is", "12", "é", "!", "\n\n"]
)
TEXTS = st.lists(WORDS, min_size=1, max_size=14).map(" ".join)
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(["a", "b", "c/d", "C|D"])), max_size=25)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 3), st.randoms(use_true_random=False))
def test_label_texts_loses_nothing_and_leaks_nothing(rows, seed, shuffler):
    raw = corpus([("Only in a.", "a"), ("Only in b.", "b"), *rows])

    labelled, rejected = label_texts(raw, seed=seed, max_words=5)

    assert set(labelled["document_id"]) | set(rejected["document_id"]) == set(raw["document_id"])
    assert labelled["text_id"].n_unique() == labelled.height
    splits = defaultdict(set)
    for text, document_id, split in labelled.select("text", "document_id", "split").iter_rows():
        splits[" ".join(re.findall(r"\w+", text.lower()))].add(split)
        splits[f"document {document_id}"].add(split)
    assert all(len(of_content) == 1 for of_content in splits.values())
    assert rejected.filter(pl.col("reason") == "").is_empty()

    order = list(range(raw.height))
    shuffler.shuffle(order)
    moved, moved_rejected = label_texts(raw[order], seed=seed, max_words=5)
    assert moved.equals(labelled)
    columns = ["document_id", "text", "label", "reason"]
    assert sorted(moved_rejected.select(columns).rows()) == sorted(rejected.select(columns).rows())

    renumbered = corpus(raw[order].select("text", "label").rows())
    columns = ["label", "text", "passage", "slug", "split"]
    by_text, _ = label_texts(renumbered, seed=seed, max_words=5)
    assert by_text.select(columns).sort(columns).equals(labelled.select(columns).sort(columns))


def of_several(rows):
    """Build a raw frame from (text, labels) rows: a row for each label, of one document."""
    named = [(f"d{i}", text, label) for i, (text, own) in enumerate(rows) for label in own]
    return pl.DataFrame(named, schema=RAW_CORPUS, orient="row")


def test_label_texts_makes_a_row_of_each_label_of_a_document():
    long = "The first sentence is here. The second one follows it."
    rows = [(long, ["b", "a"]), ("A short one.", "ab"), ("Only b.", "b"), ("More of b.", "b")]

    labelled, rejected = label_texts(of_several(rows), seed=0, max_words=6)

    columns = ["text_id", "document_id", "passage", "text", "label"]
    assert labelled.select(columns).rows() == [
        ("d0#2", "d0", 0, "The first sentence is here.", "a"),
        ("d0#3", "d0", 1, "The second one follows it.", "a"),
        ("d1#0", "d1", 0, "A short one.", "a"),
        ("d0#0", "d0", 0, "The first sentence is here.", "b"),
        ("d0#1", "d0", 1, "The second one follows it.", "b"),
        ("d1#1", "d1", 0, "A short one.", "b"),
        ("d2", "d2", 0, "Only b.", "b"),
        ("d3", "d3", 0, "More of b.", "b"),
    ]
    assert rejected.is_empty()


def test_label_texts_refuses_every_row_of_a_copied_or_unusable_document():
    rows = [("Same text!", "ab"), ("same  TEXT", "bc"), ("...", "ab"), *distinct("b", 3)]
    rows += distinct("a", 2)

    labelled, rejected = label_texts(of_several(rows), seed=0)

    # c is the rarest label, and d1 has it
    assert labelled.filter(pl.col("document_id") == "d1")["label"].to_list() == ["b", "c"]
    assert rejected.select("row", "document_id", "label").rows() == [
        (0, "d0", "a"), (1, "d0", "b"), (4, "d2", "a"), (5, "d2", "b"),
    ]  # fmt: skip
    assert rejected["reason"].to_list()[:2] == ["duplicate of d1#0"] * 2


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sets(st.sampled_from("abcde"), min_size=1), min_size=2, max_size=40).filter(
        lambda own: len(set().union(*own)) > 1
    ),
    st.integers(0, 3),
    st.sampled_from([(0.15, 0.15), (0.4, 0.5), (0.0, 0.3)]),
)
@example(
    [{"a", "b"}, {"a", "c"}, {"a", "d"}, {"b"}, {"b"}, {"c"}, {"c"}, {"d"}, {"d"}], 0, (0.4, 0.5)
)
def test_label_texts_splits_documents_of_several_labels(own, seed, fractions):
    raw = of_several(
        [(text, labels) for (text, _), labels in zip(distinct("x", 40), own, strict=False)]
    )
    test, holdout = fractions

    labelled, rejected = label_texts(raw, seed=seed, test_fraction=test, holdout_fraction=holdout)

    assert rejected.is_empty()
    columns = ["document_id", "label"]
    assert labelled.select(columns).sort(columns).equals(raw.select(columns).sort(columns))
    assert labelled["text_id"].n_unique() == labelled.height
    of_document = labelled.group_by("document_id").agg(pl.col("split").n_unique())
    assert of_document["split"].max() == 1
    trained = labelled.filter(pl.col("split") == "train")
    assert set(trained["label"]) == set(labelled["label"])
    again, _ = label_texts(
        raw.sample(fraction=1, shuffle=True, seed=seed),
        seed=seed, test_fraction=test, holdout_fraction=holdout,
    )  # fmt: skip
    columns.append("split")
    assert again.select(columns).sort(columns).equals(labelled.select(columns).sort(columns))


def test_label_texts_gives_each_of_several_labels_its_share_of_the_splits():
    randomly = random.Random(0)
    own = [randomly.sample("abc", randomly.randint(1, 3)) for _ in range(200)]
    rows = [(text, labels) for (text, _), labels in zip(distinct("x", 200), own, strict=True)]

    labelled, _ = label_texts(of_several(rows), seed=0)

    for (label,), rows_of in labelled.group_by("label"):
        shares = dict(rows_of["split"].value_counts(normalize=True).rows())
        assert shares["test"] == pytest.approx(0.15, abs=0.04), label
        assert shares["holdout"] == pytest.approx(0.15, abs=0.04), label


@pytest.mark.parametrize("odd", [("d0", "Text x aax.", "a"), ("d0", "Another text.", "c")])
def test_label_texts_refuses_rows_of_one_id_that_are_no_labels_of_one_text(odd):
    raw = of_several([("Text x aax.", "ab"), ("Else.", "b")])
    with pytest.raises(ValueError, match="rows of one document id that differ in more"):
        label_texts(pl.concat([raw, pl.DataFrame([odd], schema=RAW_CORPUS, orient="row")]), seed=0)


@pytest.mark.parametrize(("name", "newsgroups"), [("20newsgroups", True), ("mtsamples", False)])
def test_label_texts_of_real_corpora(tmp_path, name, newsgroups):
    beside = Path(__file__).parents[4] / "shared" / "data"
    path = Path(os.environ.get("SMOTEXT_TEST_DATA", beside)) / name / "data.parquet"
    if not path.is_file():
        pytest.skip(f"no corpus {path}; SMOTEXT_TEST_DATA names the folder of corpora")
    chosen = random.Random(0).sample(range(4900), 300)
    pl.read_parquet(path)[sorted(chosen)].write_parquet(tmp_path / "some.parquet")

    raw, refused = read_corpus(tmp_path / "some.parquet", document_id="id", newsgroups=newsgroups)
    labelled, rejected = label_texts(raw, seed=0)

    assert raw.height + refused.height == 300
    assert set(labelled["document_id"]) | set(rejected["document_id"]) == set(raw["document_id"])
    assert labelled["text"].str.split(" ").list.len().max() <= 45
    assert labelled.group_by("document_id").agg(pl.col("split").n_unique())["split"].max() == 1
    # most passages end where a sentence does
    assert labelled["text"].str.contains(r"""[.!?…:]["')]*$""").mean() > 0.5
