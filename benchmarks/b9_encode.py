"""B9: encoding, against SentenceTransformer.encode with the same weights, in turns.

Posts of 20 Newsgroups (stripped) if the folder SMOTEXT_TEST_DATA or ../shared/data has them, else
the notes that come with smotext. The ratio is of medians, theirs / ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from smotext_core.corpora import read_corpus, strip_newsgroup
from smotext_core.embedding import Embedder, minilm_folder

RESULTS = Path(__file__).with_name("results.jsonl")
DATA = Path(os.environ.get("SMOTEXT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def texts(rows: int) -> tuple[str, list[str]]:
    path = DATA / "20newsgroups" / "data.parquet"
    if not path.exists():
        return "clinic_notes", read_corpus("clinic_notes")[0]["text"].to_list()[:rows]
    posts = pl.read_parquet(path)["text"].head(2 * rows)
    stripped = [strip_newsgroup(post).strip() for post in posts]
    return "20newsgroups", [text for text in stripped if text][:rows]


def main() -> None:
    from sentence_transformers import SentenceTransformer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    name, rows = texts(given.rows)
    theirs, ours = (
        SentenceTransformer(str(minilm_folder()), device="cpu"),
        Embedder(minilm_folder()),
    )
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(given.repeat):
        began = time.perf_counter()
        mine = ours.encode(rows)
        seconds["ours"].append(time.perf_counter() - began)
        began = time.perf_counter()
        other = theirs.encode(rows, normalize_embeddings=True)
        seconds["theirs"].append(time.perf_counter() - began)
    ours_s, theirs_s = (statistics.median(seconds[side]) for side in ("ours", "theirs"))
    line = {
        "id": "B9",
        "case": f"{len(rows)} texts of {name}",
        "ratio": theirs_s / ours_s,
        "ours_s": ours_s,
        "theirs_s": theirs_s,
        "least_cosine": float((mine * np.asarray(other)).sum(axis=1).min()),
        "date": datetime.now(UTC).date().isoformat(),
    }
    print(line)
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
