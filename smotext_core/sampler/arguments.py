"""What the sampler is given and what it gives: its arguments in our terms, a row for each text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, get_args

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from smotext_core.filters import Sample, main_reasons
from smotext_core.mixing import MIXINGS, Cleaning, Lam, Strategy, check_options

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


def check_arguments(
    *,
    strategy: Strategy,
    k_neighbors: Any,
    m_neighbors: int,
    n_parents: int,
    lam: Lam,
    mixing: str | None,
    cleaning: str | None,
    filters: str | None,
    n_candidates: int,
    max_attempts: int,
    temperature: float | None,
    **others: Any,
) -> None:
    """Raises ValueError where one of the sampler's arguments cannot be; `others` are not judged."""
    check_options(
        strategy=strategy,
        k_neighbors=n_neighbors_of(k_neighbors),
        m_neighbors=m_neighbors,
        n_parents=n_parents,
        lam=lam,
    )
    for name, value, allowed in (
        ("mixing", mixing, MIXINGS),
        ("cleaning", cleaning, get_args(Cleaning)),
        ("filters", filters, ("default",)),
    ):
        if value is not None and value not in allowed:
            raise ValueError(f"{name} must be one of {allowed} or None, got {value!r}")
    if temperature is not None and not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be finite and at least 0, or None, got {temperature!r}")
    if min(n_candidates, max_attempts) < 1:
        raise ValueError(
            f"n_candidates and max_attempts must be at least 1, got {n_candidates} and "
            f"{max_attempts}"
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


def too_few(
    label: str,
    n: int,
    wanted: int,
    rejected: pl.DataFrame,
    *,
    n_candidates: int,
    max_attempts: int,
) -> str:
    """The warning that a class got fewer texts than wanted, with the main reasons of `rejected`."""
    why = "every candidate of the others was empty or repeated a text"
    if reasons := main_reasons(rejected):
        why = "most refused for: " + ", ".join(reasons[:2])
    return (
        f"class {label!r}: {n} of {wanted} texts made; {why}; raise n_candidates (now "
        f"{n_candidates}) or max_attempts (now {max_attempts})"
    )


def progress_bar(*, shown: bool) -> Progress:
    """In a terminal or notebook a moving bar, elsewhere its last state."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), disable=not shown)
