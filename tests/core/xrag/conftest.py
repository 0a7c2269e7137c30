"""A tiny pair of the published layout; a test changes a copy."""

import shutil
from pathlib import Path

import pytest

from smotext_core.xrag.generator import Generator, load_generator
from smotext_core.xrag.published import write_published
from tests.core.xrag.published_layout import quick, write_encoder, write_lm


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoders") / "sfr")


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lm(tmp_path_factory.mktemp("lms") / "xrag-7b")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, encoder: Path, lm: Path) -> Path:
    """A generator folder that refers to both."""
    made = tmp_path_factory.mktemp("generators") / "own"
    write_published(made, "xrag-7b", encoder=str(encoder), lm=str(lm))
    return made


@pytest.fixture(scope="module")
def generator(folder: Path) -> Generator:
    return quick(load_generator(str(folder)))


@pytest.fixture
def copied(lm: Path, tmp_path: Path) -> Path:
    """A copy of the language model's folder, to be damaged."""
    return Path(shutil.copytree(lm, tmp_path / "lm"))
