"""A raw corpus as clean, distinct passages with a slug and a split.

Its frames come several times and its texts are not kept: of each a few numbers are held, and what
is made of them waits on disk.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import polars as pl

from smotext_core.schemas import LABELLED_TEXTS, REJECTED_CORPUS, SPLITS
from smotext_core.texts.documents import DUPLICATE, KINDS, NO_PROSE, Documents
from smotext_core.texts.held import Spool
from smotext_core.texts.slugs import label_slugs
from smotext_core.texts.splitting import passages, plain_texts

_NUMBERED = re.compile(r"#\d+\Z")
_NOT_PROSE = "not prose: letters are fewer than half of its characters"
_FRAME_ROWS = 50_000
_SORTED_ROWS = 2**17  # passages that are sorted at a time, about
_SAMPLE = 2**15  # by whose ids passages are parted before they are sorted


def label_texts(raw: pl.DataFrame, **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`label_frames` of one RAW_CORPUS frame: a LABELLED_TEXTS and a REJECTED_CORPUS frame."""
    labelled, rejected = label_frames(lambda: raw.iter_slices(_FRAME_ROWS), **options)
    return pl.concat(labelled), pl.concat(rejected)


def label_frames(
    frames: Callable[[], Iterable[pl.DataFrame]],
    *,
    seed: int,
    test_fraction: float = 0.15,
    holdout_fraction: float = 0.15,
    max_words: int = 45,
) -> tuple[Iterator[pl.DataFrame], Iterator[pl.DataFrame]]:
    """Clean, de-duplicate and split a corpus of RAW_CORPUS frames.

    Long texts become passages. Texts that differ in no more than case and punctuation are one: the
    label with fewer rows keeps it. Each label's documents are split by the order of a seeded hash
    of their content, so neither the order of rows nor their ids matter. One or two documents are
    all train; three include one for test, four also one for holdout.

    The rows of a document of several labels, one each, have one text. Its passages become a row of
    each label, with an id of its own, and are in one split: that of its rarest label, and the
    others' documents fill up what that leaves.

    Held are a frame, numbers and the id of each row, and of texts those that another one of their
    label resembles in all but case and punctuation.

    Args:
        frames: gives the same frames, to be read one below the other, each time it is called.

    Returns:
        LABELLED_TEXTS frames sorted by label and text_id, and REJECTED_CORPUS frames of refused
        documents and passages, whose `row` counts through all `frames`; at least one of each.

    Raises:
        ValueError: fewer than two labels are left, nulls in a frame, rows of one id that differ in
            more than their label, or fractions that leave nothing to train on.
    """
    if min(test_fraction, holdout_fraction) < 0 or test_fraction + holdout_fraction >= 1:
        raise ValueError(
            "test_fraction and holdout_fraction must be at least 0 and sum to less than 1, not "
            f"{test_fraction} and {holdout_fraction}"
        )
    documents = Documents(frames(), seed=seed, max_words=max_words)
    documents.refuse_duplicates(frames)
    splits = documents.splits(test_fraction=test_fraction, holdout_fraction=holdout_fraction)
    bounds = _bounds(documents)
    labelled, rejected = Spool(), Spool()
    start = 0
    for frame in frames():
        good, bad = _cut(frame, start, documents, splits, max_words=max_words)
        by_part = defaultdict(list)
        for item in good:
            by_part[bisect_right(bounds, (item[-1], item[0]))].append(item)
        for part, items in by_part.items():
            labelled.append(pl.DataFrame(items, schema=_CUT, orient="row"), part)
        rejected.append(pl.DataFrame(bad, schema=REJECTED_CORPUS, orient="row"))
        start += frame.height
    slugs = label_slugs(documents.labels)
    parts = range(len(bounds) + 1)
    return (_in_order(labelled, part, slugs) for part in parts), rejected.frames()


_CUT = pl.Schema(
    {
        name: LABELLED_TEXTS[name]
        for name in ("text_id", "document_id", "passage", "text", "split", "label")
    }
)


def _bounds(documents: Documents) -> list[tuple[str, str]]:
    """Labels and ids between which about as many passages lie as are sorted at a time."""
    places = len(documents.fault)
    n_parts = -(-places // _SORTED_ROWS)
    if n_parts == 1:
        return []
    rows = documents.row_of(np.arange(0, places, max(1, places // _SAMPLE)))
    labels, ids = documents.label[rows], documents.ids.gather(rows)
    sample = sorted((documents.labels[label], id_) for label, id_ in zip(labels, ids, strict=True))
    return [sample[len(sample) * part // n_parts] for part in range(1, n_parts)]


def _cut(
    frame: pl.DataFrame, start: int, documents: Documents, splits: np.ndarray, *, max_words: int
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The rows of _CUT, and those refused, of a frame whose first row is the `start`-th."""
    good: list[tuple[Any, ...]] = []
    bad: list[tuple[Any, ...]] = []
    rows = np.arange(start, start + frame.height)
    leads = documents.lead(rows)
    columns = zip(
        rows.tolist(),
        *(frame[name] for name in ("document_id", "text", "label")),
        plain_texts(frame["text"], max_words=max_words)["passage"],
        leads.tolist(),
        documents.first(leads).tolist(),
        documents.n_parts[leads].tolist(),
        documents.number[rows].tolist(),
        splits[leads].tolist(),
        strict=True,
    )
    for row, document_id, text, label, passage, lead, first, n_parts, number, split in columns:
        if documents.fault[lead] == DUPLICATE or n_parts == 0:
            bad.append((row, document_id, text, label, _reason(documents, lead)))
            continue
        is_alone = _is_alone(documents, row, document_id)
        parts = passages(text, max_words=max_words) if passage is None else [passage]
        for i, part in enumerate(parts):
            if documents.fault[first + i]:
                bad.append((row, document_id, part, label, _reason(documents, first + i)))
                continue
            text_id = document_id if is_alone else f"{document_id}#{number * n_parts + i}"
            good.append((text_id, document_id, i, part, SPLITS[split], label))
    return good, bad


def _is_alone(documents: Documents, row: int, document_id: str) -> bool:
    """Whether what is kept of a row has the document's id: nothing else has it.

    An id that itself ends in #number always gets one, so no two text_ids are the same.
    """
    if documents.n_parts[row] != 1 or documents.others[row]:
        return False
    return not ("#" in document_id and _NUMBERED.search(document_id))


def _reason(documents: Documents, place: int) -> str:
    fault = documents.fault[place]
    if fault != DUPLICATE:
        return _NOT_PROSE if fault == NO_PROSE else KINDS[fault]
    twin = documents.twin[place : place + 1]
    row = int(documents.row_of(twin)[0])
    document_id = documents.ids[row]
    if twin[0] >= documents.rows:  # a passage of several
        document_id += f"#{twin[0] - documents.first(np.array([row]))[0]}"
    elif documents.n_parts[row] == 1 and not _is_alone(documents, row, document_id):
        document_id += "#0"
    return f"duplicate of {document_id}"


def _in_order(labelled: Spool, part: int, slugs: dict[str, str]) -> pl.DataFrame:
    found = pl.concat([_CUT.to_frame(), *labelled.frames(part)]).sort("label", "text_id")
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in found["text"]]
    return found.with_columns(
        content_hash=pl.Series(hashes, dtype=pl.String),
        slug=pl.col("label").replace_strict(slugs, return_dtype=pl.String),
    ).select(*LABELLED_TEXTS)
