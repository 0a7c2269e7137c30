from __future__ import annotations

from collections.abc import Sequence
from unicodedata import normalize

import numpy as np
import polars as pl
from numpy.typing import NDArray

from smotext_core.privacy import audit_table
from smotext_core.privacy.canaries import canary_share
from smotext_core.privacy.reconstruction import EXACT, candidates, reconstructed
from smotext_core.privacy.replay import Names, identifiers, names, replayed_identifiers


def test_two_lines_with_a_common_end_give_it_away() -> None:
    rng = np.random.default_rng(0)
    base, one, other, absent = rng.normal(size=(4, 32))
    made = [(1 - w) * base + w * end for end in (one, other) for w in (0.2, 0.6)]
    found = candidates(made, seed=0)
    hit = reconstructed(found, [base, one, other, absent], cosine=EXACT)
    assert hit.tolist() == [True, False, False, False]


def test_mixing_along_the_arc_is_undone_too() -> None:
    rng = np.random.default_rng(1)
    ends = rng.normal(size=(3, 32))
    base, one, other = ends / np.linalg.norm(ends, axis=1, keepdims=True)

    def along(end: np.ndarray, w: float) -> NDArray[np.float32]:
        angle = np.arccos(base @ end)
        return (np.sin((1 - w) * angle) * base + np.sin(w * angle) * end) / np.sin(angle)

    made = [along(end, w) for end in (one, other) for w in (0.3, 0.7)]
    assert reconstructed(candidates(made, seed=0), [base], cosine=EXACT).all()


def test_points_that_share_no_line_give_nothing() -> None:
    rng = np.random.default_rng(2)
    made, real = rng.normal(size=(200, 64)), rng.normal(size=(200, 64))
    found = candidates(made, seed=0)
    assert len(found) > 0
    assert not reconstructed(found, real, cosine=EXACT).any()
    np.testing.assert_array_equal(found, candidates(made, seed=0))


def test_few_or_equal_points_give_no_candidates() -> None:
    assert candidates(np.ones((3, 8)), seed=0).shape == (0, 8)
    assert candidates(np.ones((50, 8)), seed=0).shape == (0, 8)


def test_canary_share_counts_runs_and_words_of_its_own() -> None:
    canaries = ["blue horses eat slow trains", "the quick brown fox jumps"]
    real = ["blue trains eat horses slow", "quick brown the fox", "it jumps"]
    assert canary_share(["and horses eat slow trains"], canaries, real) == 0.5
    assert canary_share(["horses eat slow"], canaries, real) == 0
    assert canary_share(["blue horses eat slow"], canaries, [*real, canaries[0]]) == 0.5
    assert canary_share(["anything"], [], real) is None


def test_a_run_that_other_real_texts_share_is_no_trace() -> None:
    assert (
        canary_share(["one two three four"], ["one two three four"], ["x one two three four"]) == 0
    )


def test_identifiers_are_addresses_telephone_and_long_numbers() -> None:
    text = "Write to A.B@Site.org or call +1 (555) 010-2233; file 88412, room 212, in 3.5 mg."
    assert identifiers(text) == {"a.b@site.org", "15550102233", "88412"}


def test_names_are_capitalised_inside_a_sentence() -> None:
    assert names("Today Ruth met old Ivo. Then she left, Petra too.") == {"ruth", "ivo", "petra"}


def test_names_of_decomposed_text_are_found() -> None:
    real = [normalize("NFD", "we saw José there"), "nobody was there"]
    found = Names(["it was José again", "it was nobody"], real)
    assert found.replayed(np.array([True, False])) == 0.5


def test_replayed_identifiers_leaves_out_what_others_hold() -> None:
    assert replayed_identifiers(["in 1998", "no 77123"], ["1998 77123"], ["by 1998"]) == 0.5


def test_names_leaves_out_plain_words() -> None:
    real = ["we saw Ruth with Hope", "there was hope", "they saw Ivo"]
    found = Names(["Ruth and Hope", "nobody"], real)
    assert found.replayed(np.array([True, True, False])) == 0.5
    assert found.replayed(np.array([False, True, True])) == 0


def test_audit_table_looks_at_every_passage_and_once_at_a_text_of_two_labels() -> None:
    passages = ["the first passage of it", "then a second one follows", "somebody else wrote this"]
    train = pl.DataFrame(
        {
            "text": [*passages, passages[2]],
            "label": ["a", "a", "a", "b"],
            "document_id": ["one", "one", "two", "two"],
        }
    )
    synthetic = pl.DataFrame(
        {
            "text": [passages[1], passages[1], "all of it new"],
            "label": ["a", "b", "b"],
            "document_id": ["0", "0", "1"],
        }
    )

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.eye(8, dtype=np.float32)[: len(texts)]

    found = audit_table(synthetic, train, train.clear(), encode=encode)
    whole = found.filter(pl.col("label").is_null(), measure="identical_share")
    assert whole["value"].to_list() == [0.5]
    assert whole["passed"].to_list() == [False]
