"""Thresholds of the filters come from held-out texts, unless the configuration gives numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from smotext_core.schemas import CALIBRATION
from tests.assets.conftest import Calls, Home, write_corpus
from tests.fakes import fake_corpus

AT = {"label": "medicine", "run": "r1"}


@pytest.fixture
def larger(tmp_path: Path) -> Path:
    """A corpus with held-out texts enough to tell a quantile."""
    texts, labels = fake_corpus({"astronomy": 80, "cooking": 40, "medicine": 20}, seed=5)
    return write_corpus(tmp_path / "larger.csv", list(zip(texts, labels, strict=True)))


def choose_again(home: Home, corpus: Path, **config: Any) -> pl.DataFrame:
    result = home.materialize(
        corpus,
        ["synthetic_texts"],
        partition_key="medicine|r1",
        run_config={"ops": {"synthetic_texts": {"config": config}}},
    )
    assert result.success
    return home.store.read("rejected_texts", AT)


def test_thresholds_are_measured_once_a_run_and_held_to(home: Home, larger: Path) -> None:
    assert home.main("run", str(larger), "--run", "r1") == 0
    round_trip = home.store.read("calibration", {"run": "r1"})
    assert round_trip.schema == CALIBRATION
    assert round_trip["n_own"].to_list() == [42]  # three in ten of 140
    (least,) = round_trip["threshold"]
    assert 0.3 < least < 1
    assert 0.9 < round_trip["own_passing"][0] < 1
    confidence = home.store.read("label_calibration").filter(pl.col("label") == "medicine")
    made = home.store.read("synthetic_texts", AT)
    assert made.height
    assert made["round_trip_cosine"].min() >= np.float32(least)
    assert made["label_confidence"].min() >= np.float32(confidence["threshold"][0])

    files, Calls.encoded, Calls.decoded = home.files(), [], 0
    assert home.main("run", str(larger), "--run", "r1") == 0
    assert home.files() == files
    assert Calls.decoded == 0


def test_numbers_of_the_configuration_win(home: Home, larger: Path) -> None:
    assert home.main("run", str(larger), "--run", "r1") == 0
    reasons = choose_again(home, larger, min_round_trip=2.0)["reason"].unique().to_list()
    assert "round trip below minimum" in reasons
    assert home.store.read("synthetic_texts", AT).is_empty()
    reasons = choose_again(home, larger, min_round_trip=-1.0, min_label_confidence=1.1)["reason"]
    assert "round trip below minimum" not in reasons
    assert "label confidence below minimum" in reasons
    assert home.store.read("synthetic_texts", AT).is_empty()


def test_too_few_held_out_texts_leave_the_fixed_thresholds(finished: Home) -> None:
    assert finished.store.read("calibration", {"run": "r1"}).is_empty()
    confidence = finished.store.read("label_calibration")
    assert confidence.filter(pl.col("label") == "medicine")["threshold"].to_list() == [None]
    made = finished.store.read("synthetic_texts", AT)
    assert made["round_trip_cosine"].min() >= np.float32(0.3)
