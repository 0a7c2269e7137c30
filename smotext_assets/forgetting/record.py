"""Taking a text out of Dagster's record of past runs: its databases, and logs of its processes.

What smotext writes there now names texts by their ids. Older versions quoted samples; an error, a
log line or a reason that somebody typed may quote a text in any version.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.cloud_storage_compute_log_manager import CloudStorageComputeLogManager
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from sqlalchemy.pool import NullPool

RECORD = "dagster_record"  # what a receipt calls it, among the tables
REDACTED = "redacted by smotext forget"
# Metadata of older versions: samples beside their parents, whatever text is forgotten now.
_QUOTING = frozenset({"samples", "closest", "examples", "card"})
# Reasons that somebody typed: these may name a text by its id, which elsewhere is any number.
_REASONS = frozenset({"publish_anyway", "published_anyway", "gates"})
_ROW_ID = {"sqlite": "rowid", "postgresql": "ctid"}
_COMPACT = {"sqlite": ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"), "postgresql": ("VACUUM FULL",)}
_BUSY_S = 60


class Spoken(NamedTuple):
    """Whether a text, and whether a reason, speaks of what is forgotten."""

    text: Callable[[str], bool]
    reason: Callable[[str], bool]


def redact_record(instance: dg.DagsterInstance, spoken: Spoken, *, write: bool) -> int:
    """Replace whatever quotes a text, in databases that are rewritten then; how many cells and log
    files have it. Killed, the same call goes on.

    Args:
        write: false only counts.

    Raises:
        OSError: a database is in use by another process, or cannot be rewritten.
        ValueError: it is neither SQLite nor Postgres.
    """
    found = 0
    for url in _databases(instance):
        engine = sa.create_engine(url, poolclass=NullPool)
        try:
            found += _redact_database(engine, spoken, write=write)
        except sa.exc.OperationalError as error:
            raise OSError(
                f"Dagster's record {url.render_as_string()} must be free to be rewritten: stop the "
                f"UI and the daemon, then give the same command again ({error.orig})"
            ) from error
        finally:
            engine.dispose()
    for file in _logs(instance):
        if spoken.text(file.read_text(encoding="utf-8", errors="replace")):
            found += 1
            if write:
                file.write_text(f"{REDACTED}\n", encoding="utf-8")
    return found


def _databases(instance: dg.DagsterInstance) -> list[sa.URL]:
    """Of event log, runs and schedules; none that lives in memory. In Postgres one is all three."""
    events, found = instance.event_log_storage, []
    if isinstance(events, SqliteEventLogStorage):  # a database a run, and one across them
        names = ["index", *sorted(events.get_all_run_ids())]
        if Path(events.path_for_shard("")).exists():  # of events without a run; not among the ids
            names.append("")
        found += [sa.make_url(events.conn_string_for_shard(name)) for name in names]
    elif hasattr(events, "index_connection"):
        with events.index_connection() as connection:
            found.append(connection.engine.url)
    for storage in (instance.run_storage, instance.schedule_storage):
        if storage is not None and hasattr(storage, "connect"):
            with storage.connect() as connection:
                found.append(connection.engine.url)
    return [url for url in dict.fromkeys(found) if url.database and url.database != ":memory:"]


def _redact_database(engine: sa.Engine, spoken: Spoken, *, write: bool) -> int:
    dialect = engine.dialect.name
    if dialect not in _ROW_ID:
        raise ValueError(f"Dagster's record can be redacted in SQLite and Postgres, not {dialect}")
    found = 0
    row_id: sa.ColumnClause[Any] = sa.literal_column(_ROW_ID[dialect])
    with engine.begin() as connection:
        if dialect == "sqlite":
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_BUSY_S * 1000}")
        inspector = sa.inspect(connection)
        for name in sorted(inspector.get_table_names()):
            columns = inspector.get_columns(name)
            names = [str(c["name"]) for c in columns if isinstance(c["type"], sa.String)]
            table = sa.table(name, *(sa.column(column) for column in names))
            texts = list(table.columns)
            if not names:
                continue
            place = sa.cast(row_id, sa.Text) if dialect == "postgresql" else row_id
            rows = connection.execute(
                sa.select(place, *texts).select_from(table),
                execution_options={"yield_per": 500},
            )
            changes = [
                (at, column, told, new)
                for at, *cells in rows
                for column, told in zip(texts, cells, strict=True)
                if isinstance(told, str) and (new := _cell(told, spoken)) != told
            ]
            found += len(changes)
            for at, column, told, new in changes if write else ():
                same = place == at
                # compared with what was read: a row may have moved meanwhile
                connection.execute(
                    sa.update(table).where(same, column == told).values({column.name: new})
                )
    if write:  # pages and rows that are free still hold what they held, of a killed call too
        alone = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with alone as connection:
            for statement in _COMPACT[dialect]:
                connection.exec_driver_sql(statement)
    return found


def _cell(told: str, spoken: Spoken) -> str:
    """A cell of a database without what quotes a text: JSON keeps its shape."""
    if told[:1] in ("{", "["):
        try:
            value = json.loads(told)
        except ValueError:
            return REDACTED if spoken.text(told) else told
        clean = _clean(value, spoken, spoken.text)
        return told if clean == value else json.dumps(clean)
    return REDACTED if _is_prose(told) and spoken.text(told) else told


def _clean(value: Any, spoken: Spoken, speaks: Callable[[str], bool]) -> Any:
    if isinstance(value, list):
        return [_clean(item, spoken, speaks) for item in value]
    if isinstance(value, dict):
        label = str(value.get("label"))
        if label in _QUOTING and "entry_data" in value:
            entry = {"__class__": "TextMetadataEntryData", "text": REDACTED}
            return {**value, "entry_data": entry}
        if label in _REASONS:
            speaks = spoken.reason
        return {
            name: _clean(item, spoken, spoken.reason if name in _REASONS else speaks)
            for name, item in value.items()
        }
    if not isinstance(value, str):
        return value
    if value[:1] in ("{", "["):
        return _cell(value, spoken)
    return REDACTED if _is_prose(value) and speaks(value) else value


def _is_prose(told: str) -> bool:
    """Not a key, a class or a path, without which Dagster could not read its record; no picture."""
    named = told.isascii() and not any(c.isspace() for c in told)
    return not named and not told.startswith("![map](data:image/png;base64,")


def _logs(instance: dg.DagsterInstance) -> Iterator[Path]:
    """What processes of runs wrote to their output, on this machine."""
    manager: Any = instance.compute_log_manager
    if isinstance(manager, CloudStorageComputeLogManager):
        manager = manager.local_manager
    if isinstance(manager, LocalComputeLogManager):
        folder = Path(manager.get_captured_local_path(["any"], "out")).parent
        yield from (p for p in sorted(folder.rglob("*")) if p.suffix in (".out", ".err"))
