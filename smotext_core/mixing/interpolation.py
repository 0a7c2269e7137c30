"""Where between its parents a sample lies: laws of λ, weights, interpolation.

Knows vectors and ids, no texts. Vectors keep the scale they came with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from smotext_core.neighbors import ROWS_BYTES, vector_norms

Mixing = Literal["linear", "linear-norm", "spherical"]
MIXINGS: tuple[Mixing, ...] = get_args(Mixing)

Lam: TypeAlias = str | float | tuple[float, float]
"""A law of λ as users write it, see `parse_lam`."""

PAIRS = 2**17  # looked up at a time
PARALLEL = 1e-8  # of 1 - |cos|: below it an arc is a line to float32, or has no one direction


def default_mixing(*, normalized: bool) -> Mixing:
    """The mixing that keeps to the lengths an encoder gives, all 1 or not."""
    return "linear-norm" if normalized else "linear"


class LamLaw(NamedTuple):
    """λ = low + (high - low)·b with b ~ Beta(alpha, alpha)."""

    low: float = 0.0
    high: float = 1.0
    alpha: float = 1.0


def parse_lam(lam: Lam) -> LamLaw:
    """The law of λ, the neighbour's share of a sample.

    Args:
        lam: "uniform", U(0, 1) (SMOTE, Chawla et al. 2002); "beta:0.4", Beta(.4, .4) (mixup, Zhang
            et al. 2018); a number or "0.5", fixed; a pair or "0.2-0.8", uniform in that range.

    Raises:
        ValueError: none of these, a λ outside [0, 1] or a Beta parameter that is not positive.
    """
    try:
        if lam == "uniform":
            return LamLaw()
        if isinstance(lam, str) and lam.startswith("beta:"):
            alpha = float(lam.removeprefix("beta:"))
            if not 0 < alpha < float("inf"):
                raise ValueError
            return LamLaw(alpha=alpha)
        low, high = _bounds(lam)
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if not 0 <= low <= high <= 1:
        raise ValueError(
            "lam must be 'uniform', a number in [0, 1], a range in it such as '0.2-0.8', or "
            f"'beta:A' with A > 0 such as 'beta:0.4'; got {lam!r}"
        )
    return LamLaw(low, high)


def _bounds(lam: Any) -> tuple[float, float]:
    if isinstance(lam, Real) and not isinstance(lam, bool):
        return float(lam), float(lam)
    if isinstance(lam, tuple | list):
        low, high = lam
        return float(low), float(high)
    if not isinstance(lam, str):
        raise ValueError
    low, dash, high = lam.partition("-")
    return float(low), float(high if dash else low)


def neighbor_weights(uniforms: NDArray[np.float64], law: LamLaw) -> NDArray[np.float64]:
    """Weights of the neighbours from uniform draws, both (n, m - 1); the base has the rest.

    For one neighbour its λ. For more, all m weights are Dirichlet(α, …, α), uniform on the simplex
    for α = 1: by stick-breaking, the j-th neighbour takes a share ~ Beta(α, (m - j)·α) of what is
    left. By inverse CDF, so one draw is one share.

    Raises:
        ValueError: m > 2 and a λ that is fixed or has a range.
    """
    n_neighbors = uniforms.shape[1]
    if n_neighbors > 1 and (law.low, law.high) != (0, 1):
        raise ValueError(
            f"{n_neighbors + 1} parents take lam='uniform' or 'beta:A'; a fixed λ or a range "
            f"weighs two, got {law.low}-{law.high}"
        )
    weights = np.empty_like(uniforms)
    left = np.ones(len(uniforms))
    for j in range(n_neighbors):
        share, others = uniforms[:, j], n_neighbors - j
        if law.alpha != 1 or others > 1:
            from scipy.special import betaincinv

            share = betaincinv(law.alpha, others * law.alpha, share)
        weights[:, j] = left * share
        left = left * (1 - share)
    return law.low + (law.high - law.low) * weights


def interpolate(
    pairs: pl.DataFrame,
    text_ids: Sequence[str] | pl.Series,
    embeddings: NDArray[np.floating[Any]],
    *,
    mixing: Mixing,
) -> NDArray[np.float32]:
    """The mixed vector of each sample, (n, d): the blocks of `mixed_blocks` as one array."""
    mixed = np.empty((len(pairs), np.shape(embeddings)[-1]), dtype=np.float32)
    done = 0
    for block in mixed_blocks(pairs, text_ids, embeddings, mixing=mixing):
        mixed[done : done + len(block)] = block
        done += len(block)
    return mixed


def mixed_blocks(
    pairs: pl.DataFrame,
    text_ids: Sequence[str] | pl.Series,
    embeddings: NDArray[np.floating[Any]],
    *,
    mixing: Mixing,
) -> Iterator[NDArray[np.float32]]:
    """The mixed vectors of the samples, in their order, a MiB at a time.

    A weight of 1 gives that parent to the bit.

    - "linear": z = Σ wᵢ·eᵢ, for a pair (1 - λ)·base + λ·neighbour (Chawla et al. 2002). Shorter
      than its parents: 0.92× at λ = .5 and cosine .7.
    - "linear-norm": the same, rescaled to r = Σ |wᵢ|·‖eᵢ‖ / Σ |wᵢ|; decoders of normalised
      encoders were trained on unit vectors.
    - "spherical": length r too. For a pair the direction is slerp (Shoemake 1985),
      sin((1 - λ)Ω)/sin Ω · a + sin(λΩ)/sin Ω · b of the unit parents a, b and the angle Ω between
      them, or the line where they are parallel; for more parents that of Σ wᵢ·eᵢ/‖eᵢ‖.

    Args:
        pairs: CLASS_PAIRS, any number of parents a sample. Weights may be negative: beyond the
            base, away from the neighbour.
        text_ids: unique ids, one a row of `embeddings` (m, d).

    Raises:
        ValueError: an unknown mixing, a parent without vector, weights that do not match the
            parents or sum to 1, a zero, NaN or infinite vector, opposite parents under
            "spherical", or a mix of length zero under "linear-norm" or "spherical".
    """
    if mixing not in MIXINGS:
        raise ValueError(f"mixing must be one of {MIXINGS}, got {mixing!r}")
    embeddings = np.asarray(embeddings)
    norms = vector_norms(embeddings)
    ids = pl.Series(text_ids, dtype=pl.String)
    for first in range(0, len(pairs), PAIRS):
        yield from _mixed_blocks(pairs[first : first + PAIRS], ids, embeddings, norms, mixing)


def _mixed_blocks(
    pairs: pl.DataFrame,
    ids: pl.Series,
    embeddings: NDArray[np.floating[Any]],
    norms: NDArray[np.float64],
    mixing: Mixing,
) -> Iterator[NDArray[np.float32]]:
    rows, weights, counts = _parents(pairs, ids)  # (n, p), unused places have weight 0
    step = max(1, ROWS_BYTES // (8 * embeddings.shape[1]))
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        row, weight = rows[block], weights[block]
        share = weight
        if mixing == "spherical":
            share = _arc_shares(embeddings, norms, row, weight, counts[block] == 2)
            opposite = np.isnan(share).any(axis=1)
            if opposite.any():
                sample_id = pairs["sample_id"][start + int(opposite.argmax())]
                raise ValueError(
                    f"the parents of sample {sample_id} point opposite ways: no one arc joins "
                    "them; use mixing='linear'"
                )
        factors = share.astype(np.result_type(embeddings.dtype, np.float32))
        z = np.zeros((len(row), embeddings.shape[1]), dtype=factors.dtype)
        for p in range(row.shape[1]):
            z += embeddings[row[:, p]] * factors[:, p, None]
        if mixing != "linear":
            length = np.sqrt(np.einsum("nd,nd->n", z, z, dtype=np.float64))
            if (length == 0).any():
                sample_id = pairs["sample_id"][start + int((length == 0).argmax())]
                raise ValueError(
                    f"the parents of sample {sample_id} cancel out: a zero vector has no "
                    "direction to give a length; use mixing='linear'"
                )
            size = np.abs(weight)
            z *= ((size * norms[row]).sum(axis=1) / size.sum(axis=1) / length)[:, None]
        mixed = z.astype(np.float32, copy=False)
        sample, parent = np.nonzero(weight == 1)  # lam 0 and lam 1 are a parent to the bit
        mixed[sample] = embeddings[row[sample, parent]]
        yield mixed


def _arc_shares(
    embeddings: NDArray[np.floating[Any]],
    norms: NDArray[np.float64],
    rows: NDArray[np.int64],
    weights: NDArray[np.float64],
    is_pair: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Factors of the parents (n, p) whose sum has the direction of "spherical"; NaN: opposite."""
    shares = weights / norms[rows]
    if not is_pair.any():
        return shares
    a, b = (embeddings[rows[is_pair, i]].astype(np.float64) for i in (0, 1))
    lengths = norms[rows[is_pair, :2]]
    cosines = np.einsum("nd,nd->n", a, b) / lengths.prod(axis=1)
    angle = np.arccos(np.clip(cosines, -1, 1))[:, None]
    between = weights[is_pair, :2]
    with np.errstate(divide="ignore", invalid="ignore"):
        slerp = np.sin(between * angle) / np.sin(angle) / lengths
    opposite = (cosines < PARALLEL - 1)[:, None] & (between != 1).all(axis=1, keepdims=True)
    parallel = (np.abs(cosines) > 1 - PARALLEL)[:, None]
    line = np.where(opposite, np.nan, shares[is_pair, :2])
    shares[is_pair, :2] = np.where(parallel, line, slerp)
    return shares


def _rows_of(wanted: pl.Series, ids: pl.Series) -> pl.Series:
    """The row of each id, null where it is none of `ids`."""
    if len(wanted) > len(ids):
        return wanted.replace_strict(ids, np.arange(len(ids)), default=None, return_dtype=pl.Int64)
    # few among many: a hash of all would take ten times the memory of the ids
    order = None if ids.is_sorted() else ids.arg_sort()
    ordered = ids if order is None else ids.gather(order)
    place = ordered.search_sorted(wanted).clip(upper_bound=len(ids) - 1)
    rows = place if order is None else order.gather(place)
    return rows.cast(pl.Int64).set(ordered.gather(place) != wanted, None)


def _parents(
    pairs: pl.DataFrame, ids: pl.Series
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Rows of the parents' vectors and their weights, (n, most parents), 0 past their counts."""
    counts = pairs["parent_ids"].list.len().cast(pl.Int64).to_numpy()
    if (counts != pairs["weights"].list.len().to_numpy()).any() or (counts == 0).any():
        raise ValueError("every sample needs at least one parent and one weight for each parent")
    flat = pairs.select(pl.col("parent_ids").explode())["parent_ids"]
    known = _rows_of(flat, ids)
    if known.null_count():
        unknown = flat.filter(known.is_null())
        raise ValueError(
            f"every parent needs a vector; {unknown.n_unique()} parents have none among "
            f"{len(ids)}, the first {unknown[0]!r}: pairs and embeddings are of different corpora"
        )
    most = int(counts.max()) if len(counts) else 0
    used = np.arange(most) < counts[:, None]
    rows = np.zeros(used.shape, dtype=np.int64)
    rows[used] = known.to_numpy()
    weights = np.zeros(used.shape)
    weights[used] = pairs.select(pl.col("weights").explode())["weights"].to_numpy()
    sums = weights.sum(axis=1)
    wrong = ~(np.abs(sums - 1) < 1e-9)  # NaN too
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(
            f"weights of a sample must sum to 1, those of {pairs['sample_id'][first]} sum to "
            f"{sums[first]}"
        )
    return rows, weights, counts
