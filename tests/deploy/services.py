"""The services of deploy/ as processes of this machine: code location, webserver, daemon."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from tests.deploy.conftest import BIN, command, compose, free_port

LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATUS = """query($id: ID!) { runOrError(runId: $id) { ... on Run { status
  eventConnection { events { ... on ErrorEvent { error { message } } } } } } }"""
RUNS = """{ runsOrError { ... on Runs { results { runId parentRunId status startTime endTime
  tags { key value } } } } }"""


def make_bucket(environment: dict[str, str]) -> None:
    """As the service `bucket` does."""
    _, *words = compose()["services"]["bucket"]["command"]
    for _ in range(2):  # on a later start the bucket is there
        subprocess.run([sys.executable, *words], env=environment, check=True, timeout=60)


def wait_until(is_so: Callable[[], Any], *, seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        if found := is_so():
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.3)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def graphql(url: str, query: str, **variables: Any) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    assert "errors" not in found, found
    return found["data"]


class Platform:
    """What compose.yaml runs, less the proxy, started by the images' own commands."""

    def __init__(
        self,
        environment: Mapping[str, str],
        start: Callable[..., subprocess.Popen[bytes]],
        *,
        module: str = "smotext_assets.definitions",
    ) -> None:
        self.environment, self._start, self.module = dict(environment), start, module
        self.ui_port = str(free_port())
        self.ui = f"http://127.0.0.1:{self.ui_port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start_all(self) -> None:
        make_bucket(self.environment)
        self.start("code-location")
        check = ["api", "grpc-health-check", "-p", self.environment["SMOTEXT_CODE_PORT"]]
        wait_until(
            lambda: subprocess.run([BIN / "dagster", *check], env=self.environment).returncode == 0,
            seconds=180,
            what="code location",
        )
        for name in ("webserver", "daemon"):
            self.start(name)
        wait_until(lambda: answers(f"{self.ui}/server_info"), seconds=180, what="webserver")

    def start(self, name: str) -> None:
        """A service, by the name that it has in compose.yaml."""
        service = compose()["services"][name]
        words = service.get("command") or command(
            "gpu.Dockerfile" if name == "code-location" else "control-plane.Dockerfile"
        )
        ours = {
            "0.0.0.0": "127.0.0.1",
            "4000": self.environment["SMOTEXT_CODE_PORT"],
            "3000": self.ui_port,
            "smotext_assets.definitions": self.module,
        }
        self.processes[name] = self._start(
            name,
            [str(BIN / words[0]), *(ours.get(word, word) for word in words[1:])],
            env=self.environment,
            cwd=self.environment["DAGSTER_HOME"],
        )

    def restart_what_ended(self) -> list[str]:
        """As `restart: unless-stopped` does; the names."""
        ended = [name for name, process in self.processes.items() if process.poll() is not None]
        for name in ended:
            self.start(name)
        return ended

    def launch(self, *assets: str, tags: Mapping[str, str] = {}) -> str:
        """A run of these assets, queued; its id."""
        selector = {
            "repositoryLocationName": "smotext",
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [name]} for name in assets],
        }
        told = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
        params = {"selector": selector, "runConfigData": {}, "executionMetadata": told}
        launched = graphql(self.ui, LAUNCH, params=params)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id: str = launched["run"]["runId"]
        return run_id

    def run(self, run_id: str) -> Any:
        return self._asked(STATUS, id=run_id)["runOrError"]

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the latest first."""
        found: list[dict[str, Any]] = self._asked(RUNS)["runsOrError"]["results"]
        return found

    def _asked(self, query: str, **variables: Any) -> Any:
        """Once more where the webserver's connections are from before a restart of Postgres."""

        def answer() -> Any:
            try:
                return graphql(self.ui, query, **variables)
            except urllib.error.HTTPError as error:
                if b"server closed the connection" not in error.read():
                    raise
                return None

        return wait_until(answer, seconds=30, what="an answer of the webserver")

    def ended(self, run_id: str, *, seconds: float = 180) -> Any:
        """The run, once it is no longer going on."""

        def look() -> Any:
            found = self.run(run_id)
            return found if found["status"] in ("SUCCESS", "FAILURE", "CANCELED") else None

        return wait_until(look, seconds=seconds, what=f"end of run {run_id}")
