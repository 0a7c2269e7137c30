"""A Dagster UI on loopback with a finished run, and a browser that looks at it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.assets.conftest import corpus_rows, write_corpus
from tests.deploy.conftest import free_port

ROOT = Path(__file__).parents[2]
PREPARE = """
import sys
import dagster as dg
from smotext_assets.graph.partitions import BY_LABEL_AND_RUN, BY_RUN, runs
from tests.ui.location import defs

job = defs.resolve_implicit_global_asset_job_def()
with dg.DagsterInstance.get() as instance:
    def make(names, **options):
        chosen = [dg.AssetKey(name) for name in names]
        job.execute_in_process(instance=instance, asset_selection=chosen, **options)

    make(["raw_corpus", "labelled_texts"])
    instance.add_dynamic_partitions(runs.name, ["r1", "r2"])
    slugs = instance.get_dynamic_partitions("smotext_label")
    for slug in slugs:
        make(["embeddings"], partition_key=slug)
    make(["generator"])
    for slug in slugs:
        if slug not in sys.argv[1:]:
            make(BY_LABEL_AND_RUN, partition_key=f"{slug}|r1")
    quick = {"ops": {"evaluation": {"config": {"n_seeds": 2}}}}
    make(BY_RUN, partition_key="r1", run_config=quick)
"""


class Site:
    """A running `dagster dev` and where it keeps things."""

    def __init__(self, folder: Path, corpus: Path, *, left_out: list[str]) -> None:
        self.folder = folder
        self.home = folder / "home"
        (folder / "dagster").mkdir(parents=True)
        settings = (ROOT / "dagster.yaml").read_text()
        (folder / "dagster" / "dagster.yaml").write_text(
            settings.replace(".smotext/dagster", str(folder / "dagster"))
        )
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SMOTEXT_", "DAGSTER_"))},
            "SMOTEXT_HOME": str(self.home),
            "SMOTEXT_CORPUS": str(corpus),
            "DAGSTER_HOME": str(folder / "dagster"),
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        prepared = subprocess.run(
            [sys.executable, "-c", PREPARE, *left_out],
            env=self.environment, cwd=ROOT, timeout=300, capture_output=True, text=True,
        )  # fmt: skip
        assert prepared.returncode == 0, prepared.stderr[-5000:]
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        dev = ["dagster", "dev", "-m", "tests.ui.location", "-h", "127.0.0.1", "-p", str(port)]
        with (folder / "dev.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *dev],
                env=self.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 300
        while not self._answers():
            told = (folder / "dev.log").read_text()
            assert self.process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.3)
        self.graphql("mutation { setNuxSeen }")  # or a greeting covers the page

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/server_info", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def graphql(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        told = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/graphql", body, told)
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found
        return found["data"]

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.folder / "dagster"))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="package")
def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no browser is installed; Debian's package is chromium")


@pytest.fixture(scope="package")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from tests.ui.browser import Browser

    browser = Browser(chromium, tmp_path_factory.mktemp("browser") / "profile")
    yield browser
    browser.close()


# An image that is not there, a script, a link that is one, a picture and a page from elsewhere.
ELSEWHERE = "http://127.0.0.1:9/"
MARKUP = [
    "<img src=x onerror=window.pwned=1>",
    "<script>window.pwned=1</script>",
    "[see](javascript:window.pwned=1)",
    f"![p]({ELSEWHERE}p.png)",
    f"<iframe src={ELSEWHERE}f></iframe>",
]
HOSTILE_LABEL = "<b onmouseover=window.pwned=1>|../../up"


@pytest.fixture(scope="package")
def site(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three labels, of which `medicine` has no rows yet, and one that no page may obey."""
    rows = corpus_rows() + [(text, HOSTILE_LABEL) for text, _ in corpus_rows({"banking": 9})]
    rows = [(f"{MARKUP[n % 5]} {text} {text}", label) for n, (text, label) in enumerate(rows)]
    folder = tmp_path_factory.mktemp("site")
    corpus = write_corpus(folder / "corpus.csv", rows)
    site = Site(folder / "site", corpus, left_out=["medicine"])
    yield site
    site.stop()
