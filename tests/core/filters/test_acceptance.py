"""Accepted or refused: every candidate is in one table, the refused with one reason."""

import random
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest

from smotext_core.filters import acceptance as filters
from smotext_core.filters import label_classifier
from smotext_core.schemas import CLASS_PAIRS, DECODED_TEXTS, REJECTED_TEXTS, SYNTHETIC_TEXTS
from smotext_core.texts import KnownTexts

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
    rows: list[tuple[str, int, str | None, float, float]],
    likelihoods: Sequence[float | None] | None = None,
    found: Sequence[bool] = (),
    **options: object,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows are (sample_id, candidate, text, round-trip cosine, closeness to the label)."""
    unknown = [["imprasion"] if row[2] and "imprasion" in row[2] else [] for row in rows]
    candidates = pl.DataFrame(
        [
            (*row[:4], words, likelihoods[place] if likelihoods else None)
            for place, (row, words) in enumerate(zip(rows, unknown, strict=True))
        ],
        schema=DECODED_TEXTS,
        orient="row",
    )
    if found:
        origins = pl.Series("origin", ["found" if of else "decoded" for of in found])
        candidates = candidates.with_columns(origins, found_id=None)
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
        "classifier": label_classifier.fit_label_classifier(train, ["a"] * 20 + ["b"] * 20),
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


def test_accept_takes_the_likeliest_candidate_where_that_is_known() -> None:
    rows: list[tuple[str, int, str | None, float, float]] = [
        ("r.a.0", 0, A, 0.9, 1),
        ("r.a.0", 1, B, 0.7, 1),
        ("r.a.1", 0, C, 0.8, 1),
        ("r.a.1", 1, B, 0.6, 1),
        ("r.a.1", 2, "Too few words", 0.5, 1),
    ]
    sampled, _ = accept(rows, relevance=1.0)
    assert sampled["text"].to_list() == [A, C]
    # The first takes B; the other's likeliest is refused, its second likeliest taken by then.
    likeliest, rejected = accept(rows, [-9.0, -2.0, -8.0, -3.0, -1.0])
    assert likeliest["text"].to_list() == [B, C]
    assert rejected["reason"].to_list() == [
        "another candidate was taken",
        "duplicate of a synthetic text",
        "too short",
    ]
    # Of few wanted, the likeliest of both before the second likeliest of either.
    few, _ = accept(rows[:4], [-1.0, -2.0, -8.0, -9.0], n_wanted=2)
    assert few["text"].to_list() == [A, C]


def test_accept_takes_found_texts_first_and_the_likeliest_of_the_decoded() -> None:
    rows = [("r.a.0", 0, A, 0.9, 1.0), ("r.a.0", 1, B, 0.7, 1.0), ("r.a.1", 2, C, 0.6, 1.0)]
    taken, _ = accept(rows, [-9.0, -2.0, None], found=[False, False, True], relevance=1.0)
    assert taken.select("text", "origin").rows() == [(B, "decoded"), (C, "found")]


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


@pytest.mark.parametrize("known", [list, KnownTexts])
def test_decoded_texts_copy_no_unlabelled_one_whose_words_are_known(
    known: Callable[[list[str]], Sequence[str] | KnownTexts],
) -> None:
    short = "my left knee aches badly"
    unlabelled = [short, f"Yesterday {B}", "an imprasion"]
    rows: list[tuple[str, int, str | None, float, float]] = [
        ("r.a.0", 0, A, 0.9, 1),
        ("r.a.1", 0, B, 0.9, 1),
        ("r.a.2", 0, short.upper(), 0.9, 1),
        ("r.a.3", 0, "The first imprasion was of a young man in good health.", 0.9, 1),
    ]
    accepted, rejected = accept(rows, unlabelled=known(unlabelled))
    assert sorted(accepted["sample_id"]) == ["r.a.0", "r.a.3"]
    told = dict(rejected.select("sample_id", "reason").iter_rows())
    assert told == {
        "r.a.1": "copies a real text",
        "r.a.2": "near duplicate of a real text",
    }
    without, _ = accept(rows)
    assert sorted(without["sample_id"]) == ["r.a.0", "r.a.1", "r.a.2"]
