from collections import Counter

import numpy as np
import pytest
from rapidfuzz.distance import LCSseq

from smotext_core.texts.corpora import read_corpus
from smotext_core.texts.passages import label_texts


@pytest.fixture(scope="module")
def notes():
    accepted, rejected = read_corpus("clinic_notes")
    assert rejected.is_empty()
    return accepted


@pytest.fixture(scope="module")
def words(notes):
    return [
        "".join(c if c.isalnum() else " " for c in text.lower()).split() for text in notes["text"]
    ]


def test_clinic_notes_counts(notes):
    assert Counter(notes["label"]) == {
        "cardiology": 200,
        "orthopedics": 120,
        "dermatology": 80,
        "neurology": 40,
        "ophthalmology": 25,
        "psychiatry": 15,
    }
    assert notes["document_id"].to_list() == [f"note-{i:03d}" for i in range(1, 481)]


def test_clinic_notes_are_short(notes):
    assert notes["text"].str.split(" ").list.len().is_between(15, 45).all()


def test_clinic_notes_share_no_run_of_nine_words(notes, words):
    owner = {}
    for note, of_note in enumerate(words):
        for i in range(len(of_note) - 8):
            run = tuple(of_note[i : i + 9])
            assert owner.setdefault(run, note) == note, run


def test_clinic_notes_differ_by_rouge_l(words):
    vocabulary = {word: i for i, word in enumerate(sorted({w for note in words for w in note}))}
    bags = np.zeros((len(words), len(vocabulary)), dtype=np.float32)
    for note, of_note in enumerate(words):
        for word in of_note:
            bags[note, vocabulary[word]] += 1
    lengths = bags.sum(axis=1)

    compared = 0
    for a in range(len(words)):
        # words in common bound the longest common subsequence from above
        common = np.minimum(bags[a], bags[a + 1 :]).sum(axis=1)
        bounds = 2 * common / (lengths[a] + lengths[a + 1 :])
        for b in a + 1 + np.flatnonzero(bounds >= 0.4):
            compared += 1
            common_run = LCSseq.similarity(words[a], words[b])
            assert 2 * common_run / (lengths[a] + lengths[b]) < 0.6, (words[a], words[b])
    assert compared > 0


def test_clinic_notes_are_all_labelled_in_one_passage(notes):
    labelled, rejected = label_texts(notes, seed=0)

    assert rejected.is_empty()
    assert labelled["text_id"].to_list() == labelled["document_id"].to_list()
    splits = Counter(zip(labelled["label"], labelled["split"], strict=True))
    assert splits["psychiatry", "train"] == 11
    assert splits["psychiatry", "test"] == splits["psychiatry", "holdout"] == 2
