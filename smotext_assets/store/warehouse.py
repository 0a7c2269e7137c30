"""The query side: one DuckDB file, rebuilt beside the old one from the store and swapped in.

Whoever has the old file open keeps reading it; nobody is locked out. (DuckDB opens a
file once a process: to see the new one, a process first closes its connections to the old.)
What is quarantined never enters it, nor does any vector.
"""

import errno
import glob
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import duckdb
import polars as pl
from polars.datatypes import DataTypeClass

from smotext_assets.store.files import LOCK_TIMEOUT_S, file_lock, sync_folder
from smotext_assets.store.quarantine import check_not_quarantined
from smotext_assets.store.receipts import FORGOTTEN
from smotext_assets.store.tables import Store
from smotext_core.schemas import (
    EVALUATION,
    GATES,
    LABELLED_TEXTS,
    LINEAGE,
    PRIVACY_AUDIT,
    REJECTED_TEXTS,
    RUNS,
    SYNTHETIC_TEXTS,
    conform,
)

_RECEIPTS = pl.Schema((name, dtype) for name, dtype in FORGOTTEN.items() if name != "done")

# warehouse table: the store's table and its columns
_SOURCES = {
    "labelled_texts": ("labelled_texts", LABELLED_TEXTS),
    "synthetic_texts": ("synthetic_table", SYNTHETIC_TEXTS),
    "rejected_texts": ("rejected_texts", REJECTED_TEXTS),
    "gates": ("gates", GATES),
    "runs": ("runs", RUNS),
    "evaluation": ("evaluation", EVALUATION),
    "privacy_audit": ("privacy_audit", PRIVACY_AUDIT),
    "forgotten": ("forgotten", _RECEIPTS),
}

_TYPES: dict[pl.DataType | DataTypeClass, str] = {
    pl.String(): "VARCHAR",
    pl.Boolean(): "BOOLEAN",
    pl.Int32(): "INTEGER",
    pl.Int64(): "BIGINT",
    pl.Float32(): "FLOAT",
    pl.Float64(): "DOUBLE",
}


def refresh_warehouse(
    store: Store, path: Path, *, lock_timeout_s: float = LOCK_TIMEOUT_S
) -> dict[str, int]:
    """Rebuild the warehouse at `path` from what `store` has committed; rows a table.

    Refreshes take turns, each reading the store in its own turn, so that none is lost.

    Raises:
        ValueError: a table that is quarantined is among the warehouse's.
        TimeoutError: another refresh held `<path>.lock` for `lock_timeout_s` seconds.
        ValueError: a partition is damaged or lacks a column.
        OSError: the store or the file's folder failed; the old warehouse stays.
    """
    check_not_quarantined(*(table for table, _ in _SOURCES.values()))
    with file_lock(path.with_name(f"{path.name}.lock"), timeout_s=lock_timeout_s):
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.building*"):
            leftover.unlink()  # of a refresh that was killed: nobody else is building now
        tables = {
            name: conform(store.read_all(table, schema=schema), schema)
            for name, (table, schema) in _SOURCES.items()
        }
        tables["lineage"] = _lineage(tables["synthetic_texts"])
        return build_warehouse(path, tables)


def build_warehouse(path: Path, tables: Mapping[str, pl.DataFrame]) -> dict[str, int]:
    """Write a DuckDB file of `tables`, rows in their order, in place of `path`; rows a table.

    Raises:
        ValueError: a table that is quarantined.
        TypeError: a column of a type that the warehouse does not hold.
        OSError: the file could not be written; the old one stays.
    """
    check_not_quarantined(*tables)
    building = path.with_name(f".{path.name}.{uuid.uuid4().hex}.building")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(building, tables)
            # a log that a crashed writer left would be replayed onto the new file
            path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
            os.replace(building, path)
        finally:
            building.unlink(missing_ok=True)
            building.with_name(f"{building.name}.wal").unlink(missing_ok=True)
        sync_folder(path.parent)
    except (OSError, duckdb.IOException, duckdb.TransactionException) as error:  # full at commit
        raise OSError(
            error.errno if isinstance(error, OSError) else errno.EIO,
            f"the warehouse {path} could not be written, the old one stays: {error}; free space "
            "on its disk, make its folder writable or choose another path, then try again",
        ) from error
    return {name: tables[name].height for name in sorted(tables)}


def _write(path: Path, tables: Mapping[str, pl.DataFrame]) -> None:
    with duckdb.connect(path) as connection:
        connection.begin()  # one commit, one sync to disk
        for name in sorted(tables):
            frame = tables[name]
            columns = ", ".join(
                f"{_quoted(column)} {_duckdb_type(dtype, f'{name}.{column}')}"
                for column, dtype in frame.schema.items()
            )
            connection.execute(f"CREATE TABLE {_quoted(name)} ({columns})")
            connection.register("frame of this table", frame.to_arrow())
            connection.execute(f'INSERT INTO {_quoted(name)} SELECT * FROM "frame of this table"')
            connection.unregister("frame of this table")
        connection.commit()
        connection.execute("CHECKPOINT")
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _lineage(synthetic: pl.DataFrame) -> pl.DataFrame:
    """One row a parent of each sample."""
    parents = (
        synthetic.select("sample_id", "parent_ids", "weights")
        .explode("parent_ids", "weights")
        .rename({"parent_ids": "parent_id", "weights": "weight"})
        .filter(pl.col("parent_id").is_not_null())  # an empty list explodes to a null
    )
    return conform(parents, LINEAGE)


def _duckdb_type(dtype: pl.DataType, column: str) -> str:
    element = dtype.inner if isinstance(dtype, pl.List) else dtype
    if element not in _TYPES:
        raise TypeError(
            f"{column} is {dtype}; the warehouse holds {', '.join(map(str, _TYPES))} and lists "
            "of these"
        )
    return _TYPES[element] + ("[]" if isinstance(dtype, pl.List) else "")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
