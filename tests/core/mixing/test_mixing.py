from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from smotext_core.mixing.interpolation import (
    MIXINGS,
    Lam,
    LamLaw,
    Mixing,
    interpolate,
    neighbor_weights,
    parse_lam,
)
from smotext_core.mixing.pairs import make_pairs
from smotext_core.schemas import CLASS_PAIRS


def random_vectors(n: int, d: int = 16, *, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) * rng.uniform(0.5, 3, size=(n, 1))).astype(np.float32)


def pairs_of(n: int, **options: object) -> pl.DataFrame:
    arguments = {"run": "r", "label": "a", "slug": "s", "n_samples": 200, **options}
    ids = [f"t{i:03d}" for i in range(n)]
    return make_pairs(ids, random_vectors(n), **arguments)[0]  # type: ignore[arg-type]


def frame_of(*samples: tuple[list[str], list[float]]) -> pl.DataFrame:
    rows = [(f"r.s.{i}", i, ids, weights) for i, (ids, weights) in enumerate(samples)]
    return pl.DataFrame(rows, schema=CLASS_PAIRS, orient="row")


CORNERS = np.array([[2, 0], [0, 4], [-2, 0]], dtype=np.float32)


def test_interpolate_golden() -> None:
    pairs = frame_of((["p", "q"], [0.75, 0.25]), (["q", "p", "o"], [0.5, 0.25, 0.25]), (["o"], [1]))
    mixed = interpolate(pairs, ["p", "q", "o"], CORNERS, mixing="linear")
    assert mixed.dtype == np.float32
    assert mixed.tolist() == [[1.5, 1.0], [0.0, 2.0], [-2.0, 0.0]]


def test_interpolate_restores_the_mean_norm() -> None:
    pairs = frame_of((["p", "q"], [0.75, 0.25]), (["q", "p", "o"], [0.5, 0.25, 0.25]), (["o"], [1]))
    mixed = interpolate(pairs, ["p", "q", "o"], CORNERS, mixing="linear-norm")
    # norms .75·2 + .25·4 and .5·4 + .25·2 + .25·2, directions those of the mix
    first = np.array([1.5, 1.0]) / np.sqrt(1.5**2 + 1) * 2.5
    assert np.allclose(mixed, [first, [0, 3], [-2, 0]], rtol=1e-7)


@pytest.mark.parametrize("mixing", MIXINGS)
def test_interpolate_at_lam_0_and_1_is_a_parent_to_the_bit(mixing: Mixing) -> None:
    vectors = random_vectors(9, 384)
    vectors[:, 0] = -0.0
    ids = [f"t{i:03d}" for i in range(9)]
    for lam in (0, 1):
        pairs, _ = make_pairs(ids, vectors, run="r", label="l", slug="s", n_samples=40, lam=lam)
        parents = [ids.index(row[lam]) for row in pairs["parent_ids"].to_list()]
        mixed = interpolate(pairs, ids, vectors, mixing=mixing)
        assert mixed.tobytes() == vectors[parents].tobytes()


def test_interpolate_is_the_line_between_parents() -> None:
    vectors, pairs = random_vectors(30), pairs_of(30)
    ids = [f"t{i:03d}" for i in range(30)]
    mixed = interpolate(pairs, ids, vectors, mixing="linear")
    base, neighbor = (
        vectors[[ids.index(row[p]) for row in pairs["parent_ids"].to_list()]] for p in (0, 1)
    )
    lam = pairs["weights"].list.get(1).to_numpy()[:, None]
    assert np.allclose(mixed, base + lam * (neighbor - base), rtol=1e-5, atol=1e-6)


def test_interpolate_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    ids, vectors, pairs = [f"t{i:03d}" for i in range(30)], random_vectors(30), pairs_of(30)
    whole = interpolate(pairs, ids, vectors, mixing="spherical")
    parts = [interpolate(pairs[i : i + 7], ids, vectors, mixing="spherical") for i in (0, 7)]
    assert np.concatenate(parts).tobytes() == whole[:14].tobytes()
    monkeypatch.setattr("smotext_core.mixing.interpolation.ROWS_BYTES", 8 * 16 * 3)
    assert interpolate(pairs, ids, vectors, mixing="spherical").tobytes() == whole.tobytes()


@pytest.mark.parametrize(
    ("sample", "match"),
    [
        ((["p", "z"], [0.5, 0.5]), "first 'z': pairs and embeddings are of different corpora"),
        ((["p", "q"], [0.5, 0.6]), r"those of r\.s\.0 sum to 1\.1"),
        ((["p", "q"], [0.5, float("nan")]), "sum to nan"),
        ((["p", "q"], [1.0]), "one weight for each parent"),
        (([], []), "at least one parent"),
        ((["p", "o"], [0.5, 0.5]), r"parents of sample r\.s\.0 cancel out"),
    ],
)
def test_interpolate_refuses(sample: tuple[list[str], list[float]], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        interpolate(frame_of(sample), ["p", "q", "o"], CORNERS, mixing="linear-norm")


def test_interpolate_spherical_is_the_arc() -> None:
    # 60° apart, lengths 1 and 3
    vectors = np.array([[1, 0], [1.5, 1.5 * 3**0.5]], dtype=np.float32)
    pairs = frame_of(
        (["p", "q"], [2 / 3, 1 / 3]), (["q", "p"], [0.5, 0.5]), (["p", "q"], [1.5, -0.5])
    )
    mixed = interpolate(pairs, ["p", "q"], vectors, mixing="spherical")
    angles = np.rad2deg(np.arctan2(mixed[:, 1], mixed[:, 0]))
    assert np.allclose(angles, [20, 30, -30], atol=1e-4)
    # (1 - lam)·1 + lam·3; beyond the base Σ |w|·‖e‖ / Σ |w|
    assert np.allclose(np.linalg.norm(mixed, axis=1), [5 / 3, 2, (1.5 + 1.5) / 2], rtol=1e-6)


def test_interpolate_spherical_of_parallel_parents_is_the_line() -> None:
    vectors = np.array([[1, 0], [3, 3e-5], [5, 0]], dtype=np.float32)
    pairs = frame_of((["p", "q"], [0.5, 0.5]), (["p", "o"], [0.25, 0.75]))
    mixed = interpolate(pairs, ["p", "q", "o"], vectors, mixing="spherical")
    assert np.allclose(mixed, [[2, 1e-5], [4, 0]], rtol=1e-4)


def test_interpolate_spherical_of_three_is_the_mean_direction() -> None:
    pairs = frame_of((["p", "q", "o"], [0.5, 0.25, 0.25]), (["p", "q"], [0.5, 0.5]))
    vectors = np.array([[2, 0, 0], [0, 4, 0], [0, 0, 8]], dtype=np.float32)
    mixed = interpolate(pairs, ["p", "q", "o"], vectors, mixing="spherical")
    direction = np.array([2, 1, 1]) / 6**0.5
    assert np.allclose(
        mixed, [direction * (0.5 * 2 + 0.25 * 4 + 0.25 * 8), [1.5 * 2**0.5] * 2 + [0]]
    )


@pytest.mark.parametrize("mixing", ["linear-norm", "spherical"])
def test_interpolate_keeps_unit_vectors_unit(mixing: Mixing) -> None:
    vectors = random_vectors(30)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"t{i:03d}" for i in range(30)]
    for n_parents in (2, 4):
        mixed = interpolate(pairs_of(30, n_parents=n_parents), ids, vectors, mixing=mixing)
        assert np.allclose(np.linalg.norm(mixed, axis=1), 1, atol=1e-6)


def test_interpolate_refuses_opposite_parents_on_the_sphere() -> None:
    pairs = frame_of((["p", "o"], [1, 0]), (["p", "o"], [0.7, 0.3]))
    exact = interpolate(pairs[:1], ["p", "q", "o"], CORNERS, mixing="spherical")
    assert exact.tolist() == [[2, 0]]
    with pytest.raises(ValueError, match=r"sample r\.s\.1 point opposite ways"):
        interpolate(pairs, ["p", "q", "o"], CORNERS, mixing="spherical")


def test_interpolate_refuses_unknown_mixing() -> None:
    with pytest.raises(ValueError, match=r"must be one of \('linear', .* got 'slerp'"):
        interpolate(frame_of(), ["p"], CORNERS[:1], mixing="slerp")  # type: ignore[arg-type]


# λ


@pytest.mark.parametrize(
    ("lam", "law"),
    [
        ("uniform", LamLaw(0, 1, 1)),
        ("0.5", LamLaw(0.5, 0.5, 1)),
        (0, LamLaw(0, 0, 1)),
        (np.float32(0.25), LamLaw(0.25, 0.25, 1)),
        ("0.2-0.8", LamLaw(0.2, 0.8, 1)),
        ((0.2, 0.8), LamLaw(0.2, 0.8, 1)),
        ([0, 1], LamLaw()),
        ("beta:0.4", LamLaw(0, 1, 0.4)),
    ],
)
def test_parse_lam(lam: Lam, law: LamLaw) -> None:
    assert parse_lam(lam) == law


@pytest.mark.parametrize(
    "lam",
    [
        *["", "normal", "1.5", "-0.5", "0.8-0.2", "0.2-", "0.2-0.4-0.6", "nan"],
        *["beta:0", "beta:x", "beta:inf", True, None, (0.1,), (0.1, 0.2, 0.3), (0.5, None), {}],
    ],
)
def test_parse_lam_refuses(lam: object) -> None:
    with pytest.raises(ValueError, match=r"such as '0.2-0.8', or 'beta:A' with A > 0 .* got "):
        parse_lam(lam)  # type: ignore[arg-type]


def test_neighbor_weights_golden() -> None:
    draws = np.array([[0.0], [0.3], [0.75]])
    assert neighbor_weights(draws, LamLaw()).tolist() == draws.tolist()
    assert np.allclose(neighbor_weights(draws, LamLaw(0.2, 0.6)), 0.2 + 0.4 * draws)
    # arcsine law, Beta(.5, .5): the inverse CDF is sin²(πu/2)
    arcsine = np.sin(np.pi / 2 * draws) ** 2
    assert np.allclose(neighbor_weights(draws, LamLaw(alpha=0.5)), arcsine)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_neighbor_weights_of_more_are_dirichlet(alpha: float) -> None:
    m = 4
    draws = np.random.default_rng(0).random((40_000, m - 1))
    weights = neighbor_weights(draws, LamLaw(alpha=alpha))
    weights = np.column_stack([1 - weights.sum(axis=1), weights])
    assert weights.min() > -1e-12
    variance = (m - 1) / (m**2 * (m * alpha + 1))
    assert np.allclose(weights.mean(axis=0), 1 / m, atol=0.01)
    assert np.allclose(np.cov(weights.T).diagonal(), variance, rtol=0.05)
    assert np.allclose(np.cov(weights.T)[0, 1:], -variance / (m - 1), rtol=0.1)
