"""Sentences and passages of whole sentences."""

import re
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_core.texts.splitting import is_prose, passages, sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One here. Two there! Three? Four", ["One here.", "Two there!", "Three?", "Four"]),
        ("Seen by Dr. Smith today. He is well.", ["Seen by Dr. Smith today.", "He is well."]),
        (
            "Fruit, e.g. Apples, is in. It is 3.5 kg.",
            ["Fruit, e.g. Apples, is in.", "It is 3.5 kg."],
        ),
        (
            "The U.S. Senate met. So did J. R. Ewing.",
            ["The U.S. Senate met.", "So did J. R. Ewing."],
        ),
        ("He left the U.S. The rest stayed.", ["He left the U.S.", "The rest stayed."]),
        ("At 5 p.m. we ate. Then we left.", ["At 5 p.m. we ate.", "Then we left."]),
        (
            "See Fig. 3 first. He said no. Five left.",
            ["See Fig. 3 first.", "He said no.", "Five left."],
        ),
        (
            '"Come in." "No!" he said. (Why not?) Wait...',
            ['"Come in."', '"No!" he said.', "(Why not?)", "Wait..."],
        ),
        ("It went on ... for days. Yes.", ["It went on ... for days.", "Yes."]),
        ("No full stop\n \nNew paragraph", ["No full stop", "New paragraph"]),
        ("wrapped\nline\r\nhere", ["wrapped line here"]),
        (
            "List:\n1. First item\n2. Second item\n- third",
            ["List:", "1. First item", "2. Second item", "- third"],
        ),
        ("Above\n-----\nBelow", ["Above", "Below"]),
        (
            "PLAN:, Rest and fluids.,2. Return in May.,DIET: , ,Soft.",
            ["PLAN: Rest and fluids.", "2. Return in May.", "DIET: Soft."],
        ),
        ("Acme Inc., Boston, made it.", ["Acme Inc., Boston, made it."]),
        ("", []),
        ("\n \t\n", []),
    ],
)
def test_sentences_ends(text, expected):
    assert sentences(text) == expected


def test_sentences_takes_time_linear_in_length():
    start = time.process_time()
    for piece in (".", ": ", ":,", "a.\n", '"', "\n", " ,", "1. ", "é"):
        found = "".join(sentences(piece * 100_000))
        assert sum(map(str.isalnum, found)) == 100_000 * sum(map(str.isalnum, piece))
    assert time.process_time() - start < 20  # quadratic time would be hours


def test_passages_packs_whole_sentences():
    text = "One two three. Four five. Six seven eight nine. Ten."

    assert passages(text, max_words=5) == [
        "One two three. Four five.",
        "Six seven eight nine. Ten.",
    ]


def test_passages_cuts_a_long_sentence_evenly():
    text = " ".join(string.ascii_lowercase[:11])

    assert passages(text, max_words=5) == ["a b c d", "e f g h", "i j k"]
    with pytest.raises(ValueError, match="at least 1, not 0"):
        passages(text, max_words=0)


@given(st.text(alphabet="ab. \n\"'A1,-(", max_size=200), st.integers(1, 12))
def test_passages_keeps_every_letter_in_order(text, max_words):
    found = passages(text, max_words=max_words)

    assert all(1 <= len(passage.split(" ")) <= max_words for passage in found)
    assert all(passage == " ".join(passage.split()) for passage in found)
    letters = re.sub("[^A-Za-z0-9]", "", text)
    assert re.sub("[^A-Za-z0-9]", "", "".join(found)) == letters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Blood pressure was 120/80 today.", True),
        ("नमस्ते दुनिया, यह हिंदी है।", True),
        ("日本語の文章です。", True),
        ("M9F]R(&EN<W1A;F-E+ 'T:&ES(&ES('5U96YC;V1E9\"", False),
        ("a" * 31, False),
        ("1 2 3 4 goals", True),
        ("10 20 30 goals", False),
        ("-=[]=-", False),
        ("😀😀", False),
        ("", False),
    ],
)
def test_is_prose_wants_letters(text, expected):
    assert is_prose(text) is expected
