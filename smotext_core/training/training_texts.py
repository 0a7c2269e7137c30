"""Text to train a decoder on: short passages of documents, a tenth of the documents held out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from smotext_core.texts import is_prose, sentences

if TYPE_CHECKING:
    from smotext_core.xrag import Embedder

_HEADING = re.compile(r"(?m)\b[A-Z][A-Z /&,]{3,}:,?\s*")
_LIST_MARK = re.compile(r"\(?\d{1,2}[.)]\s")
_DEBRIS = re.compile(r"https?:|www\.|[{}|<>]|\(\s*[,;)]|\s[,;]")


def training_passages(
    documents: pl.DataFrame, *, source: str, max_words: int = 45, per_document: int = 12
) -> pl.DataFrame:
    """One row per passage of one to three consecutive sentences: source, held_out, text.

    A document is held out when the hash of its text says so (one in ten), so that copies of a
    document are held out together and a new file order changes nothing.

    Args:
        documents: column `text`.
        per_document: at most so many passages of one document, drawn by its hash.
    """
    rows: list[tuple[str, bool, str]] = []
    for text in documents["text"].drop_nulls().unique(maintain_order=True):
        digest = document_digest(text)
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        found = list(_passages(text, rng, max_words=max_words))
        chosen = sorted(rng.permutation(len(found))[:per_document])
        rows += [(source, digest[8] < 26, found[at]) for at in chosen]
    frame = pl.DataFrame(
        rows, schema={"source": pl.String, "held_out": pl.Boolean, "text": pl.String}, orient="row"
    )
    # Text that stands in both halves (boilerplate) belongs to neither's measure of the other.
    halves = frame.group_by("text").agg(pl.col("held_out").n_unique().alias("halves"))
    both = halves.filter(pl.col("halves") > 1)
    return frame.join(both, on="text", how="anti").unique("text", keep="first", maintain_order=True)


def plain(passages: pl.DataFrame) -> pl.DataFrame:
    """Without train passages that are mostly names and numbers, which a vector does not tell.

    Kept are those with at most one number, at most every fifth word after the first capitalised,
    and no list mark in front. What is held out stays as it is.
    """
    return passages.filter(
        pl.col("held_out") | pl.col("text").map_elements(_is_plain, return_dtype=pl.Boolean)
    )


def _is_plain(text: str) -> bool:
    later = text.split()[1:]
    capitals = sum(word[:1].isupper() for word in later)
    numbers = sum(any(c.isdigit() for c in word) for word in text.split())
    return 5 * capitals <= len(later) and numbers <= 1 and not _LIST_MARK.match(text)


def document_digest(text: str) -> bytes:
    """The same for copies of a document that begin alike; a byte of it holds a tenth out."""
    return hashlib.sha256(" ".join(text.lower().split())[:500].encode()).digest()


def _passages(text: str, rng: np.random.Generator, *, max_words: int) -> Iterator[str]:
    for paragraph in _HEADING.sub("\n", text).split("\n"):
        if len(paragraph) < 25:
            continue
        found = sentences(paragraph)
        at = 0
        while at < len(found):
            group = found[at : at + int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))]
            while len(group) > 1 and sum(len(s.split()) for s in group) > max_words:
                group.pop()
            at += len(group)
            if all(_is_clean(s) for s in group):
                yield " ".join(group)


def _is_clean(sentence: str) -> bool:
    words = len(sentence.split())
    return (
        5 <= words <= 70
        and len(sentence) <= 420
        and (sentence[0].isupper() or sentence[0].isdigit())
        and sentence[-1] in '.!?"'
        and not _DEBRIS.search(sentence)
        and is_prose(sentence)
    )


def write_shards(
    passages: Sequence[pl.DataFrame],
    folder: Path,
    *,
    embedder: Embedder,
    shard_rows: int = 20_000,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Shuffle, embed and write passages as `shard-000.parquet` …, texts beside their vectors.

    Vectors are rounded to half precision.

    Shards that exist are left alone, so that an interrupted call goes on where it stopped. Every
    shard mixes the sources until the smaller ones are used up, and training may begin with the
    first while the others are made. `held-out.parquet` comes first: up to 2,000 passages a source.
    `progress` is called with the number of passages just embedded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    halves = [(p.filter("held_out"), p.filter(~pl.col("held_out"))) for p in passages]
    held_out = pl.concat(
        [held.sample(min(2000, held.height), seed=0, shuffle=True) for held, _ in halves]
    )
    kept = [kept.sample(fraction=1, seed=0, shuffle=True) for _, kept in halves]
    shards = [("held-out", held_out)]
    share = shard_rows // len(kept)
    for number in range(max(-(-k.height // share) for k in kept)):
        parts = [k.slice(number * share, share) for k in kept]
        shards.append((f"shard-{number:03d}", pl.concat(parts)))
    for name, frame in shards:
        path = folder / f"{name}.parquet"
        if path.exists():
            continue
        vectors = embedder.encode(frame["text"].to_list(), progress=progress).astype(np.float16)
        width = embedder.dimension
        frame = frame.with_columns(
            pl.Series("embedding", vectors.astype(np.float32), dtype=pl.Array(pl.Float32, width))
        )
        partial = path.with_suffix(".partial")
        frame.sample(fraction=1, seed=1, shuffle=True).write_parquet(partial)
        partial.replace(path)
