"""What deploy/ says, read from its files: the tests run the commands and use the variables that the
containers would."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DEPLOY = Path(__file__).parents[2] / "deploy"
BIN = Path(sys.executable).parent
SECRETS = {
    "DAGSTER_PG_PASSWORD": "pg-secret",
    "AWS_ACCESS_KEY_ID": "s3-key",
    "AWS_SECRET_ACCESS_KEY": "s3-secret",
    "SMOTEXT_UI_USER": "reader",
    # of "letmein": caddy hash-password --plaintext letmein --bcrypt-cost 4
    "SMOTEXT_UI_PASSWORD_HASH": "$2a$04$Vb5LJAuaLsJexWlpOO5hKOA0.QoZpRLKtOVq7F8VkHgYcqMo7pbmC",
}


def read_yaml(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def compose(values: dict[str, str] = SECRETS) -> dict[str, Any]:
    """compose.yaml with its variables filled in, as Compose would."""

    def fill(match: re.Match[str]) -> str:
        name, kind, default = match.groups()
        if values.get(name):
            return values[name]
        assert kind == ":-", f"{name} must be given: {default}"
        return str(default)

    text = re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", fill, (DEPLOY / "compose.yaml").read_text())
    spec: dict[str, Any] = yaml.safe_load(text)
    return spec


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Keyword and rest of each instruction, continued lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (DEPLOY / dockerfile).read_text())
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line)
    ]


def command(dockerfile: str) -> list[str]:
    """What the image runs."""
    found: list[str] = json.loads(dict(instructions(dockerfile))["CMD"])
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes whose output goes to <name>.log, and stops them in the end."""
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str, words: list[str], **options: Any) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, **options
            )
        running.append(process)
        return process

    yield start
    for process in reversed(running):
        process.send_signal(signal.SIGTERM)
    for process in reversed(running):
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Postgres:
    """A server of one's own, which can be stopped and started again."""

    def __init__(self, home: Path) -> None:
        """
        Raises:
            FileNotFoundError: no server is installed.
        """
        folders = sorted(
            Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name)
        )
        found = os.pathsep.join(map(str, folders[::-1]))
        initdb = shutil.which("initdb", path=found) or shutil.which("initdb")
        if initdb is None:
            raise FileNotFoundError("no Postgres server is installed; Debian's is postgresql")
        self.home, self.binaries, self.port = home, Path(initdb).parent, free_port()
        (home / "password").write_text(SECRETS["DAGSTER_PG_PASSWORD"])
        self.options: dict[str, Any] = {"cwd": home}
        if os.getuid() == 0:  # the server refuses to run as root
            for path in (home, home / "password"):
                shutil.chown(path, "postgres", "postgres")
            self.options |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        told = [initdb, "-D", str(home / "data"), "-U", "dagster", "--no-sync", "-E", "UTF8"]
        subprocess.run(
            [*told, "-A", "scram-sha-256", f"--pwfile={home / 'password'}"],
            check=True, capture_output=True, **self.options,
        )  # fmt: skip
        self.environment = {
            "DAGSTER_PG_HOST": "127.0.0.1",
            "DAGSTER_PG_PORT": str(self.port),
            "DAGSTER_PG_DB": "postgres",
        }

    def start(self) -> None:
        self.server = subprocess.Popen(
            [self.binaries / "postgres", "-D", self.home / "data", "-p", str(self.port),
             "-k", self.home, "-F", "-c", "listen_addresses=127.0.0.1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.options,
        )  # fmt: skip
        check = shlex.quote(str(self.binaries / "pg_isready"))
        ready = f"{check} -q -h 127.0.0.1 -p {self.port} -U dagster"
        subprocess.run(["sh", "-c", f"until {ready}; do sleep 0.1; done"], check=True, timeout=180)

    def stop(self) -> None:
        self.server.send_signal(signal.SIGINT)  # at once, without waiting for clients
        self.server.wait(20)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """It runs; skipped where none is installed."""
    home = Path(tempfile.mkdtemp(prefix="smotext-postgres-"))
    try:
        server = Postgres(home)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[dict[str, str]]:
    """A Postgres of one's own, as the variables that deploy/dagster.yaml wants."""
    with postgres_server() as server:
        yield server.environment


@pytest.fixture
def environment(
    tmp_path: Path, postgres: dict[str, str], s3_endpoint: str, s3_client: "S3Client"
) -> dict[str, str]:
    """That of the code location in compose.yaml, on services of this machine."""
    spec = compose()["services"]["code-location"]["environment"]
    bucket = f"smotext-{uuid.uuid4().hex[:8]}"
    home = tmp_path / "dagster_home"
    home.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        (home / name).write_bytes((DEPLOY / name).read_bytes())
    return {
        **spec,
        **postgres,
        "AWS_ENDPOINT_URL": s3_endpoint,
        "SMOTEXT_BUCKET": bucket,
        "SMOTEXT_STORE": f"s3://{bucket}/store",
        "SMOTEXT_CODE_HOST": "127.0.0.1",
        "SMOTEXT_CODE_PORT": str(free_port()),
        "SMOTEXT_HOME": str(tmp_path / "home"),
        "DAGSTER_HOME": str(home),
        "HOME": str(tmp_path),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
