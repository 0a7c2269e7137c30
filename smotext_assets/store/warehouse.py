"""The query side: one DuckDB file of what the store has committed, in step with its manifests.

A refresh takes in the partitions whose content has changed since the last one; a rebuild takes in
all. What is quarantined never enters it, nor does any vector.
"""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import duckdb
import polars as pl

from smotext_assets.store.files import LOCK_TIMEOUT_S, file_lock
from smotext_assets.store.manifests import MissingPartition, folder_of
from smotext_assets.store.quarantine import check_not_quarantined
from smotext_assets.store.receipts import FORGOTTEN
from smotext_assets.store.tables import Store
from smotext_assets.store.warehouse_file import (
    WarehouseFile,
    build,
    explained,
    remove_leftovers,
    statements,
)
from smotext_core.schemas import (
    EVALUATION,
    GATES,
    LABELLED_TEXTS,
    PRIVACY_AUDIT,
    REJECTED_TEXTS,
    RUNS,
    SYNTHETIC_TEXTS,
    conform,
)

_log = logging.getLogger(__name__)

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

# one row a parent of each sample, as LINEAGE has it
_LINEAGE = """
SELECT sample_id, unnest(parent_ids) AS parent_id, unnest(weights) AS weight
FROM store.synthetic_texts
"""

_AT_ONCE = 8  # partitions read together: a bucket answers slowly, but many at once
_LARGE = 65_536  # rows: a larger partition is read in pieces, alone


class _NeedsRebuild(Exception):  # noqa: N818
    """The file cannot, or should not, be brought up to date in a copy."""


def refresh_warehouse(
    store: Store,
    path: Path,
    *,
    rebuild: bool = False,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> dict[str, int]:
    """Bring the warehouse at `path` up to what `store` has committed; rows a table.

    New and replaced partitions are taken into a copy of the file, which is swapped in: beyond the
    copy, the cost is that of the change, and rows of partitions taken in later stand below. The
    file is made anew of the whole store, partitions in sorted order, where `rebuild` says so,
    where it is damaged or of another version of its tables, and where a partition has left the
    store or more rows were replaced than are left: a copy keeps their bytes.

    Refreshes take turns, each reading the store in its own turn, so that none is lost.

    Raises:
        ValueError: a table that is quarantined is among the warehouse's.
        TypeError: a column of a type that the warehouse does not hold.
        TimeoutError: another refresh held `<path>.lock` for `lock_timeout_s` seconds.
        ValueError: a partition to be taken in is damaged or lacks a column.
        OSError: the store or the file's folder failed; the old warehouse stays.
    """
    check_not_quarantined(*(table for table, _ in _SOURCES.values()))
    made = statements(
        {name: schema for name, (_, schema) in _SOURCES.items()}, {"lineage": _LINEAGE}
    )
    with file_lock(path.with_name(f"{path.name}.lock"), timeout_s=lock_timeout_s):
        remove_leftovers(path)
        if path.exists() and not rebuild:
            try:
                return build(
                    path,
                    lambda file: _follow(store, file, made),
                    on_copy=True,
                    group_readable=store.group_readable,
                )
            except (duckdb.Error, _NeedsRebuild) as error:
                _log.info("%s is made anew: %s", path, error)

        def fill(file: WarehouseFile) -> bool:
            file.create(made)
            _take_in(store, file, _committed(store))
            return True

        try:
            return build(path, fill, on_copy=False, group_readable=store.group_readable)
        except duckdb.Error as error:
            with explained(path):
                raise error


def _follow(store: Store, file: WarehouseFile, made: str) -> bool:
    """Whether anything had changed."""
    if file.made_by() != made:
        raise _NeedsRebuild("it is of another version of its tables")
    held, committed = file.held(), _committed(store)
    if gone := sorted(set(held) - set(committed)):
        raise _NeedsRebuild(f"{len(gone)} partitions have left the store")
    changed = {at: found for at, found in committed.items() if held.get(at) != found[1]}
    for name, key in changed:
        if (name, key) in held:
            file.remove(name, key)
    there, removed = file.rows()
    if removed > there:
        raise _NeedsRebuild(f"{removed} rows were replaced in it, more than the {there} left")
    _take_in(store, file, changed)
    return bool(changed)


# (warehouse table, partition as a path): the partition, its file in the store
_Committed = dict[tuple[str, str], tuple[dict[str, str], str]]


def _committed(store: Store) -> _Committed:
    """In the order of a warehouse that is made anew."""
    return {
        (name, folder_of(table, partition)): (partition, file)
        for name, (table, _) in sorted(_SOURCES.items())
        for partition, file in store.contents(table)
    }


def _take_in(store: Store, file: WarehouseFile, wanted: _Committed) -> None:
    for (name, key), of, frames in _read(store, wanted):
        schema = _SOURCES[name][1]
        file.put(name, key, of, (conform(frame, schema) for frame in frames))


def _read(
    store: Store, wanted: _Committed
) -> Iterator[tuple[tuple[str, str], str, Iterable[pl.DataFrame]]]:
    """The partitions in their order, a few read ahead; one of many rows in pieces."""

    def read(at: tuple[str, str]) -> list[pl.DataFrame] | None:
        table, partition = _SOURCES[at[0]][0], wanted[at][0]
        manifest = store.manifest(table, partition)
        if manifest is not None and manifest.rows > _LARGE:
            return None
        try:
            return list(store.read_frames(table, partition))
        except MissingPartition:  # deleted since it was listed: the next refresh sees it
            return []

    rest = iter(wanted)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while few := list(islice(rest, _AT_ONCE)):
            for at, frames in zip(few, pool.map(read, few), strict=True):
                table, (partition, of) = _SOURCES[at[0]][0], wanted[at]
                yield at, of, store.read_frames(table, partition) if frames is None else frames
