"""The pictures of the case study: PNG bytes, the same for the same input.

Wider and finer than the card's: they are read on a laptop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from smotext_core.card import (
    BLUE,
    GREY,
    GRID,
    INK,
    ORANGE,
    SOFT,
    new_figure,
    plain_label,
    png_bytes,
    principal_plane,
    style_axes,
    title_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Vectors = NDArray[np.floating[Any]]
Attributes = Sequence[tuple[str, str]]  # of one text: kind, name

# From note A to note B.
RAMP = (BLUE, "#5f6db8", "#9b67a8", "#c4637d", ORANGE)
MAX_ADDED = 10  # attributes of neither note that are shown


def cosine_chart(
    *, decoded: Vectors, parents: Vectors, real: Vectors, lams: Sequence[float]
) -> bytes:
    """Cosine to either note over λ: of the mixed vector, the closest text, and all texts.

    Args:
        decoded: (l, c, d), the closest first. real: (n, d). Both of unit length.
        parents: (2, d), of the length that the generator gave them.
    """
    fine = np.linspace(0, 1, 101)
    mixed = np.column_stack([1 - fine, fine]) @ parents
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    parents = mixed[[0, -1]]
    figure = _wide(4.0)
    axes = figure.add_subplot()
    style_axes(axes)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    for side, (color, letter) in enumerate(((BLUE, "A"), (ORANGE, "B"))):
        cosine = decoded @ parents[side]  # (l, c)
        shift = 0.014 if side else -0.014
        axes.plot(fine, mixed @ parents[side], color=color, linewidth=1.3, linestyle=(0, (5, 3)))
        x = np.repeat(np.array(lams) + shift, cosine.shape[1])
        axes.scatter(x, cosine.ravel(), s=17, color=color, alpha=0.28, linewidths=0)
        axes.plot(lams, cosine[:, 0], color=color, linewidth=2.2, zorder=4)
        axes.scatter(lams, cosine[:, 0], s=46, color=color, edgecolors="white", zorder=5)
        _name(axes, f"note {letter}", (lams[-side], 1.0), color, offset=(0, 12))
    usual = float(np.median(real @ parents.T))
    dotted = axes.axhline(usual, color=SOFT, linewidth=1.2, linestyle=(0, (1, 2)))
    axes.set_xticks(lams, [f"{lam:g}" for lam in lams])
    axes.set_xlim(-0.06, 1.06)
    axes.set_ylim(min(0.0, float((decoded @ parents.T).min())) - 0.03, 1.08)
    axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.set_xlabel("λ, the weight of note B")
    title_axes(axes, "Cosine of the decoded texts to note A and to note B")
    n = decoded.shape[1]
    keys = {
        "mixed vector": axes.plot([], [], color=INK, linewidth=1.3, linestyle=(0, (5, 3)))[0],
        f"closest of {n} texts": axes.plot([], [], "o-", color=INK, linewidth=2.2, markersize=6)[0],
        f"each of the {n}": axes.scatter([], [], s=17, color=INK, alpha=0.28, linewidths=0),
        "median of the real notes": dotted,
    }
    _legend(figure, list(keys.values()), list(keys))
    return png_bytes(figure, colors=256)


def path_map(
    points: Vectors,
    *,
    decoded: Vectors,
    real: Vectors,
    labels: Sequence[str],
    lams: Sequence[float],
) -> bytes:
    """Real notes, the path between the two notes and the texts decoded from it, in one plane.

    The plane is that of the real notes' two main directions; `points` are (l, d), the
    others as for `cosine_chart`, `labels` one for each real note.
    """
    plane, center, share = principal_plane(np.asarray(real, dtype=np.float64))
    real_xy, path_xy, text_xy = ((rows - center) @ plane for rows in (real, points, decoded))
    figure = _wide(5.0)
    axes = figure.add_subplot()
    style_axes(axes)
    axes.scatter(real_xy[:, 0], real_xy[:, 1], s=13, color=GREY, alpha=0.6, linewidths=0)
    axes.plot(path_xy[:, 0], path_xy[:, 1], color=INK, linewidth=1.4, zorder=4)
    closest = []
    for color, ring, texts in zip(RAMP, path_xy, text_xy, strict=True):
        others = texts[1:].T
        axes.scatter(others[0], others[1], s=24, color=color, alpha=0.5, linewidths=0, zorder=3)
        (x, y), (x_text, y_text) = ring, texts[0]
        axes.plot([x, x_text], [y, y_text], color=color, linewidth=1.1, zorder=5)
        axes.plot(x, y, "o", markersize=6, color="white", mec=color, mew=1.7, zorder=6)
        closest += axes.plot(x_text, y_text, "o", markersize=9, color=color, mec="white", zorder=7)
    left = 0 if path_xy[0, 0] <= path_xy[-1, 0] else -1  # the note whose name stands on its left
    names = [
        _name(
            axes,
            f"note {letter}",
            path_xy[at],
            color,
            offset=(-9 if at == left else 9, 0),
            ha="right" if at == left else "left",
        )
        for at, letter, color in ((0, "A", BLUE), (-1, "B", ORANGE))
    ]
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(GRID)
    axes.set_xlabel(f"two main directions of the real notes, {share:.0%} of their spread")
    title_axes(axes, "From note A to note B among real notes")
    _legend(figure, closest, [f"λ = {lam:g}" for lam in lams])
    _frame(axes, np.concatenate([path_xy, text_xy.reshape(-1, 2)]))
    middles = {
        label: real_xy[[name == label for name in labels]].mean(axis=0)
        for label in sorted(set(labels))
    }
    between = np.concatenate([np.linspace(*ends, 50) for ends in pairwise(path_xy)])
    _place(axes, middles, around=np.concatenate([between, text_xy[:, 0]]), names=names)
    return png_bytes(figure, colors=256)


def _place(
    axes: Axes, middles: Mapping[str, Vectors], *, around: Vectors, names: Sequence[Text]
) -> None:
    """Write each label at its middle, or further out where it would cover a point or a name.

    A label that finds no room is left out: the map is about the path.
    """
    figure: Any = axes.figure
    figure.draw_without_rendering()  # sizes are known only after the layout
    frame = axes.get_window_extent()
    taken = [name.get_window_extent() for name in names]
    points = axes.transData.transform(around)
    for label, middle in middles.items():
        text = axes.text(
            0,
            0,
            plain_label(label, 32),
            ha="center",
            va="center",
            color=SOFT,
            fontsize=9.5,
            zorder=2,
        )
        text.set(fontstyle="italic", parse_math=False)  # a label with $ is not a formula
        _halo(text)
        for stretch in (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0):
            # away from 0, the middle of all notes
            text.set_position((stretch * middle[0], stretch * middle[1]))
            box = text.get_window_extent().padded(8)
            inside = frame.containsx(box.x0) and frame.containsx(box.x1)
            inside = inside and frame.containsy(box.y0) and frame.containsy(box.y1)
            if inside and not box.count_overlaps(taken) and not box.count_contains(points):
                taken.append(box)
                break
        else:
            text.remove()


def _frame(axes: Axes, rows: Vectors) -> None:
    """Limits around `rows` (m, 2), one unit as long in both directions, 7 wide and 4.3 high."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    half = max((high - low) / np.array([7.0, 4.3])) * 0.85 * np.array([7.0, 4.3])
    middle = (low + high) / 2
    axes.set_xlim(middle[0] - half[0], middle[0] + half[0])
    axes.set_ylim(middle[1] - half[1], middle[1] + half[1])
    axes.set_aspect("equal", adjustable="box")


def attribute_matrix(
    notes: Sequence[Attributes], said: Sequence[Sequence[Attributes]], *, lams: Sequence[float]
) -> bytes:
    """How many texts of each λ have each attribute; `said` is by λ and text, the closest first.

    Rows are note A's attributes, then note B's, then the most frequent others.
    """
    known = {pair for note in notes for pair in note}
    other_age = ("", "another age")
    found = [
        [{p if p[0] != "age" or p in known else other_age for p in text} for text in texts]
        for texts in said
    ]
    added = Counter(p for texts in found for text in texts for p in text if p not in known)
    most = sorted(added, key=lambda pair: (-added[pair], pair))[:MAX_ADDED]
    groups = [
        ("in note A", BLUE, list(notes[0])),
        ("in note B", ORANGE, [pair for pair in notes[1] if pair not in notes[0]]),
        ("in neither, most often", SOFT, most),
    ]
    columns = [
        ("note A", BLUE, [set(notes[0])]),
        *zip([f"λ = {lam:g}" for lam in lams], RAMP, found, strict=True),
        ("note B", ORANGE, [set(notes[1])]),
    ]
    n_rows = sum(len(pairs) + 1.3 for *_, pairs in groups)
    figure = _wide(1.0 + 0.235 * n_rows)
    title = f"Attributes found in the {len(said[0])} texts of each λ"
    figure.suptitle(title, x=0.02, ha="left", fontsize=10.5, color=INK)
    axes = figure.add_subplot()
    style_axes(axes)
    y, names = 0.0, {}
    for heading, color, pairs in groups:
        _name(axes, heading, (-0.5, y), color, offset=(-4, 0), ha="right")
        for pair in pairs:
            y += 1
            names[y] = plain_label(" ".join(pair) if pair[0] == "age" else pair[1], 32)
            for x, (_, color, texts) in enumerate(columns):
                _tile(axes, x, y, color, having=[pair in text for text in texts])
        y += 1.3
    axes.set_yticks(list(names), list(names.values()))
    axes.set_ylim(y - 0.85, -0.5)
    axes.set_xlim(-0.5, len(columns) - 0.55)
    axes.set_xticks(range(len(columns)), [name for name, *_ in columns], fontweight="bold")
    axes.xaxis.tick_top()
    for tick, (_, color, _) in zip(axes.get_xticklabels(), columns, strict=True):
        tick.set_color(color)
    axes.spines["bottom"].set_visible(False)
    return png_bytes(figure, colors=256)


def _tile(axes: Axes, x: float, y: float, color: str, *, having: Sequence[bool]) -> None:
    """A tile as dark as texts have the attribute; of several texts their number, and a frame
    where the first has it."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import FancyBboxPatch

    share = sum(having) / len(having)
    if not share:
        axes.plot(x, y, ".", color=GRID, markersize=3)
        return
    several = len(having) > 1
    tile = FancyBboxPatch(
        (x - 0.4, y - 0.36),
        0.8,
        0.72,
        boxstyle="round,pad=0,rounding_size=0.09",
        facecolor=[1 - (0.12 + 0.88 * share) * (1 - value) for value in to_rgb(color)],
        edgecolor=INK if several and having[0] else "none",
        linewidth=1.4,
        mutation_aspect=1.6,
    )
    axes.add_patch(tile)
    if several:
        ink = "white" if share > 0.55 else INK
        axes.text(x, y, f"{sum(having)}", ha="center", va="center_baseline", fontsize=8, color=ink)


def _wide(height: float) -> Figure:
    figure = new_figure(height)
    figure.set_size_inches(7.0, height)
    figure.set_dpi(200)
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.12, h_pad=0.12)  # inches: on a dark page the white edge shows
    return figure


def _name(
    axes: Axes,
    words: str,
    at: Sequence[float] | Vectors,
    color: str,
    *,
    offset: tuple[float, float],
    ha: Literal["left", "center", "right"] = "center",
) -> Text:
    """Bold words of ours beside a place, offset in points."""
    name = axes.annotate(
        words,
        (float(at[0]), float(at[1])),
        xytext=offset,
        textcoords="offset points",
        ha=ha,
        va="center",
        color=color,
        fontsize=9.5,
        fontweight="bold",
        annotation_clip=False,
        zorder=8,
    )
    _halo(name)
    return name


def _legend(figure: Figure, handles: Sequence[Any], words: Sequence[str]) -> None:
    figure.legend(
        handles, words, loc="outside lower center", ncols=len(words), frameon=False, fontsize=8.5
    )


def _halo(text: Text) -> None:
    from matplotlib.patheffects import withStroke

    text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
