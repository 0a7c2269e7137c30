"""SMOTExT's options beyond SMOTE, and imbalanced-learn's own examples on texts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from imblearn.combine import SMOTEENN, SMOTETomek
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline, make_pipeline
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import classification_report
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier

from smotext_core import SMOTExT
from smotext_core.mixing.interpolation import interpolate
from smotext_core.mixing.pairs import make_pairs
from smotext_core.mixing.strategies import STRATEGIES
from tests.fakes import FakeGenerator, fake_corpus

COUNTS = {"astronomy": 40, "cooking": 8, "medicine": 15}
TEXTS, LABELS = fake_corpus(COUNTS)


def sampler(**options: Any) -> SMOTExT:
    return SMOTExT(**{"generator": FakeGenerator(), **options})


# the examples of imbalanced-learn 0.14's SMOTE, other import and data


def make_texts(*, n_samples: int, weights: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    counts = {
        topic: round(n_samples * share)
        for topic, share in zip(("banking", "football"), weights, strict=True)
    }
    texts, labels = fake_corpus(counts)
    return np.array(texts), np.array([int(label == "football") for label in labels])


def test_example_of_smote() -> None:
    X, y = make_texts(weights=(0.1, 0.9), n_samples=200)
    assert f"Original dataset shape {Counter(y.tolist())}" == (
        "Original dataset shape Counter({1: 180, 0: 20})"
    )
    sm = SMOTExT(random_state=42, generator=FakeGenerator())
    X_res, y_res = sm.fit_resample(X, y)
    assert f"Resampled dataset shape {Counter(y_res.tolist())}" == (
        "Resampled dataset shape Counter({0: 180, 1: 180})"
    )
    assert X_res[:200].tolist() == X.tolist()


def test_example_of_pipeline() -> None:
    X, y = make_texts(weights=(0.2, 0.8), n_samples=100)
    pipeline = Pipeline(
        [
            ("smt", SMOTExT(random_state=42, generator=FakeGenerator())),
            ("tfidf", TfidfVectorizer()),
            ("knn", KNeighborsClassifier()),
        ]
    )
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=42)
    pipeline.fit(X_train, y_train)
    report = classification_report(y_test, pipeline.predict(X_test), output_dict=True)
    assert report["accuracy"] > 0.9


def test_example_of_cross_validation() -> None:
    X, y = make_texts(weights=(0.2, 0.8), n_samples=60)
    model = make_pipeline(sampler(), TfidfVectorizer(), KNeighborsClassifier())
    scores = cross_val_score(model, X, y, scoring="balanced_accuracy", cv=3)
    assert scores.shape == (3,)
    assert scores.mean() > 0.8


@pytest.mark.parametrize(
    "sampling_strategy",
    [
        "auto",
        "minority",
        "not minority",
        "not majority",
        "all",
        {"cooking": 20},
        lambda y: dict.fromkeys(COUNTS, 40),
    ],
)
def test_fit_resample_counts_are_those_of_imbalanced_learn(sampling_strategy: Any) -> None:
    vectors = FakeGenerator().encode(TEXTS)
    _, theirs = SMOTE(sampling_strategy=sampling_strategy, random_state=0).fit_resample(
        vectors, LABELS
    )
    _, ours = sampler(sampling_strategy=sampling_strategy).fit_resample(TEXTS, LABELS)
    assert Counter(ours) == Counter(theirs)


@pytest.mark.filterwarnings("ignore:class 'football'")
def test_fit_resample_float_is_that_of_imbalanced_learn() -> None:
    texts, labels = fake_corpus({"banking": 20, "football": 5})
    vectors = FakeGenerator().encode(texts)
    _, theirs = SMOTE(sampling_strategy=0.7, k_neighbors=3).fit_resample(vectors, labels)
    _, ours = sampler(sampling_strategy=0.7).fit_resample(texts, labels)
    assert Counter(ours) == Counter(theirs) == {"banking": 20, "football": 14}


# the family


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.filterwarnings("ignore:class .*as in SMOTE")
@pytest.mark.filterwarnings("ignore:class .*instead")
def test_fit_resample_pairs_are_those_of_the_core(strategy: Any) -> None:
    smotext = sampler(strategy=strategy, random_state=3, m_neighbors=7, lam="0.2-0.8")
    smotext.set_params(mixing="spherical", sampling_strategy={"cooking": 20})
    smotext.fit_resample(TEXTS, LABELS)
    vectors = FakeGenerator().encode(TEXTS)
    own = [row for row, label in enumerate(LABELS) if label == "cooking"]
    ids = [f"{row:03d}" for row in own]
    pairs, _ = make_pairs(
        ids,
        vectors[own],
        run="",
        label="cooking",
        slug="",
        n_samples=12,
        strategy=strategy,
        m_neighbors=7,
        lam="0.2-0.8",
        seed=3,
        others=np.delete(vectors, own, axis=0),
    )
    lineage = smotext.lineage_
    assert lineage["parent_index"].to_list() == [
        [int(i) for i in row] for row in pairs["parent_ids"]
    ]
    assert lineage["weights"].to_list() == pairs["weights"].to_list()
    # the cosine of a text is that to the mix of this mixing
    mixed = interpolate(pairs, ids, vectors[own], mixing="spherical")
    made = FakeGenerator().encode(lineage["text"].to_list())
    cosines = (made * mixed).sum(axis=1) / np.linalg.norm(mixed, axis=1)
    assert np.allclose(lineage["round_trip_cosine"], cosines, atol=1e-5)


def test_fit_resample_n_parents() -> None:
    smotext = sampler(n_parents=3)
    smotext.fit_resample(TEXTS, LABELS)
    assert smotext.lineage_["parent_index"].list.n_unique().unique().to_list() == [3]
    assert np.allclose(smotext.lineage_["weights"].list.sum(), 1)


def test_fit_resample_groups_are_not_mixed() -> None:
    groups = [f"{label} {row % 4}" for row, label in enumerate(LABELS)]
    smotext = sampler()
    smotext.fit_resample(TEXTS, LABELS, groups=pd.Series(groups))
    for parents in smotext.lineage_["parent_index"]:
        assert groups[parents[0]] != groups[parents[1]]
    within = sampler()
    within.fit_resample(TEXTS, LABELS)
    assert any(groups[a] == groups[b] for a, b in within.lineage_["parent_index"])


class Recording(FakeGenerator):
    """Keeps what options it was asked to decode with."""

    def __init__(self) -> None:
        super().__init__()
        self.options: list[dict[str, Any]] = []

    def decode_candidates(self, vectors: np.ndarray, **options: Any) -> Any:
        self.options.append(options)
        return super().decode_candidates(vectors, **options)


@pytest.mark.parametrize("filters", ["default", None])
def test_fit_resample_decodes_at_the_temperature(filters: str | None) -> None:
    generator = Recording()
    SMOTExT(generator=generator, filters=filters, temperature=0).fit_resample(TEXTS, LABELS)
    assert {options["temperature"] for options in generator.options} == {0}
    generator = Recording()  # one that knows no temperature is not told one
    SMOTExT(generator=generator, filters=filters).fit_resample(TEXTS, LABELS)
    assert generator.options
    assert not any("temperature" in options for options in generator.options)


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_fit_resample_refuses_a_temperature(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be finite and at least 0, or None"):
        sampler(temperature=temperature).fit_resample(TEXTS, LABELS)


# cleaning


@pytest.mark.parametrize(("cleaning", "theirs"), [("tomek", SMOTETomek), ("enn", SMOTEENN)])
def test_fit_resample_cleaning_is_that_of_imbalanced_learn(cleaning: Any, theirs: Any) -> None:
    # some lie among another class
    labels = ["medicine" if row % 3 == 0 else label for row, label in enumerate(LABELS)]
    targets = {"cooking": 9}
    plain = sampler(sampling_strategy=targets)
    texts, all_labels = plain.fit_resample(TEXTS, labels)
    generator = FakeGenerator()
    combined = theirs(sampling_strategy={}, random_state=0)  # cleans what is given
    combined.fit_resample(generator.encode(texts), all_labels)
    cleaner = combined.tomek_ if cleaning == "tomek" else combined.enn_
    kept = np.sort(cleaner.sample_indices_)
    assert len(kept) < len(texts)

    smotext = sampler(cleaning=cleaning, sampling_strategy=targets)
    got, got_labels = smotext.fit_resample(pl.Series("t", TEXTS), np.array(labels))
    assert got.to_list() == [texts[row] for row in kept]
    assert got_labels.tolist() == [all_labels[row] for row in kept]
    assert smotext.sample_indices_.tolist() == [row for row in kept if row < len(TEXTS)]
    assert smotext.lineage_["text"].to_list() == [texts[row] for row in kept if row >= len(TEXTS)]
    assert plain.sample_indices_.tolist() == list(range(len(TEXTS)))


@pytest.mark.filterwarnings("ignore:class 'odd'")
def test_fit_resample_cleaning_keeps_blank_rows_and_tells_of_lost_classes() -> None:
    texts, labels = fake_corpus({"banking": 12, "football": 12})
    smotext = sampler(cleaning="enn", sampling_strategy={"odd": 2})
    with pytest.warns(UserWarning, match=r"cleaning='enn' left no row of \['odd'\]"):
        got, _ = smotext.fit_resample([*texts, " ", texts[0]], [*labels, "banking", "odd"])
    assert " " in got
    assert smotext.sample_indices_.tolist()[-1] == 24
    assert smotext.lineage_.is_empty()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"strategy": "SMOTE"}, r"strategy must be one of \('smote', .*, got 'SMOTE'"),
        ({"mixing": "cubic"}, r"mixing must be one of \('linear', .* or None, got 'cubic'"),
        ({"cleaning": "ENN"}, r"cleaning must be one of \('tomek', 'enn'\) or None, got 'ENN'"),
        ({"lam": 2}, "lam must be 'uniform', .* got 2"),
        ({"lam": 0.5, "n_parents": 3}, "3 parents take lam='uniform'"),
        ({"k_neighbors": 0}, "k_neighbors must be at least 1.* got k_neighbors=0"),
        ({"n_parents": 7}, "n_parents=7 takes 6 neighbours of a text, k_neighbors is 5"),
        ({"n_candidates": 0}, "n_candidates and max_attempts must be at least 1, got 0 and 3"),
        ({"max_attempts": 0}, "must be at least 1, got 6 and 0"),
        ({"sampling_strategy": "most"}, "sampling_strategy must be one of .* got 'most'"),
        ({"sampling_strategy": {"cooking": 7}}, "asks for 7 rows of class 'cooking', which has 8"),
        ({"sampling_strategy": {"dance": 9}}, "names the classes .'dance'., which are not present"),
        ({"sampling_strategy": 0.5}, "a ratio, which needs exactly 2 classes"),
    ],
)
def test_fit_resample_refuses_options(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        # before a generator is looked for
        SMOTExT(**{"generator": "absent", **options}).fit_resample(TEXTS, LABELS)


def test_fit_resample_refuses_groups() -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples: 63 texts, 1 groups"):
        sampler().fit_resample(TEXTS, LABELS, groups=["one"])
    with pytest.raises(ValueError, match=r"groups must not be missing, groups\[62\] is None"):
        sampler().fit_resample(TEXTS, LABELS, groups=[*LABELS[:-1], None])
