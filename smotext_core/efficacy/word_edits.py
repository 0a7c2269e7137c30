"""Word edits after EDA (Wei & Zou 2019), as far as they need no thesaurus.

Of EDA's four edits three are made: random swap, random insertion and random deletion. Its synonym
replacement needs a thesaurus and is left out; what is inserted are words of the same label's texts,
so an edited text holds words of its label only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smotext_core.streams import sample_uniforms

SHARE = 0.1  # of a text's words that an edit touches, and at least one: EDA's alpha
LONGEST = 200  # words of a text that are read
EDITS = ("swap", "insert", "delete")


def edit_texts(
    texts: Sequence[str], n: int, *, label: str, seed: int
) -> tuple[list[str], list[int]]:
    """`n` edited texts of one label and the position of each one's source in `texts`.

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
    return edited, sources


def _edited(words: list[str], draws: np.ndarray, known: list[str]) -> str:
    row, edit = list(words), EDITS[int(draws[0] * len(EDITS))]
    if len(row) < 2:
        return " ".join(row)
    for step in range(max(1, int(SHARE * len(row)))):
        first, second = draws[1 + 2 * step : 3 + 2 * step]
        at = int(first * len(row))
        if edit == "swap":
            other = int(second * len(row))
            row[at], row[other] = row[other], row[at]
        elif edit == "insert":
            row.insert(at, known[int(second * len(known))])
        elif len(row) > 1:
            del row[at]
    return " ".join(row)
