"""Fixtures shared by all tests: an S3 service on loopback, and a store of each kind."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.leftovers import MARK, Leftovers


def pytest_configure() -> None:
    """What every process that is started from here inherits.

    A suite begun where SIGTERM or SIGINT is ignored, as in the background of a script, hands that
    on: Dagster lets SIGTERM do what SIGINT does, and those that it ends by it, `tail -F` of the
    compute logs, would then run for good.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # absl, which mlcroissant brings, makes a handler of sys.stderr, whose stream it closes where
    # logging is configured anew, as by Dagster: under pytest that would be pytest's own.
    with redirect_stderr(sys.__stderr__), suppress(ImportError):
        import absl.logging  # noqa: F401
    if "PYTEST_XDIST_WORKER" in os.environ:
        # A worker a core: threads that wait for each other there would take most of its time.
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)  # the suite runs without pytest-xdist, too
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a fifth of the time tests wait for other processes."""
    return (os.cpu_count() or 1) + 1


if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from smotext_assets.store.tables import Store

S3_BUCKET = "smotext-test"


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The suite fails where a process, a port or a temporary file outlives what began it."""
    tmp_path_factory.getbasetemp()  # which pytest keeps, and makes where TMPDIR says
    leftovers = Leftovers()
    os.environ[MARK] = leftovers.name
    # torch makes the folder whatever it is used for, in a file's tests alone too
    os.environ.setdefault(
        "TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "torchinductor")
    )
    os.environ["TMPDIR"] = tempfile.tempdir = str(leftovers.folder)
    yield
    left = leftovers.found()
    leftovers.clear()
    assert not left, "\n".join(["left behind by these tests:", *left])


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of a moto server that speaks HTTP, as a bucket does."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3_client(s3_endpoint: str) -> S3Client:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket=S3_BUCKET)
    return client


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    from smotext_assets.store.tables import Store

    return Store(str(tmp_path / "store"))


@pytest.fixture
def s3_store(s3_client: S3Client) -> Store:
    from smotext_assets.store.tables import Store

    return Store(f"s3://{S3_BUCKET}/{uuid.uuid4().hex}", client=s3_client)


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """A fresh store, once in a folder and once in a bucket."""
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found
