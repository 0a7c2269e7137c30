"""Rivals of the paper's related work beside SMOTExT, on the draws of `efficacy.py`.

    python benchmarks/rivals.py --corpus banking77|20newsgroups --setting 50:1|"5 a label"

On the encoder fine-tuned end to end (`rivals_arms.py`), which the project itself never judges by:
real rows, class weights, word edits, mixup of the pooled vectors, TMix, SSMix, paraphrases, rows of
SMOTExT, alone and with class weights, and the nearest unlabelled texts, the ceiling. On the two
linear heads paraphrases stand beside the arms of `smotext_core.efficacy`. A paraphrase is what the
embedded language model, without smotext's adapter and without a vector, makes of a parent.

Real rows, parents, synthetic rows and test rows of a draw are those of `efficacy.py`. A draw is one
file under --out and skipped if there; --quick makes a small draw and no results.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from efficacy import (
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
from numpy.typing import NDArray
from rivals_arms import (
    RECIPE,
    UPDATES,
    Paraphraser,
    Rewrite,
    fine_tune,
    paraphrases,
)

from smotext_core.efficacy import PROTOCOL, compare, edit_texts, subsample
from smotext_core.filters import RELEVANCE
from smotext_core.xrag import (
    Embedder,
    Generator,
    NearestTexts,
    TextGenerator,
    load_generator,
    load_smollm2,
    read_embedder,
    smollm2_tokenizer,
)

STUDIES = {"50:1": "imbalance", "5 a label": "few-shot"}
# arm of the fine-tuned head → the rows added, class weights, mixing
PLANS: dict[str, tuple[str | None, bool, str | None]] = {
    "real": (None, False, None),
    "class_weight": (None, True, None),
    "mixup": (None, False, "mixup"),
    "tmix": (None, False, "tmix"),
    "ssmix": (None, False, "ssmix"),
    "word_edits": ("word_edits", False, None),
    "paraphrase": ("paraphrase", False, None),
    "smotext": ("smotext", False, None),
    "smotext_class_weight": ("smotext", True, None),
    "nearest_unlabelled": ("nearest_unlabelled", False, None),
}


def fine_tuned(
    embedder: Embedder,
    parents: pl.DataFrame,
    added: Mapping[str, pl.DataFrame],
    test: Sequence[str],
    *,
    labels: list[str],
    seed: int,
    updates: int = UPDATES,
) -> dict[str, NDArray[np.int64]]:
    """What each arm of PLANS says of the `test` texts, as places in `labels`.

    An arm that trains on what another one does, class weights of labels equally frequent for
    instance, is not trained again.
    """
    place = {label: code for code, label in enumerate(labels)}
    known: dict[tuple[Any, ...], NDArray[np.int64]] = {}
    said = {}
    for arm, (name, weighted, mixing) in PLANS.items():
        more = added[name].select("text", "label") if name else parents.select("text", "label")[:0]
        rows = pl.concat([parents.select("text", "label"), more])
        codes = np.array([place[label] for label in rows["label"]], dtype=np.int64)
        weighs = weighted and len(set(np.bincount(codes).tolist())) > 1
        key = (name, weighs, mixing)
        if key not in known:
            model = fine_tune(
                embedder, rows["text"].to_list(), codes, n_labels=len(labels), seed=seed,
                weighted=weighs, mixing=mixing, updates=updates,
            )  # fmt: skip
            known[key] = model.predict(embedder, test)
        said[arm] = known[key]
    return said


def draw(
    cell: Cell,
    rows: pl.DataFrame,
    test: pl.DataFrame,
    test_vectors: NDArray[Any],
    generator: TextGenerator,
    embedder: Embedder,
    rewrite: Rewrite,
    number: int,
    *,
    pool_vectors: NDArray[Any],
    updates: int = UPDATES,
) -> pl.DataFrame:
    """One draw of a cell: head, arm, predicted (a code a test row), texts that the arm added."""
    labels, made = sorted(cell.real), {label: n for label, n in cell.made.items() if n}
    pool = rows.filter(pl.col("split") == "train")
    train = drawn_rows(cell, pool, number)
    parents = train.filter(subsample(train, labels, seed=number, number=0))
    synthetic = rows_of(parents, made, generator, number=number, n_candidates=N_CANDIDATES)
    free = ~pool["text_id"].is_in(train["text_id"].to_list())
    nearest = NearestTexts(
        generator, pool.filter(free)["text"].to_list(), pool_vectors[free.to_numpy()]
    )
    wanted = dict(synthetic["label"].value_counts().iter_rows())
    others = {
        "paraphrase": paraphrases(parents, wanted, rewrite, seed=number),
        "nearest_unlabelled": rows_of(
            parents, made, nearest, number=number, n_candidates=N_NEAREST, filters=None
        ),
    }
    said = predictions(cell, train, test, test_vectors, synthetic, others, generator, number)
    edits = []
    for label, n in sorted(wanted.items()):
        own = parents.filter(pl.col("label") == label)["text"].to_list()
        texts = edit_texts(own, n, label=label, seed=number).texts
        edits.append(pl.DataFrame({"text": texts, "label": [label] * n}))
    added = {"smotext": synthetic, "word_edits": pl.concat(edits), **others}
    tuned = fine_tuned(
        embedder, parents, added, test["text"].to_list(), labels=labels, seed=number,
        updates=updates,
    )  # fmt: skip
    every = {key: one for key, (one,) in said.items()}
    every |= {("fine_tuned", arm): one for arm, one in tuned.items()}
    table = [
        (head, arm, one.tolist(), added[arm]["text"].to_list() if arm in added else [])
        for (head, arm), one in every.items()
    ]
    schema = {
        "head": pl.String, "arm": pl.String, "predicted": pl.List(pl.Int64),
        "texts": pl.List(pl.String),
    }  # fmt: skip
    return pl.DataFrame(table, schema=schema, orient="row")


def told(test: pl.DataFrame, draws: Sequence[pl.DataFrame], cell: Cell) -> pl.DataFrame:
    """Macro-F1 by head and arm: value, difference to real with its interval, smotext over it."""
    labels, tables = sorted(cell.real), []
    for head in ("fine_tuned", "embedding", "tfidf"):
        said: dict[str, list[NDArray[np.int64]]] = {}
        for frame in draws:
            for arm, one in frame.filter(head=head).select("arm", "predicted").iter_rows():
                said.setdefault(arm, []).append(np.array(one, dtype=np.int64))

        def compared(arms: Mapping[str, list[NDArray[np.int64]]]) -> pl.DataFrame:
            # `compare` orders by the project's own heads; which one it is told changes no figure
            every = {("embedding", arm): several for arm, several in arms.items()}
            found = compare(test, every, labels=labels, run=cell.setting, seed=0)
            return found.filter(metric="macro_f1")

        over = []
        for arm in said:
            # with the rival as the one arm that costs nothing, "over" is smotext's gain over it
            asked = {"real": said["real"], "class_weight": said[arm], "smotext": said["smotext"]}
            row = compared(asked).row(by_predicate=pl.col("arm") == "smotext", named=True)
            over.append((arm, row["over_cheap"], row["over_low"], row["over_high"]))
        columns = ["arm", "smotext_over", "over_low", "over_high"]
        table = compared(said).select("arm", "value", "difference", "low", "high", "verdict")
        table = table.join(pl.DataFrame(over, schema=columns, orient="row"), on="arm")
        tables.append(table.select(pl.lit(head).alias("head"), pl.all()))
    return pl.concat(tables)


def run(given: argparse.Namespace, say: Callable[[str], None]) -> None:
    """All draws of a corpus that are not there yet, and the table of each setting."""
    torch.set_num_threads(1)
    generator: Generator = load_generator("small", dtype=given.dtype)
    entry = generator.manifest["encoder"]
    embedder = read_embedder(entry["name"], entry["revision"])  # in float32, whatever --dtype
    rewrite = Paraphraser(load_smollm2(dtype=given.dtype), smollm2_tokenizer())
    rows, _ = read(given.corpus)
    pool_vectors = generator.encode(rows.filter(pl.col("split") == "train")["text"].to_list())
    recipe = [RECIPE, PROTOCOL, N_CANDIDATES, N_NEAREST, N_TEST, MAX_WORDS, RELEVANCE]
    if find_spec("setfit") is None:
        say("SetFit was not run: the library is not installed")
    for setting in given.setting or list(STUDIES):
        found = cells(STUDIES[setting], given.corpus, quick=False)
        cell = next(one for one in found if one.setting == setting)
        if given.quick:
            cell = cell._replace(made=dict.fromkeys(list(cell.made)[:1], 3))
        test = fixed_test_rows(cell, rows, quick=given.quick)
        test_vectors = generator.encode(test["text"].to_list())
        inputs = [*cell[:-1], generator.fingerprint, given.dtype, given.quick, *recipe]
        key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]
        draws = drawn(
            given.out,
            f"{given.corpus}-{setting.replace(':', '-')}-{key}",
            1 if given.quick else given.draws,
            partial(
                draw, cell, rows, test, test_vectors, generator, embedder, rewrite,
                pool_vectors=pool_vectors, updates=6 if given.quick else UPDATES,
            ),
            say,
        )  # fmt: skip
        reported(
            "rivals", f"{given.corpus} {setting}", told(test, draws, cell),
            draws=len(draws), generator=generator, keep=not given.quick, say=say,
        )  # fmt: skip


def main(argv: Sequence[str] | None = None, say: Callable[[str], None] = aloud) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", choices=("banking77", "20newsgroups"), default="banking77")
    parser.add_argument("--setting", action="append", choices=tuple(STUDIES), default=[])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--out", type=Path, default=Path(".efficacy/rivals"), help="a file a draw")
    parser.add_argument("--quick", action="store_true")
    run(parser.parse_args(argv), say)


if __name__ == "__main__":
    main()
