"""The page on strategies: its pictures are those of the script, its names those of the code."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from smotext_core.mixing.interpolation import MIXINGS
from smotext_core.mixing.strategies import STRATEGIES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("strategies")


def test_page_names_every_strategy_and_mixing(page: ModuleType) -> None:
    text = (DOCS / "strategies.md").read_text()
    assert re.findall(r"^\| `([a-z0-9-]+)` \(", text, re.MULTILINE) == list(STRATEGIES)
    assert all(f"`{mixing}`" in text for mixing in MIXINGS)
    assert list(page.TITLES) == list(STRATEGIES)


def test_page_shows_pictures_that_are_there() -> None:
    shown = re.findall(r"\]\((images/.*?)\)", (DOCS / "strategies.md").read_text())
    assert len(shown) == 3
    assert all((DOCS / name).read_bytes().startswith(b"\x89PNG") for name in shown)


def test_pictures_are_the_same_twice(page: ModuleType) -> None:
    for draw in (page.mixing_picture, page.lam_picture):
        picture = draw()
        assert picture.startswith(b"\x89PNG")
        assert draw() == picture


def test_family_picture_is_of_every_strategy_without_a_fallback(
    page: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert page.family_picture().startswith(b"\x89PNG")
    rare, common = page.toy_classes()
    monkeypatch.setattr(page, "toy_classes", lambda: (rare, common + 30))  # nothing in danger
    with pytest.raises(ValueError, match="borderline-1 fell back"):
        page.family_picture()


def test_plane_undoes_directions(page: ModuleType) -> None:
    points = np.array([[0.0, 0.0], [1.5, -2.0]])
    vectors = page.directions(points)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.allclose(page.plane(vectors * 3), points)
