"""B11: what a refresh of the warehouse costs beside what the warehouse holds.

A store with a history of `--rows` published rows in partitions of 10,000 (texts of about 250
characters, two parents each); each case is a process of its own. `rebuild`: the file made of the
whole store. `copy`: what copying it takes, the part of the other two that grows with the history.
`publish`: one more partition of 1,000 rows. `replace`: one partition of 10,000 rows takes the place
of another. Seconds and peak memory of the process, of which 0.2 GB are the imports.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from smotext_assets.store import Store, refresh_warehouse
from smotext_core.schemas import SYNTHETIC_TEXTS, conform

RESULTS = Path(__file__).with_name("results.jsonl")
PARTITION = 10_000
WORDS = np.array([f"w{n:04d}" for n in range(4000)])


def published(run: str, label: str, *, rows: int, seed: int) -> pl.DataFrame:
    """Made rows, no two texts alike."""
    draw = np.random.default_rng(seed)
    words = WORDS[draw.integers(0, len(WORDS), (rows, 42))]
    parents = draw.integers(0, 10**6, (rows, 2))
    frame = pl.DataFrame(
        {
            "sample_id": [f"{run}.{label}.{number}" for number in range(rows)],
            "run": [run] * rows,
            "label": [label] * rows,
            "text": [" ".join(row) for row in words],
            "round_trip_cosine": draw.random(rows),
            "parent_cosine": draw.random(rows),
            "label_confidence": draw.random(rows),
            "copied_words": draw.integers(0, 9, rows),
            "parent_ids": [[f"d{a}", f"d{b}"] for a, b in parents],
            "weights": [[0.75, 0.25]] * rows,
            "generator": ["0" * 64] * rows,
        }
    )
    return conform(frame, SYNTHETIC_TEXTS)


def write(store: Store, number: int, *, rows: int, seed: int) -> None:
    at = {"label": f"label-{number % 100:03d}", "run": f"run-{number // 100:04d}"}
    frame = published(at["run"], at["label"], rows=rows, seed=seed)
    store.write("synthetic_table", frame, at)


def refresh(root: str, path: str, rebuild: bool) -> None:
    """In a process of its own: prints its seconds and peak bytes."""
    began = time.perf_counter()
    counts = refresh_warehouse(Store(root), Path(path), rebuild=rebuild)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([time.perf_counter() - began, peak, counts["synthetic_texts"]]))


def measured(root: Path, path: Path, *, rows: int, rebuild: bool = False) -> Mapping[str, float]:
    """Seconds and GB of one refresh, after which the file must hold `rows`."""
    words = [sys.executable, __file__, "--refresh", str(root), str(path), str(int(rebuild))]
    out = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    seconds, peak, found = json.loads(out.splitlines()[-1])
    if found != rows:
        raise RuntimeError(f"the warehouse must hold {rows} rows and has {found}")
    return {"s": round(seconds, 2), "gb": round(peak / 1e9, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--refresh", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.refresh:
        root, path, rebuild = given.refresh
        return refresh(root, path, bool(int(rebuild)))
    with tempfile.TemporaryDirectory() as folder:
        root, path, made = Path(folder, "store"), Path(folder, "warehouse.duckdb"), 0
        store = Store(str(root))
        for rows in sorted(given.rows):
            while made * PARTITION < rows:
                write(store, made, rows=PARTITION, seed=made)
                made += 1
            held = made * PARTITION
            cases = {"rebuild": measured(root, path, rows=held, rebuild=True)}
            began = time.perf_counter()
            shutil.copyfile(path, Path(folder, "copy"))
            cases["copy"] = {"s": round(time.perf_counter() - began, 2)}
            os.remove(Path(folder, "copy"))
            write(store, 10**6, rows=1_000, seed=10**6)
            cases["publish"] = measured(root, path, rows=held + 1_000)
            write(store, made // 2, rows=PARTITION, seed=10**6 + made)
            cases["replace"] = measured(root, path, rows=held + 1_000)
            store.delete("synthetic_table", {"label": "label-000", "run": "run-10000"})
            line = {
                "id": "B11",
                "case": f"history of {held} rows",
                "file_gb": round(path.stat().st_size / 1e9, 3),
                **{f"{name}_{unit}": v for name, of in cases.items() for unit, v in of.items()},
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            print(json.dumps(line), flush=True)
            with RESULTS.open("a") as file:
                file.write(json.dumps(line) + "\n")
    return None


if __name__ == "__main__":
    main()
