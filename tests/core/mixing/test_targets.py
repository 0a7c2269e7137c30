from __future__ import annotations

import numpy as np
import pytest
from imblearn.utils import check_sampling_strategy

from smotext_core.mixing.targets import sampling_targets

COUNTS = {"a": 50, "b": 20, "c": 5, "d": 50}


@pytest.mark.parametrize(
    "strategy",
    [
        "auto",
        "not majority",
        "not minority",
        "minority",
        "all",
        {"c": 30, "b": 20},
        lambda counts: {"b": 33},
    ],
)
def test_sampling_targets_equal_imbalanced_learn(strategy: object) -> None:
    labels = [label for label, count in COUNTS.items() for _ in range(count)]
    expected = check_sampling_strategy(strategy, np.array(labels), "over-sampling")
    expected = {str(label): int(n) for label, n in expected.items()}
    ours = sampling_targets(COUNTS, strategy)  # type: ignore[arg-type]
    assert list(ours) == list(COUNTS)
    assert ours == {label: expected.get(label, 0) for label in COUNTS}


@pytest.mark.parametrize("ratio", [0.5, 0.77, 1.0])
def test_sampling_targets_ratio_equals_imbalanced_learn(ratio: float) -> None:
    labels = np.array(["no"] * 91 + ["yes"] * 13)
    expected = check_sampling_strategy(ratio, labels, "over-sampling")
    assert sampling_targets({"yes": 13, "no": 91}, ratio) == {"yes": expected["yes"], "no": 0}


def test_sampling_targets_ties_ignore_order() -> None:
    backward = sampling_targets({"c": 5, "b": 5, "a": 9}, "minority")
    assert backward == sampling_targets({"a": 9, "b": 5, "c": 5}, "minority")
    assert backward == {"a": 0, "b": 4, "c": 0}


@pytest.mark.parametrize(
    ("strategy", "match"),
    [
        ("majority", "must be one of"),
        (None, "must be one of"),
        (True, "must be one of"),
        (0.5, "needs exactly 2 classes, got 4"),
        ({"a": 49}, "asks for 49 rows of class 'a', which has 50"),
        ({"z": 49}, r"names the classes \['z'\], which are not present"),
        ({"c": 7.5}, "whole number of rows, got 7.5"),
        (lambda counts: 3, "must return a dict"),
    ],
)
def test_sampling_targets_refuses(strategy: object, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        sampling_targets(COUNTS, strategy)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ratio", "match"), [(0.1, "increase the ratio"), (1.5, r"lie in \(0, 1\]"), (0, "lie in")]
)
def test_sampling_targets_refuses_ratio(ratio: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        sampling_targets({"yes": 10, "no": 20}, ratio)


def test_sampling_targets_refuses_one_class() -> None:
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        sampling_targets({"a": 3})
