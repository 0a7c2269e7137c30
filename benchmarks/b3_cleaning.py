"""B3: Tomek links and edited nearest neighbours, against imbalanced-learn's.

Both sides see the same float32 unit vectors, take turns in one process on two threads, and clean
every class but the smallest. Vectors lie in twenty clusters; the minority is half of four of them,
a tenth of all rows. The ratio is of medians, theirs / ours; agreement is the share of rows that
both keep or both drop.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

THREADS = 2
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(THREADS)  # read when numpy loads, below

RESULTS = Path(__file__).with_name("results.jsonl")


def measure(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the work gives, wall-clock and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def compare(method: str, rows: int, dimension: int, *, repeat: int) -> dict[str, object]:
    import numpy as np
    from imblearn.under_sampling import (  # type: ignore[import-untyped]
        EditedNearestNeighbours,
        TomekLinks,
    )

    from smotext_core.mixing import edited_nearest_neighbours, tomek_links

    rng = np.random.default_rng(0)
    centres, cluster = rng.normal(size=(20, dimension)), rng.integers(20, size=rows)
    vectors = centres[cluster] + 0.7 * rng.normal(size=(rows, dimension))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    labels = (cluster < 4) & (rng.random(rows) < 0.5)

    def ours() -> Any:
        clean = tomek_links if method == "Tomek" else edited_nearest_neighbours
        return ~clean(vectors, labels)

    def theirs() -> Any:
        sampler = TomekLinks() if method == "Tomek" else EditedNearestNeighbours()
        sampler.fit_resample(vectors, labels)
        return np.isin(np.arange(rows), sampler.sample_indices_)

    runs: dict[str, list[tuple[Any, float, float]]] = {"ours": [], "theirs": []}
    for _ in range(repeat):
        runs["ours"].append(measure(ours))
        runs["theirs"].append(measure(theirs))
    seconds = {
        side: [statistics.median(run[i] for run in made) for i in (1, 2)]
        for side, made in runs.items()
    }
    kept, expected = runs["ours"][0][0], runs["theirs"][0][0]
    return {
        "id": "B3",
        "case": f"{method}, {rows} rows, d={dimension}, {rows - int(expected.sum())} dropped",
        "ratio": round(seconds["theirs"][0] / seconds["ours"][0], 2),
        "agreement": float((kept == expected).mean()),
        "ours_s": round(seconds["ours"][0], 3),
        "theirs_s": round(seconds["theirs"][0], 3),
        "ours_cpu_s": round(seconds["ours"][1], 3),
        "theirs_cpu_s": round(seconds["theirs"][1], 3),
        "repeat": repeat,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side, interleaved")
    parser.add_argument("--rows", type=int, default=8_000, help="the aim is set at 22000")
    options = parser.parse_args()
    print(f"{'case':<52}{'ours s':>9}{'theirs s':>10}{'ratio':>8}{'agreement':>11}")
    for method in ("Tomek", "ENN"):
        result = compare(method, options.rows, 384, repeat=options.repeat)
        print(
            f"{result['case']:<52}{result['ours_s']:>9}{result['theirs_s']:>10}"
            f"{result['ratio']:>7}×{result['agreement']:>11.3%}",
            flush=True,
        )
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
