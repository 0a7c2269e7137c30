"""What a reader gets to see, and what comes back: files as spreadsheets leave them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smotext_core.reviews import (
    FILE_COLUMNS,
    Found,
    acceptance,
    apply_verdicts,
    matching,
    parse_verdicts,
    read_review,
    review_frame,
    review_rows,
    review_xlsx,
    standing,
    wilson,
)
from smotext_core.schemas import REVIEWS, SYNTHETIC_TEXTS, conform
from smotext_core.texts import csv_bytes

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def rows(n: int = 40, labels: tuple[str, ...] = ("a", "b")) -> pl.DataFrame:
    made = [
        {
            "sample_id": f"r1.{label}.{i}",
            "run": "r1",
            "label": label,
            "text": f"=text {i} of {label}\nwith a second line",
            "round_trip_cosine": 0.3 + i / 100,
            "parent_cosine": 0.5,
            "label_confidence": 0.9 - i / 100,
            "copied_words": 1,
            "parent_ids": ["1", "2#0"],
            "weights": [0.5, 0.5],
            "generator": "abc",
        }
        for label in labels
        for i in range(n)
    ]
    return conform(pl.DataFrame(made), SYNTHETIC_TEXTS)


def as_file(frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    data = csv_bytes(frame, bom=True) if kind == "csv" else review_xlsx(frame, ["a", "b"])
    return read_review(data, name=f"review.{kind}")


def asked(**options: int) -> pl.DataFrame:
    return review_frame(review_rows(rows(), **options), REVIEWS.to_frame(), {"1": "one"})


def parsed(cells: pl.DataFrame, *, reviewer: str | None = "Ada", run: str = "r1") -> Found:
    return parse_verdicts(cells, rows(), run=run, labels={"a", "b"}, reviewer=reviewer, now=NOW)


def judged(frame: pl.DataFrame, **cells: str) -> pl.DataFrame:
    """The first row with these cells."""
    first = frame.head(1).with_columns(pl.lit(value).alias(name) for name, value in cells.items())
    return pl.concat([first, frame.slice(1)])


def test_review_rows_take_some_of_every_label_least_sure_first() -> None:
    found = review_rows(rows(), n_sample=4, n_unsure=3)
    assert found.height == 14
    assert found.group_by("label", "why").len().sort("label", "why")["len"].to_list() == [3, 4] * 2
    assert found["why"].head(2).to_list() == ["least sure"] * 2
    assert found["label"].head(4).to_list() == ["a", "b", "a", "b"]
    unsure = found.filter(why="least sure", label="a")
    rest = rows().filter(label="a").join(found.filter(why="sample"), on="sample_id", how="anti")
    worst = sorted([rest["label_confidence"].min(), rest["round_trip_cosine"].min()])
    seen = [unsure["label_confidence"].min(), unsure["round_trip_cosine"].min()]
    assert sorted(seen) == worst  # the worst by either score are among them


def test_review_rows_draw_a_larger_sample_around_the_smaller_one() -> None:
    small = review_rows(rows(), n_sample=5, n_unsure=0)
    large = review_rows(rows().reverse(), n_sample=10, n_unsure=0)
    assert large["sample_id"].head(10).to_list() == small["sample_id"].to_list()
    other = review_rows(rows(), n_sample=5, n_unsure=0, seed=1)
    assert set(other["sample_id"]) != set(small["sample_id"])


def test_review_rows_sample_is_drawn_whatever_the_scores() -> None:
    places = []
    for seed in range(300):
        drawn = review_rows(rows(labels=("a",)), n_sample=1, n_unsure=0, seed=seed)
        places.append(int(drawn["sample_id"][0].rpartition(".")[2]))
    assert 17 < sum(places) / 300 < 22  # 19.5 expected, standard error .67


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_a_file_comes_back_as_it_went_out(kind: str) -> None:
    frame = asked(n_sample=3, n_unsure=2)
    found = as_file(frame, kind)
    assert found.columns == list(FILE_COLUMNS)
    assert found["sample_id"].to_list() == frame["sample_id"].to_list()
    none = parsed(found)
    assert (none.verdicts.height, none.unread, none.faults) == (0, 10, [])
    every = parsed(found.with_columns(verdict=pl.lit("Keep "))).verdicts
    assert every.height == 10
    assert every["sampled"].sum() == 6
    assert set(every["reviewer"]) == {"Ada"}
    assert set(every["reviewed_at"]) == {"2026-11-27T12:00:00+00:00"}


def test_review_xlsx_is_the_same_bytes_again() -> None:
    frame = asked(n_sample=3, n_unsure=2)
    assert review_xlsx(frame, ["a"]) == review_xlsx(frame, ["a"])


def test_review_frame_may_leave_the_parents_out_and_shows_verdicts_that_are_there() -> None:
    chosen = review_rows(rows(), n_sample=3, n_unsure=2)
    assert set(review_frame(chosen, REVIEWS.to_frame(), None)["parents"]) == {""}
    shown = review_frame(chosen, REVIEWS.to_frame(), {"1": "one"})
    assert shown["parents"][0] == "1. one\n2. (not in the corpus)"
    told = parsed(
        judged(as_file(shown, "csv"), corrected_label="b" if shown["label"][0] == "a" else "a")
    )
    again = review_frame(chosen, told.verdicts, None)
    assert again["verdict"][0] == ""
    assert again["corrected_label"][0] in ("a", "b")
    assert parsed(as_file(again, "csv")).verdicts.equals(told.verdicts)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"verdict": "maybe"}, "line 2: the verdict must be keep, drop or undecided, got 'maybe'"),
        ({"verdict": "keep", "run": "r2"}, "line 2: it is of the run 'r2', not of 'r1'"),
        ({"verdict": "keep", "text": "edited"}, "line 2: the text of r1.a."),
        ({"verdict": "keep", "sample_id": "r1.c.1"}, "no row of the run has the id 'r1.c.1'"),
        ({"verdict": "keep", "sample_id": "01.01.2026"}, "a number or date: a spreadsheet"),
        ({"verdict": "keep", "sample_id": "1.2E+05"}, "a number or date: a spreadsheet"),
        ({"verdict": "drop", "corrected_label": "b"}, "it says drop and corrects the label"),
        ({"verdict": "undecided", "corrected_label": "b"}, "it says undecided and corrects the"),
        ({"corrected_label": "zebra"}, "must be one of ['a', 'b'], got 'zebra'"),
        ({"verdict": "keep", "reviewed_at": "27/11/26"}, "reviewed_at must be ISO 8601"),
        ({"verdict": "keep", "why": "liked it"}, "why must be 'sample' or 'least sure'"),
    ],
)
def test_parse_verdicts_tells_a_faulty_line_and_its_reason(
    cells: dict[str, str], reason: str
) -> None:
    found = parsed(judged(as_file(asked(n_sample=3, n_unsure=2), "csv"), **cells))
    assert found.verdicts.is_empty()
    assert found.faults[0].startswith("line 2: ")
    assert reason in found.faults[0]
    assert len(found.faults) == 1


def test_parse_verdicts_wants_to_know_who_read_it_and_each_row_once() -> None:
    cells = judged(as_file(asked(n_sample=3, n_unsure=2), "csv"), verdict="drop")
    assert "who read it" in parsed(cells, reviewer=None).faults[0]
    twice = parsed(pl.concat([cells, cells.head(1)]))
    assert "in line 2 too" in twice.faults[0]


def test_parse_verdicts_skips_rows_that_are_gone() -> None:
    cells = judged(asked(n_sample=3, n_unsure=2), verdict="keep", sample_id="r1.a.4000")
    found = parsed(as_file(cells, "csv"))
    assert found.gone == ["line 2: the row r1.a.4000 is no more"]
    assert (found.faults, found.verdicts.height) == ([], 0)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: data.decode().encode("utf-16"), "must be UTF-8"),
        (lambda data: data.replace(b"sample_id", b"id", 1), "sample_id are missing"),
        (lambda data: b"", "no CSV that can be read"),
    ],
)
def test_read_review_refuses_a_file_that_is_none(
    spoil: Callable[[bytes], bytes], reason: str
) -> None:
    data = csv_bytes(asked(n_sample=1, n_unsure=1), bom=True)
    with pytest.raises(ValueError, match=reason):
        read_review(spoil(data), name="review.csv")


def test_read_review_refuses_other_kinds_and_reads_semicolons() -> None:
    frame = asked(n_sample=2, n_unsure=2)
    with pytest.raises(ValueError, match=r"\.csv or \.xlsx"):
        read_review(b"", name="review.ods")
    with pytest.raises(ValueError, match="no Excel file"):
        read_review(b"no zip", name="review.xlsx")
    text = "\ufeff" + frame.write_csv(separator=";")
    assert read_review(text.encode(), name="x.csv")["sample_id"].equals(frame["sample_id"])


def verdicts(*told: tuple[str, str, str | None, bool]) -> pl.DataFrame:
    of = dict(rows().select("sample_id", "text").iter_rows())
    import hashlib

    made = [
        {
            "run": "r1",
            "label": sample_id.split(".")[1],
            "sample_id": sample_id,
            "content_hash": hashlib.sha256(of[sample_id].encode()).hexdigest(),
            "verdict": verdict,
            "corrected_label": label,
            "reviewer": "Ada",
            "reviewed_at": "2026-11-27T12:00:00+00:00",
            "sampled": sampled,
            "round_trip_cosine": 0.5,
            "label_confidence": 0.5,
        }
        for sample_id, verdict, label, sampled in told
    ]
    return pl.DataFrame(made, schema=REVIEWS)


def test_parse_verdicts_holds_a_clock_that_is_ahead_to_the_import() -> None:
    for told, at in (
        ("2026-11-27T11:00:00", "2026-11-27T11:00:00+00:00"),
        ("2026-11-27T14:00:00+03:00", "2026-11-27T11:00:00+00:00"),
        ("2062-11-27T11:00:00", "2026-11-27T12:00:00+00:00"),
    ):
        cells = judged(asked(n_sample=3, n_unsure=2), verdict="keep", reviewed_at=told)
        assert parsed(as_file(cells, "csv")).verdicts["reviewed_at"].to_list() == [at]


@settings(max_examples=60, deadline=None)
@given(
    told=st.lists(
        st.tuples(
            st.sampled_from(["r1.a.1", "r1.a.2"]),
            st.sampled_from(["keep", "drop", "undecided"]),
            st.integers(0, 3),
        )
    )
)
def test_standing_is_the_last_verdict_read_of_each_text(told: list[tuple[str, str, int]]) -> None:
    imports = [
        verdicts((i, verdict, None, True)).with_columns(reviewed_at=pl.lit(f"2026-11-2{day}"))
        for i, verdict, day in told
    ]
    found = standing(pl.concat([REVIEWS.to_frame(), *imports]))
    expected: dict[str, tuple[str, int]] = {}
    for i, verdict, day in told:  # one by one, as a reader would keep a list
        if i not in expected or day >= expected[i][1]:
            expected[i] = (verdict, day)
    assert dict(found.select("sample_id", "verdict").iter_rows()) == {
        i: verdict for i, (verdict, _) in expected.items() if verdict != "undecided"
    }
    assert standing(found).equals(found)


def test_standing_keeps_verdicts_on_two_texts_of_a_row_apart() -> None:
    now = verdicts(("r1.a.1", "drop", None, True))
    other = now.with_columns(content_hash=pl.lit("f" * 64), verdict=pl.lit("undecided"))
    assert standing(pl.concat([now, other])).equals(now)


def test_apply_verdicts_drops_and_corrects_these_very_texts() -> None:
    told = verdicts(("r1.a.1", "drop", None, True), ("r1.a.2", "relabel", "b", True))
    left = apply_verdicts(rows(), matching(told, rows()))
    assert left.height == 79
    assert "r1.a.1" not in set(left["sample_id"])
    assert left.filter(sample_id="r1.a.2")["label"].to_list() == ["b"]
    anew = rows().with_columns(text=pl.lit("another text"))
    assert apply_verdicts(anew, matching(told, anew)).equals(anew)


def test_acceptance_is_of_sampled_rows_alone() -> None:
    told = verdicts(
        ("r1.a.1", "keep", None, True),
        ("r1.a.2", "keep", None, True),
        ("r1.a.3", "drop", None, True),
        ("r1.a.4", "relabel", "b", True),
        ("r1.a.5", "drop", None, False),
        ("r1.b.1", "drop", None, False),
    )
    a, b = acceptance(told).iter_rows(named=True)
    assert (a["read"], a["sampled"], a["accepted"], a["share"]) == (5, 4, 2, 0.5)
    assert (b["read"], b["sampled"], b["share"], b["low"]) == (1, 0, None, None)


def test_wilson_is_the_published_interval() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson(3, 2)
