"""Files by name, in a local folder or an S3 bucket: each is written whole or not at all.

Errors say what was refused, where, and what to do.
"""

import errno
import fcntl
import io
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LOCK_TIMEOUT_S = 120.0
COPY_BYTES = 2**20
READ_PAUSES_S = (0.1, 0.5, 2.0, 5.0)  # before an answer that was cut short is asked for again


class Folder:
    """Files below a local folder, written whole or not at all."""

    grace_s = 0.0  # the lock is held: no other writer is between its part and its manifest

    def __init__(self, root: Path) -> None:
        self.root = self.spools_in = root

    def __str__(self) -> str:
        return str(self.root)

    def lock(self, table: str) -> AbstractContextManager[None]:
        return file_lock(self.root / table / ".lock", timeout_s=LOCK_TIMEOUT_S)

    def get(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes] | None:
        try:
            return (self.root / name).open("rb")
        except FileNotFoundError:
            return None

    def spool(self) -> IO[bytes]:
        """A nameless file on the same disk, to be filled and then put: a crash leaves nothing."""
        with _explained(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=self.root)

    def put(self, name: str, data: bytes | IO[bytes]) -> None:
        path = self.root / name
        temporary = path.parent / f".tmp-{uuid.uuid4().hex}"
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("xb") as file:
                    if isinstance(data, bytes):
                        file.write(data)
                    else:
                        data.seek(0)
                        shutil.copyfileobj(data, file, COPY_BYTES)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(path.parent)

    def list(self, prefix: str) -> dict[str, float]:
        found = {}
        for folder, _, files in os.walk(self.root / prefix, onerror=_raise_unless_absent):
            for file in files:
                path = Path(folder, file)
                with suppress(FileNotFoundError):  # deleted since it was listed
                    found[path.relative_to(self.root).as_posix()] = (
                        time.time() - path.stat().st_mtime
                    )
        return found

    def delete(self, name: str) -> None:
        path = self.root / name
        if not path.exists():
            return
        with _explained(path):
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
        for folder in path.parents:  # an empty label=<slug> would still tell the label
            if folder.parent == self.root or any(folder.iterdir()):
                break
            folder.rmdir()

    def purge(self) -> None:
        """A folder keeps no older versions."""


class Bucket:
    """Objects below s3://bucket/prefix, one PUT each."""

    grace_s = 3600.0

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self.client, self.bucket = client, bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.spools_in = Path(tempfile.gettempdir())

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def lock(self, table: str) -> AbstractContextManager[None]:
        return nullcontext()

    def get(self, name: str) -> bytes | None:
        file = io.BytesIO()
        return file.getvalue() if self._fetch(name, file) else None

    def open(self, name: str) -> IO[bytes] | None:
        file = self.spool()
        if self._fetch(name, file):
            file.seek(0)
            return file
        file.close()
        return None

    def _fetch(self, name: str, file: IO[bytes]) -> bool:
        """Fill `file`; False where there is no such object.

        boto3 retries requests, but not an answer that is cut short: that is asked for again here.
        """
        from botocore.exceptions import (
            ClientError,
            IncompleteReadError,
            ReadTimeoutError,
            ResponseStreamingError,
        )

        with self._request("s3:GetObject (and s3:ListBucket, to tell an absent key)", name):
            for pause_s in (*READ_PAUSES_S, None):
                try:
                    answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)
                except self.client.exceptions.NoSuchKey:
                    return False
                except ClientError as error:  # no key, or no bucket: what it says is cut off
                    if error.response["Error"]["Code"] != "404" or pause_s is None:
                        raise
                    time.sleep(pause_s)
                    continue
                file.seek(0)
                file.truncate()
                try:
                    shutil.copyfileobj(answer["Body"], file, COPY_BYTES)
                    break
                except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                    if pause_s is None:
                        raise
                    time.sleep(pause_s)
        return True

    def spool(self) -> IO[bytes]:
        return tempfile.TemporaryFile()

    def put(self, name: str, data: bytes | IO[bytes]) -> None:
        if not isinstance(data, bytes):
            data.seek(0)
        with self._request("s3:PutObject", name):
            self.client.put_object(Bucket=self.bucket, Key=self.prefix + name, Body=data)

    def list(self, prefix: str) -> dict[str, float]:
        with self._request("s3:ListBucket", prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            return {
                item["Key"].removeprefix(self.prefix): time.time()
                - item["LastModified"].timestamp()
                for page in pages
                for item in page.get("Contents", [])
            }

    def delete(self, name: str) -> None:
        with self._request("s3:DeleteObject", name):
            self.client.delete_object(Bucket=self.bucket, Key=self.prefix + name)

    def purge(self) -> None:
        """Delete all versions but the latest, where the bucket keeps any, then delete markers."""
        with self._request("s3:ListBucketVersions and s3:DeleteObjectVersion", ""):
            pages = self.client.get_paginator("list_object_versions").paginate(
                Bucket=self.bucket, Prefix=self.prefix
            )
            old, markers = [], []
            for page in pages:
                old += [item for item in page.get("Versions", []) if not item["IsLatest"]]
                markers += page.get("DeleteMarkers", [])
            for item in (*old, *markers):  # a marker that went first would bring a version back
                self.client.delete_object(
                    Bucket=self.bucket, Key=item["Key"], VersionId=item["VersionId"]
                )

    @contextmanager
    def _request(self, permission: str, name: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        uri = f"s3://{self.bucket}/{self.prefix}{name}"
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "NoSuchBucket":
                raise FileNotFoundError(f"{uri}: there is no bucket {self.bucket}") from error
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
                raise PermissionError(
                    f"S3 refused access to {uri} ({code}): the credentials in use need {permission}"
                ) from error
            raise OSError(f"S3 failed at {uri}: {error}") from error
        except BotoCoreError as error:
            raise ConnectionError(f"S3 cannot be reached for {uri}: {error}") from error


@contextmanager
def file_lock(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold `path` alone among processes and threads; the system frees it if the holder dies.

    Raises:
        TimeoutError: another holder kept it for `timeout_s` seconds.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    with file:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError(
                        f"another process has held {path} for {timeout_s:g} s; "
                        "let it finish, or stop it, then try again"
                    ) from None
                time.sleep(0.01)
        yield


def sync_folder(folder: Path) -> None:
    """Make a rename or a removal in `folder` last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Say where there is no room: the error of a nameless file that grows does not."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC or error.strerror != os.strerror(errno.ENOSPC):
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}: a partition did not fit in {folder}, what was there stays; free "
            "space on its disk, then try again",
        ) from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror or error}: {path} could not be written, what was there stays; free "
            "space on its disk, make its folder writable or choose another one, then try again",
        ) from error


def _raise_unless_absent(error: OSError) -> None:
    if error.errno != errno.ENOENT:
        raise error
