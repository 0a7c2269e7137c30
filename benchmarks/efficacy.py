"""Efficacy on three corpora: the paper's Table 1 with error bars, few shots, imbalance.

    python benchmarks/efficacy.py table1
    python benchmarks/efficacy.py few-shot --corpus 20newsgroups|banking77|mtsamples
    python benchmarks/efficacy.py imbalance --corpus …
    python benchmarks/efficacy.py figures        # the page and pictures of docs/ from the results

Each cell of a grid is drawn several times: real rows, synthetic rows of `SMOTExT` of those rows
alone, and what every arm of `smotext_core.efficacy` then says of fixed test rows. A draw is one
file under --out, named by its settings and the generator's fingerprint, and skipped if there; of
all draws of a cell its rows in docs/efficacy.parquet are made. Corpora are read from the folder
SMOTEXT_TEST_DATA or ../shared/data; --quick makes two small draws and no results.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from smotext_core.efficacy import PROTOCOL, compare, predict, subsample
from smotext_core.filters import RELEVANCE
from smotext_core.sampler import SMOTExT
from smotext_core.texts import content, is_prose, passages, strip_newsgroup
from smotext_core.xrag import (
    Generator,
    NearestTexts,
    TextGenerator,
    embedded_generator,
    load_generator,
)

DATA = Path(os.environ.get("SMOTEXT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
DOCS = Path(__file__).parents[1] / "docs"
RESULTS = Path(__file__).with_name("results.jsonl")
N_CANDIDATES = 6
N_NEAREST = 40  # unlabelled texts tried for a vector, as candidates of a decoder are
MAX_WORDS = 45
N_TEST = 60  # test rows a label, at most
LABELS = {
    "table1": (
        "comp.graphics", "rec.autos", "rec.sport.hockey", "sci.med", "sci.space",
        "talk.politics.mideast",
    ),
    "20newsgroups": (
        "comp.graphics", "rec.autos", "rec.sport.hockey", "sci.med", "sci.space",
        "talk.politics.mideast",
    ),
    "banking77": (
        "card_arrival", "card_delivery_estimate", "card_linking", "card_not_working",
        "lost_or_stolen_card", "declined_card_payment", "pending_card_payment",
        "reverted_card_payment?", "card_payment_fee_charged", "card_payment_not_recognised",
    ),
    "mtsamples": (
        "Cardiovascular / Pulmonary", "Gastroenterology", "Neurology", "Obstetrics / Gynecology",
        "Orthopedic", "Urology",
    ),
}  # fmt: skip
# Headings of mtsamples that are kinds of note or of procedure, not specialties: a note stands under
# one of these and its specialty.
KINDS = (
    "Consult - History and Phy.", "Discharge Summary", "Emergency Room Reports", "General Medicine",
    "IME-QME-Work Comp etc.", "Letters", "Office Notes", "Radiology",
    "SOAP / Chart / Progress Notes", "Surgery",
)  # fmt: skip
RARE = {  # of the imbalance grid, the other labels are common
    "20newsgroups": ("sci.med", "rec.sport.hockey"),
    "banking77": ("card_arrival", "pending_card_payment"),
    "mtsamples": ("Urology", "Neurology"),
}
MADE = {5: 10, 10: 10, 20: 10, 50: 20}  # synthetic rows a label, by shots
COMMON = 100  # rows of a common label of the imbalance grid; rare ones are filled up to as many


class Cell(NamedTuple):
    """One set-up: real rows and synthetic rows by label, drawn `draws` times."""

    study: str
    corpus: str
    setting: str
    real: dict[str, int]  # rows to train on; a fourth more are drawn, to choose C by
    made: dict[str, int]
    draws: int


def cells(study: str, corpus: str, *, quick: bool) -> Iterator[Cell]:
    """The grid of one study on one corpus."""
    names = LABELS["table1" if study == "table1" else corpus]
    draws = 2 if quick else 10

    def spread(total: int) -> dict[str, int]:
        return {n: total // len(names) + (i < total % len(names)) for i, n in enumerate(names)}

    if study == "table1":
        n, m = (60, 60) if quick else (1000, 2600)
        yield Cell(study, corpus, f"{n} + {m} rows", spread(n), spread(m), 2 if quick else 20)
    elif study == "few-shot":
        for shots in (5,) if quick else MADE:
            real, made = dict.fromkeys(names, shots), dict.fromkeys(names, MADE[shots])
            yield Cell(study, corpus, f"{shots} a label", real, made, draws)
    else:
        for ratio in (10,) if quick else (10, 50):
            rare = COMMON // ratio
            real = {name: rare if name in RARE[corpus] else COMMON for name in names}
            made = dict.fromkeys(RARE[corpus], COMMON - rare)
            yield Cell(study, corpus, f"{ratio}:1", real, made, draws)


def read(corpus: str) -> tuple[pl.DataFrame, str]:
    """Rows document_id, text, label, split of the chosen labels, and what was left out.

    Of a document the first passage of at most MAX_WORDS words that is prose is its row, so rows are
    independent. Where there is no test split, the fifth of the documents with the lowest hash is.
    """
    frame = pl.read_parquet(DATA / corpus / "data.parquet")
    told = ""
    if corpus == "mtsamples":
        keys = pl.Series("key", [content(text) for text in frame["text"]])
        frame = frame.with_columns(keys, pl.col("label").str.strip_chars())
        n_whole = frame.height
        frame = frame.filter(pl.col("key") != "", ~pl.col("label").is_in(KINDS))
        several = frame.group_by("key").agg(pl.col("label").n_unique()).filter(pl.col("label") > 1)
        kept = frame.join(several, on="key", how="anti").unique("key", maintain_order=True)
        told = (
            f"Of its {n_whole} rows, the {frame.height} of a specialty were read, not those under "
            f"a kind of note such as Surgery or Consult; {several.height} distinct notes that "
            f"still stand under several specialties were left out with all their copies, then "
            f"copies within one: {kept.height} remain, of all specialties."
        )
        frame = kept
    names = {*LABELS[corpus], *(LABELS["table1"] if corpus == "20newsgroups" else ())}
    rows, seen = [], set()
    for row in frame.filter(pl.col("label").is_in(sorted(names))).iter_rows(named=True):
        text = strip_newsgroup(row["text"]) if corpus == "20newsgroups" else row["text"]
        least = 3 if corpus == "banking77" else 8
        found = [
            part
            for part in passages(text, max_words=MAX_WORDS)
            if is_prose(part) and len(part.split()) >= least
        ]
        if not found or (key := content(found[0])) in seen:
            continue
        seen.add(key)
        split = row["split"]
        if split not in ("train", "test"):
            split = "test" if hashlib.sha256(key.encode()).digest()[0] < 51 else "train"
        rows.append((row["id"], found[0], row["label"], split))
    columns = ["document_id", "text", "label", "split"]
    made = pl.DataFrame(rows, schema=columns, orient="row").sort("label", "document_id")
    return made.with_columns(text_id=pl.col("document_id"), slug=pl.col("label")), told


def draw(
    cell: Cell,
    rows: pl.DataFrame,
    test: pl.DataFrame,
    test_vectors: Any,
    generator: Generator,
    number: int,
    *,
    pool_vectors: Any,
) -> pl.DataFrame:
    """Predictions of one draw of a cell: head, arm, seed, one code a test row.

    `pool_vectors` (n, d) are those of the train split, all labels. What a draw does not train on is
    its unlabelled text, and the rows found there for the same pairs are the ceiling of what any
    decoder could give.
    """
    labels = sorted(cell.real)
    pool = rows.filter(pl.col("split") == "train")
    train = drawn_rows(cell, pool, number)
    parents = train.filter(subsample(train, labels, seed=number, number=0))
    made = {label: n for label, n in cell.made.items() if n}
    synthetic = rows_of(parents, made, generator, number=number, n_candidates=N_CANDIDATES)
    free = ~pool["text_id"].is_in(train["text_id"].to_list())
    nearest = NearestTexts(
        generator, pool.filter(free)["text"].to_list(), pool_vectors[free.to_numpy()]
    )
    found = rows_of(parents, made, nearest, number=number, n_candidates=N_NEAREST, filters=None)
    predicted = predictions(
        cell, train, test, test_vectors, synthetic, {"nearest_unlabelled": found}, generator, number
    )
    return pl.DataFrame(
        [
            {"head": head, "arm": arm, "seed": seed, "predicted": one.tolist()}
            for (head, arm), several in predicted.items()
            for seed, one in enumerate(several)
        ]
    ).with_columns(synthetic=pl.lit(synthetic.height))


def drawn_rows(cell: Cell, pool: pl.DataFrame, number: int) -> pl.DataFrame:
    """The real rows of one draw, of the train split `pool`."""
    parts = []
    for label in sorted(cell.real):
        own = pool.filter(pl.col("label") == label)
        wanted = -(-cell.real[label] * 5 // 4)  # 80 % of them are trained on
        parts.append(own.sample(min(wanted, own.height), seed=number, shuffle=True))
    return pl.concat(parts).sort("label", "text_id")


def fixed_test_rows(cell: Cell, rows: pl.DataFrame, *, quick: bool) -> pl.DataFrame:
    """The test rows of a cell, of all its draws."""
    tests = rows.filter(pl.col("split") == "test", pl.col("label").is_in(sorted(cell.real)))
    return pl.concat(
        part.sample(min(20 if quick else N_TEST, part.height), seed=0)
        for _, part in tests.group_by("label", maintain_order=True)
    )


def predictions(
    cell: Cell,
    train: pl.DataFrame,
    test: pl.DataFrame,
    test_vectors: Any,
    synthetic: pl.DataFrame,
    others: dict[str, pl.DataFrame],
    generator: Generator,
    number: int,
) -> dict[tuple[str, str], list[Any]]:
    """What every arm of one draw says of the test rows; `others` are rows beside the synthetic."""
    return predict(
        train,
        generator.encode(train["text"].to_list()),
        test,
        test_vectors,
        synthetic,
        generator.encode(synthetic["text"].to_list()),
        labels=sorted(cell.real),
        run=cell.setting,
        n_seeds=1,
        seed=number,
        encode=generator.encode,
        others={
            name: (one, generator.encode(one["text"].to_list())) for name, one in others.items()
        },
    )


def rows_of(
    parents: pl.DataFrame,
    made: dict[str, int],
    generator: TextGenerator,
    *,
    number: int,
    n_candidates: int,
    filters: str | None = "default",
    lam: float | str = "uniform",
) -> pl.DataFrame:
    """Rows of `SMOTExT` of `parents` with `generator`: text, label, parent_ids."""
    counts = dict(parents["label"].value_counts().iter_rows())
    sampler = SMOTExT(
        {label: counts[label] + n for label, n in made.items()},
        random_state=number,
        generator=generator,
        n_candidates=n_candidates,
        filters=filters,
        lam=lam,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small classes use the neighbours they have
        sampler.fit_resample(parents["text"].to_list(), parents["label"].to_list())
    ids = parents["text_id"].to_list()
    return sampler.lineage_.select(
        "text",
        "label",
        parent_ids=pl.Series(
            [[ids[i] for i in row] for row in sampler.lineage_["parent_index"]],
            dtype=pl.List(pl.String),
        ),
    )


def drawn(
    out: Path, stem: str, n: int, make: Callable[[int], pl.DataFrame], say: Callable[[str], None]
) -> list[pl.DataFrame]:
    """Draws 0 … n - 1: files under `out`, of which those that are not there are made."""
    found = []
    for number in range(n):
        file = out / f"{stem}-{number}.parquet"
        if not file.exists():
            began = time.process_time()
            frame = make(number)
            out.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(file.with_suffix(".part"))
            os.replace(file.with_suffix(".part"), file)
            say(f"{stem}: draw {number}, {time.process_time() - began:.0f} s of CPU")
        found.append(pl.read_parquet(file))
    return found


def reported(
    name: str,
    case: str,
    table: pl.DataFrame,
    *,
    draws: int,
    generator: Generator,
    keep: bool,
    say: Callable[[str], None],
) -> None:
    """Say a table of macro-F1 and, if asked, keep it as a line of results.jsonl."""
    with pl.Config(tbl_rows=100, tbl_cols=10, tbl_width_chars=160, float_precision=3):
        say(str(table))
    if keep:
        line = {
            "id": name, "case": case, "draws": draws, "generator": generator.fingerprint,
            "macro_f1": table.to_dicts(), "date": datetime.now(UTC).date().isoformat(),
        }  # fmt: skip
        with RESULTS.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")


def aloud(line: str) -> None:
    print(line, flush=True)


def run(
    study: str,
    corpus: str,
    out: Path,
    *,
    name: str,
    dtype: str,
    quick: bool,
    settings: Sequence[str] = (),
    draws: int | None = None,
    say: Callable[[str], None] = print,
) -> pl.DataFrame:
    """All draws that are not there yet, and the EVALUATION rows of every cell."""
    generator = load_generator(name, dtype=dtype)
    rows, told = read(corpus)
    say(f"{corpus}: {rows.height} rows. {told}")
    pool_vectors = generator.encode(rows.filter(pl.col("split") == "train")["text"].to_list())
    results = []
    for cell in cells(study, corpus, quick=quick):
        if settings and cell.setting not in settings:
            continue
        labels = sorted(cell.real)
        test = fixed_test_rows(cell, rows, quick=quick)
        test_vectors = generator.encode(test["text"].to_list())
        inputs = [*cell[:-1], generator.fingerprint, dtype, N_CANDIDATES, N_TEST, MAX_WORDS, quick]
        inputs += [PROTOCOL, N_NEAREST, RELEVANCE]
        inputs.append([*rows.filter(pl.col("label").is_in(labels))["text"]])
        key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]
        found = drawn(
            out,
            f"{study}-{corpus}-{cell.setting.replace(':', '-')}-{key}",
            draws or cell.draws,
            partial(draw, cell, rows, test, test_vectors, generator, pool_vectors=pool_vectors),
            say,
        )
        predicted: dict[tuple[str, str], list[Any]] = {}
        for frame in found:
            for head, arm, _, one, _ in frame.iter_rows():
                predicted.setdefault((head, arm), []).append(np.array(one, dtype=np.int64))
        table = compare(test, predicted, labels=labels, run=cell.setting, seed=0)
        results.append(
            table.select(
                study=pl.lit(study),
                corpus=pl.lit(corpus),
                setting=pl.lit(cell.setting),
                generator=pl.lit(generator.fingerprint),
                synthetic=pl.lit(sum(f["synthetic"][0] for f in found) / len(found)),
                test_rows=pl.lit(test.height),
                note=pl.lit(told),
                **{c: pl.col(c) for c in table.columns if c != "run"},
            )
        )
    return pl.concat(results)


def store(results: pl.DataFrame, file: Path, *, lock_file: Path) -> None:
    """Put the rows of a study, corpus and setting in place of older ones; processes take turns."""
    import fcntl

    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = ["study", "corpus", "setting"]
        old = [pl.read_parquet(file).join(results, on=keys, how="anti")] if file.exists() else []
        # rows of an older protocol lack columns
        both = pl.concat([results, *old], how="diagonal")
        leading = pl.col("setting").str.extract(r"^(\d+)").cast(pl.Int64)
        both = both.sort("study", "corpus", leading, maintain_order=True)
        both.write_parquet(file.with_suffix(".part"))
        os.replace(file.with_suffix(".part"), file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "study",
        nargs="?",
        default="figures",
        choices=("table1", "few-shot", "imbalance", "figures"),
    )
    parser.add_argument("--corpus", choices=tuple(RARE), default="20newsgroups")
    parser.add_argument("--setting", action="append", default=[], help="of the grid; default: all")
    parser.add_argument("--draws", type=int, help="of a cell; default: 10, of table1 20")
    parser.add_argument("--generator", default=embedded_generator())
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--out", type=Path, default=Path(".efficacy"), help="a file a draw")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--docs", type=Path, default=DOCS)
    given = parser.parse_args()
    if given.study != "figures":
        if given.study == "table1" and given.corpus != "20newsgroups":
            parser.error("table1 is on 20newsgroups")
        found = run(
            given.study, given.corpus, given.out, name=given.generator, dtype=given.dtype,
            quick=given.quick, settings=given.setting, draws=given.draws,
            say=lambda line: print(line, flush=True),
        )  # fmt: skip
        with pl.Config(tbl_rows=80, tbl_cols=12):
            print(
                found.filter(pl.col("metric") == "macro_f1").select(
                    "setting", "head", "arm", "value", "difference", "low", "high", "verdict"
                )
            )
        if not given.quick:
            store(found, given.docs / "efficacy.parquet", lock_file=given.out / "lock")
    elif (given.docs / "efficacy.parquet").exists():
        from efficacy_page import write_page

        write_page(pl.read_parquet(given.docs / "efficacy.parquet"), given.docs)
    else:
        print("no results yet: run table1, few-shot or imbalance first")


if __name__ == "__main__":
    main()
