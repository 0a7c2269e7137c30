"""Batches of a partition in the making: what a killed run has finished is not made again.

`<partition>/batch-<inputs, 16 hex>-<first row>-<sha256, 16 hex>.parquet`, one file a batch, written
whole. Its name says of which inputs it is, which rows, and whether its bytes are sound. Where
batches begin depends on the rows alone, so that a partition's bytes do not tell whether it was
interrupted. The commit of the partition removes them, and so do `Store.delete` and `Store.purge`.
"""

import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Sequence

import polars as pl

from smotext_assets.store.bucket import Bucket
from smotext_assets.store.files import Folder
from smotext_assets.store.parquet import parquet_bytes

_log = logging.getLogger(__name__)


class Batches:
    """The finished batches of one partition, in its folder of the store."""

    def __init__(self, files: Folder | Bucket, folder: str, fingerprint: str) -> None:
        self._files, self._folder = files, folder
        self._prefix = f"{folder}/batch-{fingerprint[:16]}-"

    def make(
        self,
        rows: int,
        *,
        size: int,
        make: Callable[[Sequence[slice]], Iterable[tuple[int, pl.DataFrame]]],
        progress: Callable[[int], None],
    ) -> pl.DataFrame:
        """The frames that `make` yields for `size` rows at a time, one below the other.

        Finished ones are read back; of one batch alone nothing is kept, for its partition is next.

        Args:
            rows: of the input, at least 1.
            make: deterministic; for blocks of rows, a frame of any height for each with the
                block's place among them, in any order: each is kept as it comes.
            progress: called with the rows of each batch that is read back.

        Raises:
            OSError: a batch could not be kept or read.
        """
        kept = self._kept() if rows > size else {}
        frames: dict[int, pl.DataFrame] = {}
        missing = []
        for start in range(0, rows, size):
            block = slice(start, min(start + size, rows))
            frame = self._read(kept[start]) if start in kept else None
            if frame is None:
                missing.append(block)
            else:
                frames[start] = frame
                progress(block.stop - block.start)
        for place, frame in make(missing) if missing else ():
            start = missing[place].start
            if rows > size:
                data = parquet_bytes(frame)
                digest = hashlib.sha256(data).hexdigest()[:16]
                self._files.put(f"{self._prefix}{start:09d}-{digest}.parquet", data)
            frames[start] = frame
        return pl.concat([frames[start] for start in range(0, rows, size)], rechunk=True)

    def _kept(self) -> dict[int, str]:
        """Names of finished batches by their first row."""
        found = self._files.list(f"{self._folder}/")
        names = sorted(name for name in found if name.startswith(self._prefix))
        return {int(name.removeprefix(self._prefix).partition("-")[0]): name for name in names}

    def _read(self, name: str) -> pl.DataFrame | None:
        """The batch, or None if it is gone or damaged."""
        data = self._files.get(name)
        if data is None or not name.endswith(f"-{hashlib.sha256(data).hexdigest()[:16]}.parquet"):
            _log.warning("%s is gone or damaged: its rows are made again", name)
            return None
        return pl.read_parquet(io.BytesIO(data), hive_partitioning=False)


def is_batch(name: str) -> bool:
    """Whether the file `name` of a store is a batch."""
    return name.rpartition("/")[2].startswith("batch-")
