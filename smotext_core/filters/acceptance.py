"""Filters of decoded texts: one function a filter, and `accept`, which applies them and chooses.

A filter gives a mask (true = keep) or a score. `accept` puts every candidate in exactly one of two
tables: the accepted texts, or the rejected ones with the first reason that holds, in the order of
`REASONS`. Words are those of `texts.words`, here and in every count below.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from smotext_core.filters.label_classifier import LabelClassifier
from smotext_core.filters.prose import MIN_WORDS, degenerate
from smotext_core.filters.relevance import RELEVANCE, by_marginal_relevance, likeliest_first
from smotext_core.neighbors import UnitVectors, closest_cosine, unit
from smotext_core.schemas import (
    DECODED_TEXTS,
    REJECTED_TEXTS,
    SYNTHETIC_TEXTS,
    conform,
    with_later,
)
from smotext_core.texts import (
    Alike,
    KnownTexts,
    add_to_index,
    is_near,
    word_shingles,
)

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

DECODED, FOUND = "decoded", "found"  # origins of a text
REASONS = (
    "too short",
    "repetitive",
    "not prose",
    "made-up word",
    "round trip below minimum",
    "another label is likelier",
    "label confidence below minimum",
    "copies a real text",
    "near duplicate of a real text",
    "duplicate of a synthetic text",
    "too like a synthetic text",
    "another candidate was taken",
    "more than wanted",
)
SURPLUS = REASONS[-2:]  # good texts that were not needed


def round_trip(cosines: npt.ArrayLike, *, minimum: float) -> Mask:
    """Keep where the re-embedded text is as near its target vector as `minimum`; NaN is refused."""
    return np.asarray(cosines, dtype=np.float32) >= np.float32(minimum)


def near_duplicate_embeddings(
    embeddings: Floats, real_embeddings: Floats | UnitVectors, *, threshold: float = 0.98
) -> Mask:
    """True where the cosine to some real row is `threshold` or more, (n,)."""
    return closest_cosine(embeddings, real_embeddings) >= np.float32(threshold)


def accept(
    candidates: pl.DataFrame,
    candidate_embeddings: Floats,
    *,
    label: str,
    run: str,
    generator: str,
    pairs: pl.DataFrame,
    parent_embeddings: Mapping[str, Floats],
    real_texts: Sequence[str] | KnownTexts,
    real_embeddings: Floats | UnitVectors,
    classifier: LabelClassifier,
    n_wanted: int,
    min_round_trip: float = 0.3,
    max_copied_words: int = 9,
    near_duplicate: float = 0.8,
    near_duplicate_cosine: float = 0.98,
    min_words: int = MIN_WORDS,
    check_label: bool = True,
    min_label_confidence: float | None = None,
    max_rouge_l: float | None = None,
    relevance: float = RELEVANCE,
    unlabelled: Sequence[str] | KnownTexts = (),
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Choose at most one text a sample and at most `n_wanted` samples of one label and run.

    Candidates that pass every filter are taken in the order of `by_marginal_relevance`, found texts
    before decoded ones, each unless its sample has a text, a chosen text is near-equal to it or too
    like it, or enough are chosen. Where the candidates have log-probabilities, the likeliest of
    every sample come first, then the second likeliest, and so on.

    Args:
        candidates: DECODED_TEXTS, and `origin` and `found_id` of SYNTHETIC_TEXTS where some were
            found; a null text counts as an empty one.
        candidate_embeddings: (m, d), the re-embedded candidates, row by row.
        pairs: CLASS_PAIRS, with every sample of `candidates`.
        parent_embeddings: vector of every parent by its text_id.
        real_texts: all real texts, of every label and split; `KnownTexts` where several labels ask.
        real_embeddings: (n, d), of all real texts; `UnitVectors` where several labels ask.
        min_round_trip: `calibration` chooses one for a generator and a corpus.
        check_label: whether the classifier may refuse: where another label is likelier, or, with
            `min_label_confidence`, where it gives the label less than that.
        max_copied_words: a run of this many words shared with a real text refuses the candidate.
        relevance: how much nearness counts beside unlikeness to the texts taken before, in (0, 1];
            1: closest first (round-trip cosine, then sample number, then candidate number), of
            equally likely rank where likelihoods are known.
        max_rouge_l: a ROUGE-L of this or more with a chosen text refuses the candidate; None: none
            does. `diversity.Alike` has the rule.
        unlabelled: texts of which a decoded one may be no copy or near duplicate either, and whose
            words are not made up; `KnownTexts` where several labels ask.

    Returns:
        SYNTHETIC_TEXTS and REJECTED_TEXTS; together they hold every candidate once.

    Raises:
        ValueError: rows do not line up, a candidate comes twice, a sample or a parent is unknown.
    """
    if len(candidate_embeddings) != candidates.height or n_wanted < 0:
        raise ValueError(
            f"accept needs one vector a candidate and n_wanted of 0 or more; got "
            f"{len(candidate_embeddings)} vectors, {candidates.height} candidates, "
            f"n_wanted {n_wanted}"
        )
    if not 0 < relevance <= 1:
        raise ValueError(f"relevance must lie in (0, 1], got {relevance}")
    if candidates.select("sample_id", "candidate").is_duplicated().any():
        raise ValueError("each (sample_id, candidate) must come once; some come twice: drop them")
    lineage = pairs.select("sample_id", "number", "parent_ids", "weights")
    if "origin" not in candidates.columns:
        candidates = candidates.with_columns(origin=pl.lit(DECODED), found_id=None)
    candidates = with_later(candidates, DECODED_TEXTS)
    frame = candidates.join(lineage, on="sample_id", how="left", maintain_order="left")
    if frame["number"].null_count():
        unknown = frame.filter(pl.col("number").is_null())["sample_id"].unique().sort()
        raise ValueError(
            f"every candidate's sample must be among the pairs; {len(unknown)} are not, "
            f"the first is {unknown[0]!r}: decode the samples of these pairs again"
        )
    texts = frame["text"].fill_null("").to_list()
    cosines = frame["round_trip_cosine"].cast(pl.Float32).to_numpy()
    vectors = unit(candidate_embeddings) if len(texts) else np.zeros((0, 1), dtype=np.float32)
    found = (frame["origin"] == FOUND).to_numpy()
    real = real_texts if isinstance(real_texts, KnownTexts) else KnownTexts(real_texts)
    copied = real.copied_words(texts)
    near = real.near_duplicates(texts, threshold=near_duplicate)
    known = [real]
    if isinstance(unlabelled, KnownTexts) or len(unlabelled):
        others = unlabelled if isinstance(unlabelled, KnownTexts) else KnownTexts(unlabelled)
        known.append(others)
        copied = np.maximum(copied, np.where(found, 0, others.copied_words(texts)))
        near |= ~found & others.near_duplicates(texts, threshold=near_duplicate)
    if len(texts):
        near |= near_duplicate_embeddings(vectors, real_embeddings, threshold=near_duplicate_cosine)
    reasons = degenerate(texts, min_words=min_words)
    confidence = classifier.confidence(vectors, label)
    refusals = [
        (_made_up(frame["unknown_words"], known), "made-up word"),
        (~round_trip(cosines, minimum=min_round_trip), "round trip below minimum"),
        *_off_label(confidence, classifier, vectors, label, check_label, min_label_confidence),
        (copied >= max_copied_words, "copies a real text"),
        (near, "near duplicate of a real text"),
    ]
    for refused, reason in refusals:
        reasons = [
            old or (reason if now else None) for old, now in zip(reasons, refused, strict=True)
        ]
    frame = frame.with_columns(
        pl.lit(run).alias("run"),
        pl.lit(label).alias("label"),
        pl.lit(generator).alias("generator"),
        pl.Series("parent_cosine", _parent_cosines(frame, vectors, parent_embeddings)),
        pl.Series("label_confidence", confidence),
        pl.Series("copied_words", copied),
        pl.Series("reason", reasons, dtype=pl.String),
    )
    passes = np.array([reason is None for reason in reasons], dtype=np.bool_)
    numbers = frame["number"].to_numpy().astype(np.int64)
    samples, likelihoods = frame["sample_id"].to_list(), frame["log_probability"].to_list()
    ordered: list[int] = []
    for rows in (np.flatnonzero(passes & found), np.flatnonzero(passes & ~found)):
        order = by_marginal_relevance(
            cosines[rows], vectors[rows], numbers[rows], relevance=relevance
        )
        ordered += likeliest_first(rows[order].tolist(), samples, likelihoods)
    frame = _choose(frame, ordered, n_wanted, near_duplicate, max_rouge_l)
    frame = frame.sort("sample_id", "candidate")
    return (
        conform(frame.filter(pl.col("reason").is_null()), SYNTHETIC_TEXTS),
        conform(frame.filter(pl.col("reason").is_not_null()), REJECTED_TEXTS),
    )


def _off_label(
    confidence: Floats,
    classifier: LabelClassifier,
    vectors: Floats,
    label: str,
    check_label: bool,
    minimum: float | None,
) -> list[tuple[Mask, str]]:
    if not check_label:
        return []
    if minimum is None:
        return [(~classifier.agrees(vectors, label), "another label is likelier")]
    return [(confidence < np.float32(minimum), "label confidence below minimum")]


def _made_up(unknown: pl.Series, known: Sequence[KnownTexts]) -> Mask:
    """Where a text has a word that neither its decoder nor a known text has, (m,)."""
    if not unknown.list.len().sum():
        return np.zeros(len(unknown), dtype=np.bool_)
    stray = (
        any(all(word not in texts.vocabulary for texts in known) for word in found or ())
        for found in unknown.to_list()
    )
    return np.fromiter(stray, np.bool_, len(unknown))


def _parent_cosines(
    frame: pl.DataFrame, vectors: Floats, parent_embeddings: Mapping[str, Floats]
) -> Floats:
    needed = frame["parent_ids"].explode(empty_as_null=False, keep_nulls=False).unique().sort()
    missing = [text_id for text_id in needed if text_id not in parent_embeddings]
    if missing:
        raise ValueError(
            f"every parent needs its vector; {len(missing)} have none, the first is {missing[0]!r}"
        )
    return np.array(
        [
            (unit([parent_embeddings[text_id] for text_id in parents]) @ vector).max()
            for parents, vector in zip(frame["parent_ids"].to_list(), vectors, strict=True)
        ],
        dtype=np.float32,
    )


def _choose(
    frame: pl.DataFrame,
    ordered: Sequence[int],
    n_wanted: int,
    near_duplicate: float,
    max_rouge_l: float | None,
) -> pl.DataFrame:
    """Give each of the `ordered` rows that is not chosen its reason."""
    texts = frame["text"].fill_null("").to_list()
    shingles = word_shingles(texts)
    alike = None if max_rouge_l is None else Alike(texts, threshold=max_rouge_l)
    index: dict[int, list[int]] = defaultdict(list)
    served: set[str] = set()
    reasons, samples = frame["reason"].to_list(), frame["sample_id"].to_list()
    for row in ordered:
        sample_id = samples[row]
        if sample_id in served:
            reasons[row] = "another candidate was taken"
        elif is_near(row, shingles, index, near_duplicate):
            reasons[row] = "duplicate of a synthetic text"
        elif alike and alike.repeats(row):
            reasons[row] = "too like a synthetic text"
        elif len(served) == n_wanted:
            reasons[row] = "more than wanted"
        else:
            served.add(sample_id)
            if alike:
                alike.add(row)
            add_to_index(row, shingles, index, near_duplicate)
    return frame.with_columns(pl.Series("reason", reasons, dtype=pl.String))


def shortfall(wanted: int, accepted: pl.DataFrame, rejected: pl.DataFrame) -> str | None:
    """What is missing and why, in one line; None if `wanted` texts were accepted."""
    if accepted.height >= wanted:
        return None
    found = f"{accepted.height} of {wanted} wanted"
    most = main_reasons(rejected)
    if not most:
        return f"{found}; no candidate was refused: decode more samples"
    return f"{found}; most refused for: {most[0]}"


def main_reasons(rejected: pl.DataFrame) -> list[str]:
    """Why candidates were refused that were not surplus, with counts, the most frequent first."""
    times = Counter(reason for reason in rejected["reason"] if reason not in SURPLUS)
    order = sorted(times, key=lambda reason: (-times[reason], REASONS.index(reason)))
    return [f"{reason} ({times[reason]})" for reason in order]
