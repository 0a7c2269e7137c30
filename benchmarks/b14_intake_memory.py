"""B14: the memory that a corpus takes on its way in, each case a process of its own.

`--rows` texts of 200 characters, with ids and 20 labels, no two alike. `run`: the CSV file becomes
`raw_corpus`, that `labelled_texts`, as in `smotext run`; peaks after each. `check`: `smotext check`
of the file. `parquet`: as `run`, of the same rows as Parquet. Peaks are bytes above what the
process had before it began to read; `began_gb` is that. Waiting on disk: the file, the tables, and
the passages once more.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

RESULTS = Path(__file__).with_name("results.jsonl")
CASES = ("run", "check", "parquet")
BLOCK = 50_000
WORDS = np.array(["".join(p) + "dem" for p in itertools.product("abcdefghijklmno", repeat=3)])


def corpus(rows: int) -> Iterator[pl.DataFrame]:
    draw = np.random.default_rng(0)
    for start in range(0, rows, BLOCK):
        number = range(start, min(start + BLOCK, rows))
        words = WORDS[draw.integers(0, len(WORDS), (len(number), 28))]
        yield pl.DataFrame(
            {
                "id": [f"document {n:08d}" for n in number],
                "text": [" ".join(row) + " end." for row in words],  # 28 * 7 - 1 + 5 characters
                "label": [f"label {n}" for n in draw.integers(0, 20, len(number))],
            }
        )


def prepare(folder: Path, rows: int) -> None:
    from smotext_assets.store import Store

    with (folder / "corpus.csv").open("wb") as file:
        for number, frame in enumerate(corpus(rows)):
            frame.write_csv(file, include_header=number == 0)
    manifest = Store(str(folder / "made")).write("corpus", corpus(rows))
    (folder / "made" / manifest.path).rename(folder / "corpus.parquet")


def status(name: str) -> int:
    """Bytes of this process: VmRSS is what it has, VmHWM the most it has had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def child(case: str, folder: Path) -> None:
    import dagster as dg

    from smotext_assets.cli import main as smotext
    from smotext_assets.definitions import definitions, resources
    from smotext_assets.graph import Corpus

    file = folder / ("corpus.parquet" if case == "parquet" else "corpus.csv")
    found = resources()
    found["corpus"] = Corpus(source=str(file), document_id="id")
    job = definitions(found).resolve_implicit_global_asset_job_def()
    told: dict[str, Any] = {"began_gb": round(status("VmRSS") / 1e9, 3)}

    def note(name: str) -> None:
        told[f"{name}_gb"] = round(status("VmHWM") / 1e9 - told["began_gb"], 3)
        told[f"{name}_cpu_s"] = round(time.process_time() - began, 1)

    began = time.process_time()
    if case == "check":
        assert smotext(["check", str(file), "--id", "id"]) == 0
        note("check")
    else:
        with dg.DagsterInstance.ephemeral() as instance:
            for name in ("raw_corpus", "labelled_texts"):
                job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(name)])
                note(name)
    print(json.dumps(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["run", "check"])
    parser.add_argument("--child", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, given.rows)
        for case in given.cases:
            command = [sys.executable, __file__, "--child", case, "--folder", name]
            began = time.perf_counter()
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env={**os.environ, "SMOTEXT_HOME": str(folder / case), "TMPDIR": name},
            )
            result = {"id": "B14", "case": case, "rows": given.rows}
            result |= json.loads(done.stdout.splitlines()[-1])
            result["wall_s"] = round(time.perf_counter() - began, 1)
            result["date"] = datetime.now(UTC).isoformat(timespec="seconds")
            print(result)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
