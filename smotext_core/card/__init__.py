"""The page about a run: its blocks as HTML and markdown, tables and pictures.

Corpus text is data here too: whatever it holds, it is shown, never markup.
"""

from smotext_core.card.card import dataset_card
from smotext_core.card.markup import markdown_rows, markdown_text, page, paragraph
from smotext_core.card.pictures import (
    BLUE,
    GREY,
    INK,
    MAX_REAL,
    MAX_SYNTHETIC,
    class_map,
    name_rows,
    new_figure,
    png_bytes,
    style_axes,
)
from smotext_core.card.tables import markdown_table, sample_table

__all__ = [
    "BLUE",
    "GREY",
    "INK",
    "MAX_REAL",
    "MAX_SYNTHETIC",
    "class_map",
    "dataset_card",
    "markdown_rows",
    "markdown_table",
    "markdown_text",
    "name_rows",
    "new_figure",
    "page",
    "paragraph",
    "png_bytes",
    "sample_table",
    "style_axes",
]
