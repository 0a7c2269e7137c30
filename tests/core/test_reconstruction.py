from __future__ import annotations

import numpy as np
import pytest

from smotext_core.reconstruction import reconstruct, score


def draw(n: int, seed: int, d: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def smote(real: np.ndarray, per_row: int, k: int = 5) -> np.ndarray:
    rng = np.random.default_rng(9)
    order = np.argsort(((real[:, None] - real) ** 2).sum(axis=2), axis=1)[:, 1 : k + 1]
    base = np.repeat(np.arange(len(real)), per_row)
    mate = order[base, rng.integers(0, k, len(base))]
    return real[base] + rng.random((len(base), 1)) * (real[mate] - real[base])


REAL, OTHER = draw(40, 1), draw(40, 2)


def test_interpolated_rows_give_their_parents_away() -> None:
    found = reconstruct(smote(REAL, per_row=10))
    ours = score(found, REAL)
    assert ours.recall > 0.7
    assert ours.precision > 0.7
    assert score(found, OTHER).recall == 0


def test_rows_of_no_lines_give_nothing() -> None:
    assert score(reconstruct(draw(400, 3)), REAL) == (0.0, 0.0, 0)


def test_noise_bends_the_lines() -> None:
    made = smote(REAL, per_row=10)
    noisy = made + 0.05 * draw(len(made), 4)
    assert score(reconstruct(noisy), REAL).recall == 0


def test_refusals() -> None:
    with pytest.raises(ValueError, match="must be a matrix"):
        reconstruct(np.zeros(3))
    with pytest.raises(ValueError, match="tolerance must lie"):
        reconstruct(REAL, tolerance=1.0)
    with pytest.raises(ValueError, match="real must hold"):
        score(REAL, REAL[:0])
