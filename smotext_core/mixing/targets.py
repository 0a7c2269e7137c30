"""How many new samples each class gets: imbalanced-learn's `sampling_strategy`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from numbers import Real
from typing import Any, TypeVar

import numpy as np

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
            f"sampling needs at least 2 classes, got {len(counts)} "
            f"class{'' if len(counts) == 1 else 'es'}: there is nothing to balance"
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
