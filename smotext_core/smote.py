"""Sampling targets, random streams, pairs, interpolation (SMOTE, Chawla et al. 2002).

Knows vectors and ids, no texts. Distances are cosine; vectors keep the scale they came with.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from smotext_core.neighbors import ROWS_BYTES, nearest_neighbors, vector_norms
from smotext_core.schemas import CLASS_PAIRS, conform

Label = TypeVar("Label", bound=Hashable)


def sampling_targets(
    counts: Mapping[Label, int],
    sampling_strategy: str | float | Mapping[Label, int] | Callable[..., Any] = "auto",
) -> dict[Label, int]:
    """New samples for each class of `counts`, 0 where none; imbalanced-learn's meanings.

    Args:
        counts: present rows of each class.
        sampling_strategy: "auto" or "not majority", "not minority", "minority", "all": those
            classes reach the majority's count. A float: minority / majority after, two classes
            only. A dict: the wanted total of each class it names. A callable: counts → such a dict.

    Raises:
        ValueError: fewer than two classes, an unknown strategy, a class not in `counts`, or a
            total below the present count.
    """
    if len(counts) < 2:
        raise ValueError(
            f"sampling needs at least 2 classes, got {len(counts)}: there is nothing to balance"
        )
    if callable(sampling_strategy):
        sampling_strategy = sampling_strategy(dict(counts))
        if not isinstance(sampling_strategy, Mapping):
            raise ValueError(
                "a callable sampling_strategy must return a dict of class → wanted total, "
                f"got {type(sampling_strategy).__name__}"
            )
    if isinstance(sampling_strategy, Mapping):
        return _targets_of_totals(counts, sampling_strategy)

    ordered = sorted(counts, key=str)  # so that ties do not depend on the mapping's order
    majority = max(ordered, key=counts.__getitem__)
    minority = min(ordered, key=counts.__getitem__)
    if isinstance(sampling_strategy, Real) and not isinstance(sampling_strategy, bool):
        if len(counts) != 2:
            raise ValueError(
                f"sampling_strategy={sampling_strategy} is a ratio, which needs exactly 2 classes, "
                f"got {len(counts)}; use a dict of class → wanted total"
            )
        if not 0 < sampling_strategy <= 1:
            raise ValueError(
                f"sampling_strategy as a ratio must lie in (0, 1], got {sampling_strategy}"
            )
        n_new = int(counts[majority] * sampling_strategy - counts[minority])
        if n_new <= 0:
            raise ValueError(
                f"sampling_strategy={sampling_strategy} adds nothing to class {minority!r}: it has "
                f"{counts[minority]} of {counts[majority]} rows already; increase the ratio"
            )
        return {label: n_new if label == minority else 0 for label in counts}

    chosen: dict[object, Callable[[Label], bool]] = {
        "auto": lambda label: label != majority,
        "not majority": lambda label: label != majority,
        "not minority": lambda label: label != minority,
        "minority": lambda label: label == minority,
        "all": lambda label: True,
    }
    if not isinstance(sampling_strategy, str) or sampling_strategy not in chosen:
        raise ValueError(
            f"sampling_strategy must be one of {sorted(map(str, chosen))}, a ratio, a dict or a "
            f"callable, got {sampling_strategy!r}"
        )
    is_chosen = chosen[sampling_strategy]
    return {
        label: counts[majority] - count if is_chosen(label) else 0
        for label, count in counts.items()
    }


def _targets_of_totals(counts: Mapping[Label, int], totals: Mapping[Any, Any]) -> dict[Label, int]:
    absent = [label for label in totals if label not in counts]
    if absent:
        raise ValueError(
            f"sampling_strategy names the classes {absent}, which are not present in the data; "
            f"present are {sorted(counts, key=str)}"
        )
    for label, total in totals.items():
        if isinstance(total, bool) or not isinstance(total, int | np.integer):
            raise ValueError(
                f"sampling_strategy must give class {label!r} a whole number of rows, got {total!r}"
            )
        if total < counts[label]:
            raise ValueError(
                f"sampling_strategy asks for {total} rows of class {label!r}, which has "
                f"{counts[label]} already; oversampling removes none"
            )
    return {label: int(totals.get(label, count)) - count for label, count in counts.items()}


def sample_uniforms(numbers: ArrayLike, n: int, *, seed: int, label: str) -> NDArray[np.float64]:
    """`n` uniform draws in [0, 1) for each sample in `numbers`, shape (len(numbers), n).

    The contract of determinism: a sample's draws are a function of (seed, label, number) alone.
    Batch size, partition order, number of workers and the other samples asked for do not matter,
    and a larger `n` appends draws. Counter-based: Philox4x64 (Salmon et al. 2011) keyed by the
    sha256 of seed and label, its counter the sample's number.
    """
    bits = _sample_bits(numbers, n, seed=seed, label=label, stream=0)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sample_seeds(numbers: ArrayLike, *, seed: int, label: str, draw: int = 0) -> NDArray[np.int64]:
    """One seed in [0, 2**63) for each sample, e.g. for torch, under `sample_uniforms`' contract.

    `draw` counts attempts from 0; each gives the sample another seed.
    """
    bits = _sample_bits(numbers, 1, seed=seed, label=label, stream=1 + draw)
    return (bits[:, 0] >> np.uint64(1)).astype(np.int64)


def _sample_bits(
    numbers: ArrayLike, n: int, *, seed: int, label: str, stream: int
) -> NDArray[np.uint64]:
    numbers = np.asarray(numbers, dtype=np.uint64)
    # seed is an integer, so the first NUL ends it whatever the label holds
    digest = hashlib.sha256(f"{int(seed)}\x00{label}".encode()).digest()
    key = np.frombuffer(digest[:16], dtype="<u8")
    bits = np.empty((len(numbers), -(-n // 4) * 4), dtype=np.uint64)
    # Philox counts words of 4 draws upwards: a run of consecutive numbers is one call
    jumps = np.flatnonzero(numbers[1:] != numbers[:-1] + np.uint64(1)) + 1
    bounds = [0, *jumps.tolist(), len(numbers)] if len(numbers) else []
    for start, stop in itertools.pairwise(bounds):
        for word in range(bits.shape[1] // 4):
            counter = np.array([numbers[start], word, stream, 0], dtype=np.uint64)
            philox = np.random.Philox(key=key, counter=counter)
            raw = philox.random_raw(4 * (stop - start))
            bits[start:stop, 4 * word : 4 * word + 4] = raw.reshape(-1, 4)
    return bits[:, :n]


def make_pairs(
    text_ids: Sequence[str],
    embeddings: NDArray[np.floating[Any]],
    *,
    run: str,
    label: str,
    slug: str,
    n_samples: int,
    k_neighbors: int = 5,
    seed: int = 0,
    lam_low: float = 0.0,
    lam_high: float = 1.0,
) -> tuple[pl.DataFrame, str | None]:
    """Parents and weights of each sample to make of one class, as CLASS_PAIRS.

    SMOTE's choice: the base uniform among the texts, the neighbour uniform among the base's
    k nearest, lam ~ U(lam_low, lam_high), one a sample. The order of the texts does not matter.

    Args:
        text_ids: n unique ids.
        embeddings: (n, d), one row an id.

    Returns:
        The pairs and, where the class is too small for k_neighbors, the fallback taken, in words:
        fewer neighbours, or the one text alone with weight 1.

    Raises:
        ValueError: no text, ids that repeat or do not match the rows, a zero, NaN or infinite
            vector, or an option out of its range.
    """
    n = len(text_ids)
    if n == 0:
        raise ValueError(f"class {label!r} has no texts: SMOTE needs at least 1 to make samples of")
    if len(embeddings) != n or len(set(text_ids)) != n:
        raise ValueError(
            f"class {label!r} needs one vector for each unique text id, got {len(embeddings)} "
            f"vectors for {n} ids, {len(set(text_ids))} of them unique"
        )
    if k_neighbors < 1 or n_samples < 0 or not 0 <= lam_low <= lam_high <= 1:
        raise ValueError(
            "k_neighbors ≥ 1, n_samples ≥ 0 and 0 ≤ lam_low ≤ lam_high ≤ 1 are required, got "
            f"k_neighbors={k_neighbors}, n_samples={n_samples}, lam_low={lam_low}, "
            f"lam_high={lam_high}"
        )
    order = sorted(range(n), key=text_ids.__getitem__)
    ids = pl.Series([text_ids[i] for i in order], dtype=pl.String)
    embeddings = np.asarray(embeddings)[order]
    numbers = np.arange(n_samples)
    draws = sample_uniforms(numbers, 3, seed=seed, label=label)
    if n == 1:
        vector_norms(embeddings)
        parents = {
            "parent_ids": pl.repeat(ids[0], n_samples, eager=True).reshape((-1, 1)),
            "weights": pl.repeat(1.0, n_samples, eager=True).reshape((-1, 1)),
        }
        notes = ["only one text: its own vector is decoded"]
    else:
        k = min(k_neighbors, n - 1)
        neighbors = nearest_neighbors(embeddings, k=k)
        base = _choice(draws[:, 0], n)
        neighbor = neighbors[base, _choice(draws[:, 1], k)]
        lam = lam_low + (lam_high - lam_low) * draws[:, 2]
        parents = {
            "parent_ids": pl.select(pl.concat_list(ids[base], ids[neighbor])).to_series(),
            "weights": pl.Series(np.column_stack([1 - lam, lam])),
        }
        notes = []
        if k < k_neighbors:
            notes.append(f"only {n} texts: k_neighbors {k} instead of {k_neighbors}")
        if (embeddings == embeddings[0]).all():
            notes.append(f"all {n} texts have the same vector: every sample decodes that vector")
    number = pl.Series("number", numbers)
    sample_id = f"{run}.{slug}." + number.cast(pl.String).str.zfill(6)
    pairs = pl.DataFrame({"sample_id": sample_id, "number": number, **parents})
    return conform(pairs, CLASS_PAIRS), "; ".join(notes) or None


def _choice(uniforms: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    # u * n can round up to n
    return np.minimum((uniforms * n).astype(np.int64), n - 1)


def interpolate(
    pairs: pl.DataFrame,
    text_ids: Sequence[str],
    embeddings: NDArray[np.floating[Any]],
    *,
    restore_norm: bool,
) -> NDArray[np.float32]:
    """z = Σ wᵢ·eᵢ over each sample's parents, (n, d); for a pair (1 - lam)·base + lam·neighbour.

    Args:
        pairs: CLASS_PAIRS, any number of parents a sample.
        text_ids: unique ids, one a row of `embeddings` (m, d).
        restore_norm: rescale z to Σ wᵢ·‖eᵢ‖. Mixing shrinks norms (lam .5 at cosine .7: 0.92×),
            and the decoders of normalised encoders were trained on unit vectors.

    Raises:
        ValueError: a parent without vector, weights that do not match the parents or sum to 1, a
            zero, NaN or infinite vector, or opposite parents whose mix has no direction.
    """
    embeddings = np.asarray(embeddings)
    norms = vector_norms(embeddings)
    rows, weights = _parents(pairs, text_ids)  # (n, p), unused places have weight 0
    mixed = np.empty((len(rows), embeddings.shape[1]), dtype=np.float32)
    step = max(1, ROWS_BYTES // (8 * embeddings.shape[1]))
    for start in range(0, len(rows), step):
        row, weight = rows[start : start + step], weights[start : start + step]
        z = np.zeros((len(row), embeddings.shape[1]))
        for p in range(row.shape[1]):
            z += embeddings[row[:, p]] * weight[:, p, None]
        if restore_norm:
            length = np.sqrt(np.einsum("nd,nd->n", z, z))
            if (length == 0).any():
                sample_id = pairs["sample_id"][start + int((length == 0).argmax())]
                raise ValueError(
                    f"the parents of sample {sample_id} cancel out: a zero vector has no norm to "
                    "restore; narrow lam_low and lam_high"
                )
            z *= ((weight * norms[row]).sum(axis=1) / length)[:, None]
        mixed[start : start + step] = z
    sample, parent = np.nonzero(weights == 1)  # lam 0 and lam 1 are a parent to the bit
    mixed[sample] = embeddings[rows[sample, parent]]
    return mixed


def _parents(
    pairs: pl.DataFrame, text_ids: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of the parents' vectors and their weights, both (n, most parents), padded with 0."""
    counts = pairs["parent_ids"].list.len().to_numpy()
    if (counts != pairs["weights"].list.len().to_numpy()).any() or (counts == 0).any():
        raise ValueError("every sample needs at least one parent and one weight for each parent")
    flat = pairs.select(pl.col("parent_ids").explode())["parent_ids"]
    ids = pl.Series(text_ids, dtype=pl.String)
    known = flat.replace_strict(ids, np.arange(len(ids)), default=None, return_dtype=pl.Int64)
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
    return rows, weights
