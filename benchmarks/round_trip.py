"""Round trip of a decoder on texts it was never trained on, and at points between them.

Texts are encoded, decoded and encoded again: cosine of the likeliest text and of the closest of
eight, token F1 (words) of the closest against its source, distinct-2, the share of words that no
two real documents hold, and the share of closest texts that `broken` calls broken. The same at the
middle (λ = .5) of each text and its nearest neighbour of the same class, or of the same corpus
where there are no classes.

Texts are passages of one to three sentences of held-out documents of mtsamples and enwiki2015
(first file) and of the test split of 20newsgroups, and the notes that come with smotext; a passage
that stands in another document too is left out. The mean is over the first three. Corpora are read
from the folder SMOTEXT_TEST_DATA or ../shared/data and are skipped where it is missing.
`--rows 2000 --resume` is the full run; stopped, it goes on behind the last finished case.

`broken` is told as a share of the real texts too. A word is known if two or more real documents
hold it, so that a real text, which is in one of them, is judged as a decoded one is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from smotext_core.filters import degenerate
from smotext_core.neighbors import nearest_neighbors, unit
from smotext_core.texts import read_corpus, strip_newsgroup, words
from smotext_core.training import document_digest, training_passages
from smotext_core.xrag import Generator, embedded_generator, load_generator

RESULTS = Path(__file__).with_name("results.jsonl")
DATA = Path(os.environ.get("SMOTEXT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
CORPORA = ("mtsamples", "20newsgroups", "enwiki2015")
FIGURES = ("greedy", "best_of_8", "token_f1", "distinct_2", "non_words", "broken", "broken_real")

# Chosen on real texts: together the rules call few of them broken (see `broken_real`).
MAX_UNKNOWN_SHARE = 0.1  # of the words, where there is more than one unknown word
LONGEST_LOOP = 8  # words
_END = re.compile(r"[.!?…:;][\"'”’)\]]*$")


def documents(name: str) -> list[pl.DataFrame]:
    files = [pl.read_parquet(path) for path in sorted((DATA / name).glob("*.parquet"))]
    return [f if "label" in f.columns else f.with_columns(label=pl.lit(name)) for f in files]


def held_out(name: str, *, rows: int) -> pl.DataFrame:
    """Columns text and label; one label where the corpus has none."""
    if name == "clinic_notes":
        notes = read_corpus(name)[0].select("text", "label")
        return notes.sample(min(rows, notes.height), seed=0)
    first, *others = documents(name)
    if name == "20newsgroups":
        own = first["split"] == "test"
        chosen = first.filter(own).sample(min(int(own.sum()), 500 + 4 * rows), seed=0)
        chosen = chosen.with_columns(
            pl.col("text").map_elements(strip_newsgroup, return_dtype=pl.String)
        )
    else:
        own = pl.Series([document_digest(text)[8] < 26 for text in first["text"]])
        chosen = first.filter(own)
    found = pl.concat(
        [
            training_passages(part, source=str(label))
            for (label,), part in chosen.group_by("label", maintain_order=True)
        ]
    ).select("text", label="source")
    found = found.unique("text", keep="first", maintain_order=True)
    found = found.sample(min(rows, found.height), seed=0)
    seen: set[str] = set()
    for trained_on in (first.filter(~own), *others):
        texts = trained_on["text"].str.replace_all(r"\s+", " ")
        matches = texts.str.extract_many(found["text"].to_list(), overlapping=True)
        seen |= set(matches.explode().drop_nulls())
    return found.filter(~pl.col("text").is_in(sorted(seen)))


def known_words() -> frozenset[str]:
    """Words of two or more documents of the corpora that are there (first file of each)."""
    texts = [documents(name)[0]["text"] for name in CORPORA if _there(name)]
    times: Counter[str] = Counter()
    for text in pl.concat([read_corpus("clinic_notes")[0]["text"], *texts]).unique():
        times.update(set(words(text)))
    return frozenset(word for word, count in times.items() if count > 1)


def _there(name: str) -> bool:
    return name == "clinic_notes" or (DATA / name).is_dir()


def spelling(text: str, known: frozenset[str]) -> tuple[int, int]:
    """Words of three letters or more, and how many of them are not known."""
    spelt = [word for word in words(text) if word.isalpha() and len(word) > 2]
    return len(spelt), sum(word not in known for word in spelt)


def broken(text: str, known: frozenset[str]) -> str | None:
    """Why a text is no whole English: the first rule that holds, None if none does.

    "degenerate": `filters.degenerate` refuses it. "no end": it does not end as a sentence does.
    "loop": one to eight words stand twice in a row. "non-words": more than one of its words of
    three letters or more, and more than a tenth of them, are not known.
    """
    if degenerate([text])[0] is not None:
        return "degenerate"
    if not _END.search(text):
        return "no end"
    blanks = text.lower().split()
    for n in range(1, LONGEST_LOOP + 1):
        for at in range(len(blanks) - 2 * n + 1):
            run, again = blanks[at : at + n], blanks[at + n : at + 2 * n]
            again[-1] = again[-1].rstrip(".,;:!?")
            if run == again and any(map(str.isalpha, run)):
                return "loop"
    spelt, unknown = spelling(text, known)
    return "non-words" if unknown > max(1, MAX_UNKNOWN_SHARE * spelt) else None


def token_f1(made: str, source: str) -> float:
    a, b = Counter(words(made)), Counter(words(source))
    shared = sum((a & b).values())
    return 2 * shared / (sum(a.values()) + sum(b.values())) if shared else 0.0


def middles(vectors: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Unit vectors between each row and its nearest of the same label, each pair once."""
    pairs: set[tuple[int, int]] = set()
    for label in sorted(set(labels)):
        rows = np.flatnonzero(np.array(labels) == label)
        if len(rows) > 1:
            nearest = rows[nearest_neighbors(vectors[rows], k=1)[:, 0]]
            pairs |= {(min(p), max(p)) for p in zip(rows.tolist(), nearest.tolist(), strict=True)}
    a, b = np.array(sorted(pairs)).T
    return unit((vectors[a] + vectors[b]) / 2)


def measure(
    generator: Generator, vectors: np.ndarray, sources: Sequence[str], known: frozenset[str]
) -> dict[str, float]:
    """`FIGURES` at the vectors; those that need sources are missing where there are none."""
    seeds = range(len(vectors))
    likeliest = generator.decode_candidates(vectors, seeds=seeds, n_candidates=1)
    found = generator.decode_candidates(vectors, seeds=seeds, n_candidates=8)
    best = [texts[0] for texts in found.texts]
    spelt, unknown = np.array([spelling(text, known) for text in best]).sum(axis=0)
    bigrams = [pair for text in best for pair in pairwise(words(text))]
    result = {
        "greedy": float(likeliest.cosines.mean()),
        "best_of_8": float(found.cosines[:, 0].mean()),
        "distinct_2": len(set(bigrams)) / max(1, len(bigrams)),
        "non_words": float(unknown / max(1, spelt)),
        "broken": float(np.mean([broken(text, known) is not None for text in best])),
    }
    if sources:
        result["token_f1"] = float(np.mean([*map(token_f1, best, sources)]))
        result["broken_real"] = float(np.mean([broken(s, known) is not None for s in sources]))
    return result


def show(case: str, rows: int, result: dict[str, float]) -> None:
    figures = [f"{result[name]:.3f}" if name in result else "–" for name in FIGURES]
    print(f"{case:22}{rows:6}" + "".join(f"{figure:>12}" for figure in figures), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200, help="texts of each corpus")
    parser.add_argument("--generator", default=embedded_generator())
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16"], help="default: what the processor is fast in"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="take the figures of this generator at these rows that results.jsonl has",
    )
    given = parser.parse_args()
    generator = load_generator(given.generator, dtype=given.dtype)
    asked = {"asked": given.rows, "generator": generator.fingerprint, "dtype": given.dtype}
    known = known_words()
    done: dict[str, dict[str, float]] = {}
    if given.resume and RESULTS.exists():
        for text in RESULTS.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if line["id"] == "round_trip" and asked.items() <= line.items():
                done[line["case"]] = line
    print(f"{'':22}{'rows':>6}" + "".join(f"{name:>12}" for name in FIGURES))
    for name in (*CORPORA, "clinic_notes"):
        if not _there(name):
            print(f"{name}: skipped, {DATA / name} is missing", file=sys.stderr)
            continue
        cases = [name, f"{name}, λ = .5"]
        if not done.keys() >= set(cases):
            frame = held_out(name, rows=given.rows)
            vectors = generator.encode(frame["text"].to_list())
            for case in cases:
                if case in done:
                    continue
                sources = frame["text"].to_list() if case == name else []
                at = vectors if case == name else middles(vectors, frame["label"].to_list())
                done[case] = {"rows": len(at), **measure(generator, at, sources, known)}
                write(case, done[case], asked)
        for case in cases:
            show(case, int(done[case]["rows"]), done[case])
    for ending in ("", ", λ = .5"):
        parts = [done[name + ending] for name in CORPORA if name + ending in done]
        if len(parts) == len(CORPORA):
            mean = {f: float(np.mean([p[f] for p in parts])) for f in FIGURES if f in parts[0]}
            rows = int(sum(part["rows"] for part in parts))
            show(f"mean of {len(parts)}{ending}", rows, mean)
            if not given.resume:
                write(f"mean of {len(parts)}{ending}", {"rows": rows, **mean}, asked)


def write(case: str, result: dict[str, float], asked: dict[str, Any]) -> None:
    day = datetime.now(UTC).date().isoformat()
    line = {"id": "round_trip", "case": case, **asked, "date": day, **result}
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
