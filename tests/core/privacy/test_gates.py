from __future__ import annotations

import polars as pl
import pytest

from smotext_core.privacy.gates import decided, held_back, hurts, judge, red_gates
from smotext_core.schemas import EVALUATION, GATES, PRIVACY_AUDIT, conform


def audit(**passed: bool | None) -> pl.DataFrame:
    rows = [
        {"measure": name, "value": 0.5, "threshold": None if ok is None else 0.4, "passed": ok}
        for name, ok in passed.items()
    ]
    frame = pl.DataFrame(rows, schema_overrides={"threshold": pl.Float64, "passed": pl.Boolean})
    extra = {"run": "r", "label": "rare", "reference": 0.1, "low": None, "high": None}
    return conform(frame.with_columns(pl.lit(v).alias(k) for k, v in extra.items()), PRIVACY_AUDIT)


def judged(measures: pl.DataFrame, **options: object) -> pl.DataFrame:
    given = {"accepted": 9, "wanted": 10, "min_accepted_share": 0.1, **options}
    return judge(measures, run="r", label="rare", **given)  # type: ignore[arg-type]


def test_judge_passes_an_honest_label() -> None:
    gates = judged(audit(identical_share=True, membership_auc=True))
    assert gates.schema == GATES
    assert gates["gate"].to_list() == ["accepted_share", "identical_share", "membership_auc"]
    assert gates.row(0, named=True) == {
        "run": "r", "label": "rare", "gate": "accepted_share", "value": 0.9, "limit": 0.1,
        "passed": True, "published_anyway": None,
    }  # fmt: skip
    assert held_back(gates).is_empty()


@pytest.mark.parametrize(
    ("measures", "options", "red"),
    [
        ({"identical_share": False, "nndr_ratio": True}, {}, ["identical_share"]),
        ({"nndr_ratio": True}, {"accepted": 0}, ["accepted_share"]),
        ({"nndr_ratio": False}, {"accepted": 0}, ["accepted_share", "nndr_ratio"]),
    ],
)
def test_judge_holds_back_what_is_red(
    measures: dict[str, bool], options: dict[str, int], red: list[str]
) -> None:
    gates = judged(audit(**measures), **options)
    assert red_gates(gates) == held_back(gates)["gate"].to_list() == red


def test_judge_does_not_hold_what_cannot_be_judged() -> None:
    gates = judged(audit(membership_auc=None), accepted=0, wanted=0)
    assert gates["passed"].to_list() == [None, None]
    assert held_back(gates).is_empty()
    assert judged(PRIVACY_AUDIT.to_frame(), accepted=1)["passed"].to_list() == [True]


def test_judge_keeps_the_reason_of_who_publishes_anyway() -> None:
    why = {"identical_share": "public texts", "nndr_ratio": "it was red once"}
    gates = judged(audit(identical_share=False, nndr_ratio=True), published_anyway=why)
    assert gates["published_anyway"].to_list() == [None, "public texts", None]
    assert decided(gates) == {"identical_share": "public texts"}
    assert red_gates(gates) == ["identical_share"]
    assert held_back(gates).is_empty()
    # of another gate it says nothing
    gates = judged(audit(identical_share=False, membership_auc=False), published_anyway=why)
    assert held_back(gates)["gate"].to_list() == ["membership_auc"]


def test_judge_refuses_what_means_nothing() -> None:
    with pytest.raises(ValueError, match="must lie in"):
        judged(PRIVACY_AUDIT.to_frame(), min_accepted_share=1.5)
    with pytest.raises(ValueError, match="with a reason, got an empty one"):
        judged(PRIVACY_AUDIT.to_frame(), published_anyway={"nndr_ratio": "  "})


def evaluated(**verdict_of: tuple[str, float]) -> pl.DataFrame:
    """EVALUATION of one label by head: the verdict over class weights, its interval's upper end."""
    rows = [
        {
            "run": "r", "head": head, "arm": "smotext", "metric": metric, "label": label,
            "value": 0.5, "difference": 0.3, "low": 0.2, "high": 0.4, "verdict": "helps",
            "cheap_arm": "class_weight", "over_cheap": high - 0.1, "over_low": high - 0.2,
            "over_high": high, "over_verdict": verdict, "n_seeds": 10,
        }
        for head, (verdict, high) in verdict_of.items()
        for metric, label in (("macro_f1", None), ("f1", "rare"))
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=EVALUATION)


def others() -> pl.DataFrame:
    return evaluated(embedding=("helps", 0.3)).with_columns(
        label=pl.col("label").replace("rare", "another")
    )


@pytest.mark.parametrize(
    ("evaluation", "documents", "found"),
    [
        (
            evaluated(embedding=("helps", 0.3), tfidf=("hurts", -0.1)),
            5,
            ("hurts", -0.1, 0.0, False),
        ),
        (evaluated(embedding=("helps", 0.3), tfidf=("helps", 0.2)), 5, ("hurts", 0.2, 0.0, True)),
        (evaluated(embedding=("no evidence", 0.1)), 5, ("hurts", 0.1, 0.0, True)),
        # too few test documents for a verdict, whatever the interval
        (evaluated(embedding=("no evidence", -0.1)), 4, ("hurts", -0.1, 0.0, None)),
        (evaluated(embedding=("no evidence", 0.0)), 4, ("hurts", 0.0, 0.0, None)),
        (evaluated(embedding=("no evidence", 0.1)), 1, ("hurts", 0.1, 0.0, None)),
        (evaluated().clear(), 0, ("hurts", None, 0.0, None)),  # no test document at all
        (evaluated().clear(), 9, ("hurts", None, 0.0, None)),  # no row of it
        (None, 9, ("not_evaluated", None, 0.0, False)),
        # an evaluation of other labels: of many it looks at some
        (others(), 9, ("not_evaluated", None, 0.0, False)),
        (others(), 4, ("hurts", None, 0.0, None)),
    ],
)
def test_hurts_is_the_verdict_of_the_worst_head(
    evaluation: pl.DataFrame | None, documents: int, found: tuple[object, ...]
) -> None:
    assert hurts(evaluation, "rare", test_documents=documents).row(0) == found


def test_judge_holds_back_what_hurts_only_if_asked() -> None:
    worse = hurts(evaluated(embedding=("hurts", -0.1)), "rare", test_documents=5)
    assert held_back(judged(audit(nndr_ratio=True))).is_empty()
    gates = judged(audit(nndr_ratio=True), efficacy=worse)
    assert gates.schema == GATES
    assert held_back(gates)["gate"].to_list() == ["hurts"]
    known = judged(audit(nndr_ratio=True), efficacy=worse, published_anyway={"hurts": "a demo"})
    assert held_back(known).is_empty()
    assert red_gates(known) == ["hurts"]


@pytest.mark.parametrize(("share", "passed"), [(0.5, True), (0.49, False), (0.0, False)])
def test_judge_holds_back_what_the_generator_cannot_write(share: float, passed: bool) -> None:
    gates = judged(PRIVACY_AUDIT.to_frame(), competence=share)
    row = gates.filter(pl.col("gate") == "competence").row(0, named=True)
    assert (row["value"], row["limit"], row["passed"]) == (share, 0.5, passed)
    assert held_back(gates).height == (not passed)
    unknown = judged(PRIVACY_AUDIT.to_frame())
    assert unknown["gate"].to_list() == ["accepted_share"]
