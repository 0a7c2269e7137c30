"""Texts that an auditor planted among the real ones, looked for among the synthetic ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smotext_core.texts import words

CANARY = "canary-"  # a document's id begins with it
RUN_WORDS = 4


def canary_share(
    synthetic_texts: Iterable[str], canaries: Sequence[str], real_texts: Iterable[str]
) -> float | None:
    """Share of canaries that come out; None where there are none.

    One comes out when a run of 4 of its words, or a word, stands in a synthetic text and in no
    real text but itself. `real_texts` are all the others; canaries may be among them.
    """
    if not canaries:
        return None
    planted = set(canaries)
    other = _traces(text for text in real_texts if text not in planted)
    made = _traces(synthetic_texts)
    return sum(bool((_traces([text]) - other) & made) for text in canaries) / len(canaries)


def _traces(texts: Iterable[str]) -> set[tuple[str, ...]]:
    """Words and runs of words."""
    found: set[tuple[str, ...]] = set()
    for text in texts:
        row = words(text)
        found.update((word,) for word in row)
        found.update(tuple(row[i : i + RUN_WORDS]) for i in range(len(row) - RUN_WORDS + 1))
    return found
