"""Neighbours of classes too large for the exact search, by faiss, and how many it finds.

Inverted lists and product quantisation (Jégou, Douze & Schmid 2011), scanned 4 bits a part (André
et al. 2017), propose candidates; their cosines to the vectors themselves order them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smotext_core.neighbors.exact import (
    TOLERANCE,
    nearest_neighbors,
    paired_cosines,
    ranked,
    search_whole_rows,
    vector_norms,
)

EXACT_UP_TO = 100_000  # rows: about a minute on one core at d = 384, once for each set of vectors
RECALL = 0.99
N_CANDIDATES = 128
SAMPLE = 512  # rows whose exact neighbours tell the recall
BLOCK_ROWS = 16_384
CANDIDATE_BYTES = 32 * 2**20  # of one block of candidates' vectors


def find_neighbors(
    embeddings: NDArray[np.floating[Any]],
    *,
    k: int,
    exact_up_to: int = EXACT_UP_TO,
) -> tuple[NDArray[np.int64], float]:
    """The k nearest other rows by cosine, nearest first, (n, k), and the recall.

    Exact, recall 1, up to `exact_up_to` rows. Above, an index searched as widely as it takes for a
    recall of .99 on 512 rows evenly spread; where no width reaches it, or without faiss, exact too.
    A neighbour counts as found where one as near was. The same vectors in the same order give the
    same rows.

    Raises:
        ValueError: as `nearest_neighbors`.
    """
    embeddings = np.asarray(embeddings)
    n = len(embeddings)
    if n <= max(exact_up_to, 2 * SAMPLE, N_CANDIDATES + k) or not 1 <= k < n:
        return nearest_neighbors(embeddings, k=k), 1.0
    try:
        import faiss  # noqa: F401
    except ImportError:
        return nearest_neighbors(embeddings, k=k), 1.0
    norms = vector_norms(embeddings)
    sample = np.linspace(0, n - 1, SAMPLE).astype(np.int64)
    exact = np.zeros((n, k), dtype=np.int64)
    search_whole_rows(embeddings, norms, sample, exact)
    kth = paired_cosines(embeddings, norms, sample, exact[sample, -1])
    for dimensions in (4, 2):  # of a part, one of 16 values each
        index = _index(embeddings, norms, part=dimensions)
        probes = max(1, index.nlist // 16)
        while True:
            index.nprobe = min(probes, index.nlist)
            found = _search(index, embeddings, norms, sample, k=k)
            cosines = paired_cosines(embeddings, norms, sample.repeat(k), found.ravel())
            recall = float((cosines.reshape(-1, k) >= kth[:, None] - TOLERANCE).mean())
            if recall >= RECALL:
                rows = (np.arange(i, min(i + BLOCK_ROWS, n)) for i in range(0, n, BLOCK_ROWS))
                blocks = [_search(index, embeddings, norms, row, k=k) for row in rows]
                return np.concatenate(blocks), recall
            if probes >= index.nlist // 2:
                break  # of all lists the search is no faster than exact
            probes = math.ceil(1.5 * probes)
    return nearest_neighbors(embeddings, k=k), 1.0


def _index(embeddings: NDArray[np.floating[Any]], norms: NDArray[np.float64], *, part: int) -> Any:
    import faiss

    n, dimension = embeddings.shape
    padded = -(-dimension // part) * part
    cells = math.isqrt(n)
    index: Any = faiss.index_factory(
        padded, f"IVF{cells},PQ{padded // part}x4fs", faiss.METRIC_INNER_PRODUCT
    )
    index.train(_padded(embeddings, norms, np.arange(0, n, max(1, n // (40 * cells))), padded))
    for start in range(0, n, BLOCK_ROWS):
        rows = np.arange(start, min(start + BLOCK_ROWS, n))
        index.add(_padded(embeddings, norms, rows, padded))
    return index


def _search(
    index: Any,
    embeddings: NDArray[np.floating[Any]],
    norms: NDArray[np.float64],
    rows: NDArray[np.int64],
    *,
    k: int,
) -> NDArray[np.int64]:
    n, dimension = embeddings.shape
    wanted = max(N_CANDIDATES, 8 * k) + 1
    _, proposed = index.search(_padded(embeddings, norms, rows, index.d), wanted)
    neighbors = np.empty((len(rows), k), dtype=np.int64)
    step = max(1, CANDIDATE_BYTES // (4 * wanted * dimension))
    for start in range(0, len(rows), step):
        here = slice(start, start + step)
        row, column = rows[here], proposed[here]
        queries = _padded(embeddings, norms, row, dimension)
        others = embeddings[column].astype(np.float32, copy=False)
        value = (others @ queries[:, :, None])[:, :, 0] / norms[column].astype(np.float32)
        value[(column == row[:, None]) | (column < 0)] = -np.inf
        bound = np.partition(value, wanted - k, axis=1)[:, wanted - k]
        few = np.isneginf(bound)  # lists with fewer than k others
        kept = (value >= bound[:, None] - TOLERANCE) & ~few[:, None]
        at, _ = np.nonzero(kept)
        order = ranked(embeddings, norms, row[at], column[kept], value[kept])
        counts = kept.sum(axis=1)
        first = (np.cumsum(counts) - counts)[~few]
        neighbors[here][~few] = column[kept][order[first[:, None] + np.arange(k)]]
        if few.any():
            whole = np.empty((n, k), dtype=np.int64)
            search_whole_rows(embeddings, norms, row[few], whole)
            neighbors[here][few] = whole[row[few]]
    return neighbors


def _padded(
    embeddings: NDArray[np.floating[Any]],
    norms: NDArray[np.float64],
    rows: NDArray[np.int64],
    dimension: int,
) -> NDArray[np.float32]:
    """Those rows at length one, float32, with zeros up to `dimension`."""
    block = np.zeros((len(rows), dimension), dtype=np.float32)
    block[:, : embeddings.shape[1]] = embeddings[rows] / norms[rows, None]
    return block
