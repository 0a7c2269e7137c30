"""B4: distance to closest record and nearest-neighbour distance ratio (d = 384).

Against scikit-learn's NearestNeighbors (brute force, cosine) at n × n rows, both sides in turns in
one process on two threads, the ratio of medians; and, where the package sdmetrics (0.32) is
installed, once against its DCROverfittingProtection at 500 rows of synthetic, train and holdout
each, which gives distances to the closest record alone. Its distance is the mean over columns of
the difference in shares of their range, ours is 1 - cosine; `agrees` says whether our share of rows
closer to train is its own where both take its distance.
"""

from __future__ import annotations

import argparse
import importlib.util
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
DIMENSION = 384


def vectors(rows: int, *, seed: int) -> Any:
    """Unit vectors (rows, 384) in twenty clusters."""
    import numpy as np

    centres = np.random.default_rng(0).normal(size=(20, DIMENSION))
    rng = np.random.default_rng(seed)
    found = centres[rng.integers(20, size=rows)] + 0.7 * rng.normal(size=(rows, DIMENSION))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def measure(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the work gives, wall-clock and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def against_scikit_learn(rows: int, *, repeat: int) -> dict[str, Any]:
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    from smotext_core.neighbors import nearest_records

    queries, records = vectors(rows, seed=1), vectors(rows, seed=2)

    def ours() -> Any:
        return nearest_records(queries, records, k=2)[0]

    def theirs() -> Any:
        search = NearestNeighbors(n_neighbors=2, algorithm="brute", metric="cosine")
        return search.fit(records).kneighbors(queries)[0]

    runs: dict[str, list[tuple[Any, float, float]]] = {"ours": [], "theirs": []}
    for _ in range(repeat):
        runs["ours"].append(measure(ours))
        runs["theirs"].append(measure(theirs))
    agree = np.allclose(runs["ours"][0][0], runs["theirs"][0][0], atol=1e-5)
    return {"case": f"scikit-learn, {rows} × {rows}", "agrees": bool(agree), **ratios(runs)}


def against_sdmetrics(rows: int) -> dict[str, Any]:
    import pandas as pd
    from sdmetrics.single_table import (  # type: ignore[import-not-found]
        DCROverfittingProtection,
    )

    from smotext_core.privacy import dcr, dcr_train_share

    sides = [vectors(rows, seed=seed) for seed in (1, 2, 3)]
    names = [f"x{column}" for column in range(DIMENSION)]
    synthetic, train, holdout = (pd.DataFrame(side, columns=names) for side in sides)
    columns = {name: {"sdtype": "numerical"} for name in names}

    def ours() -> Any:
        return dcr_train_share(*dcr(*sides))

    ours()  # imports done

    def theirs() -> Any:
        return DCROverfittingProtection.compute_breakdown(
            real_training_data=train,
            synthetic_data=synthetic,
            real_validation_data=holdout,
            metadata={"tables": {"rows": {"columns": columns}}},
            table_name="rows",
        )

    runs = {"ours": [measure(ours) for _ in range(7)], "theirs": [measure(theirs)]}
    told = float(runs["theirs"][0][0]["synthetic_data_percentages"]["closer_to_training"])
    share = dcr_train_share(*(closest(sides[0], records) for records in sides[1:]))
    return {
        "case": f"sdmetrics, {rows} × {rows}",
        "agrees": bool(abs(share - told) < 0.5 / rows),
        "closer_to_train": {"ours": runs["ours"][0][0], "theirs": told},
        **ratios(runs),
    }


def closest(queries: Any, records: Any) -> Any:
    """The distance of SDMetrics to the closest of `records`, (n,)."""
    import numpy as np

    ranges = np.ptp(records, axis=0)
    return np.array(
        [np.minimum(np.abs(records - row) / ranges, 1).mean(axis=1).min() for row in queries]
    )


def ratios(runs: dict[str, list[tuple[Any, float, float]]]) -> dict[str, Any]:
    wall, cpu = (
        {side: statistics.median(run[i] for run in made) for side, made in runs.items()}
        for i in (1, 2)
    )
    return {
        "ratio": wall["theirs"] / wall["ours"],
        "cpu_ratio": cpu["theirs"] / cpu["ours"],
        "ours_s": wall["ours"],
        "theirs_s": wall["theirs"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side, in turns")
    given = parser.parse_args()
    lines = [against_scikit_learn(given.rows, repeat=given.repeat)]
    if importlib.util.find_spec("sdmetrics"):
        lines.append(against_sdmetrics(500))
    else:
        print("sdmetrics: skipped, the package is not installed")
    for line in lines:
        line = {"id": "B4", **line, "date": datetime.now(UTC).date().isoformat()}
        print(line)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
