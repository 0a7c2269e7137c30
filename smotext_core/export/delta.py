"""The runs in one Delta table, partitioned by label and run.

Statistics are off: Delta keeps the least and greatest text of every file in its log, where no
vacuum reaches them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import polars as pl

from smotext_core.schemas import SYNTHETIC_TEXTS, conform

if TYPE_CHECKING:
    from deltalake import DeltaTable

WRITING_H = 24  # hours in which a file that the log does not name may be a writer's
_KEY = ["sample_id", "text", "label"]


def put_in_delta(
    uri: str,
    rows: pl.DataFrame,
    *,
    run: str,
    published: pl.DataFrame,
    labels: Collection[str] | None = None,
    vacuum: bool = False,
    storage_options: Mapping[str, str] = {},
) -> int:
    """Make the run's rows in the table those of `rows`, in one commit; the table's version.

    The same rows again commit nothing. Rows of the run that are not published any more go,
    whatever is asked for.

    Args:
        uri: a folder or s3://…; it is made where there is none.
        rows: SYNTHETIC_TEXTS of the run, of the labels asked for.
        published: SYNTHETIC_TEXTS, all that the run has published.
        labels: what was asked for; rows of other labels stay. None: all.
        vacuum: delete the files of former versions at once: who still reads one loses it; and
            what killed writers left a day ago or earlier.

    Raises:
        ImportError: deltalake is not installed.
        ValueError: the table at `uri` is another one.
    """
    try:
        from deltalake import DeltaTable, write_deltalake
        from deltalake.exceptions import TableNotFoundError
    except ImportError as error:
        raise ImportError(
            "a Delta table needs the package deltalake: pip install 'smotext[export]'"
        ) from error
    options = dict(storage_options)
    rows = conform(rows, SYNTHETIC_TEXTS)
    try:
        table = DeltaTable(uri, storage_options=options)
    except TableNotFoundError:
        table = None
    if table is not None:
        before = _of_run(table, run)
        if labels is not None:
            others = before.filter(~pl.col("label").is_in(list(labels)))
            kept = others.join(published.select(_KEY), on=_KEY, how="semi")
            rows = pl.concat([rows, kept])
        rows = rows.sort("sample_id")
        if not rows.equals(before):
            write_deltalake(
                table,
                rows.to_arrow(),
                mode="overwrite",
                predicate=f"run = '{_quoted(run)}'",
                partition_by=["label", "run"],
            )
    else:
        write_deltalake(
            uri,
            rows.sort("sample_id").to_arrow(),
            mode="append",
            partition_by=["label", "run"],
            configuration={"delta.dataSkippingNumIndexedCols": "0"},
            storage_options=options,
        )
    table = DeltaTable(uri, storage_options=options)
    if vacuum:
        table.vacuum(0, dry_run=False, enforce_retention_duration=False)
        # Also what a killed writer put there and never named in the log; a younger file may be one
        # that another run's export is about to name.
        table.vacuum(WRITING_H, dry_run=False, enforce_retention_duration=False, full=True)
    return table.version()


def delta_rows(uri: str, *, storage_options: Mapping[str, str] = {}) -> pl.DataFrame:
    """All runs of the table: SYNTHETIC_TEXTS."""
    from deltalake import DeltaTable

    table = DeltaTable(uri, storage_options=dict(storage_options))
    return _frame(table.to_pyarrow_table())


def _of_run(table: DeltaTable, run: str) -> pl.DataFrame:
    columns = table.schema().to_arrow().names
    if missing := [name for name in SYNTHETIC_TEXTS if name not in columns]:
        raise ValueError(
            f"the Delta table at {table.table_uri} has columns {columns}, without {missing}: it is "
            "no export of smotext, choose another folder"
        )
    return _frame(table.to_pyarrow_table(partitions=[("run", "=", run)]))


def _frame(table: object) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # it is no array
    return conform(frame, SYNTHETIC_TEXTS).sort("sample_id")


def _quoted(text: str) -> str:
    return text.replace("'", "''")
