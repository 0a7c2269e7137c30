"""Gates of publication: a label's rows are held back where a leak measure is red, few were made or
the generator cannot write such texts; and, for whoever asks, where they hurt a classifier.

A gate that could not be judged (too few rows in the holdout) does not hold back; it is no pass
either. A measure is red by chance in one audit of a hundred, so now and then an honest label is
held: whoever has looked may publish it all the same, with a reason that stays on record.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from smotext_core.efficacy import MIN_TEST_DOCUMENTS, best_with_rows, verdicts
from smotext_core.filters import COMPETENCE, LEAST_COMPETENCE
from smotext_core.schemas import GATES, conform

ACCEPTED = "accepted_share"
HURTS, NOT_EVALUATED = "hurts", "not_evaluated"
READERS = "accepted_by_readers"


def judge(
    audit: pl.DataFrame,
    *,
    run: str,
    label: str,
    accepted: int,
    wanted: int,
    min_accepted_share: float,
    competence: float | None = None,
    efficacy: pl.DataFrame | None = None,
    readers: tuple[float | None, float] | None = None,
    published_anyway: Mapping[str, str] = {},
) -> pl.DataFrame:
    """One row per gate of a label of a run: GATES.

    Args:
        audit: PRIVACY_AUDIT of the label's rows, empty where there are none.
        competence: see `filters.calibrate_round_trip`; None: it was not measured, and is no gate.
        efficacy: as `hurts` gives it; None: whether the rows hurt is no gate.
        readers: the share of the label's rows that readers accept, null where none was read, which
            does not hold back, and the least share; None: what readers say is no gate.
        accepted, wanted: rows that passed the filters, and rows asked for. With none wanted the
            share is not judged.
        min_accepted_share: below it the filters, not the generator, wrote the class: what is left
            are its luckiest texts.
        published_anyway: by gate, why the rows are published though it is red. Whoever gave the
            reason knew of these gates, so it says nothing of another one that is found red later.

    Raises:
        ValueError: a share outside [0, 1], or an empty reason.
    """
    if not 0 <= min_accepted_share <= 1:
        raise ValueError(f"min_accepted_share must lie in [0, 1], got {min_accepted_share}")
    if not all(reason.strip() for reason in published_anyway.values()):
        raise ValueError(f"{label} can only be published anyway with a reason, got an empty one")
    share = accepted / wanted if wanted else None
    measures = audit.select(
        pl.col("measure").alias("gate"), "value", pl.col("threshold").alias("limit"), "passed"
    )
    enough = None if share is None else share >= min_accepted_share
    rows = [(ACCEPTED, share, min_accepted_share, enough)]
    if competence is not None:
        rows.append((COMPETENCE, competence, LEAST_COMPETENCE, competence >= LEAST_COMPETENCE))
    if readers is not None:
        found, least = readers
        rows.append((READERS, found, least, None if found is None else found >= least))
    own = pl.DataFrame(rows, schema=measures.schema, orient="row")
    gates = pl.concat([own, measures, *([] if efficacy is None else [efficacy])])
    reason = pl.col("gate").replace_strict(published_anyway, default=None, return_dtype=pl.String)
    return conform(
        gates.with_columns(
            pl.lit(run).alias("run"),
            pl.lit(label).alias("label"),
            pl.when(~pl.col("passed")).then(reason).alias("published_anyway"),
        ),
        GATES,
    )


def hurts(evaluation: pl.DataFrame | None, label: str, *, test_documents: int) -> pl.DataFrame:
    """The gate that a label's verdict must pass: gate, value, limit, passed, for `judge`.

    Its value is the highest difference in F1 that the worst head's interval allows, of the best arm
    with the rows over the best that costs nothing: below 0 the rows hurt. With fewer test documents
    than MIN_TEST_DOCUMENTS there is no verdict, and a label without rows has none either: neither
    is judged. Rows that nobody has evaluated do not pass, nor do those of a label that was not
    among the `MOST_LABELS` looked at: what is asked is that they are known not to hurt.

    Args:
        evaluation: EVALUATION of these very rows; None where there is none yet, empty of no rows.
        test_documents: those of the label.
    """
    row: tuple[str, float | None, float, bool | None]
    enough = test_documents >= MIN_TEST_DOCUMENTS
    if evaluation is None or (enough and evaluation.height and label not in evaluation["label"]):
        row = (NOT_EVALUATED, None, 0.0, False)
    else:
        told = verdicts(evaluation).filter(pl.col("label") == label).drop("label", "advice")
        of_label = best_with_rows(evaluation).filter(pl.col("label") == label)
        highest: float | None = of_label["over_high"].min()  # type: ignore[assignment]
        judged = told.height > 0 and enough
        row = (HURTS, highest, 0.0, "hurts" not in told.row(0) if judged else None)
    schema = {name: GATES[name] for name in ("gate", "value", "limit", "passed")}
    return pl.DataFrame([row], schema=schema, orient="row")


def decided(gates: pl.DataFrame) -> dict[str, str]:
    """By red gate, why the label is published all the same, where somebody decided so."""
    known = gates.filter(~pl.col("passed"), pl.col("published_anyway").is_not_null())
    return dict(known.select("gate", "published_anyway").iter_rows())


def red_gates(gates: pl.DataFrame) -> list[str]:
    """The gates that were not passed, published anyway or not."""
    return gates.filter(~pl.col("passed"))["gate"].to_list()


def held_back(gates: pl.DataFrame) -> pl.DataFrame:
    """The rows of `gates` that keep their label from being published."""
    return gates.filter(~pl.col("passed") & pl.col("published_anyway").is_null())
