"""`smotext check`: what a corpus holds and what a run would make of it; no model is loaded."""

import argparse
import math
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smotext_assets.cli.corpus import add_corpus_options, asked_corpus
from smotext_assets.cli.pairs import add_pair_options, pair_options
from smotext_assets.graph import run_options
from smotext_assets.stages import LabelledTextsConfig, read_source
from smotext_core.texts import label_texts, languages

# Of one core, measured (docs/experiments.md): in bfloat16 where it multiplies that, in float32.
SECONDS_A_TEXT = (0.003, 0.013)
SECONDS_A_CANDIDATE = {"small": (0.045, 0.09), "mini": (0.007, 0.027)}
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


def check_command(given: argparse.Namespace, *, found: dict[str, Any], console: Console) -> int:
    """Read, print, and return the exit status: 1 where a run would fail.

    Args:
        found: the resources of the environment.
    """
    told: list[str] = []
    try:
        corpus = asked_corpus(given, usual=found["corpus"])
        raw, refused = read_source(corpus, found["store"], tell=told.append)
        _say(console, *told)
        config = LabelledTextsConfig().model_dump()
        texts, dropped = label_texts(raw, **config)
        wanted = run_options(texts, pair_options(given))["wanted"]
    except (ValueError, LookupError, OSError, ImportError) as error:
        _say(console, f"a run would fail: {error}")
        return 1
    read = raw["document_id"].n_unique()  # one of several labels is several rows of `raw`
    _say(console, f"{read + refused.height} rows: {read} read, {refused.height} refused")
    if corpus.explode is None:
        _say_several(raw, console)
    _print_reasons(pl.concat([refused, dropped]), console)
    _print_labels(raw, texts, wanted, console)
    spoken = languages(texts["text"].to_list())
    _say(console, "languages: " + ", ".join(f"{code} {share:.0%}" for code, share in spoken[:5]))
    generator = found["generator"].name
    if generator in _EMBEDDED and spoken[0][0] != "en":
        _say(
            console,
            f"the generator {generator} writes English: rows in another language are held back. "
            "Take a generator of this language",
        )
    n_rows = sum(wanted.values())
    _print_cost(texts, n_rows, given, generator, found["generator"].device, console)
    return 0


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _say_several(raw: pl.DataFrame, console: Console) -> None:
    """Labels that look like several: "a;b", where a and b are labels too."""
    labels = set(raw["label"])
    several = [
        label
        for label in labels
        if ";" in label and labels.issuperset(map(str.strip, label.split(";")))
    ]
    if several:
        n = raw["label"].is_in(several).sum()
        _say(console, f"{n} rows have labels like {min(several)!r}: --explode makes a row of each")


def _print_reasons(refused: pl.DataFrame, console: Console) -> None:
    if refused.is_empty():
        return
    kinds = refused.select(
        pl.col("reason")
        .str.replace(r"^(duplicate) of .*$", "$1 of another text")
        .str.replace(r"(?s):.*$", "")
        .alias("reason")
    )
    table = Table(title="refused, or left out as a passage", title_justify="left")
    table.add_column("reason", overflow="fold")
    table.add_column("rows", justify="right")
    for reason, count in (
        kinds["reason"].value_counts().sort("count", "reason", descending=[True, False]).iter_rows()
    ):
        table.add_row(Text(reason), str(count))
    console.print(table)


def _print_labels(
    raw: pl.DataFrame, texts: pl.DataFrame, wanted: dict[str, int], console: Console
) -> None:
    table = Table(title="labels, the rarest first", title_justify="left")
    for name in ("label", "slug", "rows", "train", "test", "holdout", "new rows", "language"):
        left = name in ("label", "slug", "language")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    rows = dict(raw.group_by("label").len().iter_rows())
    few = []
    for (label, slug), of_label in sorted(
        texts.group_by("label", "slug"), key=lambda item: (item[1].height, str(item[0][0]))
    ):
        counts = dict(of_label.group_by("split").len().iter_rows())
        splits = [counts.get(split, 0) for split in ("train", "test", "holdout")]
        code, _ = languages(of_label["text"].to_list())[0]
        new = wanted.get(str(slug), 0)
        cells = (label, slug, rows[label], *splits, new, code)
        table.add_row(*[Text(str(cell)) for cell in cells])
        if new and splits[0] < _FEW:
            few.append(str(label))
    console.print(table)
    if few:
        _say(console, f"fewer than {_FEW} train texts, so little to mix: {', '.join(few)}")
    gone = sorted(set(rows) - set(texts["label"]))
    if gone:
        _say(console, f"no text of these labels is left: {', '.join(gone)}")


def _print_cost(
    texts: pl.DataFrame,
    new: int,
    given: argparse.Namespace,
    generator: str,
    device: str,
    console: Console,
) -> None:
    oversample = given.oversample or 1.5
    decoded = int(new * oversample) * given.candidates
    samples = decoded // given.candidates
    held_out = min(_CALIBRATED, texts.filter(pl.col("split") != "train").height)
    # vectors of texts, of samples and of candidates; the texts themselves are small beside them
    size = 4 * _DIMENSION * (texts.height + samples + decoded)
    told = f"{new} new rows, of {decoded} candidates; about {max(1, round(size / 1e6))} MB on disk"
    if generator not in _EMBEDDED or device != "cpu":
        _say(console, f"{told}. How long that takes was not measured for {generator} on {device}")
        return
    fast, slow = (
        texts.height * a_text + (decoded + held_out * given.candidates) * a_candidate
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
