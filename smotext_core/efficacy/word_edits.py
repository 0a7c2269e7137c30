"""Word edits after EDA (Wei & Zou 2019), as far as they need no thesaurus.

Of EDA's four edits three are made: random swap, random insertion and random deletion. Its synonym
replacement needs a thesaurus and is left out; what is inserted are words of the same label's texts,
so an edited text holds words of its label only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from smotext_core.streams import sample_uniforms

SHARE = 0.1  # of a text's words that an edit touches, and at least one: EDA's alpha
LONGEST = 200  # words of a text that are read
EDITS = ("swap", "insert", "delete")


class Edited(NamedTuple):
    """Edited texts, with what they are made of."""

    texts: list[str]
    sources: list[int]  # the position of each one's source
    inserted: list[list[str]]  # words of other texts, or of the source again, in each


def edit_texts(texts: Sequence[str], n: int, *, label: str, seed: int) -> Edited:
    """`n` edited texts of one label.

    Sources are taken in turn, so that each is edited as often as any other, give or take one; a
    text's edit, its places and words are a function of (seed, label, its number).
    """
    words = [text.split()[:LONGEST] for text in texts]
    known = sorted({word for row in words for word in row})
    sources = [number % len(texts) for number in range(n)] if texts else []
    draws = sample_uniforms(np.arange(len(sources)), 1 + 2 * LONGEST, seed=seed, label=label)
    edited = [
        _edited(words[source], row, known) for source, row in zip(sources, draws, strict=True)
    ]
    return Edited([text for text, _ in edited], sources, [inserted for _, inserted in edited])


def _edited(words: list[str], draws: np.ndarray, known: list[str]) -> tuple[str, list[str]]:
    row, edit = list(words), EDITS[int(draws[0] * len(EDITS))]
    inserted: list[str] = []
    if len(row) < 2:
        return " ".join(row), inserted
    for step in range(max(1, int(SHARE * len(row)))):
        first, second = draws[1 + 2 * step : 3 + 2 * step]
        at = int(first * len(row))
        if edit == "swap":
            other = int(second * len(row))
            row[at], row[other] = row[other], row[at]
        elif edit == "insert":
            inserted.append(known[int(second * len(known))])
            row.insert(at, inserted[-1])
        elif len(row) > 1:
            del row[at]
    return " ".join(row), inserted
