"""How one partition is replaced, read and removed: its file, and the manifest that names it.

The file is written first and the manifest last. What a manifest no longer names is deleted by who
replaced it. In a folder writers hold a lock. A bucket has none: there the last manifest wins, a
file is brought back where one writer deletes what another has just committed, and one that no
manifest names is kept an hour, for its writer may still commit it.
"""

import hashlib
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

from smotext_assets.store.batches import is_batch
from smotext_assets.store.bucket import Bucket
from smotext_assets.store.files import Folder
from smotext_assets.store.manifests import (
    LEFTOVER,
    MANIFEST,
    OWN_FILE,
    Manifest,
    MissingPartition,
    decode,
    folder_of,
    is_own,
    remedy_of,
)

_log = logging.getLogger(__name__)


def commit(
    files: Folder | Bucket, folder: str, *, part: str, data: bytes | IO[bytes], manifest: bytes
) -> None:
    """Put `data` at `part`, a name in `folder`, and `manifest`, which names it; then sweep.

    Raises:
        OSError: the file or the manifest could not be written; the old state stays.
    """
    files.put(part, data)
    replaced = _named(files, folder)
    files.put(f"{folder}/{MANIFEST}", manifest)
    try:
        found = leftovers(files, folder)
        for name, age_s in found.items():
            old_enough = age_s >= files.grace_s or is_batch(name)
            if name != part and (name == replaced or old_enough):
                _delete_unnamed(files, folder, name)
        if part in found and not set(found) <= {part, replaced}:
            _delete_unnamed(files, folder, part)  # if another writer has replaced it meanwhile
    except OSError as error:
        _log.warning("%s is committed; its old files may remain: %s", folder, error)
        return
    if part not in found and _named(files, folder) == part:  # another writer replaced these bytes
        files.put(part, data)


def sweep_batches(files: Folder | Bucket, folder: str) -> None:
    """Delete the batches beside a committed partition, whose writer was killed before it did."""
    try:
        for name in filter(is_batch, leftovers(files, folder)):
            files.delete(name)
    except OSError as error:
        _log.warning("%s is committed; its batches may remain: %s", folder, error)


def retract(files: Folder | Bucket, folder: str) -> None:
    """Delete the partition in `folder`, manifest first, and all that was left there."""
    files.delete(f"{folder}/{MANIFEST}")
    for name in leftovers(files, folder):
        _delete_unnamed(files, folder, name)


def open_current(files: Folder | Bucket, table: str, partition: Mapping[str, str]) -> IO[bytes]:
    """The partition's file, its sha256 checked.

    Raises:
        MissingPartition: it was never committed.
        ValueError: the file is not the one that was committed.
        FileNotFoundError: the manifest stands, its file is gone.
    """
    folder, before, pauses = folder_of(table, partition), None, iter(files.restore_pauses_s)
    while (data := files.get(f"{folder}/{MANIFEST}")) is not None:
        manifest = decode(data, folder)
        try:
            return open_committed(files, manifest)
        except FileNotFoundError:
            if manifest == before:
                pause_s = next(pauses, None)
                if pause_s is None:
                    raise
                time.sleep(pause_s)
            before = manifest  # a writer may have replaced it since: look again
    raise MissingPartition(f"{folder} is not in {files}; {remedy_of(table, partition)}")


def open_committed(files: Folder | Bucket, manifest: Manifest) -> IO[bytes]:
    """The file that `manifest` names, its sha256 checked; raises as `open_current`."""
    where, remedy = f"{files}/{manifest.path}", remedy_of(manifest.table, manifest.partition)
    file = files.open(manifest.path)
    if file is None:
        raise FileNotFoundError(f"{where} is gone, but {MANIFEST} names it; {remedy}")
    found = file_sha256(file)
    if found != manifest.sha256:
        file.close()
        raise ValueError(
            f"{where} has sha256 {found}, its manifest says {manifest.sha256}: "
            f"it was changed or damaged; {remedy}"
        )
    return file


def delete_unnamed(files: Folder | Bucket) -> None:
    """Delete every table's file that no manifest names. Nobody may be writing.

    Files with other names, or in other folders, are somebody else's."""
    for name in files.list(""):
        folder, _, file = name.rpartition("/")
        if OWN_FILE.fullmatch(file) and is_own(name):
            data = files.get(f"{folder}/{MANIFEST}")
            if data is None or decode(data, folder).path != name:
                files.delete(name)


def leftovers(files: Folder | Bucket, folder: str) -> dict[str, float]:
    """Part, batch and temporary files directly in `folder`, with their age in seconds."""
    return {
        name: age_s
        for name, age_s in files.list(f"{folder}/").items()
        if name.rpartition("/")[0] == folder and name.rpartition("/")[2].startswith(LEFTOVER)
    }


def file_sha256(file: IO[bytes]) -> str:
    """Of all of it; its place is then the beginning."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest


def _named(files: Folder | Bucket, folder: str) -> str | None:
    """The file that the manifest in `folder` names."""
    data = files.get(f"{folder}/{MANIFEST}")
    with suppress(ValueError):  # a damaged manifest names nothing
        return decode(data, folder).path if data else None
    return None


def _delete_unnamed(files: Folder | Bucket, folder: str, name: str) -> None:
    if name.rpartition("/")[2].startswith("part-"):
        files.delete_unless(name, lambda: _named(files, folder) == name)
    else:  # a manifest never names it
        files.delete(name)
