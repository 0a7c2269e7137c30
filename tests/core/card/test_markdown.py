"""Text and tables in Markdown: what a corpus says stays text, in its cell."""

from __future__ import annotations

import re

import polars as pl
import pytest

from smotext_core.card.blocks import markdown_text
from smotext_core.card.markdown_tables import markdown_table
from tests.core.card.made_cards import HOSTILE, plain, tokens_of


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_text_is_read_back_as_plain_text(text):
    for markdown in (markdown_text(text), f"> {markdown_text(text)}", f"- {markdown_text(text)}"):
        tokens = [t for t in tokens_of(markdown) if t.type != "inline"]
        kinds = {t.type.removesuffix("_open").removesuffix("_close") for t in tokens}
        assert kinds <= {
            "paragraph",
            "text",
            "text_special",
            "blockquote",
            "bullet_list",
            "list_item",
        }
        assert "".join(t.content for t in tokens) == plain(text)
    # bare addresses become links in GitHub's dialect
    assert not re.search(r"://|www\.|@", markdown_text(text))


def test_markdown_table_keeps_hostile_cells_in_their_cells():
    frame = pl.DataFrame({"a|b": HOSTILE, "n": range(len(HOSTILE))})
    tokens = tokens_of(markdown_table(frame, max_rows=50))
    assert sum(t.type == "td_open" for t in tokens) == 2 * len(HOSTILE)
    assert sum(t.type == "th_open" for t in tokens) == 2
    assert not {"html_inline", "link_open", "image", "code_inline"} & {t.type for t in tokens}


def test_markdown_table_golden():
    frame = pl.DataFrame(
        {"a_b": ["x|y", None, "long text"], "n": [1234, 2, 3], "v": [0.12345, 1, 2]}
    )
    found = markdown_table(frame, columns=["a_b", "v", "n"], max_rows=2, max_characters=5)
    assert found == (
        "| a&#95;b | v | n |\n|---|---|---|\n| x&#124;y | 0.123 | 1,234 |\n| – | 1 | 2 |\n\n"
        "… and 1 more rows"
    )
    assert "| long… |" in markdown_table(frame, columns=["a_b"], max_characters=5)
    with pytest.raises(ValueError, match=r"\['z'\] are not among them"):
        markdown_table(frame, columns=["z"])
