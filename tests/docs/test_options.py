"""docs/options.md names what can be set: options of the command, variables, extras."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
OPTION = re.compile(r'add_argument\(\s*"(--[\w-]+)"')
VARIABLE = re.compile(r'os\.environ(?:\.get\(|\[)"(\w+)"')


@pytest.mark.parametrize("path", sorted((ROOT / "smotext_assets" / "cli").glob("*.py")))
def test_every_option_of_the_command_is_on_the_page(path: Path) -> None:
    options = set(OPTION.findall(path.read_text(encoding="utf-8")))
    told = set(re.findall(r"--[\w-]+", PAGE))
    assert options <= told, sorted(options - told)


def test_every_variable_that_is_read_is_in_its_table() -> None:
    source = (ROOT / "smotext_assets" / "definitions.py").read_text(encoding="utf-8")
    section = PAGE.partition("## Environment variables")[2].partition("\n## ")[0]
    told = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", section))
    found = set(VARIABLE.findall(source))
    assert len(found) > 10
    assert found <= told, sorted(found - told)


def test_every_extra_is_in_its_table_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    section = PAGE.partition("## Extras of the package")[2]
    told = re.findall(r"^\| `([\w-]+)` \|", section, flags=re.MULTILINE)
    assert sorted(told) == sorted(project["optional-dependencies"])
