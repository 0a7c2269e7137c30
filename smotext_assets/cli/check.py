"""`smotext check`: what a corpus holds and what a run would make of it; no model is loaded."""

import argparse
import math
from collections import Counter, defaultdict
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smotext_assets.cli.corpus import add_corpus_options, asked_corpus, unlabelled_corpus
from smotext_assets.cli.pairs import add_pair_options, pair_options
from smotext_assets.cli.run_options import adapt_steps
from smotext_assets.graph import Corpus, StoreResource, run_options
from smotext_assets.stages import (
    GeneratorConfig,
    LabelledTextsConfig,
    labelled_counts,
    read_source,
    source_frames,
    store_corpus,
    store_labelled,
)
from smotext_assets.store import Store
from smotext_core.schemas import SPLITS
from smotext_core.texts import SAMPLED, languages, unlabelled_passages

# Of one core, measured (docs/experiments.md): in bfloat16 where it multiplies that, in float32.
SECONDS_A_TEXT = (0.003, 0.013)
SECONDS_A_CANDIDATE = {"small": (0.045, 0.09), "mini": (0.007, 0.027)}
SECONDS_A_WORD_TRAINED = (0.009, 0.024)  # of `small`
_DIMENSION = 384  # of their encoder's vectors, float32
_CALIBRATED = 200  # held-out texts that are decoded once more, at most
_EMBEDDED = ("small", "mini")
_FEW = 4  # train texts: SMOTE mixes between neighbours, and fewer have hardly any


def add_check(parser: argparse.ArgumentParser) -> None:
    """The command's options: those of `smotext run` that a check can weigh."""
    parser.add_argument("corpus", nargs="?", help="as of smotext run")
    add_corpus_options(parser)
    add_pair_options(parser)
    parser.add_argument("--candidates", type=int, default=6, help="texts decoded per sample")
    parser.add_argument("--unlabelled", metavar="FILE", help="as of smotext run")


def check_command(given: argparse.Namespace, *, found: dict[str, Any], console: Console) -> int:
    """Read, print, and return the exit status: 1 where a run would fail.

    Args:
        found: the resources of the environment.

    Raises:
        ValueError: a number of candidates that cannot be.
    """
    if given.candidates < 1:
        raise ValueError(f"--candidates must be 1 or more, got {given.candidates}")
    told: list[str] = []
    try:
        corpus = asked_corpus(given, usual=found["corpus"])
        more = unlabelled_corpus(given, usual=found["unlabelled"])
        with TemporaryDirectory() as folder:  # as a run does, in a store of its own
            tables = Store(folder)
            frames = source_frames(corpus, found["store"], tell=told.append)
            manifest, refused = store_corpus(tables, frames, metadata={})
            _say(console, *told)
            store_labelled(tables, LabelledTextsConfig())
            counts = labelled_counts(tables)
            splits = pl.concat(tables.read_frames("labelled_texts", columns=["slug", "split"]))
            wanted = run_options(splits, pair_options(given))["wanted"]
            del splits
            rows = _rows(tables)
            # one of several labels is several rows
            read = manifest.rows if corpus.explode is None else _documents(tables)
            reasons = _reasons(tables)
            spoken, by_label = _languages(tables, counts)
            told.clear()
            unlabelled = _unlabelled(tables, more, found["store"], told)
    except (ValueError, LookupError, OSError, ImportError) as error:
        _say(console, f"a run would fail: {error}")
        return 1
    _say(console, f"{read + refused.rows} rows: {read} read, {refused.rows} refused")
    if corpus.explode is None:
        _say_several(rows, console)
    _print_reasons(reasons, console)
    _print_labels(rows, counts, wanted, by_label, console)
    _say(console, "languages: " + ", ".join(f"{code} {share:.0%}" for code, share in spoken[:5]))
    generator = found["generator"].name
    if generator in _EMBEDDED and spoken[0][0] != "en":
        _say(
            console,
            f"the generator {generator} writes English: rows in another language are held back. "
            "Take a generator of this language",
        )
    _say(console, *told)
    n_rows, device = sum(wanted.values()), found["generator"].device
    _print_cost(counts, n_rows, unlabelled.len(), given, generator, device, console)
    if unlabelled.len():
        n_train = int(counts.filter(pl.col("split") == "train")["texts"].sum())
        _print_training(unlabelled, n_train, generator, device, console)
    return 0


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _rows(tables: Store) -> dict[str, int]:
    """Rows of the corpus by label."""
    found: Counter[str] = Counter()
    for frame in tables.read_frames("raw_corpus", columns=["label"]):
        found.update(dict(frame["label"].value_counts().iter_rows()))
    return dict(found)


def _documents(tables: Store) -> int:
    return pl.concat(tables.read_frames("raw_corpus", columns=["document_id"])).n_unique()


def _reasons(tables: Store) -> list[tuple[str, int]]:
    """Kinds of refusal and how many rows each has, the commonest first."""
    kind = (
        pl.col("reason")
        .str.replace(r"^(duplicate) of .*$", "$1 of another text")
        .str.replace(r"(?s):.*$", "")
    )
    found: Counter[str] = Counter()
    for stage in ("raw_corpus", "labelled_texts"):
        for frame in tables.read_frames("rejected_rows", {"stage": stage}, columns=["reason"]):
            found.update(dict(frame.select(kind)["reason"].value_counts().iter_rows()))
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _languages(
    tables: Store, counts: pl.DataFrame
) -> tuple[list[tuple[str, float]], dict[str, str]]:
    """The languages of all labelled texts, and each label's first; of texts evenly spread."""
    texts = dict(counts.group_by("label").agg(pl.col("texts").sum()).iter_rows())
    step = -(-sum(texts.values()) // SAMPLED)
    steps = {label: -(-n // SAMPLED) for label, n in texts.items()}
    everywhere: list[str] = []
    of_label: defaultdict[str, list[str]] = defaultdict(list)
    seen: Counter[str] = Counter()
    for frame in tables.read_frames("labelled_texts", columns=["text", "label"]):
        everywhere += frame["text"].gather_every(step, -seen.total() % step).to_list()
        for (label,), part in frame.group_by("label", maintain_order=True):
            name = str(label)
            offset = -seen[name] % steps[name]
            of_label[name] += part["text"].gather_every(steps[name], offset).to_list()
            seen[name] += part.height
    return languages(everywhere), {name: languages(of)[0][0] for name, of in of_label.items()}


def _unlabelled(tables: Store, corpus: Corpus, store: StoreResource, told: list[str]) -> pl.Series:
    """The passages of the corpus without labels, if there is one; `told` gets what was found."""
    if not corpus.source:
        return pl.Series(dtype=pl.String)
    raw, refused = read_source(corpus, store, tell=told.append)
    labelled = pl.concat(tables.read_frames("labelled_texts", columns=["text"]))["text"]
    texts, rejected = unlabelled_passages(raw, labelled)
    near = rejected.filter(pl.col("reason") == "near duplicate of a labelled text").height
    told.append(
        f"{texts.height} unlabelled passages; refused: {near} near duplicates of labelled texts, "
        f"{refused.height + rejected.height - near} for other reasons"
    )
    return texts["text"]


def _say_several(rows: dict[str, int], console: Console) -> None:
    """Labels that look like several: "a;b", where a and b are labels too."""
    labels = rows.keys()
    several = [
        label
        for label in labels
        if ";" in label and labels >= set(map(str.strip, label.split(";")))
    ]
    if several:
        n = sum(rows[label] for label in several)
        _say(console, f"{n} rows have labels like {min(several)!r}: --explode makes a row of each")


def _print_reasons(reasons: list[tuple[str, int]], console: Console) -> None:
    if not reasons:
        return
    table = Table(title="refused, or left out as a passage", title_justify="left")
    table.add_column("reason", overflow="fold")
    table.add_column("rows", justify="right")
    for reason, count in reasons:
        table.add_row(Text(reason), str(count))
    console.print(table)


def _print_labels(
    rows: dict[str, int],
    counts: pl.DataFrame,
    wanted: dict[str, int],
    languages: dict[str, str],
    console: Console,
) -> None:
    table = Table(title="labels, the rarest first", title_justify="left")
    for name in ("label", "slug", "rows", "train", "test", "holdout", "new rows", "language"):
        left = name in ("label", "slug", "language")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    few = []
    by_label = counts.pivot("split", index=["label", "slug"], values="texts").with_columns(
        texts=pl.sum_horizontal(pl.exclude("label", "slug"))
    )
    for of_label in by_label.sort("texts", "label").iter_rows(named=True):
        label, slug = of_label["label"], of_label["slug"]
        splits = [of_label.get(split) or 0 for split in SPLITS]
        new = wanted.get(slug, 0)
        cells = (label, slug, rows[label], *splits, new, languages[label])
        table.add_row(*[Text(str(cell)) for cell in cells])
        if new and splits[0] < _FEW:
            few.append(label)
    console.print(table)
    if few:
        _say(console, f"fewer than {_FEW} train texts, so little to mix: {', '.join(few)}")
    gone = sorted(rows.keys() - set(by_label["label"]))
    if gone:
        _say(console, f"no text of these labels is left: {', '.join(gone)}")


def _print_cost(
    counts: pl.DataFrame,
    new: int,
    n_unlabelled: int,
    given: argparse.Namespace,
    generator: str,
    device: str,
    console: Console,
) -> None:
    oversample = given.oversample or 1.5
    decoded = int(new * oversample) * given.candidates
    samples = decoded // given.candidates
    texts = int(counts["texts"].sum()) + n_unlabelled
    held_out = min(_CALIBRATED, counts.filter(pl.col("split") != "train")["texts"].sum())
    # vectors of texts, of samples and of candidates; the texts themselves are small beside them
    size = 4 * _DIMENSION * (texts + samples + decoded)
    told = f"{new} new rows, of {decoded} candidates; about {max(1, round(size / 1e6))} MB on disk"
    if generator not in _EMBEDDED or device != "cpu":
        _say(console, f"{told}. How long that takes was not measured for {generator} on {device}")
        return
    fast, slow = (
        texts * a_text + (decoded + held_out * given.candidates) * a_candidate
        for a_text, a_candidate in zip(SECONDS_A_TEXT, SECONDS_A_CANDIDATE[generator], strict=True)
    )
    most, least = (round(1 / seconds) for seconds in SECONDS_A_CANDIDATE[generator])
    _say(
        console,
        f"{told}. Estimated, for no model was loaded: {int(fast // 60)} to {math.ceil(slow / 60)} "
        f"minutes of a processor core, without the evaluation, at {most} candidates a second "
        f"(measured in bfloat16, on a core that multiplies it) to {least} (in float32); longer "
        "where others use the core, too",
    )


def _print_training(
    unlabelled: pl.Series, n_train: int, generator: str, device: str, console: Console
) -> None:
    """How long the steps take that a run with unlabelled text begins with."""
    words = unlabelled.str.split(" ").list.len().mean()
    assert isinstance(words, float)
    steps = adapt_steps(n_train + unlabelled.len())
    told = (
        f"Before that the generator is trained on the unlabelled and the train texts, {steps} "
        "steps, unless --found or --adapt says otherwise"
    )
    if generator != "small" or device != "cpu":
        _say(console, f"{told}. How long that takes was not measured for {generator} on {device}")
        return
    each = steps * GeneratorConfig().batch_size * words
    fast, slow = (each * seconds / 60 for seconds in SECONDS_A_WORD_TRAINED)
    _say(console, f"{told}: {int(fast)} to {math.ceil(slow)} minutes of a processor core more")
