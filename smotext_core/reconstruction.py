"""Parents of interpolated rows from the rows alone: lines through them meet at real points.

Rows mixed from one pair lie on one line, and the lines of the pairs that share a parent meet at it
("SMOTE and Mirrors", ICLR 2026). Lines are taken through three rows or more, since in hundreds of
dimensions three unrelated rows do not line up, and crossings of two lines are the candidates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from smotext_core.neighbors import closest_cosine

Doubles = npt.NDArray[np.float64]

COSINE = 0.999  # of a candidate and the real row it is said to be
_NEAREST = 32  # rows beside each row among which lines are looked for
_BLOCK = 256  # lines crossed with all others at once
_MAX_LINES = 4000  # crossings grow with the square


class Reconstruction(NamedTuple):
    """How many real rows were found, and how many candidates were real rows."""

    recall: float  # share of real rows with a candidate within the cosine
    precision: float  # share of candidates within the cosine of a real row; 0 without one
    candidates: int


def reconstruct(rows: npt.ArrayLike, *, tolerance: float = 1e-4) -> Doubles:
    """Points where lines through three or more of `rows` (n, d) meet, (m, d).

    Args:
        rows: not scaled to length 1, which would bend the lines.
        tolerance: of the sine between two rows seen from a third, and of the gap between two
            lines as a share of the shorter one's length.

    Raises:
        ValueError: `rows` is no matrix, or the tolerance lies outside (0, 1).
    """
    points = np.asarray(rows, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"rows must be a matrix (n, d); got the shape {points.shape}")
    if not 0 < tolerance < 1:
        raise ValueError(f"the tolerance must lie in (0, 1); got {tolerance}")
    ends = _lines(points, tolerance)
    if len(ends) < 2:
        return np.zeros((0, points.shape[1]))
    return _crossings(points[ends[:, 0]], points[ends[:, 1]], tolerance)


def score(
    candidates: npt.ArrayLike, real: npt.ArrayLike, *, cosine: float = COSINE
) -> Reconstruction:
    """Compare candidates (m, d) with real rows (n, d).

    Raises:
        ValueError: no real row.
    """
    found, truth = np.asarray(candidates), np.asarray(real)
    if not len(truth):
        raise ValueError("real must hold a row or more; got none: nothing can be recovered")
    if not len(found):
        return Reconstruction(0.0, 0.0, 0)
    recall = float((closest_cosine(truth, found) >= cosine).mean())
    return Reconstruction(
        recall, float((closest_cosine(found, truth) >= cosine).mean()), len(found)
    )


def _lines(points: Doubles, tolerance: float) -> npt.NDArray[np.int64]:
    """The two outermost rows of each line through three rows or more, (lines, 2)."""
    squares = (points**2).sum(axis=1)
    lines: dict[tuple[int, int], None] = {}
    for i, point in enumerate(points):
        distance = squares + squares[i] - 2 * points @ point
        distance[i] = np.inf
        near = np.argsort(distance, kind="stable")[:_NEAREST]
        offsets = points[near] - point
        length = np.linalg.norm(offsets, axis=1)
        near, offsets, length = near[length > 0], offsets[length > 0], length[length > 0]
        directions = offsets / length[:, None]
        cosines = directions @ directions.T
        aligned = 1 - cosines**2 <= tolerance**2
        np.fill_diagonal(aligned, False)
        for first in np.flatnonzero(aligned.any(axis=1)):
            mates = np.append(np.flatnonzero(aligned[first]), first)
            along = length[mates] * np.sign(cosines[first, mates])
            members, at = np.append(near[mates], i), np.append(along, 0.0)
            low, high = sorted((int(members[at.argmin()]), int(members[at.argmax()])))
            lines[low, high] = None
    return np.array(sorted(lines), dtype=np.int64).reshape(-1, 2)[:_MAX_LINES]


def _crossings(start: Doubles, end: Doubles, tolerance: float) -> Doubles:
    """Midpoints of the shortest way between lines that (nearly) meet, (m, d)."""
    length = np.linalg.norm(end - start, axis=1)
    unit = (end - start) / length[:, None]
    own = (start * unit).sum(axis=1)
    squares = (start**2).sum(axis=1)
    met = []
    for begin in range(0, len(start), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        turn = unit[rows] @ unit.T
        here = own[rows, None] - unit[rows] @ start.T  # along mine, of start - other start
        there = start[rows] @ unit.T - own
        apart = squares[rows, None] + squares - 2 * start[rows] @ start.T
        sine = 1 - turn**2
        with np.errstate(divide="ignore", invalid="ignore"):
            mine = (turn * there - here) / sine
            other = (there - turn * here) / sine
            gap = apart + 2 * mine * here - 2 * other * there
            gap += mine**2 + other**2 - 2 * mine * other * turn
        limit = tolerance * np.minimum(length[rows, None], length)
        # lines that are nearly one line cross anywhere; 0.1 is an angle of six degrees
        meets = (sine > 0.1**2) & (gap <= limit**2)
        first, second = np.nonzero(meets)
        upper = first + begin < second
        first, second = first[upper], second[upper]
        one = start[first + begin] + mine[first, second, None] * unit[first + begin]
        two = start[second] + other[first, second, None] * unit[second]
        met.append((one + two) / 2)
    return np.concatenate(met)
