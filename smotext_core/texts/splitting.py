"""A text as sentences, as passages of so many words, as the words it is compared by.

A word here is a run of characters between blanks. Scripts written without blanks keep their lines
whole. What runs for every text of a corpus works on whole strings, not on each word.
"""

from __future__ import annotations

import math
import re
import unicodedata

import polars as pl

_OPENERS = "\"'“‘«([*_"
_CLOSERS = "\"'”’»)]*_"

# A period after these never ends a sentence.
_TITLE = re.compile(
    "dr|mr|mrs|ms|prof|messrs|rev|gen|sen|rep|capt|lt|col|sgt|hon|e[.]g|i[.]e|cf|vs|viz|approx"
)
# After these it does not where a number follows: "No. 5", but "He said no. Five men left."
_BEFORE_NUMBER = re.compile("nos?|figs?|eqs?|vols?|pp?|ch|sec|art")
# After these, initials and dotted abbreviations it does only where a word follows that seldom
# continues a name: "in the U.S. The dollar", but "the U.S. Senate".
_MAY_END = re.compile(
    "etc|inc|ltd|co|corp|jr|sr|st|mt|al|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
)
_STARTER = re.compile(
    "An?|And|As|At|But|For|He|Her|His|However|I|If|In|It|My|Of|On|Or|She|So|That|The|Then|There|"
    "These|They|This|Those|We|What|When|Who|Why|You"
)
# A word that may be the last of its sentence, and the blank behind it.
_END = re.compile("[.!?…。！？][\"'”’»)\\]*_]* ")

# exports of dictated notes have commas in place of line breaks: "PLAN:, Rest.,2. Return"
_COMMAS_AFTER_COLON = re.compile(r":(?:\s*,)+")
_COMMA_AS_BREAK = re.compile(r"(?<=[.!?]),(?=[A-Z0-9])")

# Longer ASCII words are addresses, encoded files or rules, not language.
_LONGEST_WORD = 30
_LEAST_LETTERS = 0.5

# of ASCII text: its blanks, and all but its letters
_BLANKS = bytes(code for code in range(128) if chr(code).isspace())
_NO_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())


def sentences(text: str) -> list[str]:
    """Split `text` into sentences, with single blanks between their words.

    A blank line, a line of punctuation alone and the start of a list item end a sentence too.
    """
    if "," in text:
        text = _COMMA_AS_BREAK.sub("\n", _COMMAS_AFTER_COLON.sub(": ", text))
    found: list[str] = []
    paragraph: list[str] = []

    for line in [*text.splitlines(), ""]:
        words = line.split()
        ends_paragraph = not words or _is_rule(words)
        if ends_paragraph or _is_list_item(words):
            found += _split_paragraph(paragraph)
            paragraph = []
        if not ends_paragraph:
            paragraph += words
    return found


def passages(text: str, *, max_words: int) -> list[str]:
    """Pack the sentences of `text`, in order, into passages of at most `max_words` words.

    A longer sentence is cut into parts of even length.

    Raises:
        ValueError: `max_words` is below 1.
    """
    if max_words < 1:
        raise ValueError(f"max_words must be at least 1, not {max_words}")
    if (whole := _one_passage(text, max_words=max_words)) is not None:
        return [whole]
    packed: list[list[str]] = []
    room = 0
    for sentence in sentences(text):
        for part, n_words in _parts(sentence, max_words=max_words):
            if n_words <= room:
                packed[-1].append(part)
                room -= n_words
            else:
                packed.append([part])
                room = max_words - n_words
    return [" ".join(parts) for parts in packed]


def _one_passage(text: str, *, max_words: int) -> str | None:
    """The passage of a text that is short enough and of which nothing is dropped."""
    words = text.split()
    if not 0 < len(words) <= max_words:
        return None
    if "," in text and (_COMMAS_AFTER_COLON.search(text) or _COMMA_AS_BREAK.search(text)):
        return None
    lines = text.splitlines()
    if any(_is_rule(line) for line in (map(str.split, lines) if len(lines) > 1 else [words])):
        return None
    return " ".join(words)


def _parts(sentence: str, *, max_words: int) -> list[tuple[str, int]]:
    """Parts of even length, each with its number of words."""
    n_words = sentence.count(" ") + 1
    if n_words <= max_words:
        return [(sentence, n_words)]
    words = sentence.split(" ")
    size = math.ceil(n_words / math.ceil(n_words / max_words))
    cut = [words[start : start + size] for start in range(0, n_words, size)]
    return [(" ".join(part), len(part)) for part in cut]


def plain_texts(texts: pl.Series, *, max_words: int) -> pl.DataFrame:
    """What `passages`, `content` and `is_prose` give for plain texts, a column at a time.

    Plain is a text of ASCII, on one line, that is a passage as it is. Most of a corpus of short
    texts are.

    Returns:
        Columns `passage`, `content` and `prose`, a row a text; null where a text is not plain.
    """
    passage = pl.col("text").str.replace_all(r"[\t\x1f ]+", " ").str.strip_chars(" ")
    letters = pl.col("passage").str.replace_all("[^A-Za-z]+", "").str.len_bytes()
    others = pl.col("passage").str.len_bytes() - pl.col("n_words") + 1
    least = _LEAST_LETTERS * others
    ascii_line = r"\A[\t\x1f -~]*[A-Za-z0-9][\t\x1f -~]*\z"
    commas = r":[\t\x1f ]*,|[.!?],[A-Z0-9]"
    long_word = r"[!-~]{31}"
    dropped = pl.col("text").str.contains(commas) | pl.col("text").str.contains(long_word)
    return (
        texts.alias("text")
        .to_frame()
        .select(
            pl.when(pl.col("text").str.contains(ascii_line) & ~dropped)
            .then(passage)
            .alias("passage")
        )
        .with_columns(n_words=pl.col("passage").str.count_matches(" ", literal=True) + 1)
        .with_columns(
            pl.when(pl.col("n_words") <= max_words).then(pl.col("passage")).alias("passage")
        )
        .select(
            "passage",
            content=pl.col("passage")
            .str.to_lowercase()
            .str.replace_all("[^a-z0-9]+", " ")
            .str.strip_chars(" "),
            prose=letters >= least,
        )
    )


def is_prose(text: str) -> bool:
    """Whether letters make up half of the characters, blanks aside.

    Letters of ASCII words longer than 30 characters do not count, so encoded files are no prose.
    """
    if text.isascii():
        data = text.encode()
        characters = len(data.translate(None, _BLANKS))
        if max(map(len, words := text.split()), default=0) > _LONGEST_WORD:
            data = " ".join(word for word in words if len(word) <= _LONGEST_WORD).encode()
        letters = len(data.translate(None, _NO_LETTERS))
        return characters > 0 and letters >= _LEAST_LETTERS * characters
    letters = characters = 0
    for word in text.split():
        characters += len(word)
        if word.isascii():
            if len(word) <= _LONGEST_WORD:
                letters += sum(map(str.isalpha, word))
        else:
            # vowel signs of many scripts are marks
            letters += sum(unicodedata.category(character)[0] in "LM" for character in word)
    return characters > 0 and letters >= _LEAST_LETTERS * characters


def _is_rule(words: list[str]) -> bool:
    if not words or words[0][0].isalnum():  # of most lines
        return False
    return all(word.isascii() and not any(map(str.isalnum, word)) for word in words)


def _is_list_item(words: list[str]) -> bool:
    first = words[0]
    return len(words) > 1 and (
        first in ("-", "*", "•") or (len(first) <= 3 and first[-1] in ".)" and first[:-1].isdigit())
    )


def _split_paragraph(words: list[str]) -> list[str]:
    if not words:
        return []
    text = " ".join(words)
    found = []
    start = 0
    for end in _END.finditer(text):
        at = text.rfind(" ", start, end.start()) + 1 or start
        until = text.find(" ", end.end())
        word = text[at : end.end() - 1]
        following = text[end.end() : until if until >= 0 else None]
        if _ends_sentence(word, following, first=at == start):
            found.append(text[start : end.end() - 1])
            start = end.end()
    return [*found, text[start:]]


def _ends_sentence(word: str, following: str, *, first: bool) -> bool:
    """Whether `word`, the `first` of its sentence or not, is the last before `following`."""
    bare = word.rstrip(_CLOSERS)
    following = following.lstrip(_OPENERS)
    if not bare or bare[-1] not in ".!?…。！？" or following[:1].islower():
        return False
    if bare[-1] != "." or bare.endswith(".."):
        return True
    name = bare[:-1].lstrip(_OPENERS)
    lowered = name.lower()
    if _TITLE.fullmatch(lowered):
        return False
    if _BEFORE_NUMBER.fullmatch(lowered) and following[:1].isdigit():
        return False
    if first and (name.isdigit() or len(name) == 1):  # the number of a list item
        return False
    if _MAY_END.fullmatch(lowered) or (len(name) == 1 and name.isupper()) or _is_dotted(name):
        return _STARTER.fullmatch(following.rstrip(_CLOSERS + ",;:")) is not None
    return True


def _is_dotted(name: str) -> bool:
    """Whether `name` is letters with periods between, as in U.S or b.i.d."""
    parts = name.split(".")
    return len(parts) > 1 and all(1 <= len(part) <= 2 and part.isalpha() for part in parts)
