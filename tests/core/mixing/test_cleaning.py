from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from imblearn.under_sampling import EditedNearestNeighbours, TomekLinks
from numpy.typing import NDArray

from smotext_core.mixing.cleaning import edited_nearest_neighbours, tomek_links


def labelled(
    n: int, shares: list[float], *, seed: int = 0, d: int = 12
) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Unit vectors in six clusters, labels that lean to one or two of them."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(6, size=n)
    vectors = rng.normal(size=(6, d))[cluster] + 0.6 * rng.normal(size=(n, d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    drawn = rng.choice(len(shares), p=shares, size=n)
    leaning = np.where(rng.random(n) < 0.7, cluster % len(shares), drawn)
    return vectors.astype(np.float32), np.array([f"label {code}" for code in leaning])


def dropped_by(sampler: Any, vectors: Any, labels: Any) -> NDArray[np.bool_]:
    sampler.fit_resample(vectors, labels)
    return ~np.isin(np.arange(len(vectors)), sampler.sample_indices_)


SHARES = [[0.9, 0.1], [0.5, 0.3, 0.2], [0.25] * 4]


@pytest.mark.parametrize("strategy", ["auto", "all", ["label 1"]])
@pytest.mark.parametrize("shares", SHARES)
def test_tomek_links_equal_imbalanced_learn(shares: list[float], strategy: Any) -> None:
    vectors, labels = labelled(1500, shares)
    expected = dropped_by(TomekLinks(sampling_strategy=strategy), vectors, labels)
    assert expected.sum() > 10
    assert np.array_equal(tomek_links(vectors, labels, sampling_strategy=strategy), expected)


@pytest.mark.parametrize("kind", ["all", "mode"])
@pytest.mark.parametrize(("strategy", "k"), [("auto", 3), ("all", 5), ([1], 1)])
@pytest.mark.parametrize("shares", SHARES)
def test_edited_nearest_neighbours_equal_imbalanced_learn(
    shares: list[float], strategy: Any, k: int, kind: Any
) -> None:
    vectors, labels = labelled(1500, shares)
    numbers = np.char.replace(labels, "label ", "").astype(int)  # theirs takes no others for "mode"
    theirs = EditedNearestNeighbours(sampling_strategy=strategy, n_neighbors=k, kind_sel=kind)
    expected = dropped_by(theirs, vectors, numbers)
    ours = edited_nearest_neighbours(vectors, numbers, k=k, kind=kind, sampling_strategy=strategy)
    assert 10 < expected.sum() < 1400
    assert np.array_equal(ours, expected)
    if strategy != [1]:
        named = edited_nearest_neighbours(
            vectors, labels, k=k, kind=kind, sampling_strategy=strategy
        )
        assert np.array_equal(named, expected)


def test_cleaning_does_not_depend_on_blocks_or_order(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = labelled(700, [0.5, 0.3, 0.2])
    whole = [clean(vectors, labels) for clean in (tomek_links, edited_nearest_neighbours)]
    order = np.random.default_rng(1).permutation(700)
    monkeypatch.setattr("smotext_core.mixing.cleaning.BLOCK_BYTES", 30_000)
    for clean, expected in zip((tomek_links, edited_nearest_neighbours), whole, strict=True):
        assert np.array_equal(clean(vectors[order], labels[order]), expected[order])


def test_tomek_links_golden() -> None:
    angles = np.deg2rad([0, 5, 20, 28, 60])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]) * [[1], [3], [0.1], [2], [1]]
    # (0°, 5°) and (20°, 28°) are mutually nearest; 60° has 28° as nearest, which has 20°
    labels = ["a", "b", "a", "a", "b"]
    assert tomek_links(vectors, labels, sampling_strategy="all").tolist() == [1, 1, 0, 0, 0]
    assert tomek_links(vectors, labels).tolist() == [1, 0, 0, 0, 0]  # b is the smallest class
    assert tomek_links(vectors, labels, sampling_strategy=["b"]).tolist() == [0, 1, 0, 0, 0]


def test_tomek_links_of_twins_are_links_with_each() -> None:
    vectors = np.repeat(np.eye(3), [3, 2, 2], axis=0)
    labels = ["a", "a", "b", "a", "b", "c", "c"]
    dropped = tomek_links(vectors, labels, sampling_strategy="all")
    assert dropped.tolist() == [1, 1, 1, 1, 1, 0, 0]


def test_edited_nearest_neighbours_of_twins_prefers_their_class() -> None:
    vectors = np.repeat(np.eye(2), [6, 2], axis=0)
    labels = ["a"] * 4 + ["b"] * 2 + ["a"] * 2
    dropped = edited_nearest_neighbours(vectors, labels, k=3, sampling_strategy="all")
    # of the six twins four are a: three others each; the two b have one
    assert dropped.tolist() == [0, 0, 0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("clean", [tomek_links, edited_nearest_neighbours])
def test_cleaning_of_one_class_drops_nothing(clean: Any) -> None:
    vectors, _ = labelled(30, [1.0])
    assert not clean(vectors, ["a"] * 30, sampling_strategy="all").any()


@pytest.mark.parametrize("clean", [tomek_links, edited_nearest_neighbours])
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"labels": ["a"] * 7}, r"each of 8 vectors .* labels of shape \(7,\)"),
        ({"sampling_strategy": "majority"}, "must be 'auto' .* got 'majority'"),
        ({"sampling_strategy": ["a", "z"]}, r"names the classes \['z'\], .* \['a', 'b'\]"),
        ({"embeddings": np.full((8, 3), np.nan)}, "NaN or infinite"),
        ({"embeddings": np.zeros((8, 3))}, "are zero"),
    ],
)
def test_cleaning_refuses(clean: Any, options: dict[str, Any], match: str) -> None:
    arguments = {"embeddings": np.eye(8), "labels": ["a", "b"] * 4} | options
    with pytest.raises(ValueError, match=match):
        clean(**arguments)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "most"}, r"must be one of \('all', 'mode'\), got 'most'"),
        ({"k": 0}, r"\[1, 7\] for 8 rows, got 0"),
        ({"k": 8}, r"\[1, 7\] for 8 rows, got 8"),
    ],
)
def test_edited_nearest_neighbours_refuses(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        edited_nearest_neighbours(np.eye(8), ["a", "b"] * 4, **options)
