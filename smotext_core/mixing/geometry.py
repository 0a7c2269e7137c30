"""Where mixed vectors lie among the real ones: their length, how near, and among whose texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smotext_core.neighbors import SIMILARITY_BYTES, UnitVectors, unit

M_NEAREST = 10
MOST_SAMPLES, MOST_REAL = 2000, 500  # looked at, evenly spread
GROUP = 64  # similarities that are looked at by their highest first
NORM_TOLERANCE = 0.01  # of a length: unit vectors have one up to rounding


def spread(n: int, most: int) -> NDArray[np.int64]:
    """At most `most` row numbers, evenly over n."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def placement(
    vectors: NDArray[np.floating[Any]],
    own: NDArray[np.floating[Any]],
    others: Iterable[NDArray[np.floating[Any]] | UnitVectors] = (),
    *,
    norms: NDArray[np.floating[Any]] | None = None,
) -> dict[str, float]:
    """Figures of the mixed vectors (n, d) of a class among real ones, distances 1 - cosine.

    - `mean_norm`, `mean_real_norm`; `norm_outside`: the share of samples shorter or longer than
      every real vector of the class by more than 1 %. Decoders know real lengths alone.
    - `nearest_real_min`, `nearest_real_median`: to the nearest real vector of the class.
    - With other classes, `foreign_share`: mean share of them among the 10 nearest real vectors of a
      sample (as many as the class has, where it is smaller: more cannot be its own), and
      `foreign_majority`: share of samples with more of them than half. `real_foreign_share`,
      `real_foreign_majority`: the same of the real vectors of the class among the rest.

    At most 2,000 samples and 500 real vectors of the class are looked at, evenly spread, all real
    vectors are looked for.

    Args:
        own: (r, d), the real vectors of the class, at least one.
        others: real vectors of all other classes, in any number of parts (m, d); `UnitVectors`
            where several classes look among the same ones.
        norms: lengths of all mixed vectors, where `vectors` are only some of them.

    Raises:
        ValueError: no samples or no real vectors.
    """
    if not len(vectors) or not len(own):
        raise ValueError(
            f"placement needs samples and real vectors, got {len(vectors)} and {len(own)}"
        )
    norms = np.linalg.norm(vectors, axis=1) if norms is None else norms
    real_norms = np.linalg.norm(own, axis=1)
    shortest, longest = real_norms.min(), real_norms.max()
    outside = (norms < shortest * (1 - NORM_TOLERANCE)) | (norms > longest * (1 + NORM_TOLERANCE))
    samples = unit(vectors[spread(len(vectors), MOST_SAMPLES)])
    real = unit(own[spread(len(own), MOST_REAL)])
    queries = np.vstack([samples, real])
    m = min(M_NEAREST, len(own))
    best = _nearest(queries, own, m + 1)
    nearest = np.clip(1 - best[: len(samples), 0].astype(np.float64), 0, 2)
    found = {
        "mean_norm": float(norms.mean()),
        "mean_real_norm": float(real_norms.mean()),
        "norm_outside": float(outside.mean()),
        "nearest_real_min": float(nearest.min()),
        "nearest_real_median": float(np.median(nearest)),
    }
    parts = [_nearest(queries, part, m) for part in others if len(part)]
    if parts:
        foreign = np.sort(np.hstack(parts), axis=1)[:, ::-1][:, :m]
        best[len(samples) :, :-1] = best[len(samples) :, 1:]  # the first is the real text itself
        others_of_own = min(M_NEAREST, len(own) - 1)  # a real text has one fewer
        for name, rows, k in (
            ("", slice(len(samples)), m),
            ("real_", slice(len(samples), None), others_of_own),
        ):
            if k:
                share = _foreign_share(best[rows, :k], foreign[rows, :k])
                found[f"{name}foreign_share"] = float(share.mean())
                found[f"{name}foreign_majority"] = float((share > 0.5).mean())
    return found


def _nearest(
    queries: NDArray[np.float32], records: NDArray[np.floating[Any]] | UnitVectors, k: int
) -> NDArray[np.float32]:
    """The k highest cosines of each query (q, d) to the records, (q, k); -inf past their number."""
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    # what is not at length one yet is copied a block at a time
    width = 1 if isinstance(records, UnitVectors) else queries.shape[1]
    step = max(1, SIMILARITY_BYTES // (4 * max(len(queries), width)))
    for start in range(0, len(records), step):
        block = UnitVectors(records[start : start + step]).rows
        best = _highest(np.hstack([best, queries @ block.T]), k)
    return np.sort(best, axis=1)[:, ::-1]


def _highest(values: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """The k highest of each row (q, m), m of k or more, in any order: (q, k).

    They lie in the k groups of columns with the highest maxima, so only these are looked into.
    """
    n_groups = max(k, values.shape[1] // GROUP)
    size = -(-values.shape[1] // n_groups)
    grouped = np.full((len(values), size * n_groups), -np.inf, dtype=np.float32)
    grouped[:, : values.shape[1]] = values
    grouped = grouped.reshape(len(values), size, n_groups)
    maxima = grouped.max(axis=1)
    groups = np.argpartition(maxima, n_groups - k, axis=1)[:, n_groups - k :]
    found = np.take_along_axis(grouped, groups[:, None], axis=2).reshape(len(values), -1)
    return np.partition(found, found.shape[1] - k, axis=1)[:, -k:]


def _foreign_share(own: NDArray[np.float32], foreign: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of the foreign among the m nearest of both, (q, m) each, best first; own at a tie."""
    m = own.shape[1]
    both = np.hstack([own, foreign])
    chosen = np.argsort(-both, axis=1, kind="stable")[:, :m]
    return np.asarray((chosen >= m).mean(axis=1))
