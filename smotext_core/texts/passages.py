"""A raw corpus as clean, distinct passages with a slug and a split."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from smotext_core.schemas import LABELLED_TEXTS, RAW_CORPUS, REJECTED_CORPUS, conform
from smotext_core.texts.splitting import content, is_prose, passages, plain_texts

_LEAST_WORDS = 4  # of a passage in a longer document; a text that short by itself is kept
_LONGEST_SLUG = 60
_NUMBERED = re.compile(r"#\d+\Z")
_NOT_PROSE = "not prose: letters are fewer than half of its characters"


def label_slugs(labels: Iterable[str]) -> dict[str, str]:
    """The slug of each label, another one for each.

    A slug is 1 to 60 of the characters [A-Za-z0-9_-], so it is safe as a partition key and
    a folder. Of labels whose slugs differ in no more than case one keeps it: the one that is its
    own slug, else the first in the order of the alphabet. The others' end in a hash of the label
    ("C", "C#" and "C++"; "1" and "-1"), so that no class is lost for its name.
    """
    by_slug: dict[str, list[str]] = defaultdict(list)
    for label in dict.fromkeys(labels):
        by_slug[_slug(label).lower()].append(label)
    slugs: dict[str, str] = {}
    for alike in by_slug.values():
        first, *others = sorted(alike, key=lambda label: (_slug(label) != label, label))
        slugs |= {first: _slug(first), **{label: _hashed(_slug(label), label) for label in others}}
    taken = Counter(slug.lower() for slug in slugs.values())
    for label, slug in slugs.items():  # a label may be called as another's slug with its hash
        if taken[slug.lower()] > 1 and slug != label:
            slugs[label] = _hashed("label", label, digits=32)
    return slugs


def label_texts(
    raw: pl.DataFrame,
    *,
    seed: int,
    test_fraction: float = 0.15,
    holdout_fraction: float = 0.15,
    max_words: int = 45,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Clean, de-duplicate and split a RAW_CORPUS frame.

    Long texts become passages. Texts that differ in no more than case and punctuation are one: the
    label with fewer rows keeps it. Each label's documents are split by the order of a seeded hash
    of their content, so neither the order of rows nor their ids matter. One or two documents are
    all train; three include one for test, four also one for holdout.

    The rows of a document of several labels, one each, have one text. Its passages become a row of
    each label, with an id of its own, and are in one split: that of its rarest label, and the
    others' documents fill up what that leaves.

    Returns:
        A LABELLED_TEXTS frame sorted by label and text_id, and a REJECTED_CORPUS frame of refused
        documents and passages, whose `row` counts in `raw`.

    Raises:
        ValueError: fewer than two labels are left, nulls in `raw`, rows of one id that differ in
            more than their label, or fractions that leave nothing to train on.
    """
    if min(test_fraction, holdout_fraction) < 0 or test_fraction + holdout_fraction >= 1:
        raise ValueError(
            "test_fraction and holdout_fraction must be at least 0 and sum to less than 1, not "
            f"{test_fraction} and {holdout_fraction}"
        )
    raw = conform(raw, RAW_CORPUS)
    own_rows = _of_several_labels(raw)

    counts = Counter(raw["label"])
    slugs = label_slugs(counts)
    plain = plain_texts(raw["text"], max_words=max_words)
    known = zip(raw["text"], plain["content"], strict=True)
    documents = (
        raw.with_columns(plain)
        .with_columns(
            row=pl.int_range(raw.height),
            count=pl.col("label").replace_strict(counts, return_dtype=pl.Int64),
            hash=pl.Series(
                [_sha256(content(t) if c is None else c) for t, c in known], dtype=pl.String
            ),
        )
        .sort("count", "label", "hash", "text", "document_id", "row")
        .select("label", "hash", "text", "document_id", "row", "passage", "prose")
    )
    labelled: list[tuple[str, str, int, str, str, str]] = []
    rejected: list[tuple[int, str, str, str, str]] = []
    seen: dict[str, str] = {}  # hash of a content: the id that keeps it
    hashes: dict[str, dict[str, str]] = defaultdict(dict)  # label: document: hash of its content
    for label, document_hash, text, document_id, row, passage, prose in documents.iter_rows():
        own = own_rows.get(document_id, [(row, label)])
        if document_id in own_rows:
            own_rows[document_id] = []  # all are made with the first, which is of the rarest label
        if not own:
            continue
        fault = f"duplicate of {seen[document_hash]}" if document_hash in seen else None
        parts = [passage] if passage is not None else []
        if fault is None and passage is None:
            parts = passages(text, max_words=max_words)
        if fault is None and not parts:
            fault = _NOT_PROSE
        if fault is not None:
            rejected += [(n, document_id, text, name, fault) for n, name in own]
            continue
        for i, part in enumerate(parts):
            # an id that itself ends in #number always gets one, so no two text_ids are the same
            alone = len(parts) == len(own) == 1 and not (
                "#" in document_id and _NUMBERED.search(document_id)
            )
            text_ids = (
                [document_id]
                if alone
                else [f"{document_id}#{at * len(parts) + i}" for at in range(len(own))]
            )
            # one passage has all the words that count
            part_hash = document_hash if len(parts) == 1 else _sha256(content(part))
            if not (is_prose(part) if prose is None else prose):
                fault = _NOT_PROSE
            elif len(parts) > 1 and part.count(" ") + 1 < _LEAST_WORDS:
                fault = f"fewer than {_LEAST_WORDS} words"
            elif part_hash in seen:
                fault = f"duplicate of {seen[part_hash]}"
            else:
                seen[part_hash] = text_ids[0]
                own_hash = _sha256(part)
                for text_id, (_, name) in zip(text_ids, own, strict=True):
                    hashes[name][document_id] = document_hash
                    labelled.append((text_id, document_id, i, part, own_hash, name))
                continue
            rejected += [(n, document_id, part, name, fault) for n, name in own]
        if document_id in hashes.get(label, {}):
            seen.setdefault(document_hash, document_id)

    if len(hashes) < 2:
        reasons = Counter(re.split(":| of | has ", reason)[0] for *_, reason in rejected)
        raise ValueError(
            f"SMOTE needs at least two labels; {raw.height} texts leave {sorted(hashes)}; "
            f"refused: {dict(sorted(reasons.items()))}"
        )
    splits: dict[str, str] = {}
    for label in sorted(hashes, key=lambda label: (counts[label], label)):
        keys = sorted((_sha256(f"{seed}:{key}"), name) for name, key in hashes[label].items())
        ordered = [name for _, name in keys]
        splits |= _split(
            ordered, splits, test_fraction=test_fraction, holdout_fraction=holdout_fraction
        )
    names = ("text_id", "document_id", "passage", "text", "content_hash", "label")
    columns: dict[str, Sequence[Any]] = dict(zip(names, zip(*labelled, strict=True), strict=True))
    columns["slug"] = [slugs[label] for label in columns["label"]]
    columns["split"] = [splits[document_id] for document_id in columns["document_id"]]
    return (
        pl.DataFrame(columns, schema=LABELLED_TEXTS).sort("label", "text_id"),
        pl.DataFrame(rejected, schema=REJECTED_CORPUS, orient="row").sort(
            "row", maintain_order=True
        ),
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _slug(label: str) -> str:
    marks_apart = unicodedata.normalize("NFKD", label)
    folded = "".join(c for c in marks_apart if not unicodedata.category(c).startswith("M"))
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", folded).strip("-")
    letters_lost = any(c.isalnum() and not c.isascii() for c in folded)
    if slug and not letters_lost and len(slug) <= _LONGEST_SLUG:
        return slug
    # what is left of "東京 1" and "大阪 1" is the same
    return _hashed(slug, label)


def _hashed(slug: str, label: str, *, digits: int = 8) -> str:
    """`slug` with the first digits of the label's hash, no longer than a slug may be."""
    suffix = "-" + _sha256(label)[:digits]
    return (slug[: _LONGEST_SLUG - len(suffix)].rstrip("-") or "label") + suffix


def _of_several_labels(raw: pl.DataFrame) -> dict[str, list[tuple[int, str]]]:
    """Of each document with several rows their numbers and labels, in the order of `raw`."""
    rows = raw.with_row_index().filter(pl.col("document_id").is_duplicated())
    odd = rows.group_by("document_id").agg(
        fits=(pl.col("text").n_unique() == 1) & (pl.col("label").n_unique() == pl.len())
    )
    if any(raw.null_count().row(0)) or not odd["fits"].all():
        raise ValueError(
            "raw has nulls, or rows of one document id that differ in more than their label; "
            "read_corpus refuses such rows"
        )
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for row, document_id, label in rows.select("index", "document_id", "label").iter_rows():
        found[document_id].append((row, label))
    return dict(found)


def _split(
    documents: list[str],
    given: Mapping[str, str],
    *,
    test_fraction: float,
    holdout_fraction: float,
) -> dict[str, str]:
    """Return the split of each document: test from the front, holdout from the back.

    Documents that another label has `given` one keep it, but the last that a label would train on.
    """
    n = len(documents)
    n_test = n_holdout = 0
    if n >= 3 and test_fraction > 0:
        n_test = max(1, math.floor(n * test_fraction + 0.5))
    if n >= 3 and holdout_fraction > 0:
        n_holdout = max(int(n >= 4), math.floor(n * holdout_fraction + 0.5))
    found = {name: given[name] for name in documents if name in given}
    had = Counter(found.values())
    free = [name for name in documents if name not in found]
    if not free and not had["train"]:
        return {documents[0]: "train"}
    room = len(free) - (not had["train"])
    n_test = min(max(0, n_test - had["test"]), room)
    n_holdout = min(max(0, n_holdout - had["holdout"]), room - n_test)
    return {
        name: "test" if i < n_test else "holdout" if i >= len(free) - n_holdout else "train"
        for i, name in enumerate(free)
    }
