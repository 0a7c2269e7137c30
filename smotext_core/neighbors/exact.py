"""Exact search by cosine: within one set of vectors, and of one set among another.

The first finds SMOTE's neighbours, the others compare decoded texts with real ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SIMILARITY_BYTES = 4 * 2**20  # of one tile of similarities, to stay in the cache
ROWS_BYTES = 2**20  # of one block of float64 vectors, to stay in the cache
TOLERANCE = 1e-5  # above the rounding error of a float32 cosine, d up to 4096


def nearest_neighbors(embeddings: NDArray[np.floating[Any]], *, k: int) -> NDArray[np.int64]:
    """The k nearest other rows by cosine, nearest first, shape (n, k). Exact.

    A row is not its own neighbour, its duplicates are. Ties go to the lower index. float32 BLAS
    finds the candidates, each similarity computed once for both of its rows, in tiles of 4 MiB;
    float64 orders those that float32 cannot tell apart. Where hundreds of rows lie within 1e-5 of
    the k-th, cosines rounded to 1e-5 order them. Beside `embeddings` the memory is some 100 bytes
    a row and neighbour, so they may be a memory map.

    Raises:
        ValueError: k outside [1, n - 1], or a zero, NaN or infinite vector.
    """
    embeddings = np.asarray(embeddings)
    norms = vector_norms(embeddings)
    n = len(embeddings)
    if not 1 <= k < n:
        raise ValueError(f"k must lie in [1, n - 1] = [1, {n - 1}] for {n} vectors, got {k}")
    edge = max(1, math.isqrt(SIMILARITY_BYTES // 4))
    size = max(1, min(32, min(n, edge) // (8 * k)))
    edge -= edge % size
    starts = range(0, n, edge)
    neighbors = np.empty((n, k), dtype=np.int64)
    best = np.full((n, k), -np.inf, dtype=np.float32)  # so far; the k-th best in column 0
    flooded = np.zeros(n, dtype=np.bool_)  # rows with more candidates than are kept
    found: dict[int, list[tuple[NDArray[Any], ...]]] = {start: [] for start in starts}
    for top in starts:
        rows = unit_block(embeddings, norms, top, top + edge, size)
        here = slice(top, min(top + edge, n))
        for left in range(top, n, edge):
            columns = (
                rows if left == top else unit_block(embeddings, norms, left, left + edge, size)
            )
            tile = rows @ columns.T  # of itself: half the work (syrk)
            if left == top:
                np.fill_diagonal(tile, -np.inf)
            tile[:, n - left :] = -np.inf
            grouped = tile.reshape(len(rows), size, -1)[: n - top]
            found[top].append(_candidates(grouped, best[here], flooded[here], left))
            if left != top:
                there = slice(left, min(left + edge, n))
                grouped = tile.reshape(size, -1, len(columns))[..., : n - left].transpose(2, 0, 1)
                found[left].append(_candidates(grouped, best[there], flooded[there], top))
        row, column, value = (np.concatenate(part) for part in zip(*found.pop(top), strict=True))
        kept = (value >= best[here][row, 0] - TOLERANCE) & ~flooded[here][row]
        order = ranked(embeddings, norms, row[kept] + top, column[kept], value[kept])
        counts = np.bincount(row[kept], minlength=here.stop - top)
        first = (np.cumsum(counts) - counts)[~flooded[here]]
        neighbors[here][~flooded[here]] = column[kept][order[first[:, None] + np.arange(k)]]
    if flooded.any():
        search_whole_rows(embeddings, norms, np.flatnonzero(flooded), neighbors)
    return neighbors


def unit_block(
    embeddings: NDArray[np.floating[Any]],
    norms: NDArray[np.float64],
    start: int,
    stop: int,
    size: int,
) -> NDArray[np.float32]:
    """Rows at length one, in float32, then zero rows up to a multiple of `size`."""
    stop = min(stop, len(embeddings))
    block = np.zeros((-(-(stop - start) // size) * size, embeddings.shape[1]), dtype=np.float32)
    np.divide(
        embeddings[start:stop],
        norms[start:stop, None],
        out=block[: stop - start],
        casting="same_kind",
    )
    return block


def _candidates(
    tile: NDArray[np.float32], best: NDArray[np.float32], flooded: NDArray[np.bool_], first: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Rows, columns and similarities of a tile that may be among the k best; updates `best`.

    Args:
        tile: (rows, group size, groups); a group is every n_groups-th column. The k-th best of the
            groups' maxima bounds the k-th best column from below, and only groups that reach the
            bound are looked into: one pass over the tile.
        first: the tile's first column.
    """
    (n_rows, size, n_groups), k = tile.shape, best.shape[1]
    maxima = np.ascontiguousarray(tile.max(axis=1))
    bound = best[:, 0] - TOLERANCE
    if n_groups >= k:
        kth = np.partition(maxima, n_groups - k, axis=1)[:, n_groups - k]
        np.maximum(bound, kth - TOLERANCE, out=bound)
    row, group = np.divmod(np.flatnonzero(maxima >= bound[:, None]), n_groups)
    members = tile[row, :, group]  # (hits, group size)
    hit, member = np.divmod(np.flatnonzero(members >= bound[row, None]), size)
    value = members[hit, member]
    column = first + member * n_groups + group[hit]
    row = row[hit]
    counts = np.bincount(row, minlength=n_rows)
    wide = counts > 16 * k + 64
    if wide.any():
        flooded |= wide
        narrow = ~wide[row]
        row, column, value = row[narrow], column[narrow], value[narrow]
        counts[wide] = 0
    width = int(counts.max())
    if width:
        merged = np.full((n_rows, k + width), -np.inf, dtype=np.float32)
        merged[:, :k] = best
        place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        merged[row, k + place] = value
        merged.partition(width, axis=1)
        best[:] = merged[:, width:]
    return row, column, value


def ranked(
    embeddings: NDArray[np.floating[Any]],
    norms: NDArray[np.float64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    value: NDArray[np.float32],
) -> NDArray[np.int64]:
    """The order of pairs by row, then similarity from the highest, then column.

    Float64 cosines stand in for similarities within the tolerance of another of their row.
    """
    exact = value.astype(np.float64)
    order = np.lexsort((value, row))
    close = (np.diff(exact[order]) <= TOLERANCE) & (np.diff(row[order]) == 0)
    unclear = np.zeros(len(row), dtype=np.bool_)
    unclear[order[1:]] |= close
    unclear[order[:-1]] |= close
    # 12 digits: what float64 sums agree on in any order of summation
    cosines = paired_cosines(embeddings, norms, row[unclear], column[unclear])
    exact[unclear] = np.round(cosines, 12)
    return np.lexsort((column, -exact, row))


def search_whole_rows(
    embeddings: NDArray[np.floating[Any]],
    norms: NDArray[np.float64],
    wanted: NDArray[np.int64],
    neighbors: NDArray[np.int64],
    *,
    groups: NDArray[np.int64] | None = None,
) -> None:
    """Fill the rows `wanted` of `neighbors` by similarities rounded to the tolerance.

    With `groups` (n,), a row's own group is left out.
    """
    n, k = neighbors.shape
    n_rows = max(1, 16 * SIMILARITY_BYTES // (4 * n))
    step = max(1, ROWS_BYTES // (4 * embeddings.shape[1]))
    for start in range(0, len(wanted), n_rows):
        rows = wanted[start : start + n_rows]
        queries = (embeddings[rows] / norms[rows, None]).astype(np.float32)
        similarities = np.empty((len(rows), n), dtype=np.float32)
        for left in range(0, n, step):
            similarities[:, left : left + step] = (
                queries @ unit_block(embeddings, norms, left, left + step, 1).T
            )
        similarities[np.arange(len(rows)), rows] = -np.inf
        if groups is not None:
            similarities[groups[rows, None] == groups] = -np.inf
        rounded = np.rint(similarities / np.float32(TOLERANCE))
        bound = np.partition(rounded, n - k, axis=1)[:, n - k]
        for row, values, least in zip(rows, rounded, bound, strict=True):
            near = np.flatnonzero(values >= least)
            neighbors[row] = near[np.argsort(-values[near], kind="stable")[:k]]


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


def paired_cosines(
    embeddings: NDArray[np.floating[Any]],
    norms: NDArray[np.float64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Cosine of row `left[i]` to row `right[i]`, (p,), summed in float64."""
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


class UnitVectors:
    """Vectors (m, d) at length one: made so once, for the many who look for the closest of them.

    Where each of ten thousand labels asks, to scale the records would be most of the search.
    """

    def __init__(self, vectors: ArrayLike | UnitVectors) -> None:
        """Raises: ValueError: as `unit`."""
        self.rows: NDArray[np.float32]
        self.rows = vectors.rows if isinstance(vectors, UnitVectors) else unit(vectors)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice) -> UnitVectors:
        """Some of them, not copied."""
        part = object.__new__(UnitVectors)
        part.rows = self.rows[rows]
        return part


def closest_cosine(embeddings: ArrayLike, records: ArrayLike | UnitVectors) -> NDArray[np.float32]:
    """Highest cosine of each row (n, d) to any record (m, d), (n,); -1 where there is no record."""
    queries, targets = unit(embeddings), UnitVectors(records).rows
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
    n_rows = min(256, max(16, 16 * SIMILARITY_BYTES // (4 * padded)))
    for start in range(0, len(left), n_rows):
        block, here = left[start : start + n_rows], slice(start, start + n_rows)
        similar = np.full((len(block), padded), -np.inf, dtype=np.float32)
        similar[:, :n_records] = block @ right.T
        best = similar.reshape(len(block), -1, n_groups).max(axis=1)
        groups = np.sort(np.argpartition(-best, k - 1, axis=1)[:, :k], axis=1)
        columns = (np.arange(0, padded, n_groups)[:, None] + groups[:, None, :]).reshape(
            len(block), -1
        )
        values = np.take_along_axis(similar, columns, axis=1)
        order = np.lexsort((columns, -values), axis=1)[:, :k]
        found[here] = np.take_along_axis(columns, order, axis=1)
        distances[here] = 1.0 - np.take_along_axis(values, order, axis=1)
    distances = np.clip(distances, 0.0, 2.0)
    distances[distances < 1e-6] = 0.0  # rounding of float32: the same direction
    return distances, found
