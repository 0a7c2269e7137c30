"""Is a text usable prose: long enough, without stutters, mostly letters."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from smotext_core.texts import words

# Chosen on real text (clinical notes, newsgroup posts, Wikipedia, bank queries; 25 words to whole
# documents): together they refuse at most 1 % of each, and 1.4 % of the openings of clinical notes,
# which repeat one diagnosis under several headings.
MAX_REPEATED_SHARE = 1 / 3  # of the words, inside 3-grams seen three times or more
MIN_TYPE_TOKEN_RATIO = 0.4  # in each block of 50 words, since the ratio falls with length
WORDS_PER_STUTTER = 50  # a word twice in a row, but "had had" and "that that"; short texts: none
MIN_LETTER_SHARE = 0.5  # of the characters that are not white space
# A text of fewer words is refused, unless a tenth of the label's own have no more.
MIN_WORDS, SHORTEST = 5, 0.1


def least_words(texts: Sequence[str]) -> int:
    """The words a text of a label needs at least: 5, or as few as a tenth of its `texts` have."""
    lengths = [len(words(text)) for text in texts] or [MIN_WORDS]
    return min(MIN_WORDS, int(np.quantile(lengths, SHORTEST)))


def degenerate(texts: Sequence[str], *, min_words: int = MIN_WORDS) -> list[str | None]:
    """Why a text is no usable prose: "too short", "repetitive", "not prose"; None if it is."""
    return [_degenerate(text, min_words) for text in texts]


def _degenerate(text: str, min_words: int) -> str | None:
    tokens = words(text)
    if len(tokens) < min_words:
        return "too short"
    triples = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
    times = Counter(triples)
    repeated = {at + i for at, t in enumerate(triples) if times[t] >= 3 for i in range(3)}
    stutters = sum(
        a == b and len(a) > 1 and not a.isdigit() and a not in ("had", "that")
        for a, b in pairwise(tokens)
    )
    blocks = (tokens[at : at + 50] for at in range(0, len(tokens), 50))
    if (
        len(repeated) >= MAX_REPEATED_SHARE * len(tokens)
        or stutters * WORDS_PER_STUTTER > len(tokens)
        or any(
            len(set(block)) < MIN_TYPE_TOKEN_RATIO * len(block)
            for block in blocks
            if len(block) >= 12
        )
    ):
        return "repetitive"
    visible = "".join(text.split())
    # vowel signs of many scripts are marks
    letters = sum(unicodedata.category(character)[0] in "LM" for character in visible)
    if letters < MIN_LETTER_SHARE * len(visible):
        return "not prose"
    return None
