"""Reading past damage: a table of many labels where the file of one is truncated or changed.

What is damaged is told with its remedy, for the others must not wait for it.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import polars as pl

from smotext_assets.store.manifests import MissingPartition
from smotext_assets.store.tables import Store
from smotext_core.schemas import conform

T = TypeVar("T")


def read_if_sound(store: Store, table: str, partition: Mapping[str, str]) -> pl.DataFrame | None:
    """The partition; None where it is damaged or not there."""
    try:
        return store.read(table, partition)
    except (ValueError, LookupError, FileNotFoundError):
        return None


def read_sound(
    store: Store, table: str, where: Mapping[str, str] = {}, *, schema: pl.Schema
) -> tuple[pl.DataFrame, list[str]]:
    """The sound partitions with these values, one below the other, in sorted order; and of each
    damaged one what is wrong with it and what to materialise."""

    def read(partition: dict[str, str]) -> pl.DataFrame | str | None:
        try:
            return conform(store.read(table, partition), schema)
        except MissingPartition:  # deleted since it was listed
            return None
        except (ValueError, FileNotFoundError) as error:
            return str(error)

    found = _of_each(store, table, where, read)
    frames = [frame for frame in found if isinstance(frame, pl.DataFrame)]
    return pl.concat([schema.to_frame(), *frames]), [
        told for told in found if isinstance(told, str)
    ]


def damaged(store: Store, table: str, where: Mapping[str, str] = {}) -> list[str]:
    """Of each damaged partition with these values what is wrong with it and what to materialise.

    Each file is read to its end, and none is held.
    """

    def look(partition: dict[str, str]) -> str | None:
        try:
            frames = store.read_frames(table, partition)
            next(frames, None)  # the sha256 is checked before the first
            frames.close()
        except MissingPartition:
            return None
        except (ValueError, FileNotFoundError) as error:
            return str(error)
        return None

    return [told for told in _of_each(store, table, where, look) if told is not None]


def _of_each(
    store: Store, table: str, where: Mapping[str, str], look: Callable[[dict[str, str]], T]
) -> list[T]:
    there = [at for at in store.partitions(table) if at.items() >= where.items()]
    with ThreadPoolExecutor(8) as pool:  # a bucket answers slowly, but many at once
        return list(pool.map(look, there))
