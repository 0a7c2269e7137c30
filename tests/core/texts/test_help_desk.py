from collections import Counter

import polars as pl
import pytest

from smotext_core.texts.corpora import read_corpus
from smotext_core.texts.passages import label_texts
from smotext_core.texts.unlabelled import unlabelled_passages


@pytest.fixture(scope="module")
def tickets():
    accepted, rejected = read_corpus("help_desk")
    assert rejected.is_empty()
    return accepted


@pytest.fixture(scope="module")
def unlabelled():
    accepted, rejected = read_corpus("help_desk:unlabelled", label=None)
    assert rejected.is_empty()
    return accepted


def test_help_desk_counts(tickets, unlabelled):
    assert Counter(tickets["label"]) == {
        "password reset": 110,
        "vpn": 90,
        "second screen": 70,
        "phishing": 30,
        "toner": 24,
        "licence": 18,
    }
    ids = [*tickets["document_id"], *unlabelled["document_id"]]
    assert ids == [f"ticket-{i:04d}" for i in range(1, 3349)]
    assert set(unlabelled["label"]) == {""}


def test_help_desk_texts_are_short_and_share_no_run_of_seven_words(tickets, unlabelled):
    texts = pl.concat([tickets["text"], unlabelled["text"]])
    assert texts.str.split(" ").list.len().is_between(6, 22).all()

    owner = {}
    for ticket, text in enumerate(texts):
        words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
        for i in range(len(words) - 6):
            run = tuple(words[i : i + 7])
            assert owner.setdefault(run, ticket) == ticket, run


def test_help_desk_is_taken_whole(tickets, unlabelled):
    labelled, rejected = label_texts(tickets, seed=0)
    more, refused = unlabelled_passages(unlabelled, labelled["text"])

    assert rejected.is_empty()
    assert refused.is_empty()
    assert labelled["text_id"].to_list() == labelled["document_id"].to_list()
    assert more.height == 3006
    splits = Counter(zip(labelled["label"], labelled["split"], strict=True))
    assert splits["licence", "train"] == 12
    assert splits["licence", "test"] == splits["licence", "holdout"] == 3
