"""How many synthetic rows, of which weight and how near to their base, on draws of `efficacy.py`.

    python benchmarks/rows.py --corpus 20newsgroups|banking77|mtsamples --setting 10:1|50:1
    python benchmarks/rows.py --setting "5 a label" --curve 10 20 40

Each rare label of a draw of the imbalance grid, or each label of one of few shots, gets the last of
`--curve` in rows. Arms beside those of `smotext_core.efficacy`, whose "smotext" has all of them:
the first n of each label (`rows_n`), as many of the nearest unlabelled texts (`ceiling_n`), and of
`USUAL` rows: with a half and a quarter of a real row's weight (`half`, `quarter`), and made at a
quarter of the way from the base to its neighbour, in place of anywhere between them (`near_base`).

`learnt` is the `rows_n` that serves best the rows that the draw left out, by models of four fifths
of its other rows and of the synthetic ones that descend from those; at 50:1 there are none, and it
says nothing. A draw is one file under --out and skipped if there; --quick makes a small draw and no
results.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from efficacy import (
    MADE,
    MAX_WORDS,
    N_CANDIDATES,
    N_NEAREST,
    N_TEST,
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
from sklearn.metrics import f1_score

from smotext_core.efficacy import PROTOCOL, compare, subsample
from smotext_core.filters import RELEVANCE
from smotext_core.xrag import Generator, NearestTexts, load_generator

CURVE = (10, 20, 40, 80, 160)  # rows added to a rare label
USUAL, NEAR = 40, 0.25
IMBALANCE = ("10:1", "50:1")


def draw(
    cell: Cell,
    rows: pl.DataFrame,
    test: pl.DataFrame,
    test_vectors: Any,
    generator: Generator,
    number: int,
    *,
    pool_vectors: Any,
    curve: Sequence[int],
    usual: int,
) -> pl.DataFrame:
    """Predictions of one draw: head, arm, one code a test row."""
    pool = rows.filter(pl.col("split") == "train")
    train = drawn_rows(cell, pool, number)
    parents = train.filter(subsample(train, sorted(cell.real), seed=number, number=0))
    free = ~pool["text_id"].is_in(train["text_id"].to_list())
    nearest = NearestTexts(
        generator, pool.filter(free)["text"].to_list(), pool_vectors[free.to_numpy()]
    )
    most = dict.fromkeys(cell.made, curve[-1])
    made = rows_of(parents, most, generator, number=number, n_candidates=N_CANDIDATES)
    best = rows_of(parents, most, nearest, number=number, n_candidates=N_NEAREST, filters=None)
    others = {f"rows_{n}": of_each(made, n) for n in curve}
    others |= {f"ceiling_{n}": of_each(best, n) for n in curve}
    # A row of weight 1/n beside real rows is a row of weight 1 beside n of each real one.
    own = parents.select("text", "label", pl.concat_list("text_id").alias("parent_ids"))
    few = of_each(made, usual)
    others |= {"half": pl.concat([few, own]), "quarter": pl.concat([few, own, own, own])}
    others["near_base"] = rows_of(
        parents, dict.fromkeys(cell.made, usual), generator,
        number=number, n_candidates=N_CANDIDATES, lam=NEAR,
    )  # fmt: skip
    said = predictions(cell, train, test, test_vectors, made, others, generator, number)
    left_out = train.join(parents, on="text_id", how="anti")
    tried = {name: others[name] for name in (f"rows_{n}" for n in curve)}
    of_left_out = predictions(
        cell, parents, left_out, generator.encode(left_out["text"].to_list()), made, tried,
        generator, number,
    )  # fmt: skip
    truth = [sorted(cell.real).index(label) for label in left_out["label"]]
    for head in ("embedding", "tfidf"):  # the fewest rows where equal
        scores = [f1_score(truth, of_left_out[head, arm][0], average="macro") for arm in tried]
        said[head, "learnt"] = said[head, list(tried)[int(np.argmax(scores))]]
    return pl.DataFrame(
        [(head, arm, one.tolist()) for (head, arm), (one,) in said.items()],
        schema=["head", "arm", "predicted"],
        orient="row",
    )


def of_each(made: pl.DataFrame, n: int) -> pl.DataFrame:
    """The first n rows of each label, in the order in which they were made."""
    return made.filter(pl.int_range(pl.len()).over("label") < n)


def told(test: pl.DataFrame, draws: Sequence[pl.DataFrame], cell: Cell) -> pl.DataFrame:
    """Macro-F1 by head and arm, and its difference to the real rows alone."""
    predicted: dict[tuple[str, str], list[Any]] = {}
    for frame in draws:
        for head, arm, one in frame.iter_rows():
            predicted.setdefault((head, arm), []).append(np.array(one, dtype=np.int64))
    found = compare(test, predicted, labels=sorted(cell.real), run=cell.setting, seed=0)
    found = found.filter(pl.col("metric") == "macro_f1")
    return found.select("head", "arm", "value", "difference", "low", "high", "verdict")


def run(given: argparse.Namespace, say: Callable[[str], None]) -> None:
    """All draws that are not there yet, and the table of the setting."""
    generator = load_generator("small", dtype=given.dtype)
    rows, _ = read(given.corpus)
    pool_vectors = generator.encode(rows.filter(pl.col("split") == "train")["text"].to_list())
    study = "imbalance" if given.setting in IMBALANCE else "few-shot"
    found = cells(study, given.corpus, quick=False)
    cell = next(one for one in found if one.setting == given.setting)
    sizes: dict[str, Any] = {"curve": given.curve, "usual": min(USUAL, given.curve[-1])}
    if given.quick:
        sizes = {"curve": (1, 2), "usual": 2}
    test = fixed_test_rows(cell, rows, quick=given.quick)
    test_vectors = generator.encode(test["text"].to_list())
    inputs = [*cell[:-1], generator.fingerprint, given.dtype, given.quick, PROTOCOL, RELEVANCE]
    inputs += [given.curve, USUAL, NEAR, N_CANDIDATES, N_NEAREST, N_TEST, MAX_WORDS]
    key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]
    draws = drawn(
        given.out,
        f"{given.corpus}-{given.setting.replace(':', '-').replace(' ', '-')}-{key}",
        1 if given.quick else given.draws,
        partial(
            draw, cell, rows, test, test_vectors, generator, pool_vectors=pool_vectors, **sizes
        ),
        say,
    )
    reported(
        "rows", f"{given.corpus} {given.setting}", told(test, draws, cell),
        draws=len(draws), generator=generator, keep=not given.quick, say=say,
    )  # fmt: skip


def main(argv: Sequence[str] | None = None, say: Callable[[str], None] = aloud) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", choices=("20newsgroups", "banking77", "mtsamples"),
                        default="20newsgroups")  # fmt: skip
    parser.add_argument("--setting", choices=(*IMBALANCE, *(f"{n} a label" for n in MADE)),
                        default="10:1")  # fmt: skip
    parser.add_argument("--curve", type=int, nargs="+", default=CURVE, help="rows of a label")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--out", type=Path, default=Path(".efficacy/rows"), help="a file a draw")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(argv)
    given.curve = sorted(given.curve)
    run(given, say)


if __name__ == "__main__":
    main()
