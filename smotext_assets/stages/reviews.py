"""reviews: what people said of the rows. The command writes it, the asset shows what it says."""

from collections.abc import Callable

import dagster as dg
import polars as pl

from smotext_assets.graph import (
    OF_RUN,
    StoreResource,
    Table,
    column_schema,
    for_each_partition,
    runs,
)
from smotext_assets.store import Store, read_sound
from smotext_core.card import markdown_table
from smotext_core.privacy import READERS
from smotext_core.reviews import acceptance, calibrate_on_reviews, matching, standing
from smotext_core.schemas import GATES, READER_CALIBRATION, REVIEWS, SYNTHETIC_TEXTS

ENOUGH_READ, ENOUGH_ACCEPTED = 10, 0.8  # of a label, where no gate says otherwise


def reviews_of(tables: Store, run: str) -> pl.DataFrame:
    """REVIEWS of a run that stand, empty where nobody has looked.

    Each import is a partition of its own, `taken` under the run, sorted by time; stores of before
    hold one partition a run, which comes first.
    """
    return standing(tables.read_all("reviews", {"run": run}, schema=REVIEWS))


def calibrate_by_readers(
    tables: Store,
    partition: dict[str, str],
    label: str,
    *,
    reviews: Callable[[str], pl.DataFrame],
    accepted_share: float,
    min_round_trip: float,
    min_label_confidence: float | None,
) -> pl.DataFrame:
    """The table `reader_calibration` of label × run; empty, and none, where no share is asked.

    `reviews` gives those of a run that stand.
    """
    if not accepted_share:
        if tables.manifest("reader_calibration", partition) is not None:
            tables.delete("reader_calibration", partition)
        return READER_CALIBRATION.to_frame()
    found = calibrate_on_reviews(
        reviews(partition["run"]),
        label,
        accepted_share=accepted_share,
        min_round_trip=min_round_trip,
        min_label_confidence=min_label_confidence,
    )
    tables.write("reader_calibration", found, partition)
    return found


def read_by_label(tables: Store, run: str) -> pl.DataFrame:
    """ACCEPTANCE of a run, by verdicts on the texts as they are."""
    rows = tables.read_all("synthetic_texts", {"run": run}, schema=SYNTHETIC_TEXTS)
    return acceptance(matching(reviews_of(tables, run), rows))


@dg.asset(
    group_name="texts",
    kinds={"parquet"},
    partitions_def=runs,
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={"synthetic_texts": OF_RUN},
    metadata={"dagster/column_schema": column_schema(REVIEWS)},
)
def reviews(
    context: dg.AssetExecutionContext, synthetic_texts: Table, store: StoreResource
) -> None:
    """One row per verdict of a person on a synthetic text: keep, drop or another label.

    `smotext review --import` writes them and materialises this; by hand it only counts again. A
    verdict is about one text: where a row was made anew with another one it does not count. Here
    are those that stand; of one that was replaced or taken back the table keeps a record.
    """
    tables = store.open()

    def make(run: str) -> dict[str, object]:
        told = reviews_of(tables, run)
        rows = synthetic_texts.read_all(schema=SYNTHETIC_TEXTS, run=run)
        valid = matching(told, rows)
        return {
            "dagster/partition_row_count": told.height,
            "rows": rows.height,
            "of_texts_as_they_are": valid.height,
            "dropped": valid.filter(verdict="drop").height,
            "corrected": valid.filter(verdict="relabel").height,
            "acceptance": dg.MetadataValue.md(markdown_table(acceptance(valid))),
        }

    for_each_partition(context, make)


def _by_run(tables: Store) -> pl.DataFrame:
    """ACCEPTANCE of every run's labels that have rows, with `run`, `rows` and `limit`."""
    parts = []
    for at in tables.partitions("runs"):
        run = at["run"]
        rows = tables.read_all("synthetic_texts", at, schema=SYNTHETIC_TEXTS)
        gates = read_sound(tables, "gates", at, schema=GATES)[0].filter(gate=READERS)
        limits = dict(gates.select("label", "limit").iter_rows())
        of_label = dict(rows.group_by("label").len().iter_rows())
        told = acceptance(matching(reviews_of(tables, run), rows))
        found = told.join(
            pl.DataFrame(
                [(n, c, limits.get(n, ENOUGH_ACCEPTED)) for n, c in sorted(of_label.items())],
                schema={"label": pl.String, "rows": pl.Int64, "limit": pl.Float64},
                orient="row",
            ),
            on="label",
            how="right",
        )
        parts.append(found.with_columns(pl.lit(run).alias("run")))
    empty = {"label": pl.String, "sampled": pl.Int64, "share": pl.Float64, "rows": pl.Int64}
    return pl.concat(parts) if parts else pl.DataFrame(schema={**empty, "limit": pl.Float64})


@dg.asset_check(asset=reviews)
def reviewed_enough(store: StoreResource) -> dg.AssetCheckResult:
    """Of every label of every run ten rows drawn at random were read, or all of fewer."""
    found = _by_run(store.open())
    wanted = pl.min_horizontal("rows", pl.lit(ENOUGH_READ))
    few = found.filter(pl.col("sampled").fill_null(0) < wanted)
    return _told(few, "label × run that too few have looked at")


@dg.asset_check(asset=reviews)
def accepted_enough(store: StoreResource) -> dg.AssetCheckResult:
    """Of no label do readers accept less than its gate asks for, or .8 where none does."""
    found = _by_run(store.open())
    return _told(found.filter(pl.col("share") < pl.col("limit")), "label × run accepted too rarely")


def _told(found: pl.DataFrame, what: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=found.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{found.height} {what}" if found.height else None,
        metadata={"labels": dg.MetadataValue.md(markdown_table(found, max_rows=100))},
    )
