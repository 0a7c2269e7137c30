"""Texts and labels as people hold them: lists, arrays, series, a frame of one column; checked, and
extended in kind.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl


def _is_missing(value: object) -> bool:
    if isinstance(value, float):
        return value != value
    return value is None or type(value).__name__ in ("NAType", "NaTType")  # pandas'


def _only_column(values: Any) -> Any:
    """The column of a table that has no other, as scikit-learn's pipelines pass them."""
    if len(getattr(values, "shape", ())) != 2 or values.shape[1] != 1:
        return values
    if isinstance(values, pl.DataFrame):
        return values.to_series()
    return values.iloc[:, 0] if hasattr(values, "iloc") else values[:, 0]


def _items(values: Any, *, name: str) -> list[Any]:
    before = "in a pipeline, texts are resampled before they become features"
    if hasattr(values, "tocsr"):
        raise ValueError(f"{name} must be strings, got a sparse matrix of {values.shape}: {before}")
    values = _only_column(values)
    # iterators would be spent, sets and mappings have no rows
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__getitem__"):
        raise ValueError(
            f"{name} must be a list, array or series with one item a row, "
            f"got a {type(values).__name__}"
        )
    if len(getattr(values, "shape", (0,))) != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {values.shape}: {before}")
    return values.tolist() if hasattr(values, "tolist") else list(values)


def checked_texts(texts: Any) -> list[str]:
    """The texts as a list.

    Raises:
        ValueError: not a column, or a missing or non-string text.
    """
    items = _items(texts, name="texts")
    for row, text in enumerate(items):
        if not isinstance(text, str):
            what = "missing" if _is_missing(text) else f"a {type(text).__name__}"
            raise ValueError(f"every text must be a string, texts[{row}] is {what}: drop or fix it")
    return items


def checked_labels(labels: Any, *, n_texts: int) -> list[Any]:
    """The labels as a list.

    Raises:
        ValueError: not a column of one for each text, or a missing or unhashable label.
    """
    if labels is None:
        raise ValueError(
            "an over-sampler requires y to be passed, but the target y is None: give each text a "
            "label"
        )
    items = _items(labels, name="labels")
    if len(items) != n_texts:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"{n_texts} texts, {len(items)} labels"
        )
    for row, label in enumerate(items):
        if _is_missing(label):
            raise ValueError(f"labels must not be missing, labels[{row}] is {label}: drop that row")
        try:
            hash(label)
        except TypeError:
            raise ValueError(
                f"Unknown label type: labels[{row}] is a {type(label).__name__}; a label must be "
                "one value a row, such as a string or an integer"
            ) from None
    return items


def checked_groups(groups: Any, *, n_texts: int) -> list[str]:
    """The names of the documents that texts are of, as strings.

    Raises:
        ValueError: not one for each text, or a missing one.
    """
    items = _items(groups, name="groups")
    if len(items) != n_texts:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"{n_texts} texts, {len(items)} groups"
        )
    for row, group in enumerate(items):
        if _is_missing(group):
            raise ValueError(f"groups must not be missing, groups[{row}] is {group}: name each")
    return [str(group) for group in items]


def resampled(values: Any, kept: Sequence[int], new: list[Any]) -> Any:
    """The rows `kept` of `values` and `new` after them, in the kind and dtype of `values`."""
    rows, column = list(kept), _only_column(values)
    if column is not values:
        found = resampled(column, kept, new)
        return found[:, None] if isinstance(found, np.ndarray) else found.to_frame()
    if isinstance(values, np.ndarray):
        # a fixed-width string array widens where a new text is longer
        dtype = None if values.dtype.kind == "U" and new else values.dtype
        return np.concatenate([values[rows], np.asarray(new, dtype=dtype)])
    if isinstance(values, pl.Series):
        return pl.concat([values.gather(rows), pl.Series(values.name, new, dtype=values.dtype)])
    if type(values).__module__.partition(".")[0] == "pandas":
        pd = sys.modules["pandas"]  # its series came in, so it is there
        added = pd.Series(new, dtype=values.dtype, name=values.name)
        return pd.concat([values.iloc[rows], added], ignore_index=True)
    items = [values[row] for row in rows]
    return (*items, *new) if isinstance(values, tuple) else [*items, *new]
