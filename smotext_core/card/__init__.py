"""The page about a run: its blocks as HTML and markdown, tables and pictures.

Corpus text is data here too: whatever it holds, it is shown, never markup.
"""

from smotext_core.card.blocks import markdown_rows, markdown_text, page, paragraph
from smotext_core.card.card import dataset_card, size_category
from smotext_core.card.class_map import (
    MAX_REAL,
    MAX_SYNTHETIC,
    MOST_MAPS,
    class_map,
    principal_plane,
)
from smotext_core.card.drawing import (
    BLUE,
    DPI,
    GREY,
    GRID,
    INK,
    ORANGE,
    SOFT,
    name_rows,
    new_figure,
    plain_label,
    png_bytes,
    style_axes,
    title_axes,
)
from smotext_core.card.evidence import verdict_lines
from smotext_core.card.markdown_tables import markdown_table

__all__ = [
    "BLUE",
    "DPI",
    "GREY",
    "GRID",
    "INK",
    "MAX_REAL",
    "MAX_SYNTHETIC",
    "MOST_MAPS",
    "ORANGE",
    "SOFT",
    "class_map",
    "dataset_card",
    "markdown_rows",
    "markdown_table",
    "markdown_text",
    "name_rows",
    "new_figure",
    "page",
    "paragraph",
    "plain_label",
    "png_bytes",
    "principal_plane",
    "size_category",
    "style_axes",
    "title_axes",
    "verdict_lines",
]
