"""Real points from interpolated ones: lines through synthetic points meet at their parents.

ReconSMOTE of "SMOTE and Mirrors" (ICLR 2026): two synthetic points of one segment give its line,
and the lines of two segments with a common end meet there, at a real point. The attacker needs the
synthetic points alone. Vectors are compared by direction, so a line is the plane that it spans
with the origin: mixing along the arc and mixing along the chord are found alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from smotext_core.neighbors import closest_cosine, nearest_records, unit

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

EXACT = 0.999  # cosine at which a candidate counts as a real vector
ALIKE = 0.95  # likewise for vectors of texts: decoding and encoding again lose the rest
MAX_POINTS = 500  # the work grows with the square of the points
_PARTNERS = 10  # nearest synthetic points that a point is joined with
_SAME_LINE = 1e-4  # two planes whose second cosine is this near to 1 are one plane
_BLOCK = 256


def candidates(synthetic: npt.ArrayLike, *, seed: int) -> Floats:
    """Guesses at real vectors, unit length, (at most one a line, d).

    Each line is met with the line that comes nearest to it; lines that share a synthetic point meet
    there and tell nothing. Of more than `MAX_POINTS` points a random draw is attacked.
    """
    points = np.unique(unit(synthetic), axis=0)
    if len(points) > MAX_POINTS:
        drawn = np.random.default_rng(seed).choice(len(points), MAX_POINTS, replace=False)
        points = points[np.sort(drawn)]
    if len(points) < 4:  # two lines without a common point
        return np.zeros((0, points.shape[1]), dtype=np.float32)
    ends = _pairs(points)
    frames, ends = _planes(points, ends)
    if not len(ends):
        return np.zeros((0, points.shape[1]), dtype=np.float32)
    met = [_meet(frames, ends, points, start) for start in range(0, len(ends), _BLOCK)]
    return np.concatenate(met)


def reconstructed(found: npt.ArrayLike, real: npt.ArrayLike, *, cosine: float) -> Mask:
    """True for each real row (n, d) to which a candidate has this cosine or more, (n,)."""
    return closest_cosine(real, found) >= cosine


def _pairs(points: Floats) -> Ints:
    """Each point with its nearest other points, every pair once, (lines, 2)."""
    k = min(_PARTNERS + 1, len(points))
    _, found = nearest_records(points, points, k=k)
    first = np.repeat(np.arange(len(points)), k)
    pairs = np.sort(np.stack([first, found.ravel()], axis=1), axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def _planes(points: Floats, ends: Ints) -> tuple[Floats, Ints]:
    """Two orthonormal vectors that span each line's plane, (lines, 2, d); points too near go."""
    one, other = (points[column].astype(np.float64) for column in ends.T)
    across = other - np.einsum("ld,ld->l", one, other)[:, None] * one
    length = np.linalg.norm(across, axis=1)
    apart = length > 1e-3  # float32 says nothing of the direction below it
    across = across[apart] / length[apart, None]
    return np.stack([one[apart], across], axis=1).astype(np.float32), ends[apart]


def _meet(frames: Floats, ends: Ints, points: Floats, start: int) -> Floats:
    """The direction at which each line of a block comes nearest to its best other line."""
    mine, own = frames[start : start + _BLOCK], ends[start : start + _BLOCK]
    n, d = len(mine), frames.shape[2]
    dots = mine.reshape(2 * n, d) @ frames.reshape(-1, d).T
    a, b = dots[0::2, 0::2], dots[0::2, 1::2]
    c, e = dots[1::2, 0::2], dots[1::2, 1::2]
    # Singular values of the 2 by 2 products are the cosines between the planes.
    total, product = a * a + b * b + c * c + e * e, a * e - b * c
    root = np.sqrt(np.maximum(total * total - 4 * product * product, 0))
    first, second = (total + root) / 2, (total - root) / 2
    shared = (own[:, None, :, None] == ends[None, :, None, :]).any(axis=(2, 3))
    first[shared | (second > 1 - _SAME_LINE)] = -1
    best = first.argmax(axis=1)
    every = np.flatnonzero(first[np.arange(n), best] > 0)
    best, mine, own = best[every], mine[every], own[every]
    left = np.linalg.svd(np.einsum("nid,njd->nij", mine, frames[best]))[0][:, :, 0]
    found = np.einsum("ni,nid->nd", left, mine)
    middle = points[own[:, 0]] + points[own[:, 1]]  # a direction has two signs: the points' side
    sign = np.where(np.einsum("nd,nd->n", found, middle) < 0, -1, 1)
    return unit(found * sign[:, None])
