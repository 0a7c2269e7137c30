"""Dagster's SQLite storage, with the events of a range's partitions written together.

For each event Dagster's own opens, commits, syncs and closes two files, and a partition has two
events, planned and made: 20 syncs to disk. Where DAGSTER_EVENT_BATCH_SIZE is above 0 Dagster hands
events over in batches, which of its own storages Postgres takes. Files and tables are as Dagster
has them: its storage and this one read what the other wrote.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from dagster import DagsterEventType, EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
_TOGETHER = (
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
)


class LocalEventLog(SqliteEventLogStorage):
    """The event log: a file of each run, and an index of all."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run in their order; others than of partitions one by one."""
        for together, group in groupby(events, _is_of_partitions):
            if together:
                self._store_together(list(group))
            else:
                super().store_event_batch(list(group))

    def _store_together(self, events: Sequence[EventLogEntry]) -> None:
        """In two transactions, of the run's file and of the index."""
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(self.prepare_insert_event_batch(events))
        with self.index_transaction() as connection:
            ids = [
                connection.execute(self.prepare_insert_event(event)).lastrowid for event in events
            ]
            self._store_asset_event_tags(connection, events, ids)
            # the table of assets has the last event of each
            last = {event.get_dagster_event().asset_key: n for n, event in enumerate(events)}
            for n in last.values():
                self._store_asset_event(connection, events[n], ids[n])


def _is_of_partitions(event: EventLogEntry) -> bool:
    return event.get_dagster_event().event_type in _TOGETHER


class LocalStorage(DagsterSqliteStorage):
    """In dagster.yaml below `storage: custom:`; `base_dir` is that of `storage: sqlite:`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        folder = self._event_log_storage.path_for_shard("index").rpartition("/")[0]
        self._event_log_storage = LocalEventLog(folder)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> "LocalStorage":
        return cls.from_local(inst_data=inst_data, **config_value)
