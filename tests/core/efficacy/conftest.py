"""One corpus for the tests of efficacy, and rows for it that help."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.core.efficacy.planted import as_synthetic, make_rows, run_with, vectors_of


@pytest.fixture(scope="module")
def corpus() -> dict[str, pl.DataFrame | np.ndarray]:
    train = make_rows(6, 60, prefix="train", seed=1)
    test = make_rows(40, 60, prefix="test", seed=2)
    return {
        "train": train,
        "train_embeddings": vectors_of(train, seed=3),
        "test": test,
        "test_embeddings": vectors_of(test, seed=4),
    }


@pytest.fixture(scope="module")
def helped(corpus):
    """The synthetic rows are new draws of the rare class itself: the best there could be."""
    fresh = make_rows(60, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    return run_with(corpus, synthetic, vectors_of(fresh, seed=6))
