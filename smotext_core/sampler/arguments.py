"""What the sampler is given and what it gives: its arguments in our terms, a row for each text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from smotext_core.filters import Sample

LINEAGE_SCHEMA = pl.Schema(
    {
        "sample_id": pl.String(),
        "label": pl.String(),
        "text": pl.String(),
        "parent_index": pl.List(pl.Int64),  # positions in the texts given, the base first
        "weights": pl.List(pl.Float64),
        "round_trip_cosine": pl.Float32(),
        "origin": pl.String(),  # "decoded", or "found" among the unlabelled texts
    }
)


def n_neighbors_of(k_neighbors: Any) -> int:
    """`k_neighbors` as imbalanced-learn takes it: an object's count includes the text itself."""
    given = k_neighbors
    k = given.n_neighbors - 1 if hasattr(given, "n_neighbors") else given
    if not isinstance(k, Integral):
        raise ValueError(
            f"k_neighbors must be an integer or an object with n_neighbors, got {given!r}"
        )
    return int(k)


def seed_of(random_state: Any) -> int:
    """An integer drawn from whatever scikit-learn or numpy call a random state."""
    if isinstance(random_state, Integral):
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(np.iinfo(np.int32).max))
    from sklearn.utils import check_random_state

    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def lineage_of(made: Sequence[tuple[Any, Sample]], names: Mapping[Any, str]) -> pl.DataFrame:
    """LINEAGE_SCHEMA of samples with their labels, in their order."""
    rows = [
        (
            sample.pair["sample_id"],
            names[label],
            sample.text,
            [int(parent) for parent in sample.pair["parent_ids"]],
            sample.pair["weights"],
            sample.cosine,
            sample.origin,
        )
        for label, sample in made
    ]
    return pl.DataFrame(rows, schema=LINEAGE_SCHEMA, orient="row")


def progress_bar(*, shown: bool) -> Progress:
    """In a terminal or notebook a moving bar, elsewhere its last state."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), disable=not shown)
