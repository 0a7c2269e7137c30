"""One DuckDB file of tables made of partitions, built beside the old file and swapped in.

The rows lie in the schema `store`, each with the number of its partition; the tables that readers
see are views without that number. `store.partitions` says which file of the store each partition
was taken from, so that a later build can begin with a copy and take in what has changed.

Whoever has the old file open keeps reading it; nobody is locked out. (DuckDB opens a
file once a process: to see the new one, a process first closes its connections to the old.)
"""

import errno
import glob
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from polars.datatypes import DataTypeClass

from smotext_assets.store.files import sync_folder

_MEMORY = "384MiB"  # of DuckDB, which otherwise takes most of the machine's
_THREADS = 2

_TYPES: dict[pl.DataType | DataTypeClass, str] = {
    pl.String(): "VARCHAR",
    pl.Boolean(): "BOOLEAN",
    pl.Int32(): "INTEGER",
    pl.Int64(): "BIGINT",
    pl.Float32(): "FLOAT",
    pl.Float64(): "DOUBLE",
}

_PARTITIONS = """
CREATE TABLE store.partitions (
    number INTEGER, "table" VARCHAR, partition VARCHAR, file VARCHAR, n_rows BIGINT
);
CREATE TABLE store.format (statements VARCHAR, removed BIGINT);
"""


def statements(tables: Mapping[str, pl.Schema], views: Mapping[str, str]) -> str:
    """What makes an empty file: a table and a view of each schema, and `views` by their query.

    Raises:
        TypeError: a column of a type that the warehouse does not hold.
    """
    made = ["CREATE SCHEMA store;", _PARTITIONS]
    for name, schema in sorted(tables.items()):
        columns = ", ".join(
            f"{_quoted(column)} {_duckdb_type(dtype, f'{name}.{column}')}"
            for column, dtype in schema.items()
        )
        made.append(f"CREATE TABLE store.{_quoted(name)} (partition_number INTEGER, {columns});")
        shown = ", ".join(map(_quoted, schema))
        made.append(f"CREATE VIEW {_quoted(name)} AS SELECT {shown} FROM store.{_quoted(name)};")
    made += [f"CREATE VIEW {_quoted(name)} AS {query};" for name, query in views.items()]
    return "\n".join(made)


class WarehouseFile:
    """The file while it is built: partitions are put in and removed."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def create(self, made: str) -> None:
        """Make the empty tables, by what `statements` returned."""
        self._connection.execute(made)
        self._connection.execute("INSERT INTO store.format VALUES (?, 0)", [made])

    def made_by(self) -> str:
        """The `statements` of the file.

        Raises:
            duckdb.Error: the file is none of these, or damaged.
        """
        return str(self._row("SELECT statements FROM store.format")[0])

    def held(self) -> dict[tuple[str, str], str]:
        """The file of the store that each partition of each table was taken from."""
        query = 'SELECT "table", partition, file FROM store.partitions'
        rows = self._connection.execute(query).fetchall()
        return {(table, partition): file for table, partition, file in rows}

    def put(self, table: str, partition: str, file: str, frames: Iterable[pl.DataFrame]) -> None:
        """Append the frames, whose columns are the table's, as a partition not held."""
        (number,) = self._row("SELECT coalesce(max(number), 0) + 1 FROM store.partitions")
        n_rows = 0
        for frame in frames:
            self._connection.register("frame of this partition", frame.to_arrow())
            self._connection.execute(
                f'INSERT INTO store.{_quoted(table)} SELECT ?, * FROM "frame of this partition"',
                [number],
            )
            self._connection.unregister("frame of this partition")
            n_rows += frame.height
        self._connection.execute(
            "INSERT INTO store.partitions VALUES (?, ?, ?, ?, ?)",
            [number, table, partition, file, n_rows],
        )

    def remove(self, table: str, partition: str) -> None:
        """Delete the rows of a partition that is held. Their bytes stay in the file, unused."""
        at = [table, partition]
        query = 'SELECT number, n_rows FROM store.partitions WHERE "table" = ? AND partition = ?'
        number, n_rows = self._row(query, at)
        gone = f"DELETE FROM store.{_quoted(table)} WHERE partition_number = ?"
        self._connection.execute(gone, [number])
        self._connection.execute("DELETE FROM store.partitions WHERE number = ?", [number])
        self._connection.execute("UPDATE store.format SET removed = removed + ?", [n_rows])

    def rows(self) -> tuple[int, int]:
        """How many there are, and how many have been removed since the file was made anew."""
        query = """
            SELECT coalesce((SELECT sum(n_rows) FROM store.partitions), 0),
                   (SELECT removed FROM store.format)
        """
        there, removed = self._row(query)
        return int(there), int(removed)

    def counts(self) -> dict[str, int]:
        """Rows of each table that readers see."""
        names = [name for (name,) in self._connection.execute("SHOW TABLES").fetchall()]
        return {
            name: int(self._row(f"SELECT count(*) FROM {_quoted(name)}")[0])
            for name in sorted(names)
        }

    def _row(self, query: str, given: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The one row of a query, all of it fetched: another statement may follow."""
        (row,) = self._connection.execute(query, given).fetchall()
        return tuple(row)


def build(
    path: Path,
    fill: Callable[[WarehouseFile], bool],
    *,
    on_copy: bool,
    group_readable: bool = False,
) -> dict[str, int]:
    """Swap in what `fill` makes of an empty file, or of a copy of `path`; rows a table.

    Nothing is swapped where `fill` says that nothing changed. Only one may build at a time. A first
    file is for its owner alone; later ones are for whom the file there is. Where it is
    `group_readable` both are for its group, too.

    Raises:
        duckdb.Error: DuckDB cannot read the file or write its own; the old one stays.
        OSError: the file could not be written; the old one stays.
    """
    building = path.with_name(f".{path.name}.{uuid.uuid4().hex}.building")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
        if group_readable:
            mode |= 0o040
            if path.exists():  # also where nothing has changed
                path.chmod(mode)
        if on_copy:
            with explained(path):
                os.close(os.open(building, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
                shutil.copyfile(path, building)
        with duckdb.connect(
            building,
            # what is spilled would outlive a kill
            config={"memory_limit": _MEMORY, "threads": _THREADS, "temp_directory": ""},
        ) as connection:
            building.chmod(mode)  # before there is a text in it
            connection.begin()  # one commit, one sync to disk
            file = WarehouseFile(connection)
            changed = fill(file)
            counts = file.counts()
            connection.commit()
            if changed:
                connection.execute("CHECKPOINT")
        if changed:
            with explained(path):
                _swap(building, path)
        return counts
    finally:
        building.unlink(missing_ok=True)
        building.with_name(f"{building.name}.wal").unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Delete the files of builds of `path` that were killed; nobody may be building it."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.building*"):
        leftover.unlink()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say what could not be written, and what to do."""
    try:
        yield
    except (OSError, duckdb.IOException, duckdb.TransactionException) as error:  # full at commit
        raise OSError(
            error.errno if isinstance(error, OSError) else errno.EIO,
            f"the warehouse {path} could not be written, the old one stays: {error}; free space "
            "on its disk, make its folder writable or choose another path, then try again",
        ) from error


def _swap(building: Path, path: Path) -> None:
    with building.open("rb") as file:
        os.fsync(file.fileno())
    # a log that a crashed writer left would be replayed onto the new file
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
    os.replace(building, path)
    sync_folder(path.parent)


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
