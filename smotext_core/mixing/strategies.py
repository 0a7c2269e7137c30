"""Which texts of a class become parents: the SMOTE family as weights of bases and their partners.

A strategy looks at the vectors once and draws nothing, so a sample never depends on how many others
are asked for. Nearness is cosine; the papers' Euclidean distance gives the same order on vectors
of one length, and the SVM and the clusters are of the vectors' directions.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from smotext_core.neighbors import (
    ROWS_BYTES,
    nearest_neighbors,
    nearest_records,
    search_whole_rows,
    unit,
    vector_norms,
)

Strategy = Literal["smote", "random", "borderline-1", "borderline-2", "adasyn", "svm", "kmeans"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
WITHIN_CLASS: tuple[Strategy, ...] = ("smote", "random")  # look at no other class

N_CLUSTERS = 8  # of k-means, scikit-learn's and imbalanced-learn's default
OUT_STEP = 0.5  # of SVM-SMOTE beyond the base, imbalanced-learn's default
SPARE = 4  # times k neighbours are searched for where those of the own group do not count


class Plan(NamedTuple):
    """What a strategy makes of the n texts of a class, before any draw."""

    weights: NDArray[np.float64]  # (n,), how often each is the base, up to a factor
    neighbors: NDArray[np.int64] | None  # (n, k), equally likely partners; None: any other text
    reach: NDArray[np.float64] | None  # (n, k), times λ, below 0 away from the partner; None: 1
    note: str | None  # the fallback taken, in words


def plan_pairs(
    strategy: Strategy,
    embeddings: NDArray[np.floating[Any]],
    *,
    k_neighbors: int = 5,
    m_neighbors: int = 10,
    seed: int = 0,
    others: NDArray[np.floating[Any]] | None = None,
    neighbors: NDArray[np.int64] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> Plan:
    """Bases and partners of a class of n ≥ 2 texts.

    - "smote" (Chawla et al. 2002): every text is a base; partners are its k nearest of the class.
    - "random" (SMOTExT, Bystroński et al. 2025): partners are all other texts of the class.
    - "borderline-1" (Han et al. 2005): bases are the texts in danger, m/2 ≤ m' < m for m' texts of
      other classes among the m nearest.
    - "borderline-2" (Han et al. 2005): the same bases. In the paper a neighbour may be of another
      class, at λ ~ U(0, .5). A parent of another class would put its words under this label, so
      here f such among the k nearest of all are stood in for by the f farthest of the k nearest of
      the class, at half of λ: samples stay as near to the base, and all parents share the label.
    - "adasyn" (He et al. 2008): a base is drawn in proportion to Γᵢ = Δᵢ / k, Δᵢ the texts of other
      classes among its k nearest. The paper makes round(Γᵢ / ΣΓ · n_samples) samples of text i;
      this many are expected here.
    - "svm" (Nguyen et al. 2011): bases are support vectors of an RBF SVM, this class against all
      others, but those with m' = m. In danger they move towards the neighbour, else (m' < m/2) away
      from it: z = base - λ/2·(neighbour - base), so the neighbour's weight is negative. Both kinds
      make half of the samples. Fitting takes time in the square of all texts.
    - "kmeans" (Last, Douzas & Bacao 2017; Douzas et al. 2018): k-means of all texts; of clusters at
      least half of this class and of more than k such texts, cluster c is drawn in proportion to
      (mean distance)^e / n_c over its n_c texts of the class, e = .16·(log₁.₆ n_c)^1.8; partners
      are the k nearest in it. Without a cluster half of this class, those above its overall share.

    Args:
        embeddings: (n, d), none zero or NaN.
        k_neighbors: partners of a base; fewer where not all texts have as many.
        seed: of k-means.
        others: (m, d), the texts of all other classes; "smote" and "random" need none.
        neighbors: (n, ≥ k), nearest rows of the class, nearest first; searched for if None.
        groups: (n,), numbers from 0, two or more; partners are of another group than the base.
            "random" leaves it to the draw. What is in danger does not depend on them.
    """
    n = len(embeddings)
    k = min(k_neighbors, n - largest_group(groups, n))
    n_others = 0 if others is None else len(others)
    m = k_neighbors if strategy == "adasyn" else m_neighbors
    looks_around = strategy in ("borderline-1", "borderline-2", "adasyn", "svm")
    if strategy == "random":
        return Plan(np.ones(n), None, None, None)
    if strategy == "kmeans":
        plan = _clustered(embeddings, others, k=k, seed=seed, groups=groups)
        if plan.weights.any():
            return plan
    if neighbors is None:
        searched = max(k if groups is None else SPARE * k, m if looks_around and n_others else 0)
        neighbors = nearest_neighbors(embeddings, k=min(searched, n - 1))
    partners = neighbors[:, :k]
    if groups is not None:
        partners = of_other_groups(embeddings, groups, neighbors, k=k)
    smote = Plan(np.ones(n), partners, None, None)
    if strategy == "smote":
        return smote
    if strategy == "kmeans":
        return _instead(smote, f"kmeans: no cluster holds more than {k} texts of this class")
    if others is None or n_others == 0:
        return _instead(smote, f"{strategy}: no text of another class was given")

    foreign = foreign_neighbors(embeddings, others, k=max(k, m), neighbors=neighbors)
    near, note = foreign[:, :m], None
    if near.shape[1] < m and strategy != "adasyn":
        note = f"only {n + n_others} texts in all: m_neighbors {near.shape[1]} instead of {m}"
    m, count = near.shape[1], near.sum(axis=1)
    danger = (2 * count >= m) & (count < m)
    reach = None
    if strategy == "adasyn":
        weights, reason = count / m, "no text has another class among its nearest"
    elif strategy == "svm":
        support = _support_vectors(embeddings, others) & (count < m)
        sides = [side for side in (support & danger, support & ~danger) if side.any()]
        weights = np.zeros(n)
        for side in sides:
            weights[side] = 1 / (len(sides) * side.sum())
        reach = np.repeat(np.where(danger, 1.0, -OUT_STEP)[:, None], k, axis=1)
        reason = "no support vector of this class but noise"
    else:
        weights, reason = danger.astype(np.float64), "no text is in danger"
        if strategy == "borderline-2":
            of_class = k - foreign[:, :k].sum(axis=1)
            reach = np.where(np.arange(k) < of_class[:, None], 1.0, 0.5)
    if not weights.any():
        return _instead(smote, f"{strategy}: {reason}")
    return Plan(weights, partners, reach, note)


def _instead(smote: Plan, reason: str) -> Plan:
    return smote._replace(note=f"{reason}; as in SMOTE, every text may be a base")


def largest_group(groups: NDArray[np.int64] | None, n: int) -> int:
    """Rows of the largest of the groups (n,); without groups every row is one."""
    return 1 if groups is None or n == 0 else int(np.bincount(groups).max())


def of_other_groups(
    embeddings: NDArray[np.floating[Any]],
    groups: NDArray[np.int64],
    neighbors: NDArray[np.int64],
    *,
    k: int,
) -> NDArray[np.int64]:
    """The k nearest rows of another group, nearest first, (n, k).

    Of `neighbors` (n, ≥ k) where k of them are; the other rows are compared with all.
    """
    other = groups[neighbors] != groups[:, None]
    first = np.argsort(~other, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(neighbors, first, axis=1)
    few = np.flatnonzero(other.sum(axis=1) < k)
    if few.size:
        search_whole_rows(embeddings, vector_norms(embeddings), few, found, groups=groups)
    return found


def foreign_neighbors(
    embeddings: NDArray[np.floating[Any]],
    others: NDArray[np.floating[Any]],
    *,
    k: int,
    neighbors: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Which of the k nearest texts of all classes are of another class, nearest first, (n, k).

    Of texts equally near, those of the class come first. Fewer columns where there are fewer texts.

    Args:
        embeddings: (n, d), the class.
        others: (m, d), all other classes.
        neighbors: nearest rows of the class, if known; searched for where they are fewer than k.
    """
    n_own = min(k, len(embeddings) - 1)
    if neighbors is None or neighbors.shape[1] < n_own:
        neighbors = nearest_neighbors(embeddings, k=n_own)
    _, strangers = nearest_records(embeddings, others, k=min(k, len(others)))
    cosines = np.hstack(
        [
            _cosines(embeddings, embeddings, neighbors[:, :n_own]),
            _cosines(embeddings, others, strangers),
        ]
    )
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return np.asarray(nearest >= n_own)


def _cosines(
    left: NDArray[np.floating[Any]], right: NDArray[np.floating[Any]], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cosine of each row of `left` (n, d) to its `rows` (n, k) of `right`, to 12 digits."""
    cosines = np.empty(rows.shape)
    step = max(1, ROWS_BYTES // (8 * left.shape[1] * rows.shape[1]))
    for start in range(0, len(left), step):
        block = slice(start, start + step)
        a = left[block].astype(np.float64)
        b = right[rows[block]].astype(np.float64)
        lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=2)
        cosines[block] = np.einsum("nd,nkd->nk", a, b) / lengths
    return np.round(cosines, 12)


def _directions(
    embeddings: NDArray[np.floating[Any]], others: NDArray[np.floating[Any]] | None
) -> NDArray[np.float32]:
    """Unit rows, the class first; k-means and the SVM see order, so the others are sorted."""
    if others is None or len(others) == 0:
        return unit(embeddings)
    directions = unit(others)
    as_bytes = directions.view(np.dtype((np.void, directions.strides[0]))).ravel()
    return np.vstack([unit(embeddings), directions[np.argsort(as_bytes, kind="stable")]])


def _support_vectors(
    embeddings: NDArray[np.floating[Any]], others: NDArray[np.floating[Any]]
) -> NDArray[np.bool_]:
    from sklearn.svm import SVC

    n = len(embeddings)
    is_own = np.arange(n + len(others)) < n
    fitted = SVC(gamma="scale").fit(_directions(embeddings, others), is_own)
    return np.isin(np.arange(n), fitted.support_)


def _clustered(
    embeddings: NDArray[np.floating[Any]],
    others: NDArray[np.floating[Any]] | None,
    *,
    k: int,
    seed: int,
    groups: NDArray[np.int64] | None,
) -> Plan:
    """The plan of "kmeans"; all weights 0 where no cluster has more than k texts of the class."""
    from sklearn.cluster import MiniBatchKMeans

    directions = _directions(embeddings, others)
    n, total = len(embeddings), len(directions)
    kmeans = MiniBatchKMeans(n_clusters=min(N_CLUSTERS, total), random_state=seed % 2**32)
    cluster = kmeans.fit_predict(directions)
    own = np.bincount(cluster[:n], minlength=kmeans.n_clusters)
    share = own / np.maximum(np.bincount(cluster, minlength=kmeans.n_clusters), 1)
    note = None
    members = [np.flatnonzero(cluster[:n] == c) for c in range(kmeans.n_clusters)]
    group_of = [None if groups is None else groups[rows] for rows in members]
    largest = [largest_group(g, len(rows)) for g, rows in zip(group_of, members, strict=True)]
    has_k = own - largest >= k
    chosen = np.flatnonzero(has_k & (share >= 0.5))
    if not chosen.size:
        chosen = np.flatnonzero(has_k & (share >= n / total))
        note = (
            f"kmeans: no cluster of more than {k} texts of this class is half of it; those with "
            f"its overall share of {n / total:.1%} or more instead"
        )
    neighbors = np.zeros((n, k), dtype=np.int64)
    for c in chosen:
        rows, group = members[c], group_of[c]
        near = nearest_neighbors(
            embeddings[rows], k=min(k if group is None else SPARE * k, len(rows) - 1)
        )
        if group is not None:
            near = of_other_groups(embeddings[rows], group, near, k=k)
        neighbors[rows] = rows[near]
    members = [members[c] for c in chosen]
    sparsity = [
        _mean_distance(directions[rows]) ** (0.16 * math.log(len(rows), 1.6) ** 1.8) / len(rows)
        for rows in members
    ]
    weights = np.zeros(n)
    for rows, weight in zip(members, sparsity, strict=True):
        # texts all alike have distance 0: alone, they are still the ones to take
        weights[rows] = (weight if any(sparsity) else 1.0) / len(rows)
    return Plan(weights, neighbors, None, note)


def _mean_distance(directions: NDArray[np.float32]) -> float:
    """Mean Euclidean distance of two different rows of unit vectors (n, d)."""
    rows = directions.astype(np.float64)
    n, summed = len(rows), 0.0
    step = max(1, 8 * ROWS_BYTES // (8 * n))
    for start in range(0, n, step):
        squares = 2 - 2 * rows[start : start + step] @ rows.T
        squares[np.arange(len(squares)), np.arange(start, start + len(squares))] = 0
        summed += float(np.sqrt(np.maximum(squares, 0)).sum())
    return summed / (n * (n - 1))
