"""SMOTExT, the sampler shaped as imbalanced-learn's."""

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
from imblearn.pipeline import Pipeline
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import smotext_core
from smotext_core import SMOTExT
from smotext_core.mixing.interpolation import interpolate
from smotext_core.mixing.pairs import make_pairs
from smotext_core.streams import sample_seeds
from smotext_core.texts.tokenization import words
from smotext_core.xrag.search import Candidates
from tests.fakes import FakeGenerator, fake_corpus

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
    smotext = SMOTExT({"cooking": 18}, generator=Echo(), max_attempts=2)
    with pytest.warns(UserWarning, match="0 of 10 texts made; every candidate of the others was e"):
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


class Echo(FakeGenerator):
    """Decodes every vector to a text that is there."""

    def decode_candidates(self, vectors: Any, **_: Any) -> Candidates:
        embeddings = np.repeat(self.encode(TEXTS[:1])[None], len(vectors), axis=0)
        cosines = np.full((len(vectors), 1), 0.9, np.float32)
        return Candidates([[TEXTS[0]]] * len(vectors), cosines, embeddings)


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
        "temperature": None,
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


def test_fit_checks_and_says_how_many_are_wanted() -> None:
    fitted = sampler().fit(TEXTS, LABELS)
    given = sampler()
    given.fit_resample(TEXTS, LABELS)
    assert fitted.sampling_strategy_ == given.sampling_strategy_
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        sampler().fit(TEXTS, LABELS[1:])
