"""Cleaning after oversampling: rows that lie among another class, by cosine. Exact.

Equally near means within 1e-6 in cosine, about what float32 resolves.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smotext_core.neighbors import nearest_neighbors, unit, vector_norms

EditedKind = Literal["all", "mode"]
Cleaning = Literal["tomek", "enn"]

BLOCK_BYTES = 32 * 2**20  # of similarities at a time
TIE = 1e-6


def tomek_links(
    embeddings: NDArray[np.floating[Any]],
    labels: ArrayLike,
    *,
    sampling_strategy: str | Sequence[Any] = "auto",
) -> NDArray[np.bool_]:
    """Rows to drop because they are an end of a Tomek link, (n,).

    Tomek 1976: a and b of different classes with no row nearer to either than they are to each
    other. A link has at most one end in the largest class, so only rows of the other classes and
    the rows nearest to them are searched for.

    Args:
        embeddings: (n, d), none zero or NaN; real and synthetic rows together.
        labels: n labels.
        sampling_strategy: classes that lose rows, imbalanced-learn's meanings: "auto", all but the
            smallest; "all"; or a list of labels.

    Raises:
        ValueError: lengths differ, a zero, NaN or infinite vector, an unknown class or strategy.
    """
    scaled, codes, cleaned = _checked(embeddings, labels, sampling_strategy)
    n = len(scaled)
    is_largest = codes == np.bincount(codes).argmax()
    nearest = np.full(n, np.inf, dtype=np.float32)  # cosine of each row's nearest, where known
    has_foreign, is_partner = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    for rows in _blocks(np.flatnonzero(~is_largest), n):
        cosines = _cosines_to_others(scaled, rows)
        nearest[rows] = cosines.max(axis=1)
        foreign = cosines >= nearest[rows, None] - TIE
        foreign &= codes[rows, None] != codes
        has_foreign[rows] = foreign.any(axis=1)
        is_partner |= foreign.any(axis=0)
    for rows in _blocks(np.flatnonzero(is_partner & is_largest), n):
        nearest[rows] = _cosines_to_others(scaled, rows).max(axis=1)
    linked = np.zeros(n, dtype=bool)
    partners = np.flatnonzero(is_partner)
    for rows in _blocks(np.flatnonzero(has_foreign), len(partners)):
        cosines = scaled[rows] @ scaled[partners].T
        links = codes[rows, None] != codes[partners]
        links &= cosines >= nearest[rows, None] - TIE
        links &= cosines >= nearest[partners] - TIE
        linked[rows] |= links.any(axis=1)
        linked[partners] |= links.any(axis=0)
    return linked & cleaned[codes]


def edited_nearest_neighbours(
    embeddings: NDArray[np.floating[Any]],
    labels: ArrayLike,
    *,
    k: int = 3,
    kind: EditedKind = "all",
    sampling_strategy: str | Sequence[Any] = "auto",
) -> NDArray[np.bool_]:
    """Rows to drop because their k nearest rows are of another class, (n,). Wilson 1972.

    Args:
        embeddings: (n, d), none zero or NaN; real and synthetic rows together.
        labels: n labels.
        kind: "all": a row stays where all k are of its class; of rows equally near those of its
            class come first. "mode": where the most frequent class of the k is its own, of equally
            frequent ones the first in sorted order.
        sampling_strategy: classes that lose rows, as for `tomek_links`.

    Raises:
        ValueError: k outside [1, n - 1], an unknown kind, or what `tomek_links` refuses.
    """
    if kind not in get_args(EditedKind):
        raise ValueError(f"kind must be one of {get_args(EditedKind)}, got {kind!r}")
    scaled, codes, cleaned = _checked(embeddings, labels, sampling_strategy)
    n = len(scaled)
    if not 1 <= k < n:
        raise ValueError(f"k must lie in [1, n - 1] = [1, {n - 1}] for {n} rows, got {k}")
    if kind == "mode":
        near = codes[nearest_neighbors(np.asarray(embeddings), k=k)]
        frequency = (near[:, :, None] == near[:, None, :]).sum(axis=2)
        first = (frequency * len(cleaned) - near).argmax(axis=1)
        outvoted: NDArray[np.bool_] = near[np.arange(n), first] != codes
        return outvoted & cleaned[codes]
    order = np.argsort(codes, kind="stable")
    scaled = scaled[order]
    bounds = np.searchsorted(codes[order], np.arange(len(cleaned) + 1))
    foreign = _nearest_foreign(scaled, bounds)
    dropped = np.zeros(n, dtype=bool)
    for code in np.flatnonzero(cleaned):
        own = slice(bounds[code], bounds[code + 1])
        dropped[order[own]] = _fewer_than(scaled[own], foreign[own] - TIE, k=k)
    return dropped


def clean(
    cleaning: Cleaning, vectors: Sequence[NDArray[np.floating[Any]] | None], labels: Sequence[Any]
) -> NDArray[np.bool_]:
    """Rows that stay, (n,): those without a vector, and what SMOTETomek ("tomek") and SMOTEENN
    ("enn") leave of the others (Batista et al. 2004). Warns of classes that are lost.
    """
    kept = np.ones(len(labels), dtype=np.bool_)
    rows = [row for row, vector in enumerate(vectors) if vector is not None]
    embeddings = np.stack([vector for vector in vectors if vector is not None])
    dropped = tomek_links if cleaning == "tomek" else edited_nearest_neighbours
    kept[rows] = ~dropped(embeddings, [str(labels[row]) for row in rows], sampling_strategy="all")
    gone = {str(label) for label in labels} - {
        str(label) for label, keep in zip(labels, kept, strict=True) if keep
    }
    if gone:
        warnings.warn(f"cleaning={cleaning!r} left no row of {sorted(gone)}", stacklevel=3)
    return kept


def _nearest_foreign(scaled: NDArray[np.float32], bounds: NDArray[np.int64]) -> NDArray[np.float32]:
    """Cosine of each row's nearest row of another class; class c is rows bounds[c]:bounds[c + 1].

    A block of one class by all later classes serves both sides, so each pair is computed once.
    """
    nearest = np.full(len(scaled), -np.inf, dtype=np.float32)
    for first, last in itertools.pairwise(bounds.tolist()):
        later = slice(last, len(scaled))
        if last == len(scaled):
            break
        for rows in _blocks(np.arange(first, last), len(scaled) - last):
            cosines = scaled[rows] @ scaled[later].T
            nearest[rows] = np.maximum(nearest[rows], cosines.max(axis=1))
            nearest[later] = np.maximum(nearest[later], cosines.max(axis=0))
    return nearest


def _fewer_than(
    scaled: NDArray[np.float32], bound: NDArray[np.float32], *, k: int
) -> NDArray[np.bool_]:
    """Rows with fewer than k other rows at cosine `bound` or more.

    A row is done once k are found, and most have them close by: rows sorted by the nearest of a
    few of them are compared with their surroundings first.
    """
    n = len(scaled)
    order = np.argsort((scaled @ scaled[::512].T).argmax(axis=1), kind="stable")
    scaled, bound = scaled[order], bound[order]
    found = np.empty(n, dtype=np.int64)  # the row itself included
    for start in range(0, n, 512):
        near = slice(start, start + 512)
        cosines = scaled[near] @ scaled[near].T
        found[near] = np.count_nonzero(cosines >= bound[near, None], axis=1)
    rows = np.flatnonzero(found <= k)
    found[rows] = 0
    start = 0
    while start < n and rows.size:
        columns = slice(start, start + max(1, min(2048, BLOCK_BYTES // (4 * rows.size))))
        cosines = scaled[rows] @ scaled[columns].T
        found[rows] += np.count_nonzero(cosines >= bound[rows, None], axis=1)
        rows, start = rows[found[rows] <= k], columns.stop
    fewer = np.empty(n, dtype=bool)
    fewer[order] = found <= k
    return fewer


def _cosines_to_others(scaled: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    cosines = scaled[rows] @ scaled.T
    cosines[np.arange(len(rows)), rows] = -np.inf
    return np.asarray(cosines)


def _blocks(rows: NDArray[np.int64], n_columns: int) -> list[NDArray[np.int64]]:
    """`rows` in parts whose similarities to n columns stay in BLOCK_BYTES."""
    step = max(1, BLOCK_BYTES // (4 * max(1, n_columns)))
    return [rows[start : start + step] for start in range(0, len(rows), step)]


def _checked(
    embeddings: NDArray[np.floating[Any]], labels: ArrayLike, sampling_strategy: str | Sequence[Any]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Unit rows, codes of their labels, and for each code whether it loses rows."""
    embeddings = np.asarray(embeddings)
    vector_norms(embeddings)
    values = np.asarray(labels)
    if values.shape != (len(embeddings),):
        raise ValueError(
            f"one label for each of {len(embeddings)} vectors is needed, got labels of shape "
            f"{values.shape}"
        )
    classes, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if isinstance(sampling_strategy, str):
        if sampling_strategy not in ("auto", "all"):
            raise ValueError(
                "sampling_strategy must be 'auto' (all classes but the smallest), 'all' or a list "
                f"of labels, got {sampling_strategy!r}"
            )
        cleaned = np.full(len(classes), True)
        if sampling_strategy == "auto" and len(classes):
            cleaned[counts.argmin()] = False
    else:
        absent = [label for label in sampling_strategy if label not in classes.tolist()]
        if absent:
            raise ValueError(
                f"sampling_strategy names the classes {absent}, which are not present; present "
                f"are {classes.tolist()}"
            )
        cleaned = np.isin(classes, list(sampling_strategy))
    return unit(embeddings), codes.astype(np.int64), cleaned
