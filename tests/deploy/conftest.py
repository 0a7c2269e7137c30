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
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
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


@pytest.fixture(scope="session")
def postgres() -> Iterator[dict[str, str]]:
    """A Postgres of one's own, as the variables that deploy/dagster.yaml wants."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    initdb = shutil.which("initdb", path=os.pathsep.join(map(str, folders[::-1]))) or shutil.which(
        "initdb"
    )
    if initdb is None:
        pytest.skip("no Postgres server is installed; Debian's package is postgresql")
    binaries = Path(initdb).parent
    home = Path(tempfile.mkdtemp(prefix="smotext-postgres-"))
    (home / "password").write_text(SECRETS["DAGSTER_PG_PASSWORD"])
    options: dict[str, Any] = {}
    if os.getuid() == 0:  # the server refuses to run as root
        for path in (home, home / "password"):
            shutil.chown(path, "postgres", "postgres")
        options = {"user": "postgres", "group": "postgres", "extra_groups": []}
    port, data = free_port(), home / "data"
    told = [str(binaries / "initdb"), "-D", str(data), "-U", "dagster", "--no-sync", "-E", "UTF8"]
    subprocess.run(
        [*told, "-A", "scram-sha-256", f"--pwfile={home / 'password'}"],
        check=True, capture_output=True, cwd=home, **options,
    )  # fmt: skip
    server = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-p", str(port), "-k", home, "-F",
         "-c", "listen_addresses=127.0.0.1"],
        cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options,
    )  # fmt: skip
    try:
        ready = f"{shlex.quote(str(binaries / 'pg_isready'))} -q -h 127.0.0.1 -p {port} -U dagster"
        subprocess.run(["sh", "-c", f"until {ready}; do sleep 0.1; done"], check=True, timeout=30)
        yield {
            "DAGSTER_PG_HOST": "127.0.0.1",
            "DAGSTER_PG_PORT": str(port),
            "DAGSTER_PG_DB": "postgres",
        }
    finally:
        server.send_signal(signal.SIGINT)  # at once, without waiting for clients
        server.wait(20)
        shutil.rmtree(home, ignore_errors=True)
