"""How every picture looks: sizes, colours, titles; PNG bytes, the same for the same input.

Sized for a telephone: 5.2 inches wide, so that 9-point letters stay readable at 350 pixels.
Colours are those of Okabe and Ito, which colour-blind readers tell apart.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 5.2  # inches
DPI = 170
INK, SOFT, GRID = "#222222", "#6b6b6b", "#e4e4e4"
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#b9b9b9"


def new_figure(height: float) -> Figure:
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")


def style_axes(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    axes.xaxis.label.set(size=8.5, color=SOFT)
    axes.set_axisbelow(True)


def title_axes(axes: Axes, text: str, *, size: float = 10.5) -> None:
    title = axes.set_title(plain_label(text, 60), loc="left", fontsize=size, color=INK)
    title.set_parse_math(False)  # a label with $ is not a formula


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [plain_label(name, 32) for name in names])
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    style_axes(axes)


def plain_label(text: str, most: int) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def png_bytes(figure: Figure, *, colors: int = 48) -> bytes:
    """Drawn by Agg, few colours, and no metadata: matplotlib would write its version.

    Colours by coverage, and zlib's usual effort: a third of the time, and the same size.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # shown as a box; labels may be emoji
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    method, dither = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
    image.quantize(colors, method=method, dither=dither).save(buffer, format="PNG")
    return buffer.getvalue()
