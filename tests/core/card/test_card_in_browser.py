"""The dataset card in a real browser: hostile texts stay text, and a telephone shows it whole."""

from __future__ import annotations

import html
import json
import shutil
import subprocess

import pytest

from tests.core.card.made_cards import HOSTILE, TAGS_OF_OURS, card_of, picture_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not on PATH")
TEXTS = (
    *HOSTILE,
    "<script>parent.owned = 1; document.title = 'owned'</script>",
    '</style><img src=x onerror="parent.owned = 1">',
    "</title></head><svg onload='parent.owned = 1'></svg>",
    "[link](https://example.org) ![i](https://example.org/i.png)",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u202eabc",
    "\U0001f600\U0001f469\u200d\U0001f52c" * 40,
    "x" * 10_000,
)
# The card says that scripts must not run in it: the page around it looks at it.
AROUND = """<!doctype html><meta charset="utf-8"><body><iframe width="{width}" height="800"
style="border:0" srcdoc="{page}"></iframe><pre></pre><script>
addEventListener("load", () => {{
  const card = document.querySelector("iframe").contentDocument, root = card.documentElement;
  const all = [...card.querySelectorAll("*")];
  document.querySelector("pre").textContent = JSON.stringify({{
    title: card.title, owned: window.owned || 0, shown: root.clientWidth, wide: root.scrollWidth,
    tags: [...new Set(all.map(e => e.localName))],
    handlers: all.flatMap(e => e.getAttributeNames()).filter(n => n.startsWith("on")),
    foreign: all.filter(e => e.getAttribute("src") && !e.src.startsWith("data:image/png")).length,
    broken: [...card.images].filter(i => !i.naturalWidth).length,
    text: card.body.innerText}});
}});</script>"""


def seen(page: str, folder, width: int) -> dict:
    around = folder / "around.html"
    around.write_text(AROUND.format(width=width, page=html.escape(page)))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    given = [*command, f"--user-data-dir={folder}/profile", around.as_uri()]
    found = subprocess.run(given, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(html.unescape(found.stdout.rsplit("<pre>", 1)[1].split("</pre>", 1)[0]))


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_hostile_texts_as_text(tmp_path, width):
    page, _ = card_of(
        TEXTS,
        TEXTS[-7:],
        examples=dict.fromkeys(("too short", TEXTS[-7]), TEXTS[-1]),
        pictures=dict.fromkeys(TEXTS[-7:], picture_of("class_map", TEXTS[-1])),
    )
    card = seen(page, tmp_path, width)
    assert card["owned"] == 0
    assert card["title"] == "Synthetic texts, run 20261122T0300"
    assert [tag for tag in card["tags"] if not TAGS_OF_OURS.fullmatch(tag)] == []
    assert card["handlers"] == []
    assert (card["foreign"], card["broken"]) == (0, 0)
    assert "<script>parent.owned = 1" in card["text"]
    assert card["wide"] <= card["shown"] <= width


@needs_chromium
def test_the_look_at_the_card_can_fail(tmp_path):
    page, _ = card_of(("a text", "b text"), ("x", "y"), pictures={})
    page = page.replace("</main>", '<a onclick="1" style="padding:500px">x</a></main>')
    card = seen(page, tmp_path, 390)
    assert "a" in card["tags"]
    assert card["handlers"] == ["onclick"]
    assert card["wide"] > 390
