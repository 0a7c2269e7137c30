"""A map of a class: its real and synthetic texts in the plane of the real ones' main directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smotext_core.card.drawing import (
    BLUE,
    GREY,
    GRID,
    ORANGE,
    new_figure,
    png_bytes,
    style_axes,
    title_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_REAL, MAX_SYNTHETIC = 1500, 500
# A map takes a tenth of a second and 30 kB: of thousands of labels that is most of a run's time,
# and a page that no browser opens. A step of more partitions draws none, a card those of the labels
# with most rows.
MOST_MAPS = 100


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
    axes_2d, center, share = principal_plane(real)
    real_xy, made_xy = (real - center) @ axes_2d, (made - center) @ axes_2d

    figure = new_figure(3.7)
    axes = figure.add_subplot()
    style_axes(axes)
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
    title_axes(axes, title)
    _legend(figure, axes)
    return png_bytes(figure)


def principal_plane(
    real: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
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


def _legend(figure: Figure, axes: Axes) -> None:
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8.5,
        handletextpad=0.2,
    )
