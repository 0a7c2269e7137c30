"""What of single training texts comes out again: planted canaries, names, numbers, addresses."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from smotext_core.overlap import copied_words

PATTERNS = {
    "email": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "telephone": re.compile(r"(?<![\w.])\+?\(?\d{2,4}\)?(?:[ ./-]\d{2,4}){2,4}(?!\w)"),
    "number": re.compile(r"(?<![\w.])\d{4,}(?!\w)"),
    # a capital inside a sentence, not after its end
    "name": re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}"),
}


def canary_exposure(
    synthetic_texts: Sequence[str], canaries: Sequence[str], references: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Exposure of each planted text in bits, (n,), after Carlini et al., "The Secret Sharer", 2019.

    A text's score is its longest run of words that stands in a synthetic text. Its exposure is
    log2(references + 1) less log2 of its rank among the references, ties in the middle: about 1
    where nothing came out, log2(references + 1) where the canary did and no reference.

    Args:
        canaries: texts planted in the training rows.
        references: texts made by the same recipe and planted nowhere.

    Raises:
        ValueError: no canary or no reference.
    """
    for name, texts in {"canaries": canaries, "references": references}.items():
        if not texts:
            raise ValueError(f"{name} must hold a text or more; got none: nothing to rank")
    planted = copied_words(canaries, synthetic_texts)
    unplanted = copied_words(references, synthetic_texts)
    above = (unplanted > planted[:, None]).sum(axis=1)
    level = (unplanted == planted[:, None]).sum(axis=1)
    bits: npt.NDArray[np.float64] = np.log2(len(references) + 1) - np.log2(1 + above + level / 2)
    return bits


def replayed(
    synthetic_texts: Sequence[str],
    train_texts: Sequence[str],
    holdout_texts: Sequence[str],
    *,
    vocabulary: Collection[str] = (),
) -> dict[str, list[str]]:
    """Per pattern, the tokens of synthetic texts that stand in train and nowhere else, sorted.

    A token that stands in the holdout or in `vocabulary` (lower-cased words of the decoder's own
    training texts) may have come from elsewhere and is not counted. The lists hold real tokens:
    they are as sensitive as the training texts.
    """
    known = {word.lower() for word in vocabulary}
    made, seen, unseen = (_tokens(t) for t in (synthetic_texts, train_texts, holdout_texts))
    return {kind: sorted((made[kind] & seen[kind]) - unseen[kind] - known) for kind in PATTERNS}


def _tokens(texts: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {kind: set() for kind in PATTERNS}
    for text in texts:
        for kind, pattern in PATTERNS.items():
            found[kind].update(token.lower() for token in pattern.findall(text))
            text = pattern.sub(" ", text)  # a part of a telephone number is no number of its own
    return found
