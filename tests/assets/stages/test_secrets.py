"""Secrets of the environment are written nowhere."""

import base64
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import duckdb
import polars as pl
import pytest

from tests.assets.conftest import Home, corpus_rows, write_corpus
from tests.assets.stages.test_quarantine import PUBLISHED
from tests.conftest import S3_BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAMARKEDMARKEDMARK",
    "AWS_SECRET_ACCESS_KEY": "marked/secret+of/the+bucket",
    "AWS_SESSION_TOKEN": "marked-token-of-the-bucket",
    "DAGSTER_PG_PASSWORD": "marked-password-of-postgres",
    "HF_TOKEN": "hf_markedtokenofthehub",
}


def everything_written(folder: Path) -> dict[str, bytes]:
    """Bytes of each file below `folder`, and of the rows of each Parquet file, by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
            if path.suffix == ".parquet":
                rows = str(pl.read_parquet(path).to_dicts())
                found[f"{path.relative_to(folder)} as rows"] = rows.encode()
    return found


@pytest.mark.parametrize(
    "breaks",
    [pytest.param(False, id="good", marks=pytest.mark.soak), pytest.param(True, id="failing")],
)
def test_secrets_of_the_environment_are_written_nowhere(
    tmp_path: Path,
    s3_endpoint: str,
    s3_client: "S3Client",
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    breaks: bool,
) -> None:
    bucket = f"no-{uuid.uuid4().hex}" if breaks else S3_BUCKET  # a bucket that is not there
    prefix = uuid.uuid4().hex
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    home = Home(
        tmp_path / "home",
        store=f"s3://{bucket}/{prefix}",
        environment={"AWS_ENDPOINT_URL": s3_endpoint, "AWS_DEFAULT_REGION": "us-east-1"},
    )
    (tmp_path / "instance").mkdir()
    with dg.instance_for_test(temp_dir=str(tmp_path / "instance")) as instance:
        home.instance = instance
        corpus = write_corpus(tmp_path / "corpus.csv", corpus_rows())
        asked = ["run", str(corpus), "--run", "r1", "--labels", "medicine,astronomy"]
        assert (home.main(*asked) == 0) is not breaks
        written = everything_written(tmp_path)
        written["event log"] = "".join(
            str(entry) for run in instance.get_runs() for entry in instance.all_logs(run.run_id)
        ).encode()
        assert len(written["event log"]) > 1000 or breaks
    if not breaks:
        listed = s3_client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
        assert len(listed) < 1000
        for item in listed:
            body = s3_client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
            target = tmp_path / "bucket" / item["Key"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
        written |= everything_written(tmp_path / "bucket")
        with duckdb.connect(home.warehouse, read_only=True) as connection:
            for name in PUBLISHED:
                written[name] = str(connection.execute(f"FROM {name}").fetchall()).encode()
    out = capfd.readouterr()
    written["output"] = (out.out + out.err).encode()
    for secret, value in SECRETS.items():
        for form in (value.encode(), base64.b64encode(value.encode())):
            assert not [name for name, data in written.items() if form in data], secret
