from __future__ import annotations

import numpy as np

from smotext_core.streams import sample_seeds, sample_uniforms


def test_sample_uniforms_golden() -> None:
    # by hand: Philox4x64-10, key the first 16 bytes of sha256("7\0chest pain"), little-endian,
    # counter (number + 1, 0, 0, 0)
    draws = sample_uniforms([0, 1, 999_999], 2, seed=7, label="chest pain")
    assert draws.tolist() == [
        [0.09754708481945062, 0.8798387890478935],
        [0.9934369604714751, 0.17835190314765603],
        [0.6664937222234686, 0.10455141921636968],
    ]


def test_sample_uniforms_depend_on_number_alone() -> None:
    whole = sample_uniforms(range(100), 9, seed=1, label="a")
    assert whole.shape == (100, 9)
    chosen = [99, 3, 4, 5, 3, 0, 50]
    assert np.array_equal(sample_uniforms(chosen, 9, seed=1, label="a"), whole[chosen])
    assert np.array_equal(sample_uniforms(range(40, 60), 3, seed=1, label="a"), whole[40:60, :3])
    assert np.unique(whole).size == whole.size
    assert sample_uniforms([], 3, seed=1, label="a").shape == (0, 3)


def test_sample_uniforms_differ_by_seed_and_label() -> None:
    streams = [
        sample_uniforms(range(50), 4, seed=seed, label=label)
        for seed, label in [(1, "a"), (2, "a"), (1, "b"), (1, "a\x00")]
    ]
    assert np.unique(np.concatenate(streams)).size == 4 * 200


def test_sample_uniforms_are_uniform() -> None:
    draws = sample_uniforms(range(20_000), 3, seed=0, label="a")
    assert draws.min() >= 0
    assert draws.max() < 1
    assert np.allclose(draws.mean(axis=0), 0.5, atol=0.01)
    assert np.allclose(draws.var(axis=0), 1 / 12, atol=0.003)
    assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.03


def test_sample_seeds_golden_and_independent() -> None:
    assert sample_seeds([0, 1], seed=7, label="chest pain").tolist() == [
        3710908895519672056,
        6605886258770078804,
    ]
    first = sample_seeds(range(1000), seed=7, label="a")
    again = sample_seeds(range(1000), seed=7, label="a", draw=1)
    assert np.unique(np.concatenate([first, again])).size == 2000
    assert min(first.min(), again.min()) >= 0
    assert np.array_equal(sample_seeds([10, 3], seed=7, label="a"), first[[10, 3]])
