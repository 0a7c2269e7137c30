"""Random streams: every sample has its own, whatever else is drawn."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
from numpy.typing import ArrayLike, NDArray


def sample_uniforms(numbers: ArrayLike, n: int, *, seed: int, label: str) -> NDArray[np.float64]:
    """`n` uniform draws in [0, 1) for each sample in `numbers`, shape (len(numbers), n).

    The contract of determinism: a sample's draws are a function of (seed, label, number) alone.
    Batch size, partition order, number of workers and the other samples asked for do not matter,
    and a larger `n` appends draws. Counter-based: Philox4x64 (Salmon et al. 2011) keyed by the
    sha256 of seed and label, its counter the sample's number.
    """
    bits = _sample_bits(numbers, n, seed=seed, label=label, stream=0)
    bits >>= np.uint64(11)
    uniforms = bits.astype(np.float64)
    uniforms *= 2.0**-53
    return uniforms


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
