"""SMOTE's pairs: of which texts each new sample is made, and how much of each.

Chawla et al. 2002 and its family, see `strategies`. Knows vectors and ids, no texts. Distances are
cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from smotext_core.mixing.interpolation import Lam, LamLaw, neighbor_weights, parse_lam
from smotext_core.mixing.strategies import STRATEGIES, Plan, Strategy, largest_group, plan_pairs
from smotext_core.neighbors import vector_norms
from smotext_core.schemas import CLASS_PAIRS, conform
from smotext_core.streams import sample_uniforms

SAMPLES = 2**17  # drawn at a time


def make_pairs(
    text_ids: Sequence[str],
    embeddings: NDArray[np.floating[Any]],
    *,
    run: str,
    label: str,
    slug: str,
    n_samples: int,
    strategy: Strategy = "smote",
    k_neighbors: int = 5,
    m_neighbors: int = 10,
    n_parents: int = 2,
    seed: int = 0,
    lam: Lam = "uniform",
    others: NDArray[np.floating[Any]] | None = None,
    neighbors: NDArray[np.int64] | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[pl.DataFrame, str | None]:
    """Parents and weights of each sample to make of one class, as CLASS_PAIRS.

    The base is drawn by the strategy's weights, its neighbours without repetition from those the
    strategy gives it, λ by its law; a sample's draws are a function of (seed, label, number) alone,
    so more samples keep the first. The order of the texts does not matter.

    Args:
        text_ids: n unique ids.
        embeddings: (n, d), one row an id.
        strategy: see `strategies.plan_pairs`.
        k_neighbors: nearest texts of the class to mix with; "random" takes any.
        m_neighbors: nearest texts of all classes that tell borderline and svm what is in danger.
        n_parents: points of a sample, base included. Above 2 weights are Dirichlet.
        lam: the neighbour's weight, see `mixing.parse_lam`.
        others: (m, d), the texts of all other classes, for the strategies that look at them.
        neighbors: (n, ≥ k), rows of `embeddings` nearest to each, nearest first, if known; with
            m_neighbors columns borderline and svm search the class no more. kmeans has its own.
        groups: n names, of the document each text is a passage of: neighbours are of another
            document than the base, where the class has two.

    Returns:
        The pairs and the fallbacks taken, in words, where the class is too small for the options
        or has nothing that the strategy looks for.

    Raises:
        ValueError: no text, ids that repeat or do not match the rows, a zero, NaN or infinite
            vector, `others`, `neighbors` or `groups` of another shape, or an option out of its
            range.
    """
    law = check_options(
        strategy=strategy,
        k_neighbors=k_neighbors,
        m_neighbors=m_neighbors,
        n_parents=n_parents,
        lam=lam,
    )
    n = len(text_ids)
    if n == 0:
        raise ValueError(f"class {label!r} has no texts: SMOTE needs at least 1 to make samples of")
    if len(embeddings) != n or len(set(text_ids)) != n:
        raise ValueError(
            f"class {label!r} needs one vector for each unique text id, got {len(embeddings)} "
            f"vectors for {n} ids, {len(set(text_ids))} of them unique"
        )
    if n_samples < 0:
        raise ValueError(f"n_samples must be 0 or more, got n_samples={n_samples}")
    embeddings = np.asarray(embeddings)
    vector_norms(embeddings)
    notes = []
    group = None if groups is None else _group_numbers(groups, n=n)
    if group is not None and n > 1 and largest_group(group, n) == n:
        notes.append(f"all {n} texts are of one document: its passages are mixed with each other")
        group = None
    if group is not None and largest_group(group, n) == 1:
        group = None
    partners_of_all = n - largest_group(group, n)
    k = min(k_neighbors, partners_of_all)
    if neighbors is not None:
        neighbors = np.asarray(neighbors)
        _check_neighbors(neighbors, n=n, k=k)
    if others is not None:
        others = np.asarray(others)
        _check_others(others, dimension=embeddings.shape[1])
    ids = pl.Series(text_ids, dtype=pl.String)
    if not all(a < b for a, b in pairwise(text_ids)):  # sorted already, nothing needs a copy
        order = np.array(sorted(range(n), key=text_ids.__getitem__))
        ids, embeddings = ids.gather(order), embeddings[order]
        if group is not None:
            group = group[order]
        if neighbors is not None:
            neighbors = np.argsort(order)[neighbors[order]]
    plan, mixed = None, 1
    if n == 1:
        notes.append("only one text: its own vector is decoded")
    else:
        plan = plan_pairs(
            strategy,
            embeddings,
            k_neighbors=k_neighbors,
            m_neighbors=m_neighbors,
            seed=seed,
            others=others,
            neighbors=neighbors,
            groups=group,
        )
        mixed = min(n_parents, (partners_of_all if plan.neighbors is None else k) + 1)
        few = f"only {n} texts"
        if group is not None:
            few = f"only {partners_of_all} of {n} texts are not of the largest document"
        if k < k_neighbors and strategy != "random":
            notes.append(f"{few}: k_neighbors {k} instead of {k_neighbors}")
        if mixed < n_parents:
            notes.append(f"{few}: n_parents {mixed} instead of {n_parents}")
        if plan.note:
            notes.append(plan.note)
        if all((row == embeddings[0]).all() for row in embeddings):
            notes.append(f"all {n} texts have the same vector: every sample decodes that vector")
    drawn = []
    for first in range(0, n_samples, SAMPLES):
        numbers = np.arange(first, min(first + SAMPLES, n_samples))
        draws = sample_uniforms(numbers, 2 * n_parents - 1, seed=seed, label=label)
        parents, weights = _draw(plan, draws, law, n=n, n_parents=mixed, groups=group)
        number = pl.Series("number", numbers)
        part = pl.DataFrame(
            {
                "sample_id": f"{run}.{slug}." + number.cast(pl.String).str.zfill(6),
                "number": number,
                "parent_ids": pl.select(pl.concat_list([ids[p] for p in parents.T])).to_series(),
                "weights": pl.Series(weights),
            }
        )
        drawn.append(conform(part, CLASS_PAIRS))
    pairs = pl.concat(drawn) if drawn else CLASS_PAIRS.to_frame()
    return pairs, "; ".join(notes) or None


def _draw(
    plan: Plan | None,
    draws: NDArray[np.float64],
    law: LamLaw,
    *,
    n: int,
    n_parents: int,
    groups: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of the parents and their weights, both (samples, n_parents)."""
    if plan is None:
        return np.zeros((len(draws), 1), dtype=np.int64), np.ones((len(draws), 1))
    base = _weighted_choice(draws[:, 0], plan.weights)
    choice = draws[:, 1 : 2 * n_parents - 1 : 2]
    if plan.neighbors is None:
        group = np.arange(n) if groups is None else groups
        ranks, partners = _of_other_groups(choice, base, group)
    else:
        ranks = _distinct_choice(choice, np.full(len(draws), plan.neighbors.shape[1]))
        partners = plan.neighbors[base[:, None], ranks]
    shares = neighbor_weights(draws[:, 2 : 2 * n_parents : 2], law)
    if plan.reach is not None:
        shares = shares * plan.reach[base[:, None], ranks] + 0.0  # no -0.0
    return np.column_stack([base, partners]), np.column_stack([1 - shares.sum(axis=1), shares])


def check_options(
    *, strategy: str, k_neighbors: int, m_neighbors: int, n_parents: int, lam: Lam
) -> LamLaw:
    """The law of λ, once the options of `make_pairs` can be, whatever the texts.

    Raises:
        ValueError: one of them, or two together, cannot be.
    """
    law = parse_lam(lam)
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {STRATEGIES}, got {strategy!r}")
    if min(k_neighbors, m_neighbors) < 1 or n_parents < 2:
        raise ValueError(
            "k_neighbors must be at least 1, m_neighbors at least 1 and n_parents at least 2, got "
            f"k_neighbors={k_neighbors}, m_neighbors={m_neighbors}, n_parents={n_parents}"
        )
    if strategy != "random" and n_parents > k_neighbors + 1:
        raise ValueError(
            f"n_parents={n_parents} takes {n_parents - 1} neighbours of a text, k_neighbors is "
            f"{k_neighbors}: raise it"
        )
    neighbor_weights(np.empty((0, n_parents - 1)), law)
    return law


def _group_numbers(groups: Sequence[str], *, n: int) -> NDArray[np.int64]:
    if len(groups) != n:
        raise ValueError(f"groups must name a document for each of {n} texts, got {len(groups)}")
    number: NDArray[np.int64] = np.unique(np.asarray(groups), return_inverse=True)[1]
    return number.astype(np.int64)


def _of_other_groups(
    uniforms: NDArray[np.float64], base: NDArray[np.int64], group: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks (samples, m) among all rows of other groups than the base's, and those rows."""
    rows = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    start, size = (np.cumsum(sizes) - sizes)[group[base]], sizes[group[base]]
    ranks = _distinct_choice(uniforms, len(group) - size)
    return ranks, rows[ranks + (ranks >= start[:, None]) * size[:, None]]


def _check_neighbors(neighbors: NDArray[np.int64], *, n: int, k: int) -> None:
    wanted = f"neighbors must be whole numbers of shape (n, ≥ k) = ({n}, ≥ {k})"
    if neighbors.ndim != 2 or not np.issubdtype(neighbors.dtype, np.integer):
        raise ValueError(f"{wanted}, got {neighbors.dtype} of shape {neighbors.shape}")
    if len(neighbors) != n or neighbors.shape[1] < k:
        raise ValueError(f"{wanted}, got shape {neighbors.shape}: search them again")
    wrong = (neighbors < 0) | (neighbors >= n) | (neighbors == np.arange(n)[:, None])
    if wrong.any():
        row = int(wrong.any(axis=1).argmax())
        raise ValueError(
            f"neighbors must be rows of the class, 0 to {n - 1}, and not the row itself; row "
            f"{row} has {neighbors[row].tolist()}"
        )


def _check_others(others: NDArray[np.floating[Any]], *, dimension: int) -> None:
    try:
        if len(others):
            vector_norms(others)
    except ValueError as error:
        raise ValueError(f"vectors of the other classes: {error}") from None
    if others.shape[1:] != (dimension,):
        raise ValueError(
            f"others must have shape (m, {dimension}) as the class has, got {others.shape}"
        )


def _weighted_choice(
    uniforms: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Rows in proportion to `weights`, by inverse CDF; floor(u·n) for weights all 1."""
    edges = np.cumsum(weights)
    rows: NDArray[np.int64] = np.searchsorted(edges, uniforms * edges[-1], side="right").astype(
        np.int64
    )
    rows[rows == len(weights)] = np.flatnonzero(weights)[-1]  # u·total can round up to the total
    return rows


def _distinct_choice(uniforms: NDArray[np.float64], n: NDArray[np.int64]) -> NDArray[np.int64]:
    """m of 0 … n - 1 without repetition from draws (samples, m), each left equally likely; n
    (samples,) is at least m.
    """
    chosen = np.empty(uniforms.shape, dtype=np.int64)
    for j in range(uniforms.shape[1]):
        rank = np.minimum((uniforms[:, j] * (n - j)).astype(np.int64), n - j - 1)
        for before in np.sort(chosen[:, :j], axis=1).T:
            rank += rank >= before  # skip those taken
        chosen[:, j] = rank
    return chosen
