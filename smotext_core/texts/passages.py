"""A raw corpus as clean, distinct passages with a slug and a split.

A word here is a run of characters between blanks. Scripts written without blanks keep their lines
whole.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import polars as pl

from smotext_core.schemas import LABELLED_TEXTS, RAW_CORPUS, REJECTED_CORPUS, conform

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

# Longer ASCII words are addresses, encoded files or rules, not language.
_LONGEST_WORD = 30
_LEAST_LETTERS = 0.5

_LEAST_WORDS = 4  # of a passage in a longer document; a text that short by itself is kept
_LONGEST_SLUG = 60
_NOT_PROSE = "not prose: letters are fewer than half of its characters"


def label_slugs(labels: Iterable[str]) -> dict[str, str]:
    """The slug of each label, another one for each.

    A slug is 1 to 60 of the characters [A-Za-z0-9_-], so it is safe as a partition key and
    a folder. Of labels whose slugs differ in no more than case one keeps it: the one that is its
    own slug, else the first in the order of the alphabet. The others' end in a hash of the label
    ("C", "C#" and "C++"; "1" and "-1"), so that no class is lost for its name.
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


def label_texts(
    raw: pl.DataFrame,
    *,
    seed: int,
    test_fraction: float = 0.15,
    holdout_fraction: float = 0.15,
    max_words: int = 45,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Clean, de-duplicate and split a RAW_CORPUS frame.

    Long texts become passages. Texts that differ in no more than case and punctuation are one: the
    label with fewer rows keeps it. Each label's documents are split by the order of a seeded hash
    of their content, so neither the order of rows nor their ids matter. One or two documents are
    all train; three include one for test, four also one for holdout.

    Returns:
        A LABELLED_TEXTS frame sorted by label and text_id, and a REJECTED_CORPUS frame of refused
        documents and passages, whose `row` counts in `raw`.

    Raises:
        ValueError: fewer than two labels are left, nulls or repeated ids in `raw`, or fractions
            that leave nothing to train on.
    """
    if min(test_fraction, holdout_fraction) < 0 or test_fraction + holdout_fraction >= 1:
        raise ValueError(
            "test_fraction and holdout_fraction must be at least 0 and sum to less than 1, not "
            f"{test_fraction} and {holdout_fraction}"
        )
    raw = conform(raw, RAW_CORPUS)
    if any(raw.null_count().row(0)) or raw["document_id"].n_unique() < raw.height:
        raise ValueError("raw has nulls or repeated document ids; read_corpus refuses such rows")

    counts = Counter(raw["label"])
    slugs = label_slugs(counts)
    documents = sorted(
        (counts[label], label, _sha256(content(text)), text, document_id, row)
        for row, (document_id, text, label) in enumerate(raw.iter_rows())
    )
    labelled: list[dict[str, Any]] = []
    rejected: list[tuple[int, str, str, str, str]] = []
    seen: dict[str, str] = {}  # hash of a content: the id that keeps it
    hashes: dict[str, dict[str, str]] = defaultdict(dict)  # label: document: hash of its content
    for _, label, document_hash, text, document_id, row in documents:
        fault = f"duplicate of {seen[document_hash]}" if document_hash in seen else None
        parts = passages(text, max_words=max_words) if fault is None else []
        if fault is None and not parts:
            fault = _NOT_PROSE
        if fault is not None:
            rejected.append((row, document_id, text, label, fault))
            continue
        for i, part in enumerate(parts):
            # an id that itself ends in #number always gets one, so no two text_ids are the same
            alone = len(parts) == 1 and not re.search(r"#\d+\Z", document_id)
            text_id = document_id if alone else f"{document_id}#{i}"
            part_hash = _sha256(content(part))
            if not is_prose(part):
                fault = _NOT_PROSE
            elif len(parts) > 1 and part.count(" ") + 1 < _LEAST_WORDS:
                fault = f"fewer than {_LEAST_WORDS} words"
            elif part_hash in seen:
                fault = f"duplicate of {seen[part_hash]}"
            else:
                seen[part_hash] = text_id
                hashes[label][document_id] = document_hash
                labelled.append(
                    {
                        "text_id": text_id,
                        "document_id": document_id,
                        "passage": i,
                        "text": part,
                        "content_hash": _sha256(part),
                        "label": label,
                        "slug": slugs[label],
                    }
                )
                continue
            rejected.append((row, document_id, part, label, fault))
        if document_id in hashes.get(label, {}):
            seen.setdefault(document_hash, document_id)

    if len(hashes) < 2:
        reasons = Counter(re.split(":| of | has ", reason)[0] for *_, reason in rejected)
        raise ValueError(
            f"SMOTE needs at least two labels; {raw.height} texts leave {sorted(hashes)}; "
            f"refused: {dict(sorted(reasons.items()))}"
        )
    splits: dict[str, str] = {}
    for by_document in hashes.values():
        keys = sorted((_sha256(f"{seed}:{key}"), name) for name, key in by_document.items())
        ordered = [name for _, name in keys]
        splits |= _split(ordered, test_fraction=test_fraction, holdout_fraction=holdout_fraction)
    for text_row in labelled:
        text_row["split"] = splits[text_row["document_id"]]
    return (
        pl.DataFrame(labelled, schema=LABELLED_TEXTS).sort("label", "text_id"),
        pl.DataFrame(rejected, schema=REJECTED_CORPUS, orient="row").sort(
            "row", maintain_order=True
        ),
    )


def sentences(text: str) -> list[str]:
    """Split `text` into sentences, with single blanks between their words.

    A blank line, a line of punctuation alone and the start of a list item end a sentence too.
    """
    # exports of dictated notes have commas in place of line breaks: "PLAN:, Rest.,2. Return"
    text = re.sub(r":(?:\s*,)+", ": ", text)
    text = re.sub(r"(?<=[.!?]),(?=[A-Z0-9])", "\n", text)
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
    packed: list[list[str]] = []
    for sentence in sentences(text):
        words = sentence.split(" ")
        size = math.ceil(len(words) / math.ceil(len(words) / max_words))
        for start in range(0, len(words), size):
            part = words[start : start + size]
            if packed and len(packed[-1]) + len(part) <= max_words:
                packed[-1] += part
            else:
                packed.append(part)
    return [" ".join(words) for words in packed]


def is_prose(text: str) -> bool:
    """Whether letters make up half of the characters, blanks aside.

    Letters of ASCII words longer than 30 characters do not count, so encoded files are no prose.
    """
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


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def content(text: str) -> str:
    """Return the lower-case words of `text` without punctuation."""
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).lower()))


def _slug(label: str) -> str:
    marks_apart = unicodedata.normalize("NFKD", label)
    folded = "".join(c for c in marks_apart if not unicodedata.category(c).startswith("M"))
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", folded).strip("-")
    letters_lost = any(c.isalnum() and not c.isascii() for c in folded)
    if slug and not letters_lost and len(slug) <= _LONGEST_SLUG:
        return slug
    # what is left of "東京 1" and "大阪 1" is the same
    return _hashed(slug, label)


def _hashed(slug: str, label: str, *, digits: int = 8) -> str:
    """`slug` with the first digits of the label's hash, no longer than a slug may be."""
    suffix = "-" + _sha256(label)[:digits]
    return (slug[: _LONGEST_SLUG - len(suffix)].rstrip("-") or "label") + suffix


def _split(
    documents: list[str], *, test_fraction: float, holdout_fraction: float
) -> dict[str, str]:
    """Return the split of each document: test from the front, holdout from the back."""
    n = len(documents)
    n_test = n_holdout = 0
    if n >= 3 and test_fraction > 0:
        n_test = max(1, math.floor(n * test_fraction + 0.5))
    if n >= 3 and holdout_fraction > 0:
        n_holdout = max(int(n >= 4), math.floor(n * holdout_fraction + 0.5))
    n_test = min(n_test, n - 1)
    n_holdout = min(n_holdout, n - 1 - n_test)
    return {
        name: "test" if i < n_test else "holdout" if i >= n - n_holdout else "train"
        for i, name in enumerate(documents)
    }


def _is_rule(words: list[str]) -> bool:
    return all(word.isascii() and not any(map(str.isalnum, word)) for word in words)


def _is_list_item(words: list[str]) -> bool:
    first = words[0]
    return len(words) > 1 and (
        first in ("-", "*", "•") or (len(first) <= 3 and first[-1] in ".)" and first[:-1].isdigit())
    )


def _split_paragraph(words: list[str]) -> list[str]:
    found = []
    start = 0
    for i, word in enumerate(words):
        last = i + 1 == len(words)
        if last or _ends_sentence(word, words[i + 1], first=i == start):
            found.append(" ".join(words[start : i + 1]))
            start = i + 1
    return found


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
