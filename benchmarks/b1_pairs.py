"""B1: neighbours, pairs and interpolation from nothing, against imbalanced-learn's SMOTE.

Both sides see the same float32 vectors, take turns in one process on as many threads, and make the
samples that bring the minority to the majority's count; `fit_resample`, its only public way, also
copies the rows it was given. The ratio is of medians, theirs / ours.
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

CASES = [(2_000, 20_000), (10_000, 50_000), (20_000, 100_000)]  # minority, rows
RESULTS = Path(__file__).with_name("results.jsonl")


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(minority: int, rows: int, dimension: int, *, repeat: int) -> dict[str, object]:
    import numpy as np
    from imblearn.over_sampling import SMOTE  # type: ignore[import-untyped]

    from smotext_core.mixing import interpolate, make_pairs

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, dimension))  # clusters, as texts have
    vectors = centres[rng.integers(20, size=rows)] + 0.7 * rng.normal(size=(rows, dimension))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    labels = np.arange(rows) < minority
    n_samples = rows - 2 * minority
    text_ids = [f"text-{row:06d}" for row in range(minority)]

    def ours() -> None:
        embeddings = vectors[labels]
        pairs, _ = make_pairs(
            text_ids, embeddings, run="b1", label="minority", slug="minority", n_samples=n_samples
        )
        made = interpolate(pairs, text_ids, embeddings, mixing="linear")
        if made.shape != (n_samples, dimension):
            raise RuntimeError(f"{n_samples} samples wanted, got {made.shape}")

    def theirs() -> None:
        made, _ = SMOTE(k_neighbors=5, random_state=0).fit_resample(vectors, labels)
        if made.shape != (rows + n_samples, dimension):
            raise RuntimeError(f"{n_samples} samples wanted, got {made.shape}")

    runs: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    for _ in range(repeat):
        runs["ours"].append(measure(ours))
        runs["theirs"].append(measure(theirs))
    ours_s, ours_cpu_s = (statistics.median(side) for side in zip(*runs["ours"], strict=True))
    theirs_s, theirs_cpu_s = (statistics.median(side) for side in zip(*runs["theirs"], strict=True))
    return {
        "id": "B1",
        "case": f"minority {minority} of {rows}, d={dimension}, {n_samples} samples",
        "ratio": round(theirs_s / ours_s, 2),
        "cpu_ratio": round(theirs_cpu_s / ours_cpu_s, 2),
        "ours_s": round(ours_s, 3),
        "theirs_s": round(theirs_s, 3),
        "ours_cpu_s": round(ours_cpu_s, 3),
        "theirs_cpu_s": round(theirs_cpu_s, 3),
        "threads": int(os.environ["OMP_NUM_THREADS"]),
        "repeat": repeat,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side, interleaved")
    parser.add_argument("--full", action="store_true", help="all sizes, d = 384 and 4096")
    parser.add_argument("--threads", default="2", help="of either side")
    options = parser.parse_args()
    for library in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "POLARS_MAX"):
        os.environ[f"{library}_THREADS"] = options.threads  # read when numpy and polars load
    cases = (
        [(*case, d) for d in (384, 4096) for case in CASES] if options.full else [(*CASES[0], 384)]
    )
    print(f"{'case':<52}{'ours s':>9}{'theirs s':>10}{'ratio':>8}{'of CPU':>8}")
    for minority, rows, dimension in cases:
        result = compare(minority, rows, dimension, repeat=options.repeat)
        print(
            f"{result['case']:<52}{result['ours_s']:>9}{result['theirs_s']:>10}"
            f"{result['ratio']:>7}×{result['cpu_ratio']:>7}×",
            flush=True,
        )
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
