"""Labels as partition keys."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

_LONGEST_SLUG = 60


def label_slugs(labels: Iterable[str]) -> dict[str, str]:
    """The slug of each label, another one for each.

    A slug is 1 to 60 of the characters [A-Za-z0-9_-], so it is safe as a partition key and
    a folder. Of labels whose slugs differ in no more than case one keeps it: the one that is its
    own slug, else the first in the order of the alphabet. The others' end in a hash of the label
    ("C", "C#" and "C++"; "1" and "-1"), so that no class is lost for its name. So does one that
    begins with two underscores: Dagster reads a key `__class__` as the name of a type.
    """
    by_slug: dict[str, list[str]] = defaultdict(list)
    for label in dict.fromkeys(labels):
        by_slug[_slug(label).lower()].append(label)
    slugs: dict[str, str] = {}
    for alike in by_slug.values():
        first, *others = sorted(alike, key=lambda label: (_slug(label) != label, label))
        slugs |= {first: _slug(first), **{label: _hashed(_slug(label), label) for label in others}}
    taken = Counter(slug.lower() for slug in slugs.values())
    for label, slug in slugs.items():  # a label may be called as another's slug with its hash
        if taken[slug.lower()] > 1 and slug != label:
            slugs[label] = _hashed("label", label, digits=32)
    return slugs


def _slug(label: str) -> str:
    marks_apart = unicodedata.normalize("NFKD", label)
    folded = "".join(c for c in marks_apart if not unicodedata.category(c).startswith("M"))
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", folded).strip("-")
    letters_lost = any(c.isalnum() and not c.isascii() for c in folded)
    reserved = slug.startswith("__")
    if slug and not letters_lost and not reserved and len(slug) <= _LONGEST_SLUG:
        return slug
    # what is left of "東京 1" and "大阪 1" is the same
    return _hashed(slug, label)


def _hashed(slug: str, label: str, *, digits: int = 8) -> str:
    """`slug` with the first digits of the label's hash, no longer than a slug may be."""
    suffix = "-" + hashlib.sha256(label.encode()).hexdigest()[:digits]
    return (slug[: _LONGEST_SLUG - len(suffix)].rstrip("-") or "label") + suffix
