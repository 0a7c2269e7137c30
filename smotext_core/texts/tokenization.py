"""The words of a text, by which texts are compared: whether one repeats another, or nearly does.

Vowel signs and accents that are code points of their own belong to the letter before them, or
Hindi words that differ by a vowel would be one. An ideograph is a word, as for BERT (Devlin et al.
2019): a Chinese sentence would be one word else, and no part of it a copy. Of Thai, Lao, Khmer and
Burmese, whose letters are no words either, what stands between blanks is one word.
"""

from __future__ import annotations

import re
import unicodedata

# ASCII text: its letters and digits in lower case, all else a blank
_ASCII = bytes(
    ord(chr(code).lower()) if chr(code).isalnum() and code < 128 else ord(" ")
    for code in range(256)
)
_MARKS = "".join(  # but selectors of a glyph's variant, FE00 to FE0F and above 1FFFF: of no sound
    chr(code)
    for code in range(0x300, 0x20000)
    if unicodedata.category(chr(code)) in ("Mn", "Mc") and not 0xFE00 <= code <= 0xFE0F
)
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_WORD = re.compile(rf"\w[\w{_MARKS}]*")


def words(text: str) -> list[str]:
    """Lower-cased runs of letters, with their marks, and digits; compatible characters are one."""
    if text.isascii():
        return text.encode().translate(_ASCII).decode().split()
    whole = unicodedata.normalize("NFKC", text).lower().replace("_", " ")
    return _WORD.findall(_IDEOGRAPH.sub(r" \g<0> ", whole))


def content(text: str) -> str:
    """The words alone: texts that differ in case and punctuation are one."""
    return " ".join(words(text))
