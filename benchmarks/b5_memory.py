"""B5: peak memory of pairs and mixed vectors, each side a process of its own.

Both begin with vectors in a Parquet table and end with the new ones in another. Against
imbalanced-learn: a sixth of the rows are the minority, brought to the majority's count; its
interface wants the vectors of all classes at once, ours those of the class. Then one class alone as
large as --rows, as many samples as texts, written row group by row group. Neighbours are given
there: they are a table of their own, and `--search` tells what its making takes.
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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from smotext_assets.store import Store

DIMENSION = 384
RESULTS = Path(__file__).with_name("results.jsonl")


def frames(rows: int, *, minority: int) -> Iterator[pl.DataFrame]:
    """Unit vectors in 2,000 clusters of 20 topics, 10,000 at a time; the minority comes first."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    topics = rng.normal(size=(20, DIMENSION))
    centres = topics[rng.integers(20, size=2000)] + 0.7 * rng.normal(size=(2000, DIMENSION))
    for start in range(0, rows, 10_000):
        number = np.arange(start, min(start + 10_000, rows))
        block = centres[rng.integers(2000, size=len(number))]
        block = block + 0.7 * rng.normal(size=block.shape)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        yield pl.DataFrame(
            {
                "text_id": [f"text-{i:07d}" for i in number],
                "minority": number < minority,
                "embedding": pl.Series(block, dtype=pl.Array(pl.Float32, DIMENSION)),
            }
        )


def load(store: Store, rows: int) -> tuple[list[str], np.ndarray]:
    """Ids and vectors of the first rows, one row group at a time."""
    import numpy as np

    ids: list[str] = []
    vectors = np.empty((rows, DIMENSION), dtype=np.float32)
    for frame in store.read_frames("embeddings", columns=["text_id", "embedding"]):
        part = frame.head(rows - len(ids))
        vectors[len(ids) : len(ids) + part.height] = part["embedding"].to_numpy()
        ids += part["text_id"].to_list()
    return ids, vectors


def ours(store: Store, minority: int, n_samples: int, *, search: bool) -> dict[str, object]:
    import numpy as np
    import polars as pl

    from smotext_core.mixing import make_pairs, mixed_blocks
    from smotext_core.neighbors import find_neighbors

    ids, vectors = load(store, minority)
    found: dict[str, object] = {}
    near = (np.arange(minority, dtype=np.int32)[:, None] + np.int32([1, 2, 3, 4, 5])) % minority
    if search:
        near, found["recall"] = find_neighbors(vectors, k=5)
    pairs, _ = make_pairs(
        ids,
        vectors,
        run="b5",
        label="minority",
        slug="minority",
        n_samples=n_samples,
        neighbors=near,
    )
    text_id = pl.Series(ids)
    del near, ids
    store.write("class_pairs", pairs.iter_slices(10_000))

    def mixed() -> Iterator[pl.DataFrame]:
        done = 0
        for block in mixed_blocks(pairs, text_id, vectors, mixing="linear-norm"):
            made = pl.Series("vector", block, dtype=pl.Array(pl.Float32, DIMENSION))
            yield pl.DataFrame([pairs["sample_id"].slice(done, len(block)), made])
            done += len(block)

    return {**found, "rows": store.write("interpolated_vectors", mixed()).rows}


def theirs(store: Store) -> dict[str, object]:
    import polars as pl
    from imblearn.over_sampling import SMOTE  # type: ignore[import-untyped]

    frame = store.read("embeddings")
    real = frame["embedding"].to_numpy()
    made, _ = SMOTE(k_neighbors=5, random_state=0).fit_resample(real, frame["minority"].to_numpy())
    new = pl.Series("vector", made[len(real) :], dtype=pl.Array(pl.Float32, DIMENSION))
    return {"rows": store.write("interpolated_vectors", new.to_frame()).rows}


def child(side: str, folder: str, rows: int, minority: int, *, search: bool) -> None:
    from smotext_assets.store import Store

    store = Store(folder)
    began = time.process_time()
    if side == "prepare":
        store.write("embeddings", frames(rows, minority=minority))
        found: dict[str, object] = {}
    elif side == "theirs":
        found = theirs(store)
    else:
        n_samples = rows - 2 * minority if minority < rows else rows
        found = ours(store, minority, n_samples, search=search)
    found["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3)
    found["cpu_s"] = round(time.process_time() - began, 1)
    print(json.dumps(found))


def run(side: str, folder: str, rows: int, minority: int, *, search: bool) -> dict[str, object]:
    command = [sys.executable, __file__, "--child", side, "--folder", folder]
    command += ["--rows", str(rows), "--minority", str(minority)] + ["--search"] * search
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="of the one class")
    parser.add_argument("--full", action="store_true", help="one class of 1,000,000")
    parser.add_argument("--search", action="store_true", help="neighbours too, for the one class")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--child", choices=["prepare", "ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--minority", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.folder, given.rows, given.minority, search=given.search)
        return
    for library in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "POLARS_MAX"):
        os.environ[f"{library}_THREADS"] = given.threads
    results: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        run("prepare", folder, 120_000, 20_000, search=False)
        mine = run("ours", folder, 120_000, 20_000, search=True)
        other = run("theirs", folder, 120_000, 20_000, search=False)
        peaks = float(str(mine["peak_gb"])), float(str(other["peak_gb"]))
        results.append(
            {
                "case": f"minority 20000 of 120000, d={DIMENSION}, 80000 samples",
                "ratio": round(peaks[0] / peaks[1], 2),
                "ours_gb": peaks[0],
                "theirs_gb": peaks[1],
            }
        )
    rows = 1_000_000 if given.full else given.rows
    with tempfile.TemporaryDirectory() as folder:
        run("prepare", folder, rows, rows, search=False)
        mine = run("ours", folder, rows, rows, search=given.search)
        results.append(
            {
                "case": f"one class of {rows}, d={DIMENSION}, {rows} samples, neighbours "
                + ("searched" if given.search else "given"),
                "ours_gb": mine["peak_gb"],
                "ours_cpu_s": mine["cpu_s"],
                **({"recall": mine["recall"]} if given.search else {}),
            }
        )
    for result in results:
        result = {"id": "B5", **result, "threads": int(given.threads)}
        result["date"] = datetime.now(UTC).isoformat(timespec="seconds")
        print(result)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
