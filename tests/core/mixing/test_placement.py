"""Where mixed vectors lie: golden figures of vectors on a circle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from smotext_core.mixing import geometry as module
from smotext_core.mixing.geometry import placement, spread
from smotext_core.neighbors import UnitVectors


def circle(*degrees: float, radius: float = 1.0) -> NDArray[np.float64]:
    angles = np.deg2rad(degrees)
    return radius * np.column_stack([np.cos(angles), np.sin(angles)])


def test_placement_golden() -> None:
    own, other = circle(0, 10, 20), circle(50, 60, 70, 80)
    found = placement(circle(5, 48), own, [other[:1], other[1:]])
    assert found == pytest.approx(
        {
            "mean_norm": 1,
            "mean_real_norm": 1,
            "norm_outside": 0,
            "nearest_real_min": 1 - math.cos(math.radians(5)),
            "nearest_real_median": 1 - (math.cos(math.radians(5)) + math.cos(math.radians(28))) / 2,
            # the 3 nearest, as many as the class has: of 5° 0, 10, 20; of 48° 50, 60, 70
            "foreign_share": 0.5,
            "foreign_majority": 0.5,
            # the 2 nearest others, as many as the class has: of 20° 10 and 0, 50 is as far as that
            "real_foreign_share": 0,
            "real_foreign_majority": 0,
        },
        abs=1e-6,
    )


def test_placement_looks_at_ten_nearest() -> None:
    own, other = circle(*range(12)), circle(*range(12, 30))
    found = placement(circle(11.4), own, [other])
    # five nearest on either side: 7 to 11 and 12 to 16
    assert found["foreign_share"] == pytest.approx(0.5)
    assert found["foreign_majority"] == 0
    assert placement(circle(11.6), own, [other])["foreign_share"] == pytest.approx(0.5)
    assert placement(circle(12.2), own, [other])["foreign_share"] == pytest.approx(0.6)
    assert placement(circle(12.2), own, [other])["foreign_majority"] == 1


def test_placement_lengths() -> None:
    own = np.vstack([circle(0, radius=2), circle(10, radius=4)])
    samples = np.vstack([circle(5, radius=r) for r in (1.97, 1.99, 3, 4.03, 4.05)])
    found = placement(samples, own)
    assert found["norm_outside"] == pytest.approx(2 / 5)  # 1 % of tolerance
    assert found["mean_norm"] == pytest.approx(3.008)
    assert found["mean_real_norm"] == pytest.approx(3)
    assert "foreign_share" not in found  # nobody else was given


def test_placement_of_a_class_of_one_text() -> None:
    found = placement(circle(0, 0), circle(0), [circle(1, 2)])
    assert found["nearest_real_min"] == pytest.approx(0, abs=1e-6)
    assert (found["foreign_share"], found["foreign_majority"]) == (0, 0)
    assert "real_foreign_share" not in found  # it has no other of its class


def test_placement_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    own, other, samples = (
        rng.normal(size=(n, 8)) + shift for n, shift in ((90, 1), (200, 0), (70, 1))
    )
    whole = placement(samples, own, [other])
    assert 0 < whole["foreign_share"] < whole["real_foreign_share"] + 0.5
    monkeypatch.setattr(module, "SIMILARITY_BYTES", 4 * 160 * 10)  # ten rows at a time
    parts = placement(samples, own, [other[:1], other[1:70], other[70:]])
    assert parts == pytest.approx(whole, abs=1e-6)
    known = UnitVectors(other)  # of length one already
    assert placement(samples, own, [known[:70], known[70:]]) == pytest.approx(whole, abs=1e-6)


def test_placement_equals_a_full_sort() -> None:
    rng = np.random.default_rng(1)
    own, other, samples = (
        rng.normal(size=(n, 6)) + shift for n, shift in ((40, 1), (50, 0), (30, 1))
    )
    real = np.vstack([own, other])
    unit_real = real / np.linalg.norm(real, axis=1, keepdims=True)
    cosines = samples / np.linalg.norm(samples, axis=1, keepdims=True) @ unit_real.T
    foreign = np.argsort(-cosines, axis=1)[:, :10] >= 40
    itself = unit_real[:40] @ unit_real.T
    real_foreign = np.argsort(-itself, axis=1)[:, 1:11] >= 40
    found = placement(samples, own, [other])
    assert found["foreign_share"] == pytest.approx(foreign.mean())
    assert found["foreign_majority"] == pytest.approx((foreign.mean(axis=1) > 0.5).mean())
    assert found["real_foreign_share"] == pytest.approx(real_foreign.mean())
    assert found["nearest_real_median"] == pytest.approx(
        np.median(1 - cosines[:, :40].max(axis=1)), abs=1e-6
    )


def test_placement_refuses_nothing() -> None:
    with pytest.raises(ValueError, match="needs samples and real vectors, got 0 and 2"):
        placement(np.empty((0, 2)), circle(0, 1))
    with pytest.raises(ValueError, match="got 1 and 0"):
        placement(circle(0), np.empty((0, 2)))


def test_spread_golden() -> None:
    assert spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread(101, 3).tolist() == [0, 50, 100]
    assert spread(0, 3).tolist() == []
