"""Verdict and advice: against nothing, and against what costs nothing."""

from __future__ import annotations

import polars as pl
import pytest

from smotext_core.efficacy.advice import best_with_rows, verdicts
from smotext_core.efficacy.evaluation import (
    CHEAP,
    WITH_ROWS,
)
from tests.core.efficacy.planted import as_synthetic, make_rows, run_with, vectors_of


def test_evaluate_never_judges_a_label_on_few_test_documents(corpus):
    keep = (corpus["test"]["label"] == "common") | corpus["test"]["text_id"].is_in(
        ["test0", "test1"]
    )
    part = {
        **corpus,
        "test": corpus["test"].filter(keep),
        "test_embeddings": corpus["test_embeddings"][keep.to_numpy()],
    }
    fresh = make_rows(60, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    found = run_with(part, synthetic, vectors_of(fresh, seed=6))
    rare = found.filter(pl.col("label") == "rare", pl.col("arm") != "real")
    assert set(rare["verdict"]) == {"no evidence"}


def test_evaluate_compares_made_rows_with_the_best_arm_that_costs_nothing(helped):
    macro = helped.filter(pl.col("metric") == "macro_f1")
    for head in ("embedding", "tfidf"):
        value = dict(macro.filter(pl.col("head") == head).select("arm", "value").iter_rows())
        best = max((arm for arm in CHEAP if arm in value), key=value.__getitem__)
        own = macro.filter(pl.col("head") == head, pl.col("arm").is_in(WITH_ROWS))
        assert set(own["cheap_arm"]) == {best}
        for arm, over in own.select("arm", "over_cheap").iter_rows():
            assert over == pytest.approx(value[arm] - value[best], abs=1e-12)
        arm = best_with_rows(helped).filter(pl.col("head") == head)["arm"].unique().item()
        assert value[arm] == max(value[arm] for arm in WITH_ROWS)
    assert helped.filter(pl.col("arm").is_in(("real", *CHEAP)))["over_cheap"].is_null().all()


def test_verdicts_advise_per_label(helped):
    found = verdicts(helped)
    assert found.columns == ["label", "embedding", "tfidf", "advice"]
    assert found["label"].to_list() == [None, "common", "rare"]
    # on the vectors edited texts do nearly as well (over_low is 0), on their words they cannot
    assert found.row(2) == ("rare", "no evidence", "helps", "augment")


def test_verdicts_advise_what_costs_nothing_where_it_does_as_well():
    # of two heads: the rows over the best cheap arm, the rows alone, that arm alone; the advice
    none = "no evidence"
    cases = {
        "a": (("helps", none), ("helps", none), ("helps", none), "augment"),
        "b": (("helps", "hurts"), ("helps", none), (none, none), "do not augment"),
        "c": ((none, none), ("helps", none), ("helps", none), "use class weights"),
        "d": ((none, none), (none, none), (none, "helps"), "use word edits"),
        "e": ((none, none), ("helps", none), (none, none), "augment"),
        "f": (("hurts", none), ("helps", none), (none, none), "do not augment"),
        "g": ((none, none), (none, none), (none, none), "do not augment"),
    }
    cheap = {"embedding": "class_weight", "tfidf": "word_edits"}
    rows: list[dict[str, object]] = []
    for head, i in (("embedding", 0), ("tfidf", 1)):
        base = {"head": head, "cheap_arm": None, "over_verdict": None, "value": 0.5}
        own = base | {"arm": "smotext", "cheap_arm": cheap[head]}
        rows.append(own | {"metric": "macro_f1", "label": None, "verdict": none})
        rows[-1]["over_verdict"] = none
        for label, (over, gain, free, _) in cases.items():
            f1 = {"metric": "f1", "label": label}
            rows.append(own | f1 | {"verdict": gain[i], "over_verdict": over[i]})
            rows.append(base | f1 | {"arm": cheap[head], "verdict": free[i]})
    frame = pl.DataFrame(rows, infer_schema_length=None)
    advice = dict(verdicts(frame).drop_nulls("label").select("label", "advice").iter_rows())
    assert advice == {label: case[-1] for label, case in cases.items()}
