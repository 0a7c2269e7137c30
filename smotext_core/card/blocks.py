"""HTML and Markdown of the same paragraph, table or picture, for pages that show foreign text.

Everything given to these functions is data: it becomes text, never markup, a link or a request.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from typing import Any

import polars as pl

Block = tuple[str, str]  # the same thing as HTML and as Markdown

# Control characters and those that reorder the text around them (Trojan Source).
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
# What Markdown reads as markup, a link, a mention or a formula; at the start also as a list.
_MARKUP = re.compile(
    r"[\\`*_{}\[\]<>#|~$&@]|--+|^[-+](?=\s|$)|^=|^\d{1,9}[.)](?=\s|$)|:(?=/)|(?<=\bwww)\.",
    re.IGNORECASE,
)


def markdown_text(text: str, *, max_characters: int = 200) -> str:
    """`text` on one line, so that Markdown shows it as it is: its markup becomes HTML entities."""
    text = one_line(text, max_characters)
    return _MARKUP.sub(lambda match: "".join(map(_entity, match[0])), text)


def _entity(character: str) -> str:
    return character if character.isdigit() else f"&#{ord(character)};"


def sample(label: str, text: str, notes: str, parents: Sequence[tuple[float, str]]) -> Block:
    """A synthetic text above its parents, each with its weight."""
    text = one_line(text, 700)
    quoted = "".join(
        f'<figure><figcaption><span class="bar"><i style="width:{100 * weight:.0f}%"></i></span>'
        f'{weight:.0%} of this parent</figcaption><p dir="auto">'
        f"{html.escape(one_line(parent, 300))}</p></figure>"
        for weight, parent in parents
    )
    as_html = (
        f'<article><header><b dir="auto">{html.escape(one_line(label, 80))}</b>'
        f'<span>{html.escape(notes)}</span></header><p class="made" dir="auto">'
        f'{html.escape(text)}</p><div class="parents">{quoted}</div></article>'
    )
    lines = [f"- {weight:.0%} of: {markdown_text(p, max_characters=300)}" for weight, p in parents]
    title = f"**{markdown_text(label, max_characters=80)}** · {notes}"
    quote = f"> {markdown_text(text, max_characters=700)}"
    return as_html, f"{title}\n\n{quote}\n\n" + "\n".join(lines)


def section(title: str, *blocks: Block) -> Block:
    """Blocks under a title of our own."""
    name = re.sub(r"\W+", "-", title.lower()).strip("-")
    as_html = (
        f'<section id="{name}"><h2>{title}</h2>{"".join(block[0] for block in blocks)}</section>'
    )
    return as_html, "\n\n".join([f"## {title}", *(block[1] for block in blocks)])


def paragraph(text: str) -> Block:
    """Words of our own: for Markdown they are not escaped."""
    return f"<p>{html.escape(text)}</p>", text


def code(text: str) -> Block:
    """Text as it is, in a fence longer than any it holds."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
    return f"<pre><code>{html.escape(text)}</code></pre>", f"{fence}\n{text}\n{fence}"


def picture(alt: str, png: bytes) -> Block:
    """A PNG inside the page; Markdown only says that there is one."""
    data = base64.b64encode(png).decode()
    alt = one_line(alt, 100)
    source = f"data:image/png;base64,{data}"
    return f'<img alt="{html.escape(alt)}" src="{source}">', "The HTML card has this as a picture."


def table(
    names: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[int] = ()
) -> Block:
    """Rows under names, columns in `numbers` flush right; on a telephone it scrolls sideways."""

    def cells(row: Sequence[Any], tag: str) -> str:
        parts = []
        for column, value in enumerate(row):
            text = one_line(_shown(value), 200)
            word = re.search(r"(?:^|: )(helps|hurts|red|passed|augment)$", text)
            kind = "n" if column in numbers else word[1] if word and column else ""
            name = html.escape(names[column]) if tag == "td" else ""
            parts.append(
                f'<{tag} class="{kind}" data-name="{name}" dir="auto">{html.escape(text)}</{tag}>'
            )
        return f"<tr>{''.join(parts)}</tr>"

    head = f"<thead>{cells(names, 'th')}</thead>" if any(names) else ""
    body = "".join(cells(row, "td") for row in rows)
    as_html = f'<div class="table"><table>{head}<tbody>{body}</tbody></table></div>'
    return as_html, markdown_rows(names, rows, max_characters=200)


def markdown_rows(
    names: Sequence[str], rows: Sequence[Sequence[Any]], *, max_characters: int
) -> str:
    """A Markdown table, every cell escaped and cut."""

    def cells(row: Sequence[Any]) -> str:
        shown = (markdown_text(_shown(value), max_characters=max_characters) for value in row)
        return f"| {' | '.join(shown)} |"

    return "\n".join([cells(names), "|" + "---|" * len(names), *map(cells, rows)])


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | pl.Series):
        return ", ".join(_shown(item) for item in value)
    return str(value)


def one_line(text: str, most: int) -> str:
    """`text` without line breaks, control characters and reordering marks, cut to `most`."""
    text = " ".join(_INVISIBLE.sub(" ", text).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def page(
    title: str,
    subtitle: str,
    *,
    facts: Sequence[tuple[str, str]],
    body: str,
    verdict: Sequence[tuple[str, str]] = (),
) -> str:
    """A whole HTML page around `body`, which is HTML already.

    `facts` are (figure, name), `verdict` sentences with their tone: "good", "bad" or "open".
    """
    lines = "".join(
        f'<li class="{tone}" dir="auto">{html.escape(line)}</li>' for tone, line in verdict
    )
    items = "".join(
        f"<li><b>{html.escape(figure)}</b>{html.escape(name)}</li>" for figure, name in facts
    )
    subtitle = html.escape(one_line(subtitle, 80))
    return _PAGE.format(
        title=html.escape(title),
        subtitle=subtitle,
        css=_CSS,
        verdict=f'<ul class="verdict">{lines}</ul>' if lines else "",
        facts=items,
        body=body,
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}, {subtitle}</title>
<style>{css}</style>
</head>
<body>
<header class="top"><p>dataset card</p><h1>{title}</h1><p dir="auto">{subtitle}</p>
{verdict}
<ul class="facts">{facts}</ul></header>
<main>
{body}
</main>
</body>
</html>
"""

_CSS = """
:root{color-scheme:light;--ink:#1f2937;--soft:#55616e;--line:#dde3e9;--page:#f6f7f9;
--card:#fff;--blue:#1f5f8b;--good:#1a6b50;--bad:#a63c0f;--open:#6b6f76}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:17px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
.top,main{max-width:54rem;margin:0 auto;padding:0 1.25rem}
.top{padding-top:3rem}.top p{margin:0;color:var(--soft);overflow-wrap:anywhere}
h1{font-size:2.3rem;line-height:1.15;margin:.1rem 0 .2rem;letter-spacing:-.02em}
h2{font-size:1.4rem;line-height:1.25;margin:0 0 .8rem;letter-spacing:-.01em}
section{padding:2rem 0;border-top:1px solid var(--line)}
section>p{max-width:42rem;margin:0 0 1rem}
.verdict{list-style:none;margin:1.4rem 0 0;padding:.3rem 1.1rem;background:var(--card);
border:1px solid var(--line);border-radius:12px}
.verdict li{padding:.6rem 0 .6rem 1.9rem;position:relative;font-size:1.05rem;line-height:1.45;
overflow-wrap:anywhere}.verdict li+li{border-top:1px solid var(--line)}
.verdict li::before{position:absolute;left:.1rem;font-weight:700}
.verdict .good::before{content:"\\2713";color:var(--good)}
.verdict .bad::before{content:"\\2715";color:var(--bad)}
.verdict .open::before{content:"?";color:var(--open)}
.facts{list-style:none;display:grid;grid-template-columns:repeat(4,1fr);gap:.75rem;
padding:0;margin:1.75rem 0 2.25rem}
.facts li{background:var(--card);border:1px solid var(--line);border-radius:10px;
padding:.75rem .9rem;color:var(--soft);font-size:.85rem;line-height:1.35}
.facts b{display:block;font-size:1.5rem;line-height:1.3;color:var(--ink);
font-variant-numeric:tabular-nums}
.table{overflow-x:auto;margin:0 0 1.25rem;background:var(--card);border:1px solid var(--line);
border-radius:12px}
table{border-collapse:collapse;width:100%;font-size:.9rem;line-height:1.45}
th,td{text-align:left;vertical-align:top;padding:.55rem .9rem;
border-bottom:1px solid var(--line);overflow-wrap:anywhere;min-width:5rem;max-width:22rem}
th{font-weight:600;color:var(--soft);white-space:nowrap;overflow-wrap:normal}
tbody tr:last-child td{border-bottom:0}td:first-child{font-weight:500;min-width:11.5rem}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.helps,.passed,.augment{color:var(--good);font-weight:600}
.hurts,.red{color:var(--bad);font-weight:600}
article{background:var(--card);border:1px solid var(--line);border-radius:10px;
padding:1rem 1.15rem;margin:0 0 1rem}
article header{display:flex;flex-wrap:wrap;gap:.2rem 1rem;justify-content:space-between;
font-size:.85rem;color:var(--soft)}
article header>*{min-width:0;overflow-wrap:anywhere}article header b{color:var(--blue)}
article p{overflow-wrap:anywhere}
.made{margin:.4rem 0 1rem;font-size:1.05rem}
.parents{display:grid;grid-template-columns:repeat(auto-fit,minmax(14rem,1fr));gap:1rem 1.5rem}
.parents figure{margin:0}.parents p{margin:.35rem 0 0;font-size:.9rem;line-height:1.5;
color:var(--soft)}
figcaption{font-size:.8rem;color:var(--soft);font-variant-numeric:tabular-nums}
.bar{display:inline-block;width:5rem;height:.45rem;margin-right:.5rem;border-radius:3px;
background:var(--line);overflow:hidden}.bar i{display:block;height:100%;background:var(--blue)}
img{display:block;width:100%;max-width:36rem;height:auto;background:#fff;padding:.6rem;
border:1px solid var(--line);border-radius:10px;margin:0 0 1.25rem}
.maps{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(22rem,100%),1fr));gap:1rem}
.maps img{margin:0}
pre{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px;
padding:.8rem 1rem;font:13.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
@media(max-width:40rem){body{font-size:16px}.top{padding-top:1.75rem}h1{font-size:1.9rem}
.facts{grid-template-columns:repeat(2,1fr)}section{padding:1.5rem 0}
table{width:max-content;min-width:100%}td,th{max-width:15rem}.n{min-width:3.5rem}td:first-child{min-width:6rem;
max-width:10rem}}
@media print{section{break-inside:auto}article,img{break-inside:avoid}}
"""
