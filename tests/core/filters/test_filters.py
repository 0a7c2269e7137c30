from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from smotext_core.filters import acceptance as filters
from smotext_core.filters import label_classifier
from smotext_core.neighbors import exact as neighbors
from smotext_core.schemas import CLASS_PAIRS, DECODED_TEXTS, REJECTED_TEXTS, SYNTHETIC_TEXTS
from smotext_core.texts import KnownTexts, overlap

PROSE = "The nurse measured the pressure twice and wrote both numbers in the chart before noon."


# -- single filters


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
    classifier = label_classifier.fit_label_classifier(*two_classes(), seed=0)
    probes = np.eye(8, dtype=np.float32)[:2]
    assert label_classifier.label_agrees(classifier, probes, "b").tolist() == [False, True]
    confidence = label_classifier.label_confidence(classifier, probes, "b")
    assert confidence.dtype == np.float32
    assert confidence[0] < 0.2 < 0.8 < confidence[1]
    other = label_classifier.label_confidence(classifier, probes, "a")
    np.testing.assert_allclose(confidence + other, 1, rtol=1e-5)


def test_label_classifier_balances_a_rare_class() -> None:
    rows, labels = two_classes(200)
    classifier = label_classifier.fit_label_classifier(rows, labels, seed=0)
    between = np.full((1, 8), 0, dtype=np.float32)
    between[0, :2] = 1  # as near one centre as the other
    assert 0.3 < label_classifier.label_confidence(classifier, between, "b")[0] < 0.7


def test_label_classifier_ignores_the_length_of_vectors() -> None:
    rows, labels = two_classes()
    plain = label_classifier.fit_label_classifier(rows, labels, seed=0)
    scaled = label_classifier.fit_label_classifier(rows * 1000, labels, seed=0)
    np.testing.assert_allclose(
        label_classifier.label_confidence(plain, rows, "a"),
        label_classifier.label_confidence(scaled, rows * 7, "a"),
        atol=1e-3,
    )


def test_fit_label_classifier_refuses_one_class() -> None:
    with pytest.raises(ValueError, match="two classes or more; got \\['a'\\]"):
        label_classifier.fit_label_classifier(np.ones((3, 2), np.float32), ["a"] * 3, seed=0)
    with pytest.raises(ValueError, match="3 rows and 2 labels"):
        label_classifier.fit_label_classifier(np.ones((3, 2), np.float32), ["a", "b"], seed=0)


def test_label_confidence_refuses_an_unknown_label() -> None:
    classifier = label_classifier.fit_label_classifier(*two_classes(), seed=0)
    with pytest.raises(ValueError, match="'c'; it was fitted on \\['a', 'b'\\]"):
        label_classifier.label_confidence(classifier, np.ones((1, 8), np.float32), "c")


# -- copies


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


def test_degenerate_refuses_a_word_twice_in_a_row() -> None:
    good = "The patient had had a dry eye for some years and said that that was well known."
    stutters = "The patient had a mild eye eye irritation with a small lesion of the lid."
    assert filters.degenerate([good, stutters]) == [None, "repetitive"]
    assert filters.degenerate([" ".join([A, B, C, D, stutters])]) == [None]  # once in a long text


def test_unit_refuses_nan() -> None:
    with pytest.raises(ValueError, match="1 of 2 rows hold NaN or infinity, the first is row 1"):
        neighbors.unit([[1.0, 2.0], [np.nan, 0.0]])


# -- accept

REAL = [
    "The surgeon closed the incision with sutures and the patient went home the same evening.",
    "Markets fell sharply on Tuesday after the bank raised its rate for the third time.",
]


def vector(towards_label: float, own: int) -> list[float]:
    """Label "a" is the first axis; axes 2 to 15 keep rows apart."""
    row = [0.0] * 16
    row[0], row[1], row[2 + own % 14] = towards_label, 1 - towards_label, 1.0
    return row


def accept(
    rows: list[tuple[str, int, str | None, float, float]], **options: object
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows are (sample_id, candidate, text, round-trip cosine, closeness to the label)."""
    unknown = [["imprasion"] if row[2] and "imprasion" in row[2] else [] for row in rows]
    candidates = pl.DataFrame(
        [(*row[:4], words) for row, words in zip(rows, unknown, strict=True)],
        schema=DECODED_TEXTS,
        orient="row",
    )
    samples = sorted({row[0] for row in rows}, key=lambda sample: int(sample.split(".")[-1]))
    pairs = pl.DataFrame(
        [(s, int(s.split(".")[-1]), ["t0", "t1"], [0.75, 0.25]) for s in samples],
        schema=CLASS_PAIRS,
        orient="row",
    )
    parents = np.zeros((2, 16), dtype=np.float32)
    parents[0, 0] = parents[1, 1] = 1
    train = np.repeat(parents, 20, axis=0) + 0.01
    arguments: dict[str, object] = {
        "label": "a",
        "run": "r",
        "generator": "f00d",
        "pairs": pairs,
        "parent_embeddings": {"t0": parents[0], "t1": parents[1]},
        "real_texts": REAL,
        "real_embeddings": parents,
        "classifier": label_classifier.fit_label_classifier(train, ["a"] * 20 + ["b"] * 20, seed=0),
        "n_wanted": 10,
    }
    vectors = np.array([vector(row[4], i) for i, row in enumerate(rows)], dtype=np.float32)
    return filters.accept(candidates, vectors.reshape(-1, 16), **(arguments | options))  # type: ignore[arg-type]


A = "A calm young man described an ache behind his left knee after running."
B = "Her cough began last winter and she now sleeps badly most nights."
C = "Swelling of both ankles was noted when the boy returned from camp."
D = "We discussed diet and exercise and agreed to meet again in spring."

EVERY_REASON: list[tuple[str, int, str | None, float, float]] = [
    ("r.a.0", 0, A, 0.8, 1),
    ("r.a.0", 1, B, 0.7, 1),  # closer one accepted
    ("r.a.1", 0, "Too few words", 0.9, 1),
    ("r.a.1", 1, "pain " * 20, 0.9, 1),
    ("r.a.1", 2, "1 2 3 4 5 6 7 8 9 10", 0.9, 1),
    ("r.a.1", 3, "The first imprasion was of a young man in good health.", 0.9, 1),
    ("r.a.2", 0, C, 0.2, 1),
    ("r.a.2", 1, C, 0.9, 0),
    ("r.a.3", 0, "Then the surgeon closed the incision with sutures and the dog left.", 0.9, 1),
    ("r.a.3", 1, REAL[0].replace("evening", "day"), 0.9, 1),
    ("r.a.4", 0, A.upper(), 0.75, 1),
    ("r.a.4", 1, C, 0.6, 1),
    ("r.a.10", 0, D, 0.5, 1),
    ("r.a.5", 0, None, 0.9, 1),
]


def test_accept_gives_every_candidate_one_table_and_one_reason() -> None:
    accepted, rejected = accept(EVERY_REASON, n_wanted=2, relevance=1)
    assert accepted.schema == SYNTHETIC_TEXTS
    assert rejected.schema == REJECTED_TEXTS
    assert accepted.select("sample_id", "text").rows() == [("r.a.0", A), ("r.a.4", C)]
    assert rejected.select("sample_id", "candidate", "reason").rows() == [
        ("r.a.0", 1, "another candidate was taken"),
        ("r.a.1", 0, "too short"),
        ("r.a.1", 1, "repetitive"),
        ("r.a.1", 2, "not prose"),
        ("r.a.1", 3, "made-up word"),
        ("r.a.10", 0, "more than wanted"),
        ("r.a.2", 0, "round trip below minimum"),
        ("r.a.2", 1, "another label is likelier"),
        ("r.a.3", 0, "copies a real text"),
        ("r.a.3", 1, "copies a real text"),
        ("r.a.4", 0, "duplicate of a synthetic text"),
        ("r.a.5", 0, "too short"),
    ]


def test_accept_reports_every_reason_it_lists() -> None:
    _, rejected = accept(EVERY_REASON, n_wanted=2)
    _, near = accept(EVERY_REASON, max_copied_words=99)
    _, unsure = accept(EVERY_REASON, min_label_confidence=0.5)
    repeats = ("r.a.6", 0, A.replace("calm young", "quiet old"), 0.4, 1.0)
    _, alike = accept([*EVERY_REASON, repeats], max_rouge_l=0.7)
    reasons = {*rejected["reason"], *near["reason"], *unsure["reason"], *alike["reason"]}
    assert reasons == set(filters.REASONS)


def test_accept_fills_scores_and_lineage() -> None:
    accepted, _ = accept([("r.a.0", 0, A, 0.8, 1)])
    row = accepted.row(0, named=True)
    assert row["run"] == "r"
    assert row["label"] == "a"
    assert row["generator"] == "f00d"
    assert row["parent_ids"] == ["t0", "t1"]
    assert row["weights"] == [0.75, 0.25]
    assert row["parent_cosine"] == pytest.approx(2**-0.5, rel=1e-5)  # (1, 1) to (1, 0)
    assert row["copied_words"] == 1
    assert row["label_confidence"] > 0.5


def test_accept_refuses_runs_of_max_copied_words() -> None:
    row = [("r.a.0", 0, "Later the surgeon closed the incision with strong thread.", 0.8, 1.0)]
    assert accept(row, max_copied_words=7)[0].height == 1  # type: ignore[arg-type]
    assert accept(row, max_copied_words=6)[1]["reason"].to_list() == ["copies a real text"]  # type: ignore[arg-type]


def test_accept_refuses_an_embedding_next_to_a_real_one() -> None:
    real = np.array([vector(1, 0)], dtype=np.float32)
    _, rejected = accept([("r.a.0", 0, A, 0.8, 1)], real_embeddings=real)
    assert rejected["reason"].to_list() == ["near duplicate of a real text"]


def test_accept_without_check_label_keeps_unlikely_labels() -> None:
    accepted, _ = accept([("r.a.2", 1, C, 0.9, 0)], check_label=False)
    assert accepted.height == 1
    assert accepted["label_confidence"][0] < 0.5


def test_accept_with_a_least_confidence_asks_for_no_more() -> None:
    row = [("r.a.2", 1, C, 0.9, 0.45)]  # "b" is a little likelier
    assert accept(row)[1]["reason"].to_list() == ["another label is likelier"]  # type: ignore[arg-type]
    accepted, _ = accept(row, min_label_confidence=0.2)  # type: ignore[arg-type]
    assert 0.2 < accepted["label_confidence"][0] < 0.5
    _, rejected = accept(row, min_label_confidence=0.6)  # type: ignore[arg-type]
    assert rejected["reason"].to_list() == ["label confidence below minimum"]
    assert accept(row, min_label_confidence=0.6, check_label=False)[0].height == 1  # type: ignore[arg-type]


def test_accept_breaks_ties_by_sample_number() -> None:
    rows = [("r.a.10", 0, A, 0.8, 1), ("r.a.9", 0, B, 0.8, 1)]
    accepted, _ = accept(rows, n_wanted=1)  # type: ignore[arg-type]
    assert accepted["sample_id"].to_list() == ["r.a.9"]


def test_accept_does_not_depend_on_the_order_of_candidates() -> None:
    order = list(range(len(EVERY_REASON)))
    random.Random(0).shuffle(order)
    drop = ["parent_cosine", "label_confidence"]  # the helper gives rows vectors by position
    for straight, shuffled in zip(
        accept(EVERY_REASON, n_wanted=2),
        accept([EVERY_REASON[i] for i in order], n_wanted=2),
        strict=True,
    ):
        assert straight.drop(drop).equals(shuffled.drop(drop))


def test_accept_of_no_candidates_gives_empty_tables() -> None:
    accepted, rejected = accept([])
    assert accepted.schema == SYNTHETIC_TEXTS
    assert rejected.schema == REJECTED_TEXTS
    assert accepted.height == rejected.height == 0


def test_accept_refuses_rows_that_do_not_line_up() -> None:
    row = ("r.a.0", 0, A, 0.8, 1.0)
    with pytest.raises(ValueError, match="must come once"):
        accept([row, row])
    with pytest.raises(ValueError, match="among the pairs; 1 are not, the first is"):
        accept([row], pairs=pl.DataFrame(schema=CLASS_PAIRS))
    with pytest.raises(ValueError, match="1 have none, the first is 't1'"):
        accept([row], parent_embeddings={"t0": np.ones(16, np.float32)})
    with pytest.raises(ValueError, match="n_wanted -1"):
        accept([row], n_wanted=-1)


# -- shortfall


def test_shortfall_names_the_commonest_refusal() -> None:
    accepted = pl.DataFrame({"sample_id": ["s"] * 41})
    reasons = ["another label is likelier"] * 8 + ["too short"] * 3
    surplus = ["another candidate was taken"] * 50
    rejected = pl.DataFrame({"reason": reasons + surplus})
    assert filters.shortfall(60, accepted, rejected) == (
        "41 of 60 wanted; most refused for: another label is likelier (8)"
    )
    assert filters.shortfall(41, accepted, rejected) is None
    nothing_refused = rejected.filter(pl.col("reason") == "another candidate was taken")
    assert filters.shortfall(60, accepted, nothing_refused) == (
        "41 of 60 wanted; no candidate was refused: decode more samples"
    )


def test_accept_refuses_what_repeats_a_chosen_text() -> None:
    like_a = A.replace("calm young", "quiet old").replace("knee", "ankle")  # 9 of 12 words in order
    rows: list[tuple[str, int, str | None, float, float]] = [
        ("r.a.0", 0, A, 0.8, 1),
        ("r.a.1", 0, like_a, 0.7, 1),
        ("r.a.2", 0, B, 0.6, 1),
    ]
    accepted, rejected = accept(rows)
    assert accepted.height == 3  # off by default
    accepted, rejected = accept(rows, max_rouge_l=0.7)
    assert accepted["text"].to_list() == [A, B]
    assert rejected["reason"].to_list() == ["too like a synthetic text"]
    assert rejected["text"].to_list() == [like_a]
    assert accept(rows, max_rouge_l=0.8)[0].height == 3
    # a refused text does not refuse others
    far = ("r.a.3", 0, like_a.replace("described an ache", "told us of pain"), 0.5, 1.0)
    accepted, _ = accept([*rows, far], max_rouge_l=0.7)
    assert far[2] in accepted["text"].to_list()
