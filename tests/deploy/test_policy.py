"""The IAM policies of deploy/ against every S3 call that the graph and the compute logs make."""

import json
import logging
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

import boto3
import polars as pl
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster_aws.s3 import S3ComputeLogManager

from smotext_assets.graph.resources import StoreResource
from smotext_assets.store.tables import Store
from smotext_core.export import put_in_delta
from smotext_core.schemas import SYNTHETIC_TEXTS
from tests.deploy.conftest import DEPLOY, read_yaml

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "smotext"
# What each call needs, from Amazon's "Required permissions for Amazon S3 API operations".
NEEDS = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CopyObject": "s3:PutObject",  # and s3:GetObject of its source
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
}


class Permission(NamedTuple):
    action: str
    resource: str


def granted(*policies: str) -> list[Permission]:
    found = []
    for policy in policies:
        for statement in json.loads((DEPLOY / policy).read_text())["Statement"]:
            assert statement.keys() == {"Sid", "Effect", "Action", "Resource"}
            assert statement["Effect"] == "Allow"
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                found.append(Permission(action, statement["Resource"]))
    return found


def allowing(needed: Permission, policy: list[Permission]) -> list[Permission]:
    """The lines of the policy that allow it."""
    return [
        line
        for line in policy
        if line.action == needed.action and fnmatchcase(needed.resource, line.resource)
    ]


@pytest.fixture
def bucket(
    s3_client: "S3Client", s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    s3_client.create_bucket(Bucket=BUCKET)
    resource = boto3.resource("s3").Bucket(BUCKET)
    resource.Versioning().enable()  # as docs/deployment.md advises
    yield BUCKET
    resource.object_versions.delete()
    resource.delete()


@pytest.fixture
def needed(bucket: str) -> Iterator[set[Permission]]:
    """The permissions that calls of any S3 client needed since."""
    found: set[Permission] = set()
    call = BaseClient._make_api_call

    def recorded(self: BaseClient, operation_name: str, api_params: dict[str, Any]) -> Any:
        if self.meta.service_model.service_name == "s3":
            action = NEEDS[operation_name]
            if "VersionId" in api_params:
                action += "Version"
            name = api_params["Bucket"]
            if "Key" in api_params:
                name += f"/{api_params['Key']}"
            found.add(Permission(action, f"arn:aws:s3:::{name}"))
            if source := api_params.get("CopySource"):
                of = f"arn:aws:s3:::{source['Bucket']}/{source['Key']}"
                found.add(Permission("s3:GetObject", of))
        return call(self, operation_name, api_params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", recorded)
        yield found


@pytest.fixture
def logs(bucket: str, tmp_path: Path) -> S3ComputeLogManager:
    settings = read_yaml("dagster.yaml")["compute_logs"]["config"]
    return S3ComputeLogManager(**{**settings, "bucket": bucket}, local_dir=str(tmp_path / "logs"))


def tables(bucket: str) -> None:
    """All that the graph does with its store, and reading a corpus from the bucket."""
    s3 = boto3.client("s3")
    s3.put_object(Bucket=bucket, Key="corpus/notes.csv", Body=b"text,label\n")
    resource = StoreResource(root=f"s3://{bucket}/store")
    assert resource.open_bytes(f"s3://{bucket}/corpus/notes.csv").read() == b"text,label\n"
    assert list(resource.list_objects(f"s3://{bucket}/corpus/")) == ["notes.csv"]
    store, frame, key = resource.open(), pl.DataFrame({"x": [1]}), {"label": "rare"}
    assert store.manifest("t", key) is None
    store.write("t", frame, key)
    store.write("t", frame + 1, key)  # and sweeps what it replaces
    store.write_once("t", key, inputs={"a": 1}, make=lambda: (frame, {}))
    assert store.read("t", key).equals(frame)
    assert store.read_all("t").equals(frame)
    assert store.partitions("t") == [key]
    batches = store.batches("t", key, inputs={"a": 2})
    for _ in range(2):  # kept, then read back
        made = batches.make(
            2, size=1, make=lambda blocks: [(0, frame), (1, frame)], progress=lambda rows: None
        )
        assert made.height == 2
    store.delete("t", key)
    store.stream_once("t", key, inputs={"b": 1}, make=lambda: ([frame], {}))
    assert [part.height for part in store.read_frames("t", key)] == [1]
    store.write_bytes("cards/a.html", b"<p>")
    assert store.read_bytes("cards/a.html") == b"<p>"
    store.delete_bytes("cards")
    store.write_bytes("exports/a.csv", b"a")
    store.delete_file("exports/a.csv")
    assert [keys for keys, _ in store.contents("t")] == [key]
    public = {name for name in vars(Store) if not name.startswith("_")}
    assert public == {  # a new one belongs in the lines above
        *("write", "write_once", "stream_once", "manifest", "read", "read_all", "read_frames"),
        *("partitions", "delete", "write_bytes", "read_bytes", "delete_bytes", "purge"),
        *("batches", "contents", "delete_file"),
    }


def compute_logs(manager: S3ComputeLogManager, folder: Path) -> None:
    """A short log, one of several parts, one whose upload breaks off; and what the UI reads."""
    key = ["run", "compute_logs", "step"]
    with manager.capture_logs(key):
        print("a line of a step", flush=True)
        manager.upload_to_cloud_storage(key, ComputeIOType.STDOUT, partial=True)
    assert manager.get_log_data(key).stdout == b"a line of a step\n"
    large = folder / "large"
    large.write_bytes(b"0" * (9 << 20))
    with large.open("rb") as file:
        manager._s3_session.upload_fileobj(file, manager._s3_bucket, "logs/storage/large.err")

    def fail(**_: object) -> None:
        raise ClientError({"Error": {"Code": "InternalError", "Message": "no"}}, "UploadPart")

    manager._s3_session.meta.events.register("before-call.s3.UploadPart", fail)
    with large.open("rb") as file, pytest.raises(Exception, match="InternalError"):
        manager._s3_session.upload_fileobj(file, manager._s3_bucket, "logs/storage/broken.err")


def test_policy_allows_what_is_called_and_nothing_else(
    needed: set[Permission], bucket: str, logs: S3ComputeLogManager, tmp_path: Path
) -> None:
    tables(bucket)
    compute_logs(logs, tmp_path)
    needed.discard(Permission("s3:PutObject", f"arn:aws:s3:::{bucket}/corpus/notes.csv"))  # ours
    policy = granted("iam-policy.json")
    assert [permission for permission in sorted(needed) if not allowing(permission, policy)] == []
    assert set(policy) == {line for permission in needed for line in allowing(permission, policy)}


def test_policy_of_forgetting_allows_deleting_old_versions_and_nothing_else(
    needed: set[Permission], bucket: str
) -> None:
    store = StoreResource(root=f"s3://{bucket}/store").open()
    store.write_bytes("dataset_card/a.html", b"1")
    store.write_bytes("dataset_card/a.html", b"2")
    needed.clear()
    store.purge()
    own = granted("iam-policy-forget.json")
    both = [*granted("iam-policy.json"), *own]
    assert [permission for permission in sorted(needed) if not allowing(permission, both)] == []
    assert set(own) == {line for permission in needed for line in allowing(permission, own)}


def exports(bucket: str) -> None:
    """All that an export does at its destination: files that come and go, the Delta table."""
    resource = StoreResource(
        root=f"s3://{bucket}/exports", endpoint_url=os.environ["AWS_ENDPOINT_URL"]
    )
    target = resource.open()
    target.write_bytes("r1/data/train.parquet", b"1")
    target.delete_file("r1/data/train.parquet")
    row = dict.fromkeys(SYNTHETIC_TEXTS) | {"sample_id": "s", "label": "l", "run": "r1"}
    rows = pl.DataFrame([row, row | {"sample_id": "t"}], schema=SYNTHETIC_TEXTS)
    for frame in (rows, rows.head(1)):
        put_in_delta(
            f"{target.root}/delta",
            frame,
            run="r1",
            published=rows,
            vacuum=True,
            storage_options=resource.delta_options(),
        )


def answered(caplog: pytest.LogCaptureFixture, bucket: str) -> set[Permission]:
    """The permissions that the requests which came to the server need, whoever made them."""
    found = set()
    for method, path in re.findall(r"(GET|HEAD|PUT|POST|DELETE) (/\S+) HTTP", caplog.text):
        name, _, key = unquote(urlsplit(path).path).removeprefix("/").partition("/")
        assert name == bucket, path
        if key:
            actions = {"GET": "GetObject", "HEAD": "GetObject", "DELETE": "DeleteObject"}
            action = actions.get(method, "PutObject")
        else:
            action = {"GET": "ListBucket", "POST": "DeleteObject"}[method]
        if method == "POST" and not key:
            key = "exports/delta/many"  # of a deletion of many, the keys are in its body
        resource = f"arn:aws:s3:::{name}/{key}" if key else f"arn:aws:s3:::{name}"
        found.add(Permission(f"s3:{action}", resource))
    return found


def test_policy_of_exports_allows_what_they_need_and_nothing_else(
    bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "werkzeug"):
        exports(bucket)
    found, own = answered(caplog, bucket), granted("iam-policy-exports.json")
    assert len(found) > 5
    both = [*granted("iam-policy.json"), *own]
    assert [permission for permission in sorted(found) if not allowing(permission, both)] == []
    assert set(own) == {line for permission in found for line in allowing(permission, own)}
    # who does not export may not write there
    denied = [p for p in found if not allowing(p, granted("iam-policy.json"))]
    assert {p.action for p in denied} == {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"}


def addresses(name: str) -> dict[str, list[str]]:
    """The s3:// addresses of an example file by their variable: in the comment above it, in its
    line, or in the line below, which has its value."""
    found: dict[str, list[str]] = {}
    above: list[str] = []
    variable = ""
    for line in (DEPLOY / name).read_text().splitlines():
        there = [a for a in re.findall(r"s3://[\w./-]+\b/?", line) if a != "s3://bucket/prefix"]
        if named := re.match(r"(?:# ?|\s+- name: )?(SMOTEXT_\w+)(?:=|$)", line):
            variable = named[1]
            there = above + there
        if named or line.strip().startswith("value:"):
            found.setdefault(variable, []).extend(there)
            above = []
        else:
            above += there
    return {variable: told for variable, told in found.items() if told}


@pytest.mark.parametrize("name", [".env.example", "helm-values.yaml"])
def test_addresses_in_the_examples_are_allowed(name: str) -> None:
    found = addresses(name)
    assert {"SMOTEXT_INBOX", "SMOTEXT_UNLABELLED", "SMOTEXT_EXPORTS"} <= found.keys()
    for variable, told in found.items():
        lines, actions = granted("iam-policy.json"), ["GetObject"]
        if variable in ("SMOTEXT_STORE", "SMOTEXT_EXPORTS"):
            actions += ["PutObject", "DeleteObject"]
        if variable == "SMOTEXT_EXPORTS":
            lines += granted("iam-policy-exports.json")
        for address in told:
            key = address.removeprefix("s3://")
            key = key if "." in key.rpartition("/")[2] else f"{key.rstrip('/')}/file"
            for action in actions:
                permission = Permission(f"s3:{action}", f"arn:aws:s3:::{key}")
                assert allowing(permission, lines), (variable, address, action)


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:PutObject", "smotext/exports/r1/README.md"),
        ("s3:DeleteObject", "smotext/logs/storage/run/step.err"),
        ("s3:PutObject", "smotext/corpus/notes.csv"),
        ("s3:GetObject", "smotext/backup/dump"),
        ("s3:GetObject", "another/store/part"),
        ("s3:ListBucket", "another"),
        ("s3:DeleteBucket", "smotext"),
        ("s3:PutBucketPolicy", "smotext"),
        ("s3:DeleteObjectVersion", "smotext/store/part"),
    ],
)
def test_policy_does_not_allow(action: str, resource: str) -> None:
    policy = granted("iam-policy.json")
    assert allowing(Permission(action, f"arn:aws:s3:::{resource}"), policy) == []
