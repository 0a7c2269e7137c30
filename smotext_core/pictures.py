"""Pictures for the dataset card: PNG bytes, the same for the same input.

Sized for a telephone: 5.2 inches wide, so that 9-point letters stay readable at 350 pixels.
Colours are those of Okabe and Ito, which colour-blind readers tell apart.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from smotext_core.filters import SURPLUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 5.2  # inches
DPI = 170
INK, SOFT, GRID = "#222222", "#6b6b6b", "#e4e4e4"
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#b9b9b9"
MAX_REAL, MAX_SYNTHETIC, MAX_LABELS = 1500, 500, 24
HEADS = {  # color, marker, shift, name
    "embedding": (BLUE, "o", -0.2, "on embeddings"),
    "tfidf": (ORANGE, "D", 0.0, "on TF-IDF"),
    "other_encoder": (GREEN, "s", 0.2, "on another encoder"),
}


def class_map(
    real_embeddings: NDArray[np.floating[Any]],
    synthetic_embeddings: NDArray[np.floating[Any]],
    *,
    parents: Sequence[tuple[int, ...]],
    title: str,
) -> bytes:
    """Real and synthetic texts of one class in the plane of the real ones' two main directions.

    Args:
        real_embeddings: (n, d).
        synthetic_embeddings: (m, d); m may be 0.
        parents: for the first rows of `synthetic_embeddings`, the rows of their parents in
            `real_embeddings`; these are joined by lines.

    Raises:
        ValueError: no real rows, or a parent that is not one of them.
    """
    real = np.asarray(real_embeddings, dtype=np.float64)
    made = np.asarray(synthetic_embeddings, dtype=np.float64).reshape(-1, real.shape[1])
    if not len(real):
        raise ValueError(f"a map needs at least one real row, got none for {title!r}")
    strangers = [row for rows in parents for row in rows if not 0 <= row < len(real)]
    if strangers or len(parents) > len(made):
        raise ValueError(
            f"parents must be rows of the {len(real)} real ones, for at most {len(made)} synthetic "
            f"rows; got {len(parents)} tuples, unknown rows {strangers[:5]}"
        )
    axes_2d, center, share = _plane(real)
    real_xy, made_xy = (real - center) @ axes_2d, (made - center) @ axes_2d

    figure = _figure(3.7)
    axes = figure.add_subplot()
    _style(axes)
    lined = {row for rows in parents for row in rows}
    shown = np.array(sorted({*_spread(len(real), MAX_REAL), *lined}))
    others = np.array(sorted({*_spread(len(made), MAX_SYNTHETIC), *range(len(parents))}), dtype=int)
    axes.scatter(
        real_xy[shown, 0],
        real_xy[shown, 1],
        s=16,
        color=GREY,
        linewidths=0,
        label=f"real ({len(real)})",
    )
    axes.scatter(
        made_xy[others, 0],
        made_xy[others, 1],
        s=22,
        color=BLUE,
        edgecolors="white",
        linewidths=0.5,
        label=f"synthetic ({len(made)})",
        zorder=3,
    )
    for row, rows in enumerate(parents):
        for parent in rows:
            ends = np.array([made_xy[row], real_xy[parent]])
            axes.plot(ends[:, 0], ends[:, 1], color=ORANGE, linewidth=1.1, alpha=0.9, zorder=2)
    if lined:
        axes.scatter(
            real_xy[sorted(lined), 0],
            real_xy[sorted(lined), 1],
            s=26,
            facecolors="none",
            edgecolors=ORANGE,
            linewidths=1.2,
            label="parents of a few",
            zorder=4,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.06)
    axes.set_xlabel(f"two main directions of the real texts, {share:.0%} of their spread")
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(GRID)
    _title(axes, title)
    _legend(figure, axes)
    return _png(figure)


def funnel(rejected: Mapping[str, int], *, accepted: int) -> bytes:
    """What became of the decoded texts: those each filter refused, in the mapping's order.

    Raises:
        ValueError: a negative count.
    """
    if accepted < 0 or any(count < 0 for count in rejected.values()):
        raise ValueError(f"counts must not be negative, got {accepted} and {dict(rejected)}")
    total = accepted + sum(rejected.values())
    names = ["decoded", *rejected, "accepted"]
    widths = [total, *rejected.values(), accepted]
    left, remaining = [0], total
    for count in rejected.values():
        remaining -= count
        left.append(remaining)
    left.append(0)

    figure = _figure(0.3 + 0.3 * len(names))
    axes = figure.add_subplot()
    colors = [GREY, *(GREY if name in SURPLUS else ORANGE for name in rejected), BLUE]
    axes.barh(range(len(names)), widths, left=left, color=colors, height=0.66)
    for row, (start, width) in enumerate(zip(left, widths, strict=True)):
        share = f"  ({width / total:.0%})" if total and row else ""
        room_right = start + width < 0.72 * max(total, 1)
        right = room_right or row == 0  # the first bar is the widest: its number stands inside
        axes.annotate(
            f"{width:,}{share}",
            (start + width if room_right else start, row),
            xytext=(4 if right else -4, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            color=INK,
            fontsize=8,
        )
    _categories(axes, names)
    axes.set_xlim(0, max(total, 1))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    return _png(figure)


def efficacy_chart(evaluation: pl.DataFrame) -> bytes:
    """Differences to the real rows alone, with their 95 % intervals, from an EVALUATION frame.

    Macro-F1 of every arm above, F1 per label of the arm "smotext" below; of many labels those
    with the largest differences.

    Raises:
        ValueError: no differences in `evaluation`.
    """
    rows = evaluation.filter(pl.col("difference").is_not_null())
    overall = rows.filter(pl.col("metric") == "macro_f1")
    if overall.is_empty():
        raise ValueError("an efficacy chart needs macro_f1 rows of an arm other than 'real'")
    per_label = rows.filter(pl.col("metric") == "f1", pl.col("arm") == "smotext")
    size = pl.col("difference").abs().max()
    by_size = (
        per_label.group_by("label").agg(size).sort("difference", "label", descending=[True, False])
    )
    labels = sorted(by_size["label"].head(MAX_LABELS).to_list())
    order = ("smotext", "smotext_alone", "word_edits", "smote", "oversample", "class_weight")
    arms = [arm for arm in order if arm in set(overall["arm"])]
    blocks = [(arms, overall, "arm", "macro-F1, by training rows")]
    if labels:
        blocks.append((labels, per_label, "label", "F1 of each label, with the synthetic rows"))

    heights = [len(names) for names, *_ in blocks]
    figure = _figure(0.9 + 0.3 * sum(heights) + 0.35 * len(blocks))
    panels = figure.subplots(
        len(blocks), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    for axes, (names, frame, column, heading) in zip(panels, blocks, strict=True):
        _style(axes)
        axes.axvline(0, color=INK, linewidth=1)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        for head, (color, marker, shift, _) in HEADS.items():
            for row in frame.filter(pl.col("head") == head).iter_rows(named=True):
                if row[column] not in names:
                    continue
                y = names.index(row[column]) + shift
                axes.plot([row["low"], row["high"]], [y, y], color=color, linewidth=1.8)
                # filled where there is a verdict
                fill = "white" if row["verdict"] == "no evidence" else color
                axes.plot(
                    row["difference"], y, marker, color=color, markerfacecolor=fill, markersize=5
                )
        _categories(axes, names)
        _title(axes, heading, size=9)
    panels[-1].set_xlabel("difference to the real rows alone (right of 0 is better)")
    keys = [
        panels[0].plot([], [], marker, color=color, markersize=5, label=name)[0]
        for head, (color, marker, _, name) in HEADS.items()
        if head in set(rows["head"])
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=3, frameon=False, fontsize=8.5)
    return _png(figure)


def _plane(real: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The first two principal directions (d, 2), the centre (d,), their share of the variance."""
    center = real.mean(axis=0)
    _, spread, directions = np.linalg.svd(real - center, full_matrices=False)
    plane = np.zeros((real.shape[1], 2))
    rank = min(2, len(directions))
    plane[:, :rank] = directions[:rank].T
    largest = np.abs(plane).argmax(axis=0)  # a direction's sign is arbitrary: fix it
    plane *= np.where(plane[largest, [0, 1]] < 0, -1, 1)
    total = float((spread**2).sum())
    return plane, center, float((spread[:2] ** 2).sum()) / total if total > 0 else 1.0


def _spread(n: int, most: int) -> list[int]:
    """At most `most` row numbers, evenly over n."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int)).tolist() if n else []


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")


def _style(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    axes.xaxis.label.set(size=8.5, color=SOFT)
    axes.set_axisbelow(True)


def _title(axes: Axes, text: str, *, size: float = 10.5) -> None:
    title = axes.set_title(_plain(text, 60), loc="left", fontsize=size, color=INK)
    title.set_parse_math(False)  # a label with $ is not a formula


def _categories(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_plain(name, 32) for name in names])
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    _style(axes)


def _legend(figure: Figure, axes: Axes) -> None:
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8.5,
        handletextpad=0.2,
    )


def _plain(text: str, most: int) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _png(figure: Figure, *, colors: int = 48) -> bytes:
    """Drawn by Agg, few colours, and no metadata: matplotlib would write its version."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # shown as a box; labels may be emoji
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(colors, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
