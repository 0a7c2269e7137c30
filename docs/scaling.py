"""The measurements and the picture of `scaling.md`: seconds and memory against rows.

Each point is a process of its own: n texts of one class get 5 neighbours each, n samples are paired
and mixed. imbalanced-learn has 2 n rows of another class beside them, for it to make n samples.
Points are lines of benchmarks/results.jsonl with the id "scaling"; `--draw` only draws them.

    python docs/scaling.py --rows 1000 3000 10000 30000
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.jsonl"
SIDES = ("exact", "index", "imbalanced-learn")
DIMENSION = 384


def vectors(rows: int) -> Any:
    """Unit vectors in clusters of a hundred; the i-th direction has a spread of 1/√i."""
    import numpy as np

    rng = np.random.default_rng(0)
    spread = (np.arange(1, DIMENSION + 1) ** -0.5).astype(np.float32)
    centres = rng.standard_normal((-(-rows // 100), DIMENSION), dtype=np.float32) * spread
    found = np.empty((rows, DIMENSION), dtype=np.float32)
    for start in range(0, rows, 10_000):
        part = centres[rng.integers(len(centres), size=min(10_000, rows - start))]
        part += 0.8 * spread * rng.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
        found[start : start + len(part)] = part
    return found


def ours(rows: int, *, exact: bool) -> dict[str, float]:
    import polars as pl

    from smotext_assets.store import Store
    from smotext_core.mixing import make_pairs, mixed_blocks
    from smotext_core.neighbors import find_neighbors

    real = vectors(rows)
    ids = [f"text-{i:07d}" for i in range(rows)]
    began = time.process_time()
    near, recall = find_neighbors(real, k=5, exact_up_to=rows if exact else 0)
    searched = time.process_time() - began
    pairs, _ = make_pairs(ids, real, run="r", label="a", slug="a", n_samples=rows, neighbors=near)

    def made() -> Iterator[pl.DataFrame]:
        for block in mixed_blocks(pairs, ids, real, mixing="linear"):
            yield pl.Series("vector", block, dtype=pl.Array(pl.Float32, DIMENSION)).to_frame()

    with tempfile.TemporaryDirectory() as folder:
        Store(folder).write("interpolated_vectors", made())
    return {"cpu_s": time.process_time() - began, "search_cpu_s": searched, "recall": recall}


def theirs(rows: int) -> dict[str, float]:
    import numpy as np
    from imblearn.over_sampling import SMOTE  # type: ignore[import-untyped]

    real = np.concatenate([vectors(rows), vectors(2 * rows)])
    label = np.arange(3 * rows) < rows
    began = time.process_time()
    SMOTE(k_neighbors=5, random_state=0).fit_resample(real, label)
    return {"cpu_s": time.process_time() - began}


def measure(side: str, rows: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", side, "--rows", str(rows)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {
        "id": "scaling",
        "case": side,
        "rows": rows,
        **json.loads(done.stdout),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def draw(out: Path) -> None:
    """The last point of each side and size."""
    from matplotlib.figure import Figure

    from smotext_core.card import BLUE, DPI, GREY, GRID, ORANGE, png_bytes, style_axes, title_axes

    lines = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    points = {(p["case"], p["rows"]): p for p in lines if p["id"] == "scaling"}
    figure = Figure(figsize=(7.6, 3.2), dpi=DPI, layout="constrained")
    panels = zip(figure.subplots(1, 2), ("cpu_s", "peak_gb"), strict=True)
    for (axes, what), title in zip(panels, ("CPU seconds", "Peak memory, GB"), strict=True):
        for side, color, marker in zip(SIDES, (BLUE, ORANGE, GREY), "osD", strict=True):
            own = [points[key] for key in sorted(points) if key[0] == side]
            name = side if side == "imbalanced-learn" else f"smotext, {side}"
            rows, values = [p["rows"] for p in own], [p[what] for p in own]
            axes.plot(rows, values, color=color, marker=marker, ms=4, label=name)
        axes.set(xscale="log", yscale="log", xlabel="texts of the class")
        axes.set_yticks([0.1, 1, 10, 100] if what == "cpu_s" else [0.2, 0.5, 1])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:,g}")
            axis.set_minor_formatter("")
            axis.minorticks_off()
        axes.grid(color=GRID, lw=0.6)
        style_axes(axes)
        title_axes(axes, title)
        axes.legend(frameon=False, fontsize=8)
    out.write_bytes(png_bytes(figure))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 3000, 10_000, 30_000])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--draw", action="store_true", help="what was measured before")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        (rows,) = given.rows
        found: dict[str, Any]
        found = (
            theirs(rows) if given.child == SIDES[2] else ours(rows, exact=given.child == "exact")
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(json.dumps({k: round(v, 4) for k, v in {**found, "peak_gb": peak}.items()}))
        return
    for library in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "POLARS_MAX"):
        os.environ[f"{library}_THREADS"] = "1"
    for rows in [] if given.draw else given.rows:
        for side in given.sides:
            if side == "index" and rows < 2000:
                continue  # no index has so few
            point = measure(side, rows)
            print(point, flush=True)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(point) + "\n")
    draw(given.out / "scaling.png")


if __name__ == "__main__":
    main()
