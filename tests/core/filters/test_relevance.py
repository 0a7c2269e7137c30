"""Maximal marginal relevance: near its vector, unlike what was taken before."""

from __future__ import annotations

import numpy as np
import pytest

from smotext_core.filters.relevance import by_marginal_relevance
from smotext_core.neighbors import unit


def made(n_samples: int, n_each: int, *, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    cosines = rng.uniform(0.5, 0.9, n_samples * n_each).astype(np.float32)
    vectors = unit(rng.normal(size=(n_samples * n_each, 6)))
    return cosines, vectors, np.repeat(np.arange(n_samples), n_each)


def test_relevance_of_one_is_closest_first() -> None:
    cosines, vectors, samples = made(20, 3)
    order = by_marginal_relevance(cosines, vectors, samples, relevance=1)
    assert order == np.argsort(-cosines, kind="stable").tolist()


def test_each_is_the_best_of_those_left_by_the_formula() -> None:
    cosines, vectors, samples = made(12, 3)
    order = by_marginal_relevance(cosines, vectors, samples, relevance=0.4)
    assert sorted(order) == list(range(36))
    assert sorted(samples[order[:12]]) == list(range(12))  # one of each sample first
    for turn in range(1, 12):
        taken = order[:turn]
        left = [row for row in range(36) if samples[row] not in samples[taken]]
        score = [0.4 * cosines[r] - 0.6 * (vectors[taken] @ vectors[r]).max() for r in left]
        own = 0.4 * cosines[order[turn]] - 0.6 * (vectors[taken] @ vectors[order[turn]]).max()
        assert own >= max(score) - 1e-5
    rest = order[12:]
    assert rest == sorted(rest, key=lambda row: -cosines[row])


def test_texts_that_say_the_same_come_last() -> None:
    vectors = unit(np.array([[1, 0], [1, 0.01], [0.6, 0.8], [1, 0.02]]))
    cosines = np.array([0.9, 0.89, 0.6, 0.88])
    assert by_marginal_relevance(cosines, vectors, np.arange(4), relevance=1 / 3)[:2] == [0, 2]


def test_blocks_take_turns_and_know_nothing_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smotext_core.filters.relevance.BLOCK", 5)
    cosines, vectors, samples = made(10, 2)
    order = by_marginal_relevance(cosines, vectors, samples, relevance=0.4)
    assert [int(samples[row] // 5) for row in order[:10]] == [0, 1] * 5
    alone = by_marginal_relevance(cosines[:10], vectors[:10], samples[:10], relevance=0.4)
    assert [row for row in order[:10] if row < 10] == alone[:5]


def test_no_candidate_is_no_order() -> None:
    none = np.empty(0)
    assert by_marginal_relevance(none, np.empty((0, 4)), none.astype(int), relevance=0.5) == []
