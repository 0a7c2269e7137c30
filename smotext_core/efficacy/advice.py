"""What follows for a label: augment it, use what costs nothing, or leave it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from smotext_core.efficacy.evaluation import HEADS, WITH_ROWS

INSTEAD = {  # what one is advised to do where an arm that costs nothing is as good
    "class_weight": "use class weights",
    "oversample": "use duplicates",
    "smote": "use SMOTE on vectors",
    "mixup": "use mixup",
    "word_edits": "use word edits",
}


def verdicts(evaluation: pl.DataFrame) -> pl.DataFrame:
    """What the synthetic rows do for each label: a column of verdicts a head, and the advice.

    One row per label (F1), and one whose label is null for macro-F1. A head's verdict is that of
    the best arm of `WITH_ROWS` over the best of `CHEAP`. The advice is

    - "augment" where a head says "helps" and none says "hurts";
    - "use class weights", or another arm that costs nothing, where that one helps and the rows do
      not do better;
    - "augment" where only the rows are shown to help, and no head says "hurts";
    - "do not augment" elsewhere: an interval that spans 0 is no reason to.

    Returns:
        label, embedding, tfidf, other_encoder where it was used, advice; no rows if `evaluation`
        has no arm "smotext".
    """
    rows = best_with_rows(evaluation)
    heads = [head for head in HEADS if head != "other_encoder" or head in set(rows["head"])]
    cheap = evaluation.select("head", "metric", "label", cheap_arm="arm", alone="verdict")
    keys = ["head", "metric", "label", "cheap_arm"]
    told: dict[str | None, dict[str, dict[str, str | None]]] = {}
    for row in rows.join(cheap, on=keys, how="left", nulls_equal=True).iter_rows(named=True):
        told.setdefault(row["label"], {})[row["head"]] = row
    schema = {"label": pl.String, **dict.fromkeys((*heads, "advice"), pl.String)}
    table = [
        (label, *(of.get(head, {}).get("over_verdict") for head in heads), _advice(of.values()))
        for label, of in told.items()
    ]
    return pl.DataFrame(table, schema=schema, orient="row").sort("label", nulls_last=False)


def best_with_rows(evaluation: pl.DataFrame) -> pl.DataFrame:
    """Of each head, the macro-F1 and F1 rows of the arm of `WITH_ROWS` with the best macro-F1."""
    rows = evaluation.filter(
        pl.col("arm").is_in(WITH_ROWS), pl.col("metric").is_in(["macro_f1", "f1"])
    )
    best = (
        rows.filter(pl.col("metric") == "macro_f1")
        .sort("value", descending=True, maintain_order=True)
        .unique("head", keep="first", maintain_order=True)
    )
    return rows.join(best.select("head", "arm"), on=["head", "arm"], maintain_order="left")


def _advice(heads: Iterable[Mapping[str, str | None]]) -> str:
    over = [row["over_verdict"] for row in heads]
    if "helps" in over and "hurts" not in over:
        return "augment"
    for row in heads:
        if row["alone"] == "helps" and row["over_verdict"] != "helps":
            return INSTEAD[str(row["cheap_arm"])]
    own = [row["verdict"] for row in heads]
    return "augment" if "helps" in own and "hurts" not in (*own, *over) else "do not augment"
