"""The pictures of a card: small, the same twice, and telling outcomes apart."""

from __future__ import annotations

import io

import numpy as np
import pytest

from smotext_core.card.class_map import class_map
from smotext_core.card.evidence_charts import _place, efficacy_chart, funnel, leakage_chart
from smotext_core.schemas import EVALUATION, PRIVACY_AUDIT
from tests.core.card.made_cards import audit_of, picture_of


@pytest.mark.parametrize("name", ["class_map", "funnel", "efficacy_chart", "leakage_chart"])
def test_pictures_are_small_and_the_same_twice(name):
    from PIL import Image

    # a label is no formula, and a glyph no font has is no warning
    label = "$\\frac{1$ 😀 漢字 \u202e" + "long " * 40
    png = picture_of(name, label)
    assert png == picture_of(name, label)
    assert len(png) <= 60_000
    image = Image.open(io.BytesIO(png))
    assert image.size[0] == 884
    assert image.info.keys() <= {"transparency"}  # no date, no software
    assert len(np.unique(np.asarray(image))) > 2


def test_class_map_stays_small_and_quick_with_many_points():
    rng = np.random.default_rng(0)
    png = class_map(
        rng.normal(size=(20_000, 8)), rng.normal(size=(9_000, 8)), parents=[], title="x"
    )
    assert len(png) <= 60_000


def test_class_map_draws_a_class_of_one_text():
    assert class_map(np.ones((1, 4)), np.ones((2, 4)), parents=[(0,)], title="one").startswith(
        b"\x89PNG"
    )
    assert class_map(np.ones((3, 4)), np.empty((0, 4)), parents=[], title="none")


def test_class_map_refuses_unknown_parents():
    with pytest.raises(ValueError, match=r"rows of the 3 real ones.*unknown rows \[7\]"):
        class_map(np.ones((3, 4)), np.ones((1, 4)), parents=[(0, 7)], title="x")
    with pytest.raises(ValueError, match="at least one real row"):
        class_map(np.empty((0, 4)), np.ones((1, 4)), parents=[], title="x")


def test_funnel_refuses_negative_counts():
    with pytest.raises(ValueError, match="must not be negative"):
        funnel({"too short": -1}, accepted=3)
    assert funnel({}, accepted=0).startswith(b"\x89PNG")


def test_efficacy_chart_needs_an_arm_beside_real():
    with pytest.raises(ValueError, match="an arm other than 'real'"):
        efficacy_chart(EVALUATION.to_frame())


def test_leakage_chart_tells_outcomes_apart():
    charts = {
        leakage_chart(audit_of(row))
        for row in (
            ("m", 0.4, 0.5, 0.6, True),
            ("m", 0.55, 0.5, 0.6, True),
            ("m", 0.7, 0.5, 0.6, False),
            ("m", 9.0, 0.5, 0.6, False),  # off the scale
            ("m", 0.7, 0.5, None, None),
            ("m", None, None, None, None),
        )
    }
    assert len(charts) == 5  # the last two look alike: neither has a place
    same = leakage_chart(audit_of(("m", 0.0, 0.0, 0.0, True)))  # no room between expected and limit
    assert same == leakage_chart(audit_of(("m", 0.5, 0.5, 0.6, True)))
    with pytest.raises(ValueError, match="at least one row"):
        leakage_chart(PRIVACY_AUDIT.to_frame())


@pytest.mark.parametrize(
    ("value", "reference", "limit", "passed", "place"),
    [
        (0.55, 0.5, 0.6, True, 0.5),
        (0.92, 0.94, 0.90, True, 0.5),  # low is bad
        (0.88, 0.94, 0.90, False, 1.5),
        (0.0, 0.0, 0.0, True, 0.0),
        (0.2, 0.0, 0.0, False, 6.0),
        (0.05, 0.02, 0.0, False, 6.0),  # the holdout itself is over the limit
        (0.5, 0.5, None, None, None),
    ],
)
def test_a_measure_stands_between_expected_and_limit(value, reference, limit, passed, place):
    row = {"value": value, "reference": reference, "threshold": limit, "passed": passed}
    assert _place(row, value) == (place if place is None else pytest.approx(place))
