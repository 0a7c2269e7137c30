"""Files by name in an S3 bucket, one PUT each. Errors name the permission that is missing."""

import io
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from smotext_assets.store.files import COPY_BYTES
from smotext_assets.store.manifests import is_own

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READ_PAUSES_S = (0.1, 0.5, 2.0, 5.0)  # before an answer that was cut short is asked for again


@contextmanager
def s3_errors(uri: str, permission: str) -> Iterator[None]:
    """What boto3 raises on the way to `uri` as an error of one line that says what to do.

    Raises:
        FileNotFoundError: there is no such bucket.
        PermissionError: no credentials, or such as lack the `permission`.
        ValueError: the address cannot be one.
        ConnectionError: nothing answers, or its answer breaks off.
        OSError: what S3 says went wrong.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
        ProfileNotFound,
    )

    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "NoSuchBucket":
            bucket = uri.removeprefix("s3://").partition("/")[0]
            raise FileNotFoundError(
                f"{uri}: there is no bucket {bucket}; create it, or correct its name or "
                "AWS_ENDPOINT_URL"
            ) from error
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
            raise PermissionError(
                f"S3 refused access to {uri} ({code}): the credentials in use need {permission}"
            ) from error
        raise OSError(f"S3 failed at {uri}: {error}") from error
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise PermissionError(
            f"S3 needs credentials for {uri}, and found none that are whole ({error}): set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        ) from error
    except ParamValidationError as error:
        raise ValueError(f"an address in S3 is s3://bucket/key, got {uri!r}") from error
    except BotoCoreError as error:
        raise ConnectionError(
            f"S3 cannot be reached for {uri}: {error}; see that AWS_ENDPOINT_URL and the network "
            "are right"
        ) from error


class Bucket:
    """Objects below s3://bucket/prefix, one PUT each."""

    grace_s = 3600.0
    restore_pauses_s = (0.1, 0.4, 1.5)  # for a writer to bring back a file that another deleted

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

    def delete_unless(self, name: str, needed: Callable[[], bool]) -> None:
        """Delete, unless it is needed, and bring it back if that has changed meanwhile.

        There is no lock: another writer may have put these same bytes and looked for them just
        before they were deleted. One of the two always sees what the other did.
        """
        if needed():
            return
        folder, _, file = name.rpartition("/")
        kept = f"{folder}/.tmp-{file}-{uuid.uuid4().hex}"
        if not self._copy(name, kept):
            return  # another writer has deleted it, and looks after it
        self.delete(name)
        if needed():
            self._copy(kept, name)
        self.delete(kept)

    def _copy(self, name: str, to: str) -> bool:
        """False where there is no such object."""
        from botocore.exceptions import ClientError

        with self._request("s3:GetObject and s3:PutObject", name):
            try:
                self.client.copy_object(
                    Bucket=self.bucket,
                    Key=self.prefix + to,
                    CopySource={"Bucket": self.bucket, "Key": self.prefix + name},
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
                    raise
                return False
        return True

    def purge(self) -> None:
        """Delete all versions but the latest of the store's own files, where the bucket keeps any,
        then their delete markers. Nothing brings a version back: those of others are theirs."""
        with self._request("s3:ListBucketVersions and s3:DeleteObjectVersion", ""):
            pages = self.client.get_paginator("list_object_versions").paginate(
                Bucket=self.bucket, Prefix=self.prefix
            )
            old, markers = [], []
            for page in pages:
                versions, deleted = page.get("Versions", []), page.get("DeleteMarkers", [])
                old += [item for item in versions if not item["IsLatest"] and self._owns(item)]
                markers += [item for item in deleted if self._owns(item)]
            for item in (*old, *markers):  # a marker that went first would bring a version back
                self.client.delete_object(
                    Bucket=self.bucket, Key=item["Key"], VersionId=item["VersionId"]
                )

    def _owns(self, item: Mapping[str, Any]) -> bool:
        return is_own(str(item["Key"]).removeprefix(self.prefix))

    def _request(self, permission: str, name: str) -> AbstractContextManager[None]:
        return s3_errors(f"s3://{self.bucket}/{self.prefix}{name}", permission)
