"""A corpus in a bucket that cannot be read: one line that says what to do, of every command."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from smotext_assets.graph.resources import StoreResource
from smotext_core.texts.corpora import read_corpus
from tests.assets.conftest import Home
from tests.conftest import S3_BUCKET
from tests.faults import faulty

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
CHECK, AUDIT = ("check", "ADDRESS"), ("audit", "ADDRESS", "--against", "help_desk")
TRAIN = ("train-generator", "--encoder", "e", "--lm", "l", "--out", "o", "--corpus", "ADDRESS")
UNLABELLED = ("check", "help_desk", "--unlabelled", "ADDRESS")
THERE = f"s3://{S3_BUCKET}/c.csv"
DEAF = {**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
NO_BUCKET = "there is no bucket absent-bucket; create it, or"
NO_KEYS = f"S3 needs credentials for {THERE}, and found none"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause before another attempt, and nothing of this machine's own settings."""

    class Clock:
        def __getattr__(self, name: str) -> Any:
            import time

            return getattr(time, name)

        def sleep(self, seconds: float) -> None:
            pass

    monkeypatch.setattr("smotext_assets.store.bucket.time", Clock())
    monkeypatch.setattr("botocore.endpoint.time", Clock())
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.parametrize(
    ("command", "address", "environment", "expected"),
    [
        *(
            (command, *fault)
            for command in (CHECK, AUDIT, TRAIN)
            for fault in (
                ("s3://absent-bucket/c.csv", KEYS, NO_BUCKET),
                (THERE, {}, NO_KEYS),
                (THERE, DEAF, f"S3 cannot be reached for {THERE}: Could not connect to the"),
            )
        ),
        (CHECK, "s3://absent-bucket/many/", KEYS, NO_BUCKET),
        (UNLABELLED, "s3://absent-bucket/many/", KEYS, NO_BUCKET),
        (CHECK, f"s3://{S3_BUCKET}/no.csv", KEYS, f"the bucket {S3_BUCKET} has no such object"),
        (CHECK, THERE, {"AWS_PROFILE": "gone"}, NO_KEYS),
        (CHECK, f"s3://{S3_BUCKET}", KEYS, "an address in S3 is s3://bucket/key, got 's3://"),
    ],
)
def test_what_is_wrong_with_a_bucket_is_one_line(
    command: tuple[str, ...],
    address: str,
    environment: dict[str, str],
    expected: str,
    tmp_path: Path,
    s3_endpoint: str,
    s3_client: "S3Client",
    capfd: pytest.CaptureFixture[str],
) -> None:
    given = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_DEFAULT_REGION": "us-east-1", **environment}
    home = Home(tmp_path / "home", environment=given)
    words = [address if word == "ADDRESS" else word for word in command]
    assert home.main(*words) == (1 if words[0] == "check" else 2)
    printed = capfd.readouterr()
    told = " ".join((printed.out + printed.err).split())
    begins = "a run would fail: " if words[0] == "check" else "smotext: "
    assert expected in told.partition(begins)[2]


def test_a_corpus_outlives_answers_that_are_cut_short(
    tmp_path: Path, s3_endpoint: str, s3_client: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    rows = [f"text number {n} of a longer file,a" for n in range(2000)]
    s3_client.put_object(
        Bucket=S3_BUCKET, Key="cut.csv", Body="\n".join(["text,label", *rows]).encode()
    )
    left = [3]

    def plan(number: int, method: str, path: str) -> Any:
        left[0] -= 1
        return "cut download" if left[0] >= 0 else None

    with faulty(s3_endpoint, plan) as proxy:
        store = StoreResource(root="unused", endpoint_url=proxy.url, region_name="us-east-1")
        found, _ = read_corpus(f"s3://{S3_BUCKET}/cut.csv", open_bytes=store.open_bytes)
    assert proxy.done["cut download"] == 3
    assert found.height == 2000
