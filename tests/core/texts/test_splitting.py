"""A column at a time gives what a text at a time gives."""

import random

import polars as pl
import pytest

from smotext_core.texts.splitting import is_prose, passages, plain_texts
from smotext_core.texts.tokenization import content

ALPHABET = "aab ABZ12 .,:;!?\"')(-_*\t\n\r\x0b\x1c\x1f\x00\x7fé\u2028…"
EDGES = [
    "",
    " ",
    "...",
    "x" * 30,
    "y" * 31,
    f"a {'z' * 31}",
    "a\x1fb",
    "Rest.,2 x",
    "a: , b",
    "1 a",
]


def texts(seed: int) -> list[str]:
    draw = random.Random(seed)
    drawn = ["".join(draw.choices(ALPHABET, k=draw.randint(0, 50))) for _ in range(2000)]
    plain = ["".join(draw.choices("ab A1.,:\t!-", k=draw.randint(0, 50))) for _ in range(2000)]
    return [*EDGES, *drawn, *plain]


@pytest.mark.parametrize("max_words", [1, 3, 7, 45])
def test_plain_texts_are_as_passages_content_and_is_prose_make_them(max_words: int) -> None:
    given = texts(max_words)
    found = plain_texts(pl.Series(given), max_words=max_words)
    assert found.height == len(given)
    plain = 0
    for text, (passage, words, prose) in zip(given, found.iter_rows(), strict=True):
        if passage is None:
            assert (words, prose) == (None, None)
            continue
        plain += 1
        assert passages(text, max_words=max_words) == [passage]
        assert content(text) == words
        assert is_prose(text) == is_prose(passage) == prose
    assert 100 < plain < len(given)


def test_plain_texts_leaves_other_texts_to_the_slow_way() -> None:
    given = ["one line", "two\nlines", "é", "a b c d", "!?", "a:, b", "b" * 31, ""]
    found = plain_texts(pl.Series(given), max_words=3)
    assert found["passage"].to_list() == ["one line", *[None] * 7]
