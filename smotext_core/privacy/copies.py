"""Synthetic texts that are real ones, or repeat a long run of their words."""

from __future__ import annotations

from collections.abc import Sequence

from smotext_core.texts import copied_words, words

MIN_COPIED_WORDS = 9  # the same run length at which the filters refuse a text


def identical_share(synthetic_texts: Sequence[str], real_texts: Sequence[str]) -> float:
    """Share of synthetic texts whose words (lower-cased, without punctuation) are a real text's."""
    real = {tuple(words(text)) for text in real_texts}
    return sum(tuple(words(text)) in real for text in synthetic_texts) / len(synthetic_texts)


def copied_run_share(
    synthetic_texts: Sequence[str],
    real_texts: Sequence[str],
    *,
    min_copied_words: int = MIN_COPIED_WORDS,
) -> tuple[float, int]:
    """Share of texts with a run of `min_copied_words` words or more of a real text; longest run."""
    copied = copied_words(synthetic_texts, real_texts)
    return float((copied >= min_copied_words).mean()), int(copied.max())
