from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from smotext_core.efficacy.softmax import GAP, Softmax, fit_softmax, principal_axes


def rows_of(n: int, d: int, k: int, *, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit rows round k centres, far from the origin, as an encoder's are; of unequal numbers."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(k, n, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    rows = 2 * rng.normal(size=d) + rng.normal(size=(k, d))[codes] + 2 * rng.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), codes


def of_scikit_learn(rows, codes, weights, c: float) -> LogisticRegression:
    model = LogisticRegression(C=c, tol=1e-8, max_iter=10_000)
    return model.fit(rows.astype(np.float64), codes, sample_weight=weights)


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("c", [1.0, 100.0])
@pytest.mark.parametrize("sparse", [False, True])
def test_fit_softmax_is_the_model_of_scikit_learn(k: int, c: float, sparse: bool) -> None:
    rows, codes = rows_of(400, 20, k, seed=k)
    weights = np.random.default_rng(0).integers(0, 4, len(codes)).astype(np.float64)
    features = csr_matrix(rows) if sparse else rows
    found = fit_softmax(features, codes, weights, c=c, gap=1e-9)
    expected = of_scikit_learn(rows, codes, weights, c)
    scores = rows @ found.coefficients.T + found.intercepts[:, 0]
    if k == 2:  # one score there: the difference of ours
        np.testing.assert_allclose(
            scores[:, 1] - scores[:, 0], expected.decision_function(rows), atol=0.02
        )
    else:
        np.testing.assert_allclose(
            scores - scores.mean(axis=1, keepdims=True),
            expected.decision_function(rows)
            - expected.decision_function(rows).mean(axis=1, keepdims=True),
            atol=0.02,
        )
    assert (found.predict(features) == expected.predict(rows)).mean() > 0.99


def test_fit_softmax_stops_near_the_lowest_loss() -> None:
    rows, codes = rows_of(600, 30, 4, seed=1)
    rows = rows @ principal_axes(rows)

    def loss(model: Softmax) -> float:
        scores = rows @ model.coefficients.T + model.intercepts[:, 0]
        surprise = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(codes)), codes]
        return float(surprise.mean() + (model.coefficients**2).sum() / (2 * 10.0 * len(codes)))

    best = loss(fit_softmax(rows, codes, None, c=10.0, gap=1e-9))
    assert 0 <= loss(fit_softmax(rows, codes, None, c=10.0)) - best < 3 * GAP
    assert loss(fit_softmax(rows, codes, None, c=10.0, gap=1e-2)) > best


def test_fit_softmax_weight_is_a_row_so_often() -> None:
    rows, codes = rows_of(200, 12, 3, seed=2)
    weights = np.random.default_rng(3).integers(0, 3, len(codes))
    weighted = fit_softmax(rows, codes, weights, c=10.0, gap=1e-9)
    repeated = np.repeat(np.arange(len(codes)), weights)
    doubled = fit_softmax(rows[repeated], codes[repeated], None, c=10.0, gap=1e-9)
    np.testing.assert_allclose(weighted.coefficients, doubled.coefficients, atol=0.01)


def test_fit_softmax_start_moves_the_search_not_the_model() -> None:
    rows, codes = rows_of(400, 20, 5, seed=4)
    first = fit_softmax(rows, codes, None, c=1.0)
    cold, warm = (
        fit_softmax(rows, codes, None, c=10.0, gap=1e-9, start=start) for start in (None, first)
    )
    np.testing.assert_allclose(warm.coefficients, cold.coefficients, atol=0.01)
    assert (warm.coefficients != first.coefficients).any()


def test_fit_softmax_same_bytes_again() -> None:
    rows, codes = rows_of(300, 16, 4, seed=5)
    one, other = (fit_softmax(csr_matrix(rows), codes, None, c=10.0) for _ in range(2))
    assert one.coefficients.tobytes() == other.coefficients.tobytes()


def test_fit_softmax_keeps_class_codes() -> None:
    rows, codes = rows_of(200, 12, 3, seed=6)
    model = fit_softmax(rows, np.array([1, 4, 9])[codes], None, c=100.0)
    assert set(model.predict(rows)) == {1, 4, 9}
    assert (model.predict(rows) == np.array([1, 4, 9])[codes]).mean() > 0.7


def test_principal_axes_uncorrelate_and_keep_lengths() -> None:
    rows, _ = rows_of(300, 10, 3, seed=7)
    turned = rows @ principal_axes(rows)
    gram = turned.T @ turned
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 1, rtol=1e-5)
