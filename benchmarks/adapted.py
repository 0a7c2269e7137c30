"""A generator adapted to text that nobody labelled: how near it writes, and what its rows gain.

    python benchmarks/adapted.py --corpus 20newsgroups|banking77|mtsamples --setting 50:1|10:1

The train texts of the corpus, of all its labels and without them, are what `--unlabelled` would be
given; `--adapt` trains on them. Figures before and after are of test texts. Then draws of
`efficacy.py`: the rows of the adapted generator (`smotext`) beside those of the one that is shipped
(`shipped`), from the same parents, and the nearest unlabelled text of each vector (`ceiling`). A
candidate that copies an unlabelled text, by the rules of the graph's filters, is no candidate: what
is left is written, not found. A generator and a draw are files under --out and skipped if there;
--quick makes a small draw and no results.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from efficacy import (
    MADE,
    MAX_WORDS,
    N_CANDIDATES,
    N_NEAREST,
    N_TEST,
    RARE,
    Cell,
    aloud,
    cells,
    drawn,
    drawn_rows,
    fixed_test_rows,
    predictions,
    read,
    reported,
    rows_of,
)
from rows import IMBALANCE, told

from smotext_core.efficacy import PROTOCOL, subsample
from smotext_core.filters import RELEVANCE
from smotext_core.texts import KnownTexts
from smotext_core.training import adapt, adaptation_figures
from smotext_core.xrag import Candidates, Generator, NearestTexts, load_generator

COPIED_WORDS, NEAR_DUPLICATE = 9, 0.8  # as the graph's filters have them
N_HELD_OUT = 150  # test texts that tell a generator before from after; --quick: 4


class NotCopying:
    """A generator of which a candidate that copies a known text is empty, so too short to pass."""

    def __init__(self, generator: Generator, known: KnownTexts) -> None:
        self.generator, self.known = generator, known
        self.seen = self.copied = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.generator, name)

    def decode_candidates(self, vectors: Any, **options: Any) -> Candidates:
        found = self.generator.decode_candidates(vectors, **options)
        texts = [text for row in found.texts for text in row]
        copies = self.known.copied_words(texts) >= COPIED_WORDS
        copies |= self.known.near_duplicates(texts, threshold=NEAR_DUPLICATE)
        self.seen, self.copied = self.seen + len(texts), self.copied + int(copies.sum())
        kept = iter("" if copy else text for text, copy in zip(texts, copies, strict=True))
        return found._replace(texts=[[next(kept) for _ in row] for row in found.texts])


def adapted(
    generator: Generator, pool: pl.DataFrame, folder: Path, given: argparse.Namespace
) -> Generator:
    """`generator`, trained on the texts of the pool."""
    if not (folder / "generator.json").exists():
        began = time.process_time()
        steps = 2 if given.quick else given.steps
        work = folder.with_name(f"{folder.name}-work")
        adapt(
            generator, pool, work, folder.with_suffix(".part"),
            steps=steps, learning_rate=given.learning_rate,
        )  # fmt: skip
        os.replace(folder.with_suffix(".part"), folder)
        aloud(f"{steps} steps on {pool.height} texts: {time.process_time() - began:.0f} s of CPU")
    return load_generator(str(folder), dtype=given.dtype)


def figures(generator: Generator, pool: pl.DataFrame, held_out: pl.DataFrame) -> dict[str, Any]:
    """As `adaptation_figures`, and the mean cosine of the closest of eight texts."""
    vectors = held_out["embedding"].to_numpy()
    found = generator.decode_candidates(vectors, seeds=range(len(vectors)), n_candidates=8)
    return {
        **adaptation_figures(generator, pool, held_out, rows=held_out.height),
        "closest_of_8": float(found.cosines[:, 0].mean()),
    }


def draw(
    cell: Cell,
    rows: pl.DataFrame,
    test: pl.DataFrame,
    test_vectors: Any,
    shipped: Generator,
    number: int,
    *,
    generator: Generator,
    pool_vectors: Any,
) -> pl.DataFrame:
    """Predictions of one draw: head, arm, one code a test row."""
    pool = rows.filter(pl.col("split") == "train")
    train = drawn_rows(cell, pool, number)
    parents = train.filter(subsample(train, sorted(cell.real), seed=number, number=0))
    free = ~pool["text_id"].is_in(train["text_id"].to_list())
    texts = pool.filter(free)["text"].to_list()
    strange = ~pool["text_id"].is_in(parents["text_id"].to_list())  # the left-out rows too
    writer = NotCopying(generator, KnownTexts(pool.filter(strange)["text"].to_list()))
    made = rows_of(parents, cell.made, writer, number=number, n_candidates=N_CANDIDATES)
    aloud(f"{cell.setting}, draw {number}: {writer.copied} of {writer.seen} candidates were copies")
    nearest = NearestTexts(shipped, texts, pool_vectors[free.to_numpy()])
    others = {
        "shipped": rows_of(parents, cell.made, shipped, number=number, n_candidates=N_CANDIDATES),
        "ceiling": rows_of(
            parents, cell.made, nearest, number=number, n_candidates=N_NEAREST, filters=None
        ),
    }
    said = predictions(cell, train, test, test_vectors, made, others, shipped, number)
    return pl.DataFrame(
        [(head, arm, one.tolist()) for (head, arm), (one,) in said.items()],
        schema=["head", "arm", "predicted"],
        orient="row",
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", choices=tuple(RARE), default="banking77")
    parser.add_argument("--setting", choices=(*IMBALANCE, *(f"{n} a label" for n in MADE)),
                        default="50:1")  # fmt: skip
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--out", type=Path, default=Path(".efficacy/adapted"))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(argv)
    shipped = load_generator("small", dtype=given.dtype)
    rows, _ = read(given.corpus)
    study = "imbalance" if given.setting in IMBALANCE else "few-shot"
    cell = next(c for c in cells(study, given.corpus, quick=given.quick)
                if given.quick or c.setting == given.setting)  # fmt: skip

    def embedded(frame: pl.DataFrame) -> pl.DataFrame:
        vectors = shipped.encode(frame["text"].to_list())
        dtype = pl.Array(pl.Float32, vectors.shape[1])
        return frame.with_columns(pl.Series("embedding", vectors, dtype=dtype))

    if given.quick:
        rows = rows.filter(pl.int_range(pl.len()).over("label", "split") < 40)
    pool = embedded(rows.filter(pl.col("split") == "train"))
    test = fixed_test_rows(cell, rows, quick=given.quick)
    held_out = rows.filter(pl.col("split") != "train")
    few = 4 if given.quick else min(N_HELD_OUT, held_out.height)
    held_out = embedded(held_out.sample(few, seed=0, shuffle=True))
    trained = [given.steps, given.learning_rate, shipped.fingerprint, given.dtype, given.quick]
    told_of = json.dumps([given.corpus, *trained])
    folder = given.out / f"{given.corpus}-{hashlib.sha256(told_of.encode()).hexdigest()[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    generator = adapted(shipped, pool.select("text", "embedding"), folder, given)
    for name, of in (("before", shipped), ("after", generator)):
        aloud(f"{given.corpus}, {name}: {figures(of, pool, held_out)}")
    inputs = [*cell[:-1], generator.fingerprint, given.dtype, given.quick, PROTOCOL, RELEVANCE]
    inputs += [N_CANDIDATES, N_NEAREST, N_TEST, MAX_WORDS, COPIED_WORDS, NEAR_DUPLICATE]
    key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]
    draws = drawn(
        given.out,
        f"{given.corpus}-{cell.setting.replace(':', '-').replace(' ', '-')}-{key}",
        1 if given.quick else given.draws,
        partial(
            draw, cell, rows, test, shipped.encode(test["text"].to_list()), shipped,
            generator=generator, pool_vectors=pool["embedding"].to_numpy(),
        ),
        aloud,
    )  # fmt: skip
    reported(
        "adapted", f"{given.corpus} {cell.setting}, {given.steps} steps", told(test, draws, cell),
        draws=len(draws), generator=generator, keep=not given.quick, say=aloud,
    )  # fmt: skip


if __name__ == "__main__":
    main()
