"""Exact search by cosine: within one set of vectors, and of one set among another.

The first finds SMOTE's neighbours, the others compare decoded texts with real ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SIMILARITY_BYTES = 64 * 2**20  # of one block of similarities
ROWS_BYTES = 2**20  # of one block of float64 vectors, to stay in the cache
TOLERANCE = 1e-5  # above the rounding error of a float32 cosine, d up to 4096


def nearest_neighbors(embeddings: NDArray[np.floating[Any]], *, k: int) -> NDArray[np.int64]:
    """The k nearest other rows by cosine, nearest first, shape (n, k). Exact.

    A row is not its own neighbour, its duplicates are. Ties go to the lower index. float32 BLAS
    finds the candidates in blocks of at most 64 MiB, float64 orders them; where hundreds of rows
    lie within 1e-5 of the k-th, cosines rounded to 1e-5 order them.

    Raises:
        ValueError: k outside [1, n - 1], or a zero, NaN or infinite vector.
    """
    embeddings = np.asarray(embeddings)
    norms = vector_norms(embeddings)
    n = len(embeddings)
    if not 1 <= k < n:
        raise ValueError(f"k must lie in [1, n - 1] = [1, {n - 1}] for {n} vectors, got {k}")
    # The k-th best of the groups' maxima bounds the k-th best row from below: far cheaper than
    # partitioning whole rows. A group is every n_groups-th column.
    size = max(1, min(32, n // (8 * k)))
    n_groups = -(-n // size)
    scaled = np.zeros((size * n_groups, embeddings.shape[1]), dtype=np.float32)
    np.divide(embeddings, norms[:, None], out=scaled[:n], casting="same_kind")
    n_rows = max(1, SIMILARITY_BYTES // (4 * len(scaled)))
    block = np.empty((min(n_rows, n), len(scaled)), dtype=np.float32)
    neighbors = np.empty((n, k), dtype=np.int64)
    for start in range(0, n, n_rows):
        stop = min(start + n_rows, n)
        similarities = np.matmul(scaled[start:stop], scaled.T, out=block[: stop - start])
        similarities[:, n:] = -np.inf
        similarities[np.arange(stop - start), np.arange(start, stop)] = -np.inf
        maxima = similarities.reshape(stop - start, size, n_groups).max(axis=1)
        bound = np.partition(maxima, n_groups - k, axis=1)[:, n_groups - k]
        near = similarities >= (bound - TOLERANCE)[:, None]
        counts = np.count_nonzero(near, axis=1)
        flooded = counts > 16 * k + 64
        for row in np.flatnonzero(flooded):
            rounded = np.rint(similarities[row, :n] / TOLERANCE)
            neighbors[start + row] = np.argsort(-rounded, kind="stable")[:k]
        near[flooded] = False
        rows, columns = np.divmod(np.flatnonzero(near), len(scaled))
        cosines = _cosines(embeddings, norms, rows + start, columns)
        # 12 digits: what float64 sums agree on in any order of summation
        order = np.lexsort((columns, -np.round(cosines, 12), rows))
        counts = counts[~flooded]
        first = np.cumsum(counts) - counts
        neighbors[start:stop][~flooded] = columns[order[first[:, None] + np.arange(k)]]
    return neighbors


def vector_norms(embeddings: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Length of each row (n, d), (n,), in float64.

    Raises:
        ValueError: not a float matrix, or a zero, NaN or infinite vector.
    """
    if embeddings.ndim != 2 or not np.issubdtype(embeddings.dtype, np.floating):
        raise ValueError(
            "embeddings must be a float array of shape (n, d), "
            f"got {embeddings.dtype} of shape {embeddings.shape}"
        )
    norms: NDArray[np.float64] = np.sqrt(
        np.einsum("nd,nd->n", embeddings, embeddings, dtype=np.float64)
    )
    for wrong, what in ((~np.isfinite(norms), "NaN or infinite"), (norms == 0, "zero")):
        if wrong.any():
            raise ValueError(
                f"embeddings must be finite and not zero; {wrong.sum()} of {len(norms)} vectors "
                f"are {what}, the first at row {wrong.argmax()}: remove those texts"
            )
    return norms


def _cosines(
    embeddings: NDArray[np.floating[Any]],
    norms: NDArray[np.float64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
) -> NDArray[np.float64]:
    dots = np.empty(len(left))
    step = max(1, ROWS_BYTES // (8 * embeddings.shape[1]))
    for start in range(0, len(left), step):
        block = slice(start, start + step)
        a = embeddings[left[block]].astype(np.float64)
        dots[block] = np.einsum("pd,pd->p", a, embeddings[right[block]].astype(np.float64))
    cosines: NDArray[np.float64] = dots / (norms[left] * norms[right])
    return cosines


def unit(rows: ArrayLike) -> NDArray[np.float32]:
    """Rows (n, d) at length one; a zero row stays zero, so its cosine to anything is 0.

    Raises:
        ValueError: not a matrix, or a value is not finite.
    """
    matrix = np.asarray(rows, dtype=np.float32)
    if matrix.ndim != 2:
        raise ValueError(f"vectors must come as a matrix (n, d); got shape {matrix.shape}")
    broken = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if broken.size:
        raise ValueError(
            f"vectors must be finite; {broken.size} of {len(matrix)} rows hold NaN or infinity, "
            f"the first is row {broken[0]}: embed those texts again"
        )
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(matrix / np.maximum(length, np.finfo(np.float32).tiny), dtype=np.float32)


def closest_cosine(embeddings: ArrayLike, records: ArrayLike) -> NDArray[np.float32]:
    """Highest cosine of each row (n, d) to any record (m, d), (n,); -1 where there is no record."""
    queries, targets = unit(embeddings), unit(records)
    closest = np.full(len(queries), -1, dtype=np.float32)
    if len(targets):
        for start in range(0, len(queries), 512):  # 512 × m similarities at a time
            closest[start : start + 512] = (queries[start : start + 512] @ targets.T).max(axis=1)
    return closest


def nearest_records(
    queries: ArrayLike, records: ArrayLike, *, k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The k nearest records (m, d) of each query (n, d) by cosine distance, nearest first.

    Exact: similarities come from one matrix product a block. The k best of m columns lie in the k
    groups of columns with the best maxima, so only those groups are sorted.

    Returns:
        Distances (n, k), in [0, 2], and row numbers of the records (n, k).

    Raises:
        ValueError: fewer than k records.
    """
    left, right = unit(queries), unit(records)
    n_records = len(right)
    if not 1 <= k <= n_records:
        raise ValueError(f"k must lie between 1 and the number of records, {n_records}; got {k}")
    n_groups = max(k, n_records // 64)  # group g: the columns g, g + n_groups, …
    padded = -(-n_records // n_groups) * n_groups
    distances = np.empty((len(left), k))
    found = np.empty((len(left), k), dtype=np.int64)
    for start in range(0, len(left), 256):  # 256 × m similarities at a time
        block = left[start : start + 256]
        similar = np.full((len(block), padded), -np.inf, dtype=np.float32)
        similar[:, :n_records] = block @ right.T
        best = similar.reshape(len(block), -1, n_groups).max(axis=1)
        groups = np.sort(np.argpartition(-best, k - 1, axis=1)[:, :k], axis=1)
        columns = (np.arange(0, padded, n_groups)[:, None] + groups[:, None, :]).reshape(
            len(block), -1
        )
        values = np.take_along_axis(similar, columns, axis=1)
        order = np.lexsort((columns, -values), axis=1)[:, :k]
        found[start : start + 256] = np.take_along_axis(columns, order, axis=1)
        distances[start : start + 256] = 1.0 - np.take_along_axis(values, order, axis=1)
    distances = np.clip(distances, 0.0, 2.0)
    distances[distances < 1e-6] = 0.0  # rounding of float32: the same direction
    return distances, found
