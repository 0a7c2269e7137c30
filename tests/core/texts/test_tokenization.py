from __future__ import annotations

import unicodedata

import pytest

from smotext_core.filters import degenerate
from smotext_core.texts import content, copied_words, near_duplicates, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's 10mg, now_or never!", ["it", "s", "10mg", "now", "or", "never"]),
        ("Ça va, Zoë?", ["ça", "va", "zoë"]),
        ("½ ﬁne １２", ["1", "2", "fine", "12"]),
        ("की कि कुर्सी", ["की", "कि", "कुर्सी"]),
        ("عَرَبِيّ", ["عَرَبِيّ"]),
        ("看到了，ok。", ["看", "到", "了", "ok"]),
        ("ไทย ดี", ["ไทย", "ดี"]),
        ("黒いトナー・プリンタ", ["黒", "いトナー", "プリンタ"]),
        ("1️⃣ ☺️", ["1"]),
        ("", []),
    ],
)
def test_words_of_many_scripts(text: str, expected: list[str]) -> None:
    assert words(text) == [unicodedata.normalize("NFKC", word) for word in expected]
    assert content(text) == " ".join(words(text))


def test_words_are_those_of_the_composed_text() -> None:
    text = "Café à la crème, señor"
    assert words(unicodedata.normalize("NFD", text)) == words(text)


def test_a_vowel_sign_tells_words_apart() -> None:
    one, other = "का की कि कु कू", "के कै को कौ कं"
    assert content(one) != content(other)
    assert not near_duplicates([one], [other])[0]
    assert copied_words([one], [other])[0] == 0


def test_a_part_of_a_sentence_without_blanks_is_a_copy() -> None:
    sentence = "打印机的黑色墨盒已经用完了，请尽快更换。"
    assert copied_words(["今天打印机的黑色墨盒已经用完了"], [sentence])[0] == 13
    assert copied_words(["请问会议室在哪里"], [sentence])[0] == 1


def test_a_word_of_a_script_whose_letters_are_no_words_is_no_copy() -> None:
    assert copied_words(["ไป โรงพยาบาล พรุ่งนี้"], ["ที่ โรงพยาบาล วันนี้"])[0] == 1


def test_prose_of_a_script_whose_vowels_are_marks_is_prose() -> None:
    hindi = "प्रिंटर में काली स्याही ख़त्म हो गई है, कृपया नई भेज दीजिए"
    assert degenerate([hindi, "१२३४ ५६७८ ९०१२ ३४५६ ७८९०"]) == [None, "not prose"]
