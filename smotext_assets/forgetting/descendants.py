"""What has to change in the store so that nothing of some documents is left.

Whatever descends from them, repeats their text, or speaks of them: reasons why a label's rows were
published anyway are free text, and may name or quote one.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

from smotext_assets.store import Store, read_if_sound
from smotext_core.texts import content

# Of label × run. The pairs come last: they tell which samples descend from a text.
BY_SAMPLE = (
    "synthetic_table",
    "synthetic_texts",
    "rejected_texts",
    "found_texts",
    "decoded_texts",
    "interpolated_vectors",
    "class_pairs",
)
PARENTS = ("synthetic_table", "synthetic_texts", "rejected_texts", "class_pairs")
CORPUS = ("unlabelled_texts", "labelled_texts", "raw_corpus")
_REPEATED_WORDS = 5  # a candidate that repeats a text of at least so many words goes with it
_TOLD = "the reason spoke of a forgotten text"


class Change(NamedTuple):
    table: str
    partition: dict[str, str]
    kept: pl.DataFrame | None  # None: damaged, nobody can tell what it holds
    gone: int


def phrases_of(store: Store, documents: list[str]) -> list[str]:
    """The texts themselves, whole and by passage, as long as they are there."""
    found = set()
    for table, partition in (
        *((table, {}) for table in CORPUS),
        *(("rejected_rows", partition) for partition in store.partitions("rejected_rows")),
    ):
        frame = read_if_sound(store, table, partition)
        if frame is not None:
            texts = frame.filter(pl.col("document_id").is_in(documents))["text"]
            found |= {text.strip() for text in texts.drop_nulls()}
    return sorted(found - {""})


def changes(store: Store, documents: list[str], phrases: list[str]) -> Iterator[Change]:
    """What has to change, in the order in which it may."""
    words = pl.Series(phrases, dtype=pl.String)  # typed, also where there are none
    long = words.filter(words.str.split(" ").list.len() >= _REPEATED_WORDS)
    repeats = pl.col("text").is_in(words.implode()) | pl.col("text").str.contains_any(
        long.implode()
    )
    descends = pl.col("parent_ids").list.eval(_document(pl.element()).is_in(documents)).list.any()
    tables = ("gates", *BY_SAMPLE)  # while the pairs tell the descent
    there = {t: [tuple(p.items()) for p in store.partitions(t)] for t in tables}
    taken, quotes = store.partitions("reviews"), quotes_of(phrases)
    for place in sorted({place for places in there.values() for place in places}):
        partition = dict(place)
        frames = {t: read_if_sound(store, t, partition) for t in tables if place in there[t]}
        doomed = {
            sample
            for table in PARENTS
            if (frame := frames.get(table)) is not None
            for sample in frame.filter(descends)["sample_id"]
        }
        of_run = [at for at in taken if at["run"] == partition["run"]]
        yield from _verdicts(store, of_run, doomed, frames, repeats)
        for table, frame in frames.items():
            if frame is None:
                yield Change(table, partition, None, 0)
                if table == "gates":  # they are made with the table, and only then
                    yield Change("synthetic_table", partition, None, 0)
                continue
            if table == "gates":
                yield from _reasons(partition, frame, [*documents, *sorted(doomed)], quotes)
                continue
            bad = pl.col("sample_id").is_in(list(doomed))
            bad = bad | repeats if "text" in frame.columns else bad
            if "found_id" in frame.columns:  # the row is the text; its parents are others
                bad = bad | _document(pl.col("found_id")).is_in(documents).fill_null(False)
            yield from _change(table, partition, frame, frame.filter(~bad))
    for partition in store.partitions("embeddings"):
        frame = read_if_sound(store, "embeddings", partition)
        if frame is None:
            yield Change("embeddings", partition, None, 0)
        else:
            kept = frame.filter(~_document(pl.col("text_id")).is_in(documents))
            yield from _change("embeddings", partition, frame, kept)
    of_others = ~pl.col("document_id").is_in(documents)
    for partition in store.partitions("rejected_rows"):
        frame = store.read("rejected_rows", partition)
        named = pl.col("reason").str.extract(r"(?s)^duplicate of (.*)$")
        told = pl.when(_document(named).is_in(documents)).then(
            pl.lit("duplicate of a forgotten text")
        )
        kept = frame.filter(of_others).with_columns(told.otherwise("reason").alias("reason"))
        yield from _change("rejected_rows", partition, frame, kept)
    for table in CORPUS:
        if store.manifest(table) is not None:
            frame = store.read(table)
            yield from _change(table, {}, frame, frame.filter(of_others))


def _verdicts(
    store: Store,
    partitions: list[dict[str, str]],
    doomed: set[str],
    frames: dict[str, pl.DataFrame | None],
    repeats: pl.Expr,
) -> Iterator[Change]:
    """Readers' verdicts on what goes: they tell the hash of its text."""
    gone = doomed | {
        sample
        for frame in frames.values()
        if frame is not None and "text" in frame.columns
        for sample in frame.filter(repeats)["sample_id"]
    }
    for at in partitions:
        verdicts = read_if_sound(store, "reviews", at)
        if verdicts is None:
            yield Change("reviews", at, None, 0)
        else:
            kept = verdicts.filter(~pl.col("sample_id").is_in(list(gone)))
            yield from _change("reviews", at, verdicts, kept)


def _reasons(
    partition: dict[str, str], gates: pl.DataFrame, ids: Sequence[str], quotes: set[str]
) -> Iterator[Change]:
    """The rows stay published anyway, and the table says no more why."""
    spoken = [
        reason
        for reason in gates["published_anyway"].drop_nulls().unique(maintain_order=True)
        if speaks_of(reason, ids, quotes)
    ]
    told = pl.col("published_anyway").is_in(spoken)
    if spoken:
        kept = gates.with_columns(
            pl.when(told)
            .then(pl.lit(_TOLD))
            .otherwise("published_anyway")
            .alias("published_anyway")
        )
        yield Change("gates", partition, kept, gates.filter(told).height)


def quotes_of(phrases: Sequence[str]) -> set[str]:
    """Five words in a row of each text, or all of a shorter one, whatever case and punctuation."""
    found = set()
    for phrase in phrases:
        words = content(phrase).split()
        for start in range(max(1, len(words) - _REPEATED_WORDS + 1)):
            found.add(" ".join(words[start : start + _REPEATED_WORDS]))
    return found - {""}


def speaks_of(reason: str, ids: Sequence[str], quotes: set[str]) -> bool:
    """Whether it quotes a text, or names one by its id."""
    words = content(reason).split()
    for size in range(1, _REPEATED_WORDS + 1):
        for start in range(len(words) - size + 1):
            if " ".join(words[start : start + size]) in quotes:
                return True
    return any(re.search(rf"(?<![\w-]){re.escape(id_)}(?![\w-])", reason) for id_ in ids if id_)


def _change(
    table: str, partition: dict[str, str], frame: pl.DataFrame, kept: pl.DataFrame
) -> Iterator[Change]:
    if not kept.equals(frame):
        yield Change(table, partition, kept, frame.height - kept.height)


def _document(text_id: pl.Expr) -> pl.Expr:
    return text_id.str.replace(r"#\d+$", "")
