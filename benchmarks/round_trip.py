"""Round trip of the embedded decoder on text it was never trained on.

Texts are encoded, decoded and encoded again: cosine of the likeliest text and of the closest of
eight, word F1 against the source, distinct-2 and the share of outputs that `degenerate` refuses;
then the same at the middle (λ = .5) of pairs of one class. Corpora are read from the folder
SMOTEXT_TEST_DATA or ../shared/data and are skipped where it is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from smotext_core.corpora import strip_newsgroup
from smotext_core.filters import degenerate
from smotext_core.overlap import words
from smotext_core.passages import label_texts
from smotext_core.training_texts import training_passages
from smotext_core.xrag import Generator, load_generator

RESULTS = Path(__file__).with_name("results.jsonl")
DATA = Path(os.environ.get("SMOTEXT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def held_out(name: str, *, rows: int) -> pl.DataFrame:
    """Columns text and label (null where the corpus has none)."""
    if name == "clinic_notes":
        from smotext_core.corpora import read_corpus

        return read_corpus("clinic_notes")[0].select("text", "label").sample(rows, seed=0)
    if name == "20newsgroups":
        raw = pl.read_parquet(DATA / name / "data.parquet").filter(pl.col("split") == "test")
        raw = raw.sample(min(raw.height, rows), seed=0).with_columns(
            pl.col("text").map_elements(strip_newsgroup, return_dtype=pl.String),
            document_id=pl.col("id").cast(pl.String),
        )
        found, _ = label_texts(raw, seed=0)
        return found.select("text", "label").sample(rows, seed=0)
    paths = sorted((DATA / name).glob("*.parquet"))
    documents = pl.read_parquet(paths[0])
    if name == "enwiki2015":
        documents = documents.head(3 * rows)
    passages = training_passages(documents, source=name).filter("held_out")
    return passages.select("text", label=pl.lit(None, pl.String)).sample(rows, seed=0)


def word_f1(made: str, source: str) -> float:
    a, b = Counter(words(made)), Counter(words(source))
    shared = sum((a & b).values())
    return 2 * shared / (sum(a.values()) + sum(b.values())) if shared else 0.0


def measure(generator: Generator, vectors: np.ndarray, sources: list[str]) -> dict[str, float]:
    found = generator.decode_candidates(vectors, seeds=range(len(vectors)), n_candidates=8)
    likeliest = generator.decoder.sample(vectors, seeds=range(len(vectors)), temperature=0.0)
    again = generator.encode([text or " " for text in likeliest])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    best = [texts[0] for texts in found.texts]
    pairs = [p for text in best for w in [words(text)] for p in pairwise(w)]
    result = {
        "greedy": float((again * unit).sum(axis=1).mean()),
        "best_of_8": float(found.cosines[:, 0].mean()),
        "distinct_2": len(set(pairs)) / max(1, len(pairs)),
        "broken": sum(reason is not None for reason in degenerate(best)) / len(best),
    }
    if sources:
        result["word_f1"] = float(np.mean([word_f1(*p) for p in zip(best, sources, strict=True)]))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--generator", default="mini")
    given = parser.parse_args()
    generator = load_generator(given.generator)
    print(f"{'corpus':28}{'greedy':>8}{'best8':>8}{'wordF1':>8}{'dist2':>8}{'broken':>8}")
    for name in ("clinic_notes", "mtsamples", "20newsgroups", "enwiki2015"):
        if name != "clinic_notes" and not (DATA / name).is_dir():
            print(f"{name}: skipped, {DATA / name} is missing", file=sys.stderr)
            continue
        frame = held_out(name, rows=given.rows)
        vectors = generator.encode(frame["text"].to_list())
        cases = [(name, vectors, frame["text"].to_list())]
        if frame["label"].null_count() == 0:
            rows = frame.with_row_index().sort("label")
            a, b = rows[:-1], rows[1:]
            same = (a["label"] == b["label"]).to_numpy()
            mixed = vectors[a["index"].to_numpy()[same]] + vectors[b["index"].to_numpy()[same]]
            mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
            cases.append((f"{name}, λ = .5", mixed, []))
        for case, at, sources in cases:
            result = measure(generator, at, sources)
            numbers = [result["greedy"], result["best_of_8"], result.get("word_f1", np.nan)]
            numbers += [result["distinct_2"], result["broken"]]
            print(f"{case:28}" + "".join(f"{number:8.3f}" for number in numbers), flush=True)
            line = {
                "id": "round_trip",
                "case": case,
                "rows": len(at),
                "generator": generator.fingerprint,
                "date": datetime.now(UTC).date().isoformat(),
                **result,
            }
            with RESULTS.open("a") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
