from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from imblearn.pipeline import Pipeline
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

import smotext_core
from smotext_core import SMOTExT
from smotext_core.mixing.interpolation import interpolate
from smotext_core.mixing.pairs import make_pairs
from smotext_core.streams import sample_seeds
from smotext_core.texts.overlap import words
from smotext_core.xrag.search import Candidates
from tests.fakes import TOPICS, FakeGenerator, fake_corpus

COUNTS = {"astronomy": 40, "cooking": 8, "medicine": 15}
TEXTS, LABELS = fake_corpus(COUNTS)


def sampler(**options: Any) -> SMOTExT:
    return SMOTExT(**{"generator": FakeGenerator(), **options})


def test_package_exports_the_sampler_alone() -> None:
    assert smotext_core.__all__ == ["SMOTExT"]
    with pytest.raises(AttributeError, match="no attribute 'smote_text'"):
        _ = smotext_core.smote_text


def test_package_import_does_not_load_scikit_learn() -> None:
    code = (
        "import sys, smotext_core, smotext_core.mixing; "
        "assert not {'sklearn', 'torch', 'dagster'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fit_resample_balances_with_originals_first() -> None:
    smotext = sampler()
    texts, labels = smotext.fit_resample(TEXTS, LABELS)
    assert texts[: len(TEXTS)] == TEXTS
    assert labels[: len(LABELS)] == LABELS
    assert {label: labels.count(label) for label in COUNTS} == dict.fromkeys(COUNTS, 40)
    assert smotext.sampling_strategy_ == {"astronomy": 0, "cooking": 32, "medicine": 25}
    normalized = [" ".join(words(text)) for text in texts]
    assert len(set(normalized)) == len(set(normalized[: len(TEXTS)])) + 57


def test_fit_resample_makes_texts_of_their_class() -> None:
    smotext = sampler()
    texts, labels = smotext.fit_resample(TEXTS, LABELS)
    classifier = LogisticRegression(max_iter=1000).fit(FakeGenerator().encode(TEXTS), LABELS)
    assert classifier.score(FakeGenerator().encode(texts[63:]), labels[63:]) == 1


def test_fit_resample_lineage_is_that_of_the_core() -> None:
    smotext = sampler(random_state=11, filters=None)
    texts, labels = smotext.fit_resample(TEXTS, LABELS)
    lineage = smotext.lineage_
    assert smotext.rejected_.is_empty()
    assert lineage.columns == [
        "sample_id", "label", "text", "parent_index", "weights", "round_trip_cosine",
        "origin",
    ]  # fmt: skip
    assert lineage["text"].to_list() == texts[63:]
    assert lineage["label"].to_list() == labels[63:]
    assert lineage["sample_id"].n_unique() == 57

    rows = [row for row, label in enumerate(LABELS) if label == "cooking"]
    ids, generator = [f"{row:012d}" for row in rows], FakeGenerator()
    embeddings = generator.encode([TEXTS[row] for row in rows])
    pairs, _ = make_pairs(ids, embeddings, run="", label="cooking", slug="", n_samples=32, seed=11)
    vectors = interpolate(pairs, ids, embeddings, mixing="linear-norm")
    seeds = sample_seeds(range(32), seed=11, label="cooking").tolist()
    decoded = generator.decode_candidates(vectors, seeds=seeds, n_candidates=6)
    cooking = lineage.filter(pl.col("label") == "cooking")
    assert cooking["parent_index"].to_list() == [
        [int(parent) for parent in parents] for parents in pairs["parent_ids"].to_list()
    ]
    assert cooking["weights"].to_list() == pairs["weights"].to_list()
    assert cooking["text"].to_list() == [candidates[0] for candidates in decoded.texts]
    assert cooking["round_trip_cosine"].to_list() == decoded.cosines[:, 0].tolist()


class Rambler(FakeGenerator):
    """Every second candidate is no sentence, and every third sample's are of another class."""

    def decode_candidates(self, vectors: Any, *, seeds: Any, n_candidates: int) -> Candidates:  # type: ignore[override]
        found = super().decode_candidates(vectors, seeds=seeds, n_candidates=n_candidates)
        for row, texts in enumerate(found.texts):
            texts[::2] = ["well well well well well well"] * len(texts[::2])
            if row % 3 == 0:
                texts[1::2] = ["the comet left the orbit of a planet near the nebula"] * 3
            found.embeddings[row] = self.encode(texts)
        return found


def test_fit_resample_has_the_filters_of_the_graph() -> None:
    smotext = SMOTExT({"cooking": 28}, generator=Rambler())
    texts, _ = smotext.fit_resample(TEXTS, LABELS)
    made = texts[len(TEXTS) :]
    assert len(made) == 20  # samples were tried until there were enough
    assert smotext.lineage_["sample_id"].n_unique() == 20
    assert smotext.lineage_["sample_id"].is_sorted()
    assert not [text for text in made if "well well" in text or "comet" in text]
    reasons = dict(smotext.rejected_["reason"].value_counts().iter_rows())
    assert reasons["repetitive"] >= 60
    assert reasons["another label is likelier"] >= 20
    again = SMOTExT({"cooking": 28}, generator=Rambler())
    assert again.fit_resample(TEXTS, LABELS)[0] == texts
    plain = SMOTExT({"cooking": 28}, generator=Rambler(), filters=None, max_attempts=9)
    assert "well well well well well well" in plain.fit_resample(TEXTS, LABELS)[0]


def test_fit_resample_says_what_the_filters_refused_where_rows_are_missing() -> None:
    smotext = SMOTExT({"cooking": 18}, generator=Parrot(), max_attempts=2)
    with pytest.warns(UserWarning, match=r"0 of 10 texts made; most refused for: too short \("):
        smotext.fit_resample(TEXTS, LABELS)
    with pytest.raises(ValueError, match=r"filters must be one of .*'default'.* or None"):
        sampler(filters="all").fit_resample(TEXTS, LABELS)


def test_fit_resample_takes_unlabelled_texts_first_and_says_which() -> None:
    texts, kinds = fake_corpus({"cooking": 30, "football": 30})
    cooking = {text for text, kind in zip(texts, kinds, strict=True) if kind == "cooking"}
    unlabelled = [text for text in texts if text not in TEXTS]
    smotext = sampler(sampling_strategy={"cooking": 28}, unlabelled=[*unlabelled, *TEXTS, " "])
    texts, _ = smotext.fit_resample(TEXTS, LABELS)
    lineage = smotext.lineage_
    assert lineage.height == 20
    found = lineage.filter(origin="found")
    decoded = lineage.filter(origin="decoded")
    assert found.height > 5
    assert found.height + decoded.height == 20
    assert set(found["text"]) <= set(unlabelled)
    assert not set(decoded["text"]) & {*unlabelled, *TEXTS}
    assert len(set(texts)) == len(set(TEXTS)) + 20
    assert np.mean([text in cooking for text in found["text"]]) > 0.9


def test_fit_resample_is_deterministic_and_seeded() -> None:
    first, again, other = sampler(), sampler(), sampler(random_state=1)
    assert first.fit_resample(TEXTS, LABELS) == again.fit_resample(TEXTS, LABELS)
    assert first.lineage_.equals(again.lineage_)
    other.fit_resample(TEXTS, LABELS)
    assert not set(first.lineage_["weights"].list.get(0)) & set(
        other.lineage_["weights"].list.get(0)
    )


def test_fit_resample_other_classes_do_not_matter() -> None:
    everything, one = sampler(), sampler(sampling_strategy={"medicine": 40})
    everything.fit_resample(TEXTS, LABELS)
    one.fit_resample(TEXTS, LABELS)
    columns = ["text", "parent_index", "weights", "round_trip_cosine"]
    of_medicine = everything.lineage_.filter(pl.col("label") == "medicine")
    assert of_medicine.select(columns).equals(one.lineage_.select(columns))


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


def test_fit_resample_warns_of_tiny_classes() -> None:
    texts, labels = [*TEXTS, "goal by the striker"], [*LABELS, "football"]
    smotext = sampler(sampling_strategy={"football": 5, "cooking": 8})
    with pytest.warns(UserWarning, match="'football': only one text: its own vector is decoded"):
        made, _ = smotext.fit_resample(texts, labels)
    assert len(made) == 64 + 4
    assert smotext.lineage_["parent_index"].to_list() == [[63]] * 4
    assert smotext.lineage_["weights"].to_list() == [[1.0]] * 4


class Parrot(FakeGenerator):
    """Decodes every vector to texts that exist already, except for every third one."""

    def decode_candidates(self, vectors: Any, **_: Any) -> Candidates:
        repeated = [TEXTS[0].upper() + "!", "...", "said before"]
        texts = [
            [*repeated, f"new text {row}" if row % 3 == 0 else TEXTS[1]]
            for row in range(len(vectors))
        ]
        cosines = np.tile(np.array([0.9, 0.8, 0.7, 0.6], np.float32), (len(vectors), 1))
        embeddings = np.stack([self.encode(row) for row in texts])
        return Candidates(texts, cosines, embeddings)


def test_fit_resample_skips_repetitions_and_states_the_shortfall() -> None:
    smotext = SMOTExT({"cooking": 18}, generator=Parrot(), filters=None)
    smotext.set_params(max_attempts=1)
    with pytest.warns(UserWarning, match="'cooking': 4 of 10 texts made.*raise n_candidates"):
        texts, labels = smotext.fit_resample(TEXTS, LABELS)
    # sample 0 takes the only text that is new to all, the others of three their own
    assert texts[63:] == ["said before", "new text 3", "new text 6", "new text 9"]
    assert labels[63:] == ["cooking"] * 4
    assert np.allclose(smotext.lineage_["round_trip_cosine"], [0.7, 0.6, 0.6, 0.6])
    assert smotext.lineage_["sample_id"].str.tail(2).to_list() == ["00", "03", "06", "09"]


class Stutterer(FakeGenerator):
    """Has a new text for one sample of each call, and keeps the seeds."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds: list[list[int]] = []

    def decode_candidates(self, vectors: Any, *, seeds: Any, n_candidates: int) -> Candidates:  # type: ignore[override]
        self.seeds.append(list(seeds))
        texts = [["said before"] * n_candidates for _ in vectors]
        texts[0] = [f"new text {len(self.seeds)}"] * n_candidates
        embeddings = np.stack([self.encode(row) for row in texts])
        return Candidates(texts, np.ones((len(vectors), n_candidates), np.float32), embeddings)


def test_fit_resample_decodes_again_what_repeated_a_text() -> None:
    generator = Stutterer()
    smotext = SMOTExT(
        {"cooking": 12}, generator=generator, n_candidates=1, max_attempts=4, filters=None
    )
    texts, _ = smotext.fit_resample(TEXTS, LABELS)
    # call 1 gives samples 0 and 1 theirs, call 2 sample 2, call 3 sample 3
    assert texts[63:] == ["new text 1", "said before", "new text 2", "new text 3"]
    assert smotext.lineage_["sample_id"].str.tail(1).to_list() == ["0", "1", "2", "3"]
    assert [len(seeds) for seeds in generator.seeds] == [4, 2, 1]
    for draw, numbers in enumerate(([0, 1, 2, 3], [2, 3], [3])):
        expected = sample_seeds(numbers, seed=0, label="cooking", draw=draw)
        assert generator.seeds[draw] == expected.tolist()


def test_fit_resample_repeated_and_blank_texts_are_no_parents() -> None:
    first = LABELS.index("cooking")
    texts = [*TEXTS, TEXTS[first], TEXTS[first], "  "]
    smotext = sampler()
    smotext.fit_resample(texts, [*LABELS, "cooking", "cooking", "cooking"])
    assert smotext.sampling_strategy_["cooking"] == 40 - 11
    parents = set(smotext.lineage_["parent_index"].explode())
    assert first in parents
    assert max(parents) < len(TEXTS)


def test_fit_resample_adds_nothing_to_balanced_classes() -> None:
    smotext = sampler()
    texts, labels = fake_corpus({"banking": 5, "football": 5})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = smotext.fit_resample(np.array(texts), np.array(labels))
    assert got[0].tolist() == texts
    assert got[0].dtype == np.array(texts).dtype
    assert smotext.lineage_.height == 0
    assert smotext.lineage_.schema["parent_index"] == pl.List(pl.Int64)


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
    ],
)
def test_fit_resample_refuses(texts: Any, labels: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        sampler().fit_resample(texts, labels)


def test_fit_resample_verbose_shows_a_bar_a_class(capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["[red]" if label == "cooking" else label for label in LABELS]
    sampler(verbose=True).fit_resample(TEXTS, labels)
    shown = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in shown] == ["[red]", "medicine"]
    assert ["32/32" in shown[0], "25/25" in shown[1]] == [True, True]
    sampler().fit_resample(TEXTS, labels)
    assert capsys.readouterr().err == ""


def test_sampler_parameters_and_clone() -> None:
    smotext = SMOTExT("minority", k_neighbors=3)
    assert smotext.get_params() == {
        "sampling_strategy": "minority",
        "k_neighbors": 3,
        "random_state": 0,
        "generator": None,
        "n_candidates": 6,
        "verbose": False,
        "strategy": "smote",
        "m_neighbors": 10,
        "n_parents": 2,
        "lam": "uniform",
        "mixing": None,
        "cleaning": None,
        "max_attempts": 3,
        "filters": "default",
        "unlabelled": None,
    }
    copy = clone(smotext).set_params(k_neighbors=4)
    assert (copy.k_neighbors, smotext.k_neighbors) == (4, 3)
    with pytest.raises(ValueError, match="Invalid parameter 'lambda'"):
        smotext.set_params(**{"lambda": 1})


def test_sampler_works_in_an_imbalanced_learn_pipeline() -> None:
    pipeline = Pipeline(
        [
            ("smotext", sampler()),
            ("tfidf", TfidfVectorizer()),
            ("classifier", LogisticRegression()),
        ]
    )
    texts, labels = fake_corpus(COUNTS, seed=1)
    pipeline.set_params(smotext__k_neighbors=3)
    # of one random state a single text decides
    scores = [
        pipeline.set_params(smotext__random_state=seed).fit(TEXTS, LABELS).score(texts, labels)
        for seed in range(5)
    ]
    assert np.mean(scores) > 0.9
    assert clone(pipeline).fit(TEXTS, LABELS).predict(texts).shape == (63,)
    assert pipeline["smotext"].lineage_["parent_index"].list.len().unique().to_list() == [2]


# the fake generator: others' tests lean on its contract


@pytest.mark.parametrize("normalized", [True, False])
def test_fake_generator_encodes(normalized: bool) -> None:
    generator = FakeGenerator(normalized=normalized)
    vectors = generator.encode([*TEXTS, ""])
    assert vectors.shape == (64, 32)
    assert vectors.dtype == np.float32
    norms = np.linalg.norm(vectors, axis=1)
    assert np.allclose(norms, 1) == normalized
    assert norms.min() > 0
    assert generator.encode(TEXTS[5:6]).tobytes() == vectors[5:6].tobytes()
    assert generator.fingerprint != FakeGenerator(normalized=not normalized).fingerprint
    assert generator.fingerprint != FakeGenerator(24, normalized=normalized).fingerprint


def test_fake_generator_rows_depend_on_vector_and_seed_alone() -> None:
    generator = FakeGenerator()
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 32)).astype(np.float32)
    seeds = list(range(300))
    whole = generator.decode_candidates(vectors, seeds=seeds, n_candidates=4)
    for chosen in ([7], [299, 3, 100], list(range(200, 290))):
        some = generator.decode_candidates(
            vectors[chosen], seeds=[seeds[row] for row in chosen], n_candidates=4
        )
        assert some.texts == [whole.texts[row] for row in chosen]
        assert some.cosines.tobytes() == whole.cosines[chosen].tobytes()
        assert some.embeddings.tobytes() == whole.embeddings[chosen].tobytes()
    other = generator.decode_candidates(vectors[:1], seeds=[1], n_candidates=4)
    assert other.texts[0] != whole.texts[0]


def test_fake_generator_candidates_are_best_first_with_true_cosines() -> None:
    generator = FakeGenerator()
    vectors = generator.encode(TEXTS[:20])
    done: list[int] = []
    found = generator.decode_candidates(
        vectors, seeds=range(20), n_candidates=5, progress=done.append
    )
    assert sum(done) == 20
    assert found.cosines.dtype == found.embeddings.dtype == np.float32
    for vector, row, cosines, embeddings in zip(vectors, *found, strict=True):
        assert cosines.tolist() == sorted(cosines, reverse=True)
        assert all(8 <= len(text.split()) <= 20 for text in row)
        assert embeddings.tobytes() == generator.encode(row).tobytes()
        assert np.allclose(embeddings @ vector, cosines, atol=1e-5)
    assert len(generator.decode(vectors, seed=1)) == 20
    with pytest.raises(ValueError, match=r"shape \(n, 32\), got \(2, 8\)"):
        generator.decode(np.ones((2, 8), dtype=np.float32))


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


def test_fit_checks_and_says_how_many_are_wanted() -> None:
    fitted = sampler().fit(TEXTS, LABELS)
    given = sampler()
    given.fit_resample(TEXTS, LABELS)
    assert fitted.sampling_strategy_ == given.sampling_strategy_
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        sampler().fit(TEXTS, LABELS[1:])
