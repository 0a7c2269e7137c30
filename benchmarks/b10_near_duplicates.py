"""B10: near-duplicate removal among n documents, against MinHash LSH of datasketch.

Documents are passages of enwiki2015 where the folder SMOTEXT_TEST_DATA or ../shared/data has them,
else made of random words; one in ten comes twice, with a few words changed. Near-duplicates are
pairs of Jaccard similarity .8 or more over word 3-grams. datasketch as its manual shows it: 128
permutations, one `update_batch` a document, `MinHashLSH(threshold=.8)`, query before insert. Both
keep the first of near-equal documents. F1 is of the dropped documents, against exact similarities;
the ratio is of CPU seconds, medians of runs in turns on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from smotext_core.texts import duplicates_within, words
from smotext_core.training import training_passages

RESULTS = Path(__file__).with_name("results.jsonl")
DATA = Path(os.environ.get("SMOTEXT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
THRESHOLD = 0.8


def documents(rows: int) -> tuple[str, list[str]]:
    rng = np.random.default_rng(0)
    path = DATA / "enwiki2015" / "part-0.parquet"
    unique = rows - rows // 11
    if path.exists():
        articles = pl.read_parquet(path, columns=["text"]).head(rows // 4)
        name, texts = "enwiki2015", training_passages(articles, source="wiki")["text"].to_list()
        texts = texts[:unique]
    else:
        known = [f"word{number}" for number in range(5000)]
        name, texts = "random words", []
        texts = [" ".join(rng.choice(known, size=rng.integers(15, 45))) for _ in range(unique)]
    copies = []
    for at in rng.choice(len(texts), len(texts) // 10, replace=False):
        changed = texts[at].split()
        for place in rng.choice(len(changed), rng.integers(0, 3), replace=False):
            changed[place] = "changed"
        copies.append(" ".join(changed))
    mixed = [*texts, *copies]
    return name, [mixed[at] for at in rng.permutation(len(mixed))]


def ours(texts: list[str]) -> Any:
    return duplicates_within(texts, threshold=THRESHOLD)


def theirs(texts: list[str]) -> Any:
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]

    lsh = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    keep = np.zeros(len(texts), dtype=np.bool_)
    for number, text in enumerate(texts):
        found = words(text)
        sketch = MinHash(num_perm=128)
        triples = {" ".join(found[at : at + 3]) for at in range(max(1, len(found) - 2))}
        sketch.update_batch([triple.encode() for triple in sorted(triples)])
        if not lsh.query(sketch):
            keep[number] = True
            lsh.insert(number, sketch)
    return keep


def exact(texts: list[str]) -> Any:
    """Kept documents by every pair's similarity, without an index: through a sparse product."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(analyzer=_triples, binary=True)
    grams = counter.fit_transform(texts).astype(np.int32)
    sizes = np.asarray(grams.sum(axis=1)).ravel()
    keep = np.ones(len(texts), dtype=np.bool_)
    for start in range(0, len(texts), 1000):
        shared = (grams[start : start + 1000] @ grams.T).tocoo()
        left, right = shared.row + start, shared.col
        similar = shared.data >= THRESHOLD * (sizes[left] + sizes[right] - shared.data) - 1e-9
        for a, b in sorted(zip(left[similar].tolist(), right[similar].tolist(), strict=True)):
            if b < a and keep[b]:
                keep[a] = False
    return keep


def _triples(text: str) -> list[str]:
    found = words(text)
    return [" ".join(found[at : at + 3]) for at in range(max(1, len(found) - 2))]


def f1(dropped: Any, expected: Any) -> float:
    both = (dropped & expected).sum()
    return float(2 * both / max(1, dropped.sum() + expected.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side, in turns")
    given = parser.parse_args()
    name, texts = documents(given.rows)
    expected = ~exact(texts)
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    kept: dict[str, Any] = {}
    for _ in range(given.repeat):
        for side, work in (("ours", ours), ("theirs", theirs)):
            began = time.process_time()
            kept[side] = work(texts)
            seconds[side].append(time.process_time() - began)
    ours_s, theirs_s = (statistics.median(seconds[side]) for side in ("ours", "theirs"))
    line = {
        "id": "B10",
        "case": f"{len(texts)} texts of {name}, {int(expected.sum())} near-duplicates",
        "cpu_ratio": theirs_s / ours_s,
        "ours_cpu_s": ours_s,
        "theirs_cpu_s": theirs_s,
        "ours_f1": f1(~kept["ours"], expected),
        "theirs_f1": f1(~kept["theirs"], expected),
        "date": datetime.now(UTC).date().isoformat(),
    }
    print(line)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
