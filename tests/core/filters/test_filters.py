"""Each filter alone: degenerate texts, round trip, label confidence, copies and duplicates."""

import os
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from smotext_core.filters import acceptance as filters
from smotext_core.filters import calibrate_labels, label_classifier, least_words
from smotext_core.neighbors import exact as neighbors
from smotext_core.texts import KnownTexts, overlap
from tests.core.filters.test_acceptance import A, B, C, D

PROSE = "The nurse measured the pressure twice and wrote both numbers in the chart before noon."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROSE, None),
        ("Patient seen today.", "too short"),
        ("", "too short"),
        ("!!! ??? ... --- ### $$$", "too short"),
        ("he went to the shop and he went to the shop and he went to the shop", "repetitive"),
        ("no " * 14, "repetitive"),
        (PROSE + " pain and more pain" * 12, "repetitive"),
        ("12 345 67 890 12.5 33/44 1999-02-03 17:45", "not prose"),
    ],
)
def test_degenerate_names_the_first_reason(text: str, reason: str | None) -> None:
    assert filters.degenerate([text]) == [reason]


def test_least_words_are_five_or_what_a_tenth_of_the_texts_have() -> None:
    long, short = "one two three four five six", "card lost"
    assert least_words([long] * 10) == 5
    assert least_words([]) == 5
    assert least_words([*[long] * 19, short]) == 5
    assert least_words([*[long] * 8, short, short]) == 2


def test_degenerate_min_words_is_inclusive() -> None:
    assert filters.degenerate(["one two three"], min_words=3) == [None]
    assert filters.degenerate(["one two three"], min_words=4) == ["too short"]


def test_degenerate_passes_real_prose() -> None:
    root = Path(__file__).parents[3] / ".." / "shared" / "data"
    path = Path(os.environ.get("SMOTEXT_TEST_DATA", root)) / "mtsamples" / "data.parquet"
    if not path.exists():
        pytest.skip("needs the mtsamples corpus: set SMOTEXT_TEST_DATA to the corpora's folder")
    texts = pl.read_parquet(path)["text"].drop_nulls().unique().to_list()
    texts = [" ".join(text.split()[:60]) for text in texts if len(text.split()) >= 60]
    refused = [reason for reason in filters.degenerate(texts) if reason is not None]
    assert len(texts) > 2000
    assert len(refused) < 0.02 * len(texts)


def test_round_trip_keeps_the_minimum_and_refuses_nan() -> None:
    mask = filters.round_trip([0.29, 0.3, 0.9, float("nan")], minimum=0.3)
    assert mask.tolist() == [False, True, True, False]


def two_classes(n: int = 40) -> tuple[np.ndarray, list[str]]:
    """Class "a" along the first axis, "b" (a tenth as many) along the second."""
    rng = np.random.default_rng(0)
    centres = np.eye(8, dtype=np.float32)[[0] * n + [1] * (n // 10)]
    rows = centres + 0.1 * rng.normal(size=centres.shape).astype(np.float32)
    return rows, ["a"] * n + ["b"] * (n // 10)


def test_label_classifier_tells_the_classes_apart() -> None:
    classifier = label_classifier.fit_label_classifier(*two_classes())
    probes = np.eye(8, dtype=np.float32)[:2]
    assert classifier.agrees(probes, "b").tolist() == [False, True]
    confidence = classifier.confidence(probes, "b")
    assert confidence.dtype == np.float32
    assert confidence[0] < 0.2 < 0.8 < confidence[1]
    other = classifier.confidence(probes, "a")
    np.testing.assert_allclose(confidence + other, 1, rtol=1e-5)


def test_label_classifier_balances_a_rare_class() -> None:
    rows, labels = two_classes(200)
    classifier = label_classifier.fit_label_classifier(rows, labels)
    between = np.full((1, 8), 0, dtype=np.float32)
    between[0, :2] = 1  # as near one centre as the other
    assert 0.3 < classifier.confidence(between, "b")[0] < 0.7


def test_label_classifier_ignores_the_length_of_vectors() -> None:
    rows, labels = two_classes()
    plain = label_classifier.fit_label_classifier(rows, labels)
    scaled = label_classifier.fit_label_classifier(rows * 1000, labels)
    np.testing.assert_allclose(
        plain.confidence(rows, "a"),
        scaled.confidence(rows * 7, "a"),
        atol=1e-3,
    )


def many_topics(
    n_labels: int, each: int, *, seed: int = 0, noise: float = 0.5
) -> tuple[np.ndarray, list[str]]:
    """Rows (n_labels · each, 32) around a centre a label, most of them far apart along one line."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(1)
    centres, line = fixed.normal(size=(n_labels, 32)).repeat(each, axis=0), fixed.normal(size=32)
    rows = centres + noise * rng.normal(size=centres.shape)
    rows += 2 * rng.normal(size=(len(rows), 1)) * line
    return rows.astype(np.float32), [f"l{row // each:04}" for row in range(len(rows))]


def right(classifier: label_classifier.LabelClassifier, rows: np.ndarray, of: list[str]) -> float:
    """Of `rows` the share whose likeliest label is theirs."""
    return float(np.mean([classifier.agrees(rows[[i]], label)[0] for i, label in enumerate(of)]))


def test_label_classifier_of_many_labels_knows_how_they_spread() -> None:
    n_labels = label_classifier.MOST_REGRESSED + 1
    rows, labels = many_topics(n_labels, 6)
    means = rows.reshape(n_labels, 6, 32).mean(axis=1)
    fresh, of = many_topics(n_labels, 2, seed=2)
    nearest = np.linalg.norm(fresh[:, None] - means[None], axis=2).argmin(axis=1)
    by_mean = np.mean([f"l{label:04}" == own for label, own in zip(nearest, of, strict=True)])
    classifier = label_classifier.fit_label_classifier(rows, labels)
    assert by_mean < 0.5 < 0.9 < right(classifier, fresh, of)
    # a label with many more rows counts the same
    often = np.concatenate([rows, np.repeat(rows[:6], 50, axis=0)])
    more = label_classifier.fit_label_classifier(often, labels + ["l0000"] * 300)
    assert right(more, fresh, of) > 0.9
    both = classifier.probabilities(fresh, classifier.log_sums(fresh), np.arange(n_labels))
    np.testing.assert_allclose(both.sum(axis=1), 1, rtol=1e-4)
    assert both.max() <= 1


@pytest.mark.parametrize("noise", [0.1, 0.5, 1.5])
def test_label_classifier_of_many_labels_is_as_sure_as_it_may(
    noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_classifier, "MOST_REGRESSED", 10)
    rows, labels = many_topics(40, 20, noise=noise)
    classifier = label_classifier.fit_label_classifier(rows, labels)
    frame = calibrate_labels(rows, labels, [str(row) for row in range(len(rows))])
    fresh, of = many_topics(40, 20, seed=2, noise=noise)
    passing = [
        (classifier.confidence(fresh[np.array(of) == label], label) >= minimum).mean()
        for label, minimum in frame.select("label", "threshold").iter_rows()
    ]
    assert np.mean(passing) > 0.85


@pytest.mark.parametrize("nearly", [1.0, 1.0001])
def test_label_classifier_of_many_labels_takes_rows_that_are_the_same(nearly: float) -> None:
    rows, labels = many_topics(label_classifier.MOST_REGRESSED + 1, 1)
    twice = np.concatenate([rows, nearly * rows])
    classifier = label_classifier.fit_label_classifier(twice, labels * 2)
    assert right(classifier, rows, labels) == 1
    assert classifier.confidence(rows, "l0003").max() <= 1


def test_label_classifier_says_the_same_of_rows_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = many_topics(12, 5)
    monkeypatch.setattr(label_classifier, "MOST_REGRESSED", 10)
    classifier = label_classifier.fit_label_classifier(rows, labels)
    whole = classifier.confidence(rows, "l0003"), classifier.agrees(rows, "l0003")
    monkeypatch.setattr(label_classifier, "SCORES_AT_ONCE", 7 * 12)
    again = label_classifier.fit_label_classifier(rows, labels)
    np.testing.assert_allclose(again.weights, classifier.weights, rtol=1e-5)
    np.testing.assert_allclose(classifier.confidence(rows, "l0003"), whole[0], rtol=1e-4)
    np.testing.assert_array_equal(classifier.agrees(rows, "l0003"), whole[1])


def test_fit_label_classifier_refuses_one_class() -> None:
    with pytest.raises(ValueError, match="two classes or more; got \\['a'\\]"):
        label_classifier.fit_label_classifier(np.ones((3, 2), np.float32), ["a"] * 3)
    with pytest.raises(ValueError, match="3 rows and 2 labels"):
        label_classifier.fit_label_classifier(np.ones((3, 2), np.float32), ["a", "b"])


def test_label_confidence_refuses_an_unknown_label() -> None:
    classifier = label_classifier.fit_label_classifier(*two_classes())
    for rows in (np.ones((1, 8), np.float32), np.ones((0, 8), np.float32)):
        for ask in (classifier.confidence, classifier.agrees):
            with pytest.raises(ValueError, match=r"'c'; it was fitted on 2 others: 'a', 'b'\. Fit"):
                ask(rows, "c")


def test_copied_words_ignores_case_and_punctuation() -> None:
    real = ["He has difficulty climbing stairs, with airline seats."]
    texts = ["HAS DIFFICULTY climbing; stairs today", "stairs climbing", "nothing", ""]
    assert overlap.copied_words(texts, real).tolist() == [4, 1, 0, 0]
    assert overlap.copied_words(texts, []).tolist() == [0, 0, 0, 0]
    assert overlap.copied_words([], real).tolist() == []


def test_copied_words_does_not_run_across_texts() -> None:
    assert overlap.copied_words(["a b c d"], ["x a b", "c d y"]).tolist() == [2]
    assert overlap.copied_words(["x a b", "c d y"], ["a b c d"]).tolist() == [2, 2]


def shingles(text: str) -> set[tuple[str, ...]]:
    tokens = [*overlap.words(text), "", "", ""]
    return {tuple(tokens[i : i + 3]) for i in range(max(1, len(overlap.words(text)) - 2))}


def jaccard(a: str, b: str) -> float:
    return len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))


def longest_run(text: str, real: str) -> int:
    ours, theirs = overlap.words(text), overlap.words(real)
    runs = {tuple(theirs[i:j]) for i in range(len(theirs)) for j in range(i + 1, len(theirs) + 1)}
    spans = ((i, j) for i in range(len(ours)) for j in range(i + 1, len(ours) + 1))
    return max((j - i for i, j in spans if tuple(ours[i:j]) in runs), default=0)


@pytest.mark.parametrize("seed", range(40))
def test_copies_and_duplicates_agree_with_brute_force(seed: int) -> None:
    source = random.Random(seed)
    letters = "abcdefghijklmnop"[: source.choice([2, 3, 6, 16])]

    def text() -> str:
        return " ".join(source.choice(letters) for _ in range(source.randint(0, 25)))

    real = [text() for _ in range(5)]
    edited = real[0].split()
    edited[len(edited) // 2 : len(edited) // 2 + 1] = ["z"]
    texts = [text(), text(), real[1], " ".join(edited), text(), real[1].upper()]
    runs = [max(longest_run(one, other) for other in real) for one in texts]
    assert overlap.copied_words(texts, real).tolist() == runs
    known = KnownTexts(real)
    assert known.copied_words(texts).tolist() == runs
    for threshold in (0.3, 0.8, 1.0):
        close = threshold - 1e-9
        near = [any(jaccard(one, other) >= close for other in real) for one in texts]
        assert overlap.near_duplicates(texts, real, threshold=threshold).tolist() == near
        assert known.near_duplicates(texts, threshold=threshold).tolist() == near
        keep: list[bool] = []
        for i, one in enumerate(texts):
            keep.append(not any(keep[j] and jaccard(one, texts[j]) >= close for j in range(i)))
        assert overlap.duplicates_within(texts, threshold=threshold).tolist() == keep


def test_known_texts_answer_as_often_as_they_are_asked() -> None:
    known = KnownTexts(["one two three four five six", "one two"])
    assert known.copied_words(["x one two three four five y", "six one two", "", "x"]).tolist() == [
        5,
        2,
        0,
        0,
    ]
    assert known.copied_words([]).tolist() == []
    assert known.near_duplicates(["one two", "one x", "one two three four five"]).tolist() == [
        True,
        False,
        False,
    ]
    assert known.near_duplicates(["one two three four five"], threshold=0.7).tolist() == [True]
    assert known.vocabulary >= {"one", "six"}
    with pytest.raises(ValueError, match=r"\(0, 1\]; got 1.5"):
        known.near_duplicates(["one"], threshold=1.5)
    nothing = KnownTexts([])
    assert nothing.copied_words(["one two"]).tolist() == [0]
    assert nothing.near_duplicates(["one two"]).tolist() == [False]


def test_near_duplicates_finds_a_copy_with_one_word_changed() -> None:
    real = " ".join(f"word{i}" for i in range(60))
    one_changed = real.replace("word30", "other")  # 3 of 58 3-grams differ: 55 / 61 = 0.90
    half = " ".join(real.split()[:30])
    assert overlap.near_duplicates([one_changed, half, PROSE], [real]).tolist() == [
        True,
        False,
        False,
    ]
    strict = overlap.near_duplicates([one_changed], [real], threshold=0.91)
    assert strict.tolist() == [False]


def test_near_duplicates_refuses_a_threshold_outside_its_range() -> None:
    with pytest.raises(ValueError, match=r"\(0, 1\]; got 1.5"):
        overlap.near_duplicates(["a b c"], ["a b c"], threshold=1.5)


def test_near_duplicate_embeddings_ignores_length() -> None:
    real = np.array([[1, 0], [0, 2]], dtype=np.float32)
    rows = np.array([[5, 0], [1, 1], [0, 0]], dtype=np.float32)
    assert filters.near_duplicate_embeddings(rows, real).tolist() == [True, False, False]
    assert filters.near_duplicate_embeddings(rows, real, threshold=0.7).tolist() == [
        True,
        True,
        False,
    ]


def test_closest_cosine_is_the_maximum_over_records() -> None:
    rng = np.random.default_rng(1)
    rows, records = rng.normal(size=(700, 5)), rng.normal(size=(30, 5))
    expected = (neighbors.unit(rows) @ neighbors.unit(records).T).max(axis=1)
    np.testing.assert_allclose(neighbors.closest_cosine(rows, records), expected, rtol=1e-5)
    known = neighbors.UnitVectors(records)
    np.testing.assert_array_equal(
        neighbors.closest_cosine(rows, known), neighbors.closest_cosine(rows, records)
    )
    assert len(known[1:3]) == 2


def test_degenerate_refuses_a_word_twice_in_a_row() -> None:
    good = "The patient had had a dry eye for some years and said that that was well known."
    stutters = "The patient had a mild eye eye irritation with a small lesion of the lid."
    assert filters.degenerate([good, stutters]) == [None, "repetitive"]
    assert filters.degenerate([" ".join([A, B, C, D, stutters])]) == [None]  # once in a long text


def test_unit_refuses_nan() -> None:
    with pytest.raises(ValueError, match="1 of 2 rows hold NaN or infinity, the first is row 1"):
        neighbors.unit([[1.0, 2.0], [np.nan, 0.0]])
