"""The tables of record: Parquet in a local folder or an S3 bucket.

`<root>/<table>/label=<slug>/run=<run>/part-<sha256, 16 hex>.parquet`, and beside it a manifest
that names this file and is written last: a reader sees the old partition or the new one.
Nothing here reads the environment or holds a time: the same frame gives the same bytes.
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING

import polars as pl

from smotext_assets.store.batches import Batches
from smotext_assets.store.bucket import Bucket
from smotext_assets.store.commits import (
    commit,
    delete_unnamed,
    file_sha256,
    open_committed,
    open_current,
    retract,
    sweep_batches,
)
from smotext_assets.store.files import Folder, room_in
from smotext_assets.store.manifests import (
    JSON,
    MANIFEST,
    Encoded,
    Inputs,
    Manifest,
    MissingPartition,
    are_keys,
    blob_name,
    decode,
    fingerprint_of,
    folder_of,
)
from smotext_assets.store.parquet import parquet_bytes, read_frames, write_frames
from smotext_assets.store.quarantine import check_published
from smotext_core.schemas import with_later

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["JSON", "Encoded", "Inputs", "Manifest", "MissingPartition", "Store"]

_log = logging.getLogger(__name__)


class Store:
    """Tables and their partitions under `root`, a local folder or s3://bucket/prefix.

    A partition is a mapping such as `{"label": "rare", "run": "r1"}`, `{}` for a whole table.
    Writers of one table in a local folder take turns. A bucket has no lock: there the last manifest
    wins, and a part that no manifest names is kept an hour, for its writer may still commit it.
    """

    def __init__(
        self, root: str, *, client: "S3Client | None" = None, group_readable: bool = False
    ) -> None:
        """`client` is boto3's, needed for s3:// only; `group_readable` see `Folder`.

        Raises:
            ValueError: another scheme, no bucket, or no client.
        """
        self._files: Folder | Bucket
        if root.startswith("s3://"):
            bucket, _, prefix = root.removeprefix("s3://").partition("/")
            if not bucket or client is None:
                raise ValueError(f"S3 needs s3://bucket/prefix and a client, got {root!r}")
            self._files = Bucket(client, bucket, prefix.strip("/"))
        elif not root or "://" in root:
            raise ValueError(f"the store must be a folder or s3://bucket/prefix, got {root!r}")
        else:
            self._files = Folder(Path(root).expanduser().absolute(), group_readable=group_readable)
        self.root, self.group_readable = str(self._files), group_readable

    def write(
        self,
        table: str,
        frames: pl.DataFrame | Iterable[pl.DataFrame],
        partition: Mapping[str, str] = {},
        *,
        fingerprint: str = "",
        metadata: Mapping[str, JSON] = {},
    ) -> Manifest:
        """Commit a frame, or frames one below the other, as the partition in place of what it held.

        Several frames are written as they come and held one row group at a time; the bytes do not
        depend on how the rows are cut into frames. `metadata` is looked at after the last of them.

        Raises:
            ValueError: a name that cannot be a path, metadata that is not JSON, no frame, frames
                of unlike columns, or other columns than those of a table that is published.
            OSError: the file or the manifest could not be written; the old state stays.
        """
        if isinstance(frames, pl.DataFrame):
            data = parquet_bytes(frames)
            digest = hashlib.sha256(data).hexdigest()
            about = (table, partition, frames.height, frames.schema, digest, fingerprint, metadata)
            return self._commit(data, *about)
        with room_in(self._files.spools_in), self._files.spool() as file:
            rows, schema = write_frames(frames, file)
            about = (table, partition, rows, schema, file_sha256(file), fingerprint, metadata)
            return self._commit(file, *about)

    def _commit(
        self,
        data: bytes | IO[bytes],
        table: str,
        partition: Mapping[str, str],
        rows: int,
        schema: pl.Schema,
        digest: str,
        fingerprint: str,
        metadata: Mapping[str, JSON],
    ) -> Manifest:
        folder = folder_of(table, partition)
        check_published(table, schema)
        part = f"{folder}/part-{digest[:16]}.parquet"
        manifest = {
            "table": table,
            "partition": dict(partition),
            "file": part.rpartition("/")[2],
            "rows": rows,
            "sha256": digest,
            "fingerprint": fingerprint,
            "schema": [[name, str(dtype)] for name, dtype in schema.items()],
            "metadata": dict(metadata),
        }
        try:
            encoded = json.dumps(manifest, sort_keys=True, indent=1, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise ValueError(f"the metadata of {table} must be JSON: {error}") from error
        with self._files.lock(table):
            commit(self._files, folder, part=part, data=data, manifest=encoded)
        return decode(encoded, folder)

    def write_once(
        self,
        table: str,
        partition: Mapping[str, str],
        *,
        inputs: Inputs,
        make: Callable[[], tuple[pl.DataFrame, Mapping[str, JSON]]],
    ) -> tuple[pl.DataFrame, Manifest, bool]:
        """The partition, from `make` unless it was committed from the same `inputs` before.

        A partition that was damaged since is made again.

        Args:
            inputs: all that decides the content: sha256 of upstream partitions, configuration.
            make: returns the frame and the manifest's metadata.

        Returns:
            the frame, its manifest, and whether it was made now.
        """
        fingerprint = fingerprint_of(table, inputs)
        try:
            manifest = self.manifest(table, partition)
            if manifest is not None and manifest.fingerprint == fingerprint:
                frame = self.read(table, partition)
                sweep_batches(self._files, folder_of(table, partition))
                return frame, manifest, False
        except (ValueError, FileNotFoundError) as error:
            _log.warning("%s is made again: %s", folder_of(table, partition), error)
        frame, metadata = make()
        manifest = self.write(table, frame, partition, fingerprint=fingerprint, metadata=metadata)
        return frame, manifest, True

    def stream_once(
        self,
        table: str,
        partition: Mapping[str, str],
        *,
        inputs: Inputs,
        make: Callable[[], tuple[Iterable[pl.DataFrame], Mapping[str, JSON]]],
    ) -> tuple[Manifest, bool]:
        """As `write_once`, for a partition larger than memory: it is not returned.

        `make` returns frames, one below the other, and metadata they may fill in as they come.
        """
        fingerprint = fingerprint_of(table, inputs)
        try:
            manifest = self.manifest(table, partition)
            if manifest is not None and manifest.fingerprint == fingerprint:
                open_committed(self._files, manifest).close()
                return manifest, False
        except (ValueError, FileNotFoundError) as error:
            _log.warning("%s is made again: %s", folder_of(table, partition), error)
        frames, metadata = make()
        manifest = self.write(table, frames, partition, fingerprint=fingerprint, metadata=metadata)
        return manifest, True

    def batches(self, table: str, partition: Mapping[str, str], *, inputs: Inputs) -> Batches:
        """Where batches of a partition in the making are kept until it is committed.

        `inputs` are all that decides their content; batches of other inputs do not count.
        """
        return Batches(self._files, folder_of(table, partition), fingerprint_of(table, inputs))

    def manifest(self, table: str, partition: Mapping[str, str] = {}) -> Manifest | None:
        """The manifest of a committed partition, or None.

        Raises:
            ValueError: the manifest is damaged.
        """
        folder = folder_of(table, partition)
        data = self._files.get(f"{folder}/{MANIFEST}")
        return None if data is None else decode(data, folder)

    def read(self, table: str, partition: Mapping[str, str] = {}) -> pl.DataFrame:
        """The partition's frame, its sha256 checked.

        Raises:
            MissingPartition: it was never committed.
            ValueError: the file is not the one that was committed.
            FileNotFoundError: the manifest stands, its file is gone.
        """
        with open_current(self._files, table, partition) as file:
            return pl.read_parquet(file, hive_partitioning=False)

    def read_frames(
        self, table: str, partition: Mapping[str, str] = {}, *, columns: list[str] | None = None
    ) -> Generator[pl.DataFrame, None, None]:
        """The partition, one frame a row group, its sha256 checked before the first; as `read`."""
        with open_current(self._files, table, partition) as file:
            yield from read_frames(file, columns=columns)

    def read_all(
        self,
        table: str,
        where: Mapping[str, str] = {},
        *,
        schema: pl.Schema | None = None,
    ) -> pl.DataFrame:
        """The committed partitions with these values, one below the other, in sorted order.

        Partitions not yet materialised are left out; with none at all, an empty frame of `schema`.
        What older partitions lack of its later columns is null.

        Raises:
            MissingPartition: there is none, and no `schema`.
            ValueError: a key that the table is not partitioned by, partitions of unlike columns.
        """
        partitions = self.partitions(table)
        for key in where:
            if partitions and key not in partitions[0]:
                raise ValueError(f"{table} is partitioned by {list(partitions[0])}, not by {key!r}")
        wanted = [p for p in partitions if all(p[key] == where[key] for key in where)]
        with ThreadPoolExecutor(8) as pool:  # a bucket answers slowly, but many at once
            read = list(pool.map(lambda partition: self._read_if_there(table, partition), wanted))
        frames = [frame for frame in read if frame is not None]
        if schema is not None:
            frames = [with_later(frame, schema) for frame in frames]
        for frame in frames:
            if frame.schema != frames[0].schema:
                raise ValueError(
                    f"partitions of {table} differ in columns, {dict(frames[0].schema)} and "
                    f"{dict(frame.schema)}; materialise the older ones again"
                )
        if frames:
            return pl.concat(frames)
        if schema is None:
            raise MissingPartition(f"{table} has no partition in {self.root} for {dict(where)}")
        return pl.DataFrame(schema=schema)

    def partitions(self, table: str) -> list[dict[str, str]]:
        """The committed partitions, sorted."""
        return [keys for keys, _ in self._listed(table)]

    def contents(self, table: str) -> list[tuple[dict[str, str], str]]:
        """The committed partitions, sorted, each with its file, whose name tells its bytes.

        One listing; a manifest is read only where it alone says which of several files counts.
        """
        found = []
        for keys, parts in self._listed(table):
            manifest = None if len(parts) == 1 else self.manifest(table, keys)
            if len(parts) == 1 or manifest is not None:
                found.append((keys, manifest.file if manifest else parts[0]))
        return found

    def _listed(self, table: str) -> list[tuple[dict[str, str], list[str]]]:
        """The partitions that have a manifest, sorted, and the part files of each."""
        files: dict[str, list[str]] = defaultdict(list)
        for name in self._files.list(f"{folder_of(table, {})}/"):
            folder, _, file = name.rpartition("/")
            files[folder].append(file)
        found = []
        for folder, names in files.items():
            folders = folder.split("/")[1:]
            keys = dict(part.partition("=")[::2] for part in folders)
            if MANIFEST in names and len(keys) == len(folders) and are_keys(keys):
                found.append((keys, [name for name in names if name.startswith("part-")]))
        return sorted(found, key=lambda entry: list(entry[0].items()))

    def delete(self, table: str, partition: Mapping[str, str] = {}) -> None:
        """Delete the partition, manifest first, and every leftover of it. Absent ones are fine."""
        folder = folder_of(table, partition)
        with self._files.lock(table):
            retract(self._files, folder)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Put a file, such as a dataset card, at `name` (folders with "/") below the root."""
        self._files.put(blob_name(name), data)

    def read_bytes(self, name: str) -> bytes:
        """Raises: FileNotFoundError."""
        data = self._files.get(blob_name(name))
        if data is None:
            raise FileNotFoundError(f"{self.root}/{name} does not exist")
        return data

    def delete_bytes(self, folder: str, *, unfinished: bool = False) -> None:
        """Delete every file below `folder`, or those alone that killed writers left unfinished."""
        for name in self._files.list(f"{blob_name(folder)}/"):
            if not unfinished or name.rpartition("/")[2].startswith(".tmp-"):
                self._files.delete(name)

    def delete_file(self, name: str) -> None:
        """Delete what `write_bytes` put there. An absent one is fine."""
        self._files.delete(blob_name(name))

    def purge(self) -> None:
        """Delete for good what no manifest names: parts of killed writers, whatever their age, and
        in a bucket that keeps versions all but the latest. Nobody may be writing.

        Raises:
            OSError: a file or a version could not be deleted; the same call goes on.
        """
        delete_unnamed(self._files)
        self._files.purge()

    def _read_if_there(self, table: str, partition: Mapping[str, str]) -> pl.DataFrame | None:
        try:
            return self.read(table, partition)
        except MissingPartition:  # deleted since it was listed
            return None
