"""B2: a new seed or ratio with the neighbours stored, against a refit of imbalanced-learn's SMOTE.

Ours reads the table `neighbors` from a store in a temporary folder, makes the pairs and mixes the
vectors; the table was searched before and is not timed. Theirs is `fit_resample` with another seed,
which searches again. In turns, in one process, on as many threads; the ratio is of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

CASES = [(2_000, 20_000), (10_000, 50_000), (20_000, 100_000)]  # minority, rows
RESULTS = Path(__file__).with_name("results.jsonl")


def measure(work: Callable[[int], object], seed: int) -> tuple[float, float]:
    """Wall-clock and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work(seed)
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(
    minority: int, rows: int, dimension: int, *, share: float, repeat: int
) -> dict[str, object]:
    """`share`: minority / majority after."""
    import numpy as np
    from imblearn.over_sampling import SMOTE  # type: ignore[import-untyped]

    from smotext_assets.store import Store
    from smotext_core.mixing import interpolate, make_pairs
    from smotext_core.neighbors import neighbor_rows, neighbor_table

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, dimension))  # clusters, as texts have
    vectors = centres[rng.integers(20, size=rows)] + 0.7 * rng.normal(size=(rows, dimension))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    labels = np.arange(rows) < minority
    n_samples = int((rows - minority) * share) - minority
    text_ids = [f"text-{row:06d}" for row in range(minority)]

    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        store.write("neighbors", neighbor_table(text_ids, vectors[labels], k=20)[0])

        def ours(seed: int) -> None:
            embeddings = vectors[labels]
            near = neighbor_rows(store.read("neighbors"), text_ids)
            pairs, _ = make_pairs(
                text_ids,
                embeddings,
                run="b2",
                label="minority",
                slug="minority",
                n_samples=n_samples,
                seed=seed,
                neighbors=near,
            )
            made = interpolate(pairs, text_ids, embeddings, mixing="linear")
            if made.shape != (n_samples, dimension):
                raise RuntimeError(f"{n_samples} samples wanted, got {made.shape}")

        def theirs(seed: int) -> None:
            smote = SMOTE(k_neighbors=5, random_state=seed, sampling_strategy=share)
            made, _ = smote.fit_resample(vectors, labels)
            if made.shape != (rows + n_samples, dimension):
                raise RuntimeError(f"{n_samples} samples wanted, got {made.shape}")

        runs: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
        for seed in range(repeat):
            runs["ours"].append(measure(ours, seed))
            runs["theirs"].append(measure(theirs, seed))
    ours_s, ours_cpu_s = (statistics.median(side) for side in zip(*runs["ours"], strict=True))
    theirs_s, theirs_cpu_s = (statistics.median(side) for side in zip(*runs["theirs"], strict=True))
    return {
        "id": "B2",
        "case": f"minority {minority} of {rows}, d={dimension}, {n_samples} samples",
        "ratio": round(theirs_s / ours_s, 1),
        "cpu_ratio": round(theirs_cpu_s / ours_cpu_s, 1),
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
        [(*case, d) for d in (384, 4096) for case in CASES]
        if options.full
        else [(*case, 384) for case in CASES[:2]]
    )
    print(f"{'case':<54}{'ours s':>9}{'theirs s':>10}{'ratio':>8}{'of CPU':>8}")
    for minority, rows, dimension in cases:
        for share in (1.0, 0.5):
            result = compare(minority, rows, dimension, share=share, repeat=options.repeat)
            print(
                f"{result['case']:<54}{result['ours_s']:>9}{result['theirs_s']:>10}"
                f"{result['ratio']:>7}×{result['cpu_ratio']:>7}×",
                flush=True,
            )
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
