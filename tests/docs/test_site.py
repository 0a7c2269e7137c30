"""The site: built strictly, complete, and nothing on its pages comes from another host."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FETCHED = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=["'](?:https?:)?//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_of_docs_is_built_and_in_the_navigation(site: Path) -> None:
    nowhere = (site / "404.html").read_text(encoding="utf-8")  # links to nothing but the others
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        if ".template." not in name:
            assert (site / name).is_file(), name
            assert f'href="/{name}"' in nowhere, name
    assert not list(site.rglob("*.py"))
    assert not list(site.rglob("*template*"))


def test_pages_fetch_nothing_from_another_host(site: Path) -> None:
    assert FETCHED.search('<script async src="https://example.org/a.js">')
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not FETCHED.search(text), page
        assert 'class="mermaid"' not in text, page  # the theme would fetch what draws them


def test_pages_of_the_code_show_what_its_docstrings_say(site: Path) -> None:
    core = (site / "api" / "core.html").read_text(encoding="utf-8")
    for name in ("sampler.SMOTExT.fit_resample", "xrag.load_generator", "mixing.interpolate"):
        assert f'id="smotext_core.{name}"' in core
    assert "neighbours to pair with" in core  # an argument, in a table of its own
    assets = (site / "api" / "assets.html").read_text(encoding="utf-8")
    assert 'id="smotext_assets.store.Store' in assets
