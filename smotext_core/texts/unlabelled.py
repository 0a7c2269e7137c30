"""Texts that nobody labelled, as clean, distinct passages that no labelled text resembles."""

from __future__ import annotations

import hashlib
import re

import polars as pl

from smotext_core.schemas import RAW_CORPUS, REJECTED_CORPUS, UNLABELLED_TEXTS, conform
from smotext_core.texts.overlap import near_duplicates
from smotext_core.texts.splitting import is_prose, passages
from smotext_core.texts.tokenization import content

PREFIX = "unlabelled:"  # of their document ids: both corpora may count their rows from 0


def unlabelled_passages(
    raw: pl.DataFrame, labelled: pl.Series, *, max_words: int = 45
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cut a RAW_CORPUS frame without labels into passages as `label_texts` does.

    A passage that differs from an earlier one in no more than case and punctuation is refused, and
    so is a near-duplicate (Jaccard similarity of word 3-grams of .8) of a labelled text: it may be
    a test or a holdout text, which neither training nor a found row may know.

    Args:
        raw: its document ids get the prefix `unlabelled:`, unless they have it.
        labelled: every labelled text, of all splits.

    Returns:
        UNLABELLED_TEXTS in the order of `raw`, and a REJECTED_CORPUS frame, whose `row` counts in
        `raw`.

    Raises:
        ValueError: a column is missing.
    """
    found: list[tuple[str, str, str, str]] = []
    rows: list[int] = []
    rejected: list[tuple[int, str, str, str, str]] = []
    seen: dict[str, str] = {}
    for row, (document_id, text, _) in enumerate(conform(raw, RAW_CORPUS).iter_rows()):
        id_ = document_id if document_id.startswith(PREFIX) else PREFIX + document_id
        parts = passages(text, max_words=max_words)
        alone = len(parts) == 1 and not re.search(r"#\d+\Z", id_)
        for number, part in enumerate(parts or [text]):
            text_id = id_ if alone else f"{id_}#{number}"
            words = content(part)
            if not parts or not is_prose(part):
                rejected.append((row, id_, part, "", "not prose"))
            elif words in seen:
                rejected.append((row, id_, part, "", f"duplicate of {seen[words]}"))
            else:
                seen[words] = text_id
                rows.append(row)
                found.append((text_id, id_, part, hashlib.sha256(part.encode()).hexdigest()))
    frame = pl.DataFrame(found, schema=UNLABELLED_TEXTS, orient="row")
    near = pl.Series(near_duplicates(frame["text"].to_list(), labelled.to_list()), dtype=pl.Boolean)
    refused = frame.with_columns(row=pl.Series(rows, dtype=pl.Int64)).filter(near)
    rejected += [
        (row, id_, part, "", "near duplicate of a labelled text")
        for row, id_, part in refused.select("row", "document_id", "text").iter_rows()
    ]
    told = pl.DataFrame(rejected, schema=REJECTED_CORPUS, orient="row")
    return frame.filter(~near), told.sort("row", maintain_order=True)
