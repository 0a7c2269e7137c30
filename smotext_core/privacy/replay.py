"""Names, numbers and addresses of real texts that stand in synthetic ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from smotext_core.texts import words

Mask = npt.NDArray[np.bool_]

_EMAIL = re.compile(r"[\w.+-]+@\w[\w-]*(?:\.\w[\w-]*)+")
_PHONE = re.compile(r"(?<![\w.])\+?\(?\d[\d ()./-]{5,18}\d(?!\w)")
_NUMBER = re.compile(r"(?<!\w)\d{5,}(?!\w)")  # a year has four digits
# Capitalised, and a word or a comma before it: the first word of a sentence is no name by itself.
_NAME = re.compile(r"(?<=[^\W_][ ,])\s?([^\W\d_]*[^\W\d_]{2,})(?!\w)")
_MIN_PHONE_DIGITS = 9  # a date has eight at most


def identifiers(text: str) -> set[str]:
    """E-mail addresses (lower-cased), telephone numbers (their digits), numbers of 5 digits up."""
    text = normalize("NFKC", text)  # as `words` does: two spellings of one letter are one
    found = {address.lower() for address in _EMAIL.findall(text)}
    digits = (re.sub(r"\D", "", number) for number in _PHONE.findall(text))
    found.update(number for number in digits if len(number) >= _MIN_PHONE_DIGITS)
    found.update(_NUMBER.findall(text))
    return found


def names(text: str) -> set[str]:
    """Capitalised words inside sentences, lower-cased."""
    found = (match for match in _NAME.findall(normalize("NFKC", text)) if match[0].isupper())
    return {name.lower() for name in found}


def replayed_identifiers(
    synthetic_texts: Sequence[str], real_texts: Sequence[str], other_texts: Sequence[str]
) -> float:
    """Share of synthetic texts with an identifier of `real_texts` and of no other text."""
    own = set().union(*map(identifiers, real_texts))
    own -= set().union(*map(identifiers, other_texts))
    return sum(bool(own & identifiers(text)) for text in synthetic_texts) / len(synthetic_texts)


class Names:
    """Names of the real texts that stand in the synthetic texts, by the texts that hold them."""

    def __init__(self, synthetic_texts: Sequence[str], real_texts: Sequence[str]) -> None:
        """A word that stands in lower case in a real text is none."""
        made = [set(words(text)) for text in synthetic_texts]
        called = [names(text) for text in real_texts]
        whole = normalize("NFKC", "\n".join(real_texts))
        plain = {word for word in re.findall(r"[^\W\d_]+", whole) if word.islower()}
        held = set().union(*made) & set().union(*called)
        listed = sorted(name for name in held if name not in plain)
        bags = [set(words(text)) for text in real_texts]
        self.in_synthetic = _incidence(made, listed)
        self.in_real = _incidence(bags, listed)

    def replayed(self, chosen: Mask) -> float:
        """Share of synthetic texts with a name that stands in chosen real texts alone."""
        own = ~self.in_real[~chosen].any(axis=0)
        return float(self.in_synthetic[:, own].any(axis=1).mean())


def _incidence(bags: Sequence[set[str]], listed: Sequence[str]) -> Mask:
    rows = [[name in bag for name in listed] for bag in bags]
    return np.array(rows, dtype=np.bool_).reshape(len(bags), len(listed))
