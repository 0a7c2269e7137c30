"""B13: how well workers on Ray share the decoding of many labels.

A backfill of `--labels` labels of 24 samples each through the asset `decoded_texts`, as Dagster
runs it: calibration, store, manifests, batches, metadata. A text costs a fixed sleep in place of a
model, so that one machine can show what many would: the workers sleep. Clusters are local and new,
of as many workers as asked; the clock runs from the step's start to its end, so it has the
workers' start in it. Efficiency is the time of one worker over workers × time. `cpu_s` is what this
process, which hands out and commits, computed meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
sys.path.insert(0, str(Path(__file__).parents[1]))

from smotext_assets.graph import Engine, range_tags
from tests.assets.conftest import CountingGenerator, FakeGeneratorResource, Home, write_corpus
from tests.fakes import VOCABULARY

RESULTS = Path(__file__).with_name("results.jsonl")
TEXTS, SAMPLES = 4, 24  # of a label; its samples are one batch


class SleepingGenerator(CountingGenerator):
    """Each text that it decodes takes `seconds`."""

    def __init__(self, dimension: int, seconds: float) -> None:
        super().__init__(dimension)
        self.seconds = seconds

    def decode_candidates(self, vectors: Any, **options: Any) -> Any:
        time.sleep(self.seconds * len(vectors))
        return super().decode_candidates(vectors, **options)


class SleepingResource(FakeGeneratorResource):
    seconds: float = 0

    def load(self) -> SleepingGenerator:
        return SleepingGenerator(self.dimension, self.seconds)


class SleepingHome(Home):
    seconds = 0.0

    def resources(self, corpus: Path, *, dimension: int = 32) -> dict[str, Any]:
        sleeping = SleepingResource(generator="fake", dimension=dimension, seconds=self.seconds)
        return super().resources(corpus, dimension=dimension) | {"generator": sleeping}


def corpus(folder: Path, *, n_labels: int) -> tuple[Path, list[str]]:
    rng = random.Random(0)
    labels = [f"label-{number:05}" for number in range(n_labels)]
    rows = [(" ".join(rng.sample(VOCABULARY, 12)), label) for label in labels for _ in range(TEXTS)]
    return write_corpus(folder / "corpus.csv", rows), labels


def decode(folder: Path, *, n_labels: int, workers: int, seconds: float) -> dict[str, float]:
    """Seconds and CPU seconds of the step, in a home of its own."""
    folder.mkdir()
    source, labels = corpus(folder, n_labels=n_labels)
    home = SleepingHome(folder / "home")

    def go(names: list[str], ops: dict[str, Any] | None = None, **options: Any) -> bool:
        loggers = {"console": {"config": {"log_level": "ERROR"}}}
        config = {"ops": ops or {}, "loggers": loggers}
        return home.materialize(source, names, run_config=config, **options).success

    assert go(["raw_corpus", "labelled_texts"])
    assert go(["embeddings"], tags=range_tags(labels))
    home.instance.add_dynamic_partitions("smotext_run", ["r1"])
    texts = home.store.read("labelled_texts").filter(split="train")
    totals = {slug: n + SAMPLES for slug, n in texts.group_by("slug").len().iter_rows()}
    asked = {"seed": 7, "oversample": 1.0, "totals": totals}
    keys = [f"{label}|r1" for label in labels]
    names = ["class_pairs", "interpolated_vectors"]
    assert go(names, {"class_pairs": {"config": asked}}, tags=range_tags(keys))
    home.engine, home.seconds = Engine(engine="ray", workers=workers), seconds
    began, used = time.perf_counter(), time.process_time()
    one = {"decoded_texts": {"config": {"n_candidates": 1}}}
    assert go(["decoded_texts"], one, tags=range_tags(keys))
    took, cpu = time.perf_counter() - began, time.process_time() - used
    assert len(home.store.partitions("decoded_texts")) == n_labels
    return {"seconds": took, "cpu_s": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=0.02, help="a text")
    given = parser.parse_args()
    import ray

    first: float | None = None
    print(f"{'workers':>8}{'seconds':>10}{'cpu_s':>8}{'efficiency':>12}", flush=True)
    for workers in given.workers:
        with tempfile.TemporaryDirectory() as folder:
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
            try:
                found = decode(
                    Path(folder) / "work",
                    n_labels=given.labels,
                    workers=workers,
                    seconds=given.seconds,
                )
            finally:
                ray.shutdown()
        first = first or workers * found["seconds"]
        found["efficiency"] = first / (workers * found["seconds"])
        print(
            f"{workers:8}{found['seconds']:10.1f}{found['cpu_s']:8.1f}{found['efficiency']:12.2f}",
            flush=True,
        )
        line = {"id": "B13", "date": datetime.now(UTC).date().isoformat(), "workers": workers}
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **vars(given), **found, "workers": workers}) + "\n")


if __name__ == "__main__":
    main()
