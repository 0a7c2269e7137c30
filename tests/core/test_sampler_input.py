"""Texts and labels of every kind that imbalanced-learn's users hold, and what comes back."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.neighbors import NearestNeighbors

from tests.core.test_sampler import COUNTS, LABELS, TEXTS, sampler
from tests.fakes import TOPICS


def test_fit_resample_random_state_of_numpy() -> None:
    first = sampler(random_state=np.random.RandomState(3)).fit_resample(TEXTS, LABELS)
    assert first == sampler(random_state=np.random.RandomState(3)).fit_resample(TEXTS, LABELS)
    assert len(sampler(random_state=None).fit_resample(TEXTS, LABELS)[0]) == 120
    with pytest.raises(ValueError, match="cannot be used to seed"):
        sampler(random_state="x").fit_resample(TEXTS, LABELS)


@pytest.mark.parametrize(
    "kind",
    [
        list,
        tuple,
        lambda values: np.array(values, dtype=object),
        lambda values: pl.Series("column", values),
        lambda values: pd.Series(values, name="column", index=range(7, 7 + len(values))),
    ],
)
def test_fit_resample_returns_the_kinds_given(kind: Any) -> None:
    expected = sampler().fit_resample(TEXTS, LABELS)
    got = sampler().fit_resample(kind(TEXTS), kind(LABELS))
    for ours, given, values in zip(got, (kind(TEXTS), kind(LABELS)), expected, strict=True):
        assert type(ours) is type(given)
        assert getattr(ours, "dtype", None) == getattr(given, "dtype", None)
        assert getattr(ours, "name", None) == getattr(given, "name", None)
        assert list(ours) == values


@pytest.mark.parametrize(
    "labels",
    [
        np.array(LABELS),
        pl.Series("label", LABELS, dtype=pl.Categorical),
        pl.Series("label", LABELS, dtype=pl.Enum(sorted(COUNTS))),
        pd.Series(LABELS, dtype="category"),
    ],
)
def test_fit_resample_keeps_the_labels_dtype(labels: Any) -> None:
    _, got = sampler().fit_resample(TEXTS, labels)
    assert got.dtype == labels.dtype
    assert list(got) == sampler().fit_resample(TEXTS, LABELS)[1]


def test_fit_resample_keeps_integer_labels() -> None:
    numbers = np.array([list(COUNTS).index(label) for label in LABELS], dtype=np.int8)
    smotext = sampler(sampling_strategy={1: 10, 2: 15})
    _, labels = smotext.fit_resample(np.array(TEXTS), numbers)
    assert labels.dtype == np.int8
    assert labels[63:].tolist() == [1, 1]
    assert smotext.lineage_["label"].to_list() == ["1", "1"]


def test_fit_resample_does_not_cut_texts_of_fixed_width_arrays() -> None:
    short = np.array([" ".join(text.split()[:2]) for text in TEXTS])
    texts, _ = sampler().fit_resample(short, LABELS)
    assert len(short[0].split()) == 2
    assert all(text.split()[-1] in " ".join(TOPICS.values()).split() for text in texts[63:70])
    assert max(map(len, texts[63:])) > short.dtype.itemsize // 4


@pytest.mark.parametrize(
    ("texts", "labels", "match"),
    [
        (TEXTS, LABELS[:-1], "inconsistent numbers of samples: 63 texts, 62 labels"),
        ("one text", ["a"], "texts must be a list, array or series.*got a str"),
        ((text for text in TEXTS), LABELS, "got a generator"),
        (["a", 3], ["x", "y"], r"texts\[1\] is a int"),
        (["a", None], ["x", "y"], r"texts\[1\] is missing"),
        (["a", float("nan")], ["x", "y"], r"texts\[1\] is missing"),
        (pd.Series(["a", None]), ["x", "y"], r"texts\[1\] is missing"),
        (TEXTS[:2], [b"x", {"y"}], r"Unknown label type: labels\[1\] is a set"),
        (np.array([["a", "b"]]), ["x"], r"texts must be one-dimensional, got shape \(1, 2\)"),
        (["a", "b"], ["x", None], r"labels\[1\] is None"),
        (["a", "b"], np.array([0.0, np.nan]), r"labels\[1\] is nan"),
        (["a", "b"], pd.Series(["x", pd.NA]), r"labels must not be missing, labels\[1\]"),
        (["a", "b"], [["x"], ["y"]], r"Unknown label type: labels\[0\] is a list"),
        (["a", "b"], [1, "1"], "use one type of label"),
        (["a", "b"], ["x", "x"], "at least 2 classes, got 1"),
        ([], [], "at least 2 classes, got 0"),
        (["a", " ", "c"], ["x", "y", "x"], "class 'y' has no texts"),
        (["a", "b", " ", " ", " "], [*"xxyyy"], "class 'y' has no texts: every one of its rows is"),
    ],
)
def test_fit_resample_refuses(texts: Any, labels: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        sampler().fit_resample(texts, labels)


@pytest.mark.parametrize("kind", ["array", "polars", "pandas"])
def test_fit_resample_gives_a_table_of_one_column_back_as_one(kind: str) -> None:
    tables = {
        "array": np.array(TEXTS, dtype=object)[:, None],
        "polars": pl.DataFrame({"note": TEXTS}),
        "pandas": pd.DataFrame({"note": TEXTS}),
    }
    texts, labels = sampler().fit_resample(tables[kind], LABELS)
    expected, expected_labels = sampler().fit_resample(TEXTS, LABELS)
    assert type(texts) is type(tables[kind])
    assert texts.shape == (len(expected), 1)
    column = texts[:, 0] if kind == "array" else texts["note"]
    assert list(column) == expected
    assert labels == expected_labels
    wide = np.array([TEXTS, TEXTS], dtype=object).T
    with pytest.raises(ValueError, match=r"must be one-dimensional, got shape \(\d+, 2\)"):
        sampler().fit_resample(wide, LABELS)


def test_k_neighbors_may_be_an_object_that_counts_the_text_itself() -> None:
    nearest = NearestNeighbors(n_neighbors=4)
    assert sampler(k_neighbors=nearest).fit_resample(TEXTS, LABELS) == (
        sampler(k_neighbors=3).fit_resample(TEXTS, LABELS)
    )
    with pytest.raises(ValueError, match="must be an integer or an object with n_neighbors"):
        sampler(k_neighbors="five").fit_resample(TEXTS, LABELS)


def test_random_state_may_be_a_generator() -> None:
    def made(seed: int) -> Any:
        return sampler(random_state=np.random.default_rng(seed)).fit_resample(TEXTS, LABELS)

    assert made(0) == made(0)
    assert made(0) != made(1)
