"""Which encoding a file of text is in, told by its bytes.

UTF-8 needs no guess: other encodings hardly ever happen to be valid UTF-8. Among the others
charset-normalizer says which readings are words of a language; what it cannot tell apart is an
error that names the option, for a wrong guess would change texts without a word.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterator
from typing import IO

from charset_normalizer import CharsetMatch, from_bytes

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# In the order of preference among those that read the same bytes as the same text.
_CANDIDATES = {
    "cp1252": "Danish Dutch English Finnish French German Italian Norwegian Portuguese Spanish "
    "Swedish",
    "cp1250": "Croatian Czech Hungarian Polish Romanian Slovak Slovene",
    "iso8859_2": "Croatian Czech Hungarian Polish Romanian Slovak Slovene",
    "cp1251": "Bulgarian Russian Serbian Ukrainian",
    "koi8_r": "Bulgarian Russian Ukrainian",
    "cp866": "Bulgarian Russian Ukrainian",
    "cp1253": "Greek",
    "cp1254": "Turkish",
    "cp1255": "Hebrew",
    "cp1256": "Arabic Farsi",
    "cp1257": "Estonian Latvian Lithuanian",
    "mac_roman": "Danish Dutch English Finnish French German Italian Norwegian Portuguese Spanish "
    "Swedish",
    "cp850": "Danish Dutch English Finnish French German Italian Norwegian Portuguese Spanish "
    "Swedish",
    "cp932": "Japanese",
    "euc_jp": "Japanese",
    "gb18030": "Chinese",
    "big5": "Chinese",
    "euc_kr": "Korean",
}
_SAMPLE = 2**18  # bytes of lines that are not ASCII
_CHUNK = 2**20
_LONGEST_LINE = 2**12  # bytes of one line in the sample
_LEGACY_TIMES = 4  # so many times more valid than broken sequences are UTF-8 with faults
_CHAOS, _COHERENCE = 0.06, 0.15  # readings closer than this to the best are not told apart
_ODD = 0.1  # share of letters in odd places that a right reading has at most
_MOST_BEYOND_ASCII = 0.2  # share of characters in a Latin text
_BETWEEN = "'’‑–—-·…"  # that may stand between two letters


def lone_surrogates(error: UnicodeError) -> tuple[str, int]:
    """A handler of bytes that cannot be decoded: each is a lone surrogate, which is no text."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udc80" * (error.end - error.start), error.end


UNDECODABLE = "smotext.lone_surrogates"
codecs.register_error(UNDECODABLE, lone_surrogates)


def known_encoding(name: str) -> str:
    """Python's name of an encoding.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        found = codecs.lookup(name)
        "".encode(found.name)
    except (LookupError, ValueError):
        raise ValueError(
            f"there is no encoding {name!r}: --encoding takes Python's names, such as utf-8, "
            "cp1252, iso8859-15 or utf-16"
        ) from None
    return found.name


def find_encoding(file: IO[bytes], name: str) -> str:
    """Python's name of the encoding of `file`, which is read to its end.

    Args:
        name: of the file, for the error.

    Raises:
        ValueError: it is in doubt, or these bytes are no text.
    """
    head = file.read(_CHUNK)
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return encoding
    if wide := _without_bom(head[:4096]):
        return wide
    valid, broken, sample = _sequences(head, file)
    if not broken or valid >= _LEGACY_TIMES * broken:
        return "utf-8"
    if any(code in sample for code in range(7)):
        raise ValueError(
            f"{name} is neither text nor Parquet nor a spreadsheet: save it as one of them, or "
            "name its encoding with --encoding"
        )
    if valid > broken:
        raise ValueError(_doubt(name, ["utf-8", "cp1252"]))
    return _legacy(sample, name)


def _without_bom(head: bytes) -> str | None:
    """UTF-16 of mostly Latin text: every second byte is 0."""
    pairs = len(head) // 2
    even, odd = (head[at : 2 * pairs : 2].count(0) for at in (0, 1))
    if pairs and odd > 0.4 * pairs and even < 0.1 * pairs:
        return "utf-16-le"
    if pairs and even > 0.4 * pairs and odd < 0.1 * pairs:
        return "utf-16-be"
    return None


def _sequences(head: bytes, file: IO[bytes]) -> tuple[int, int, bytes]:
    """Valid sequences of UTF-8 beyond ASCII, broken ones, and lines that are not ASCII."""
    valid = broken = 0
    sample = bytearray()
    decoder = codecs.getincrementaldecoder("utf-8")(UNDECODABLE)
    for chunk in _chunks(head, file):
        ascii_only = chunk.isascii()
        text = decoder.decode(chunk)
        if ascii_only and text.isascii():
            continue
        lone = text.count("\udc80")
        broken += lone
        valid += sum(character > "\x7f" for character in text) - lone
        for line in chunk.split(b"\n"):
            if len(sample) >= _SAMPLE:
                break
            if not line.isascii():
                sample += line[:_LONGEST_LINE] + b"\n"
    broken += len(decoder.decode(b"", final=True))
    return valid, broken, bytes(sample)


def _chunks(head: bytes, file: IO[bytes]) -> Iterator[bytes]:
    while head:
        yield head
        head = file.read(_CHUNK)


def _legacy(sample: bytes, name: str) -> str:
    matches = [
        match
        for match in from_bytes(sample, cp_isolation=list(_CANDIDATES), enable_fallback=False)
        if _is_plausible(str(match))
    ]
    if not matches:
        return _western(sample, name, ["cp1252", "cp1250", "mac_roman"])
    calm = min(match.chaos for match in matches)
    worded = max(match.coherence for match in matches)
    close = [
        match
        for match in matches
        if match.chaos <= calm + _CHAOS and match.coherence >= worded - _COHERENCE
    ]
    if len(close) == 1 and not _is_western(sample):
        return _preferred(close[0])
    home = [match for match in close if _is_at_home(match)]
    if not home or (not worded and _is_western(sample)):
        return _western(sample, name, [_preferred(match) for match in close])
    if len(home) > 1:
        raise ValueError(_doubt(name, [_preferred(match) for match in home]))
    return _preferred(home[0])


def _western(sample: bytes, name: str, otherwise: list[str]) -> str:
    """cp1252, if a Latin text with a few accents and signs can be in it: too few for a language."""
    if _is_western(sample):
        return "cp1252"
    raise ValueError(_doubt(name, otherwise))


def _is_western(sample: bytes) -> bool:
    text = sample.decode("cp1252", UNDECODABLE)
    beyond = sum(not character.isascii() for character in text)
    return beyond <= _MOST_BEYOND_ASCII * len(text) and _is_plausible(text)


def _is_plausible(text: str) -> bool:
    """Whether what is beyond ASCII stands where letters and signs of a language stand.

    Words are of one script, a capital follows no small letter, and signs are not inside words.
    """
    odd = beyond = 0
    for before, here, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if here.isascii():
            continue
        beyond += 1
        beside_latin = [other.isascii() and other.isalpha() for other in (before, after)]
        if here.isalpha():
            is_latin = unicodedata.name(here, "").startswith("LATIN")
            odd += (here.isupper() and before.islower()) or (any(beside_latin) and not is_latin)
        elif here not in _BETWEEN:
            odd += all(beside_latin) or "\x80" <= here < "\xa0"
    return odd <= _ODD * beyond


def _encodings_of(match: CharsetMatch) -> list[str]:
    same = {match.encoding, *match.could_be_from_charset}
    return [encoding for encoding in _CANDIDATES if encoding in same] or [match.encoding]


def _preferred(match: CharsetMatch) -> str:
    return _encodings_of(match)[0]


def _is_at_home(match: CharsetMatch) -> bool:
    return any(
        match.language in _CANDIDATES.get(encoding, "").split() for encoding in _encodings_of(match)
    )


def _doubt(name: str, encodings: list[str]) -> str:
    told = " or ".join(f"--encoding {encoding}" for encoding in dict.fromkeys(encodings))
    return (
        f"the encoding of {name} is in doubt: it is not UTF-8, and its bytes are words in more "
        f"than one other, or in none. Name it, {told}, or save the file as UTF-8"
    )
