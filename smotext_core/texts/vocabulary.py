"""Words that a decoder made up: out of word pieces it can spell what nobody ever wrote."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable

# Letters, with apostrophes and hyphens inside; not the unit in "10mg".
_WORD = re.compile(r"(?<!\w)[^\W\d_]+(?:['’-][^\W\d_]+)*")
_POSSESSIVE = re.compile(r"['’]s?$")
_SENTENCE_END = ".!?:;\"'”’)"


def vocabulary(texts: Iterable[str], *, min_count: int = 1) -> list[str]:
    """The lower-cased words of `texts` that come `min_count` times or more, sorted.

    The parts of a hyphenated word count as words too.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        for word in _WORD.findall(text):
            whole = _POSSESSIVE.sub("", word.lower())
            counts.update({whole, *whole.split("-")})
    return sorted(word for word, count in counts.items() if count >= min_count and word)


def unknown_words(text: str, known: Container[str]) -> list[str]:
    """The words of `text` that are not in `known`, lower-cased, in their order.

    A capitalised word inside a sentence may be a name and is let pass; so are single letters, and
    hyphenated words of known parts.
    """
    found = []
    for match in _WORD.finditer(text):
        word = match.group()
        before = text[: match.start()].rstrip()
        begins = not before or before[-1] in _SENTENCE_END
        if len(word) == 1 or (word[0].isupper() and not begins):
            continue
        whole = _POSSESSIVE.sub("", word.lower())
        if whole not in known and not all(part in known for part in whole.split("-")):
            found.append(whole)
    return found
