"""B7: killed at random points in a run of 10,000 rows on the fake generator of the tests.

The same run as tests/kills.py: texts embedded, pairs, vectors, texts decoded, tables written; in a
local folder. Lost and doubled rows are told against an undisturbed run; `redone` are batches that
were begun twice, of which a kill may cost one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from smotext_assets.store import Store
from tests.kills import TABLES, Work, run_killed

RESULTS = Path(__file__).with_name("results.jsonl")
DECODED = {"label": "medicine", "run": "r1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000, help="texts embedded, and decoded")
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    work = Work(texts=given.rows, samples=given.rows)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpus, roots = work.corpus(folder), [str(folder / n / "store") for n in ("clean", "k")]
        clean = run_killed(folder / "clean", work, corpus=corpus, store=roots[0], kills=0)
        killed = run_killed(folder / "k", work, corpus=corpus, store=roots[1], kills=given.kills)
        undisturbed, disturbed = map(Store, roots)
        wanted = undisturbed.read("decoded_texts", DECODED)["sample_id"]
        found = disturbed.read("decoded_texts", DECODED)["sample_id"]
        same = all(
            undisturbed.manifest(table, partition) == disturbed.manifest(table, partition)
            for table in TABLES
            for partition in undisturbed.partitions(table)
        )
    line = {
        "id": "B7",
        "case": f"{given.rows} rows, {killed.kills} kills",
        "lost": len(set(wanted) - set(found)),
        "doubled": len(found) - found.n_unique(),
        "same_bytes": same,
        "batches": len(clean.attempts[0]),
        "redone": sum(killed.redone),
        "most_redone_after_a_kill": max(killed.redone),
        "seconds": round(killed.seconds, 1),
        "seconds_undisturbed": round(clean.seconds, 1),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    print(json.dumps(line))
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
