"""The pictures of `strategies.md`: what the SMOTE family does to two classes in the plane.

Writes `images/strategies-*.png` beside itself or in the folder --out.

    python docs/strategies.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from case_pictures import _legend, _wide
from numpy.typing import NDArray

from smotext_core.card import BLUE, GREY, GRID, INK, ORANGE, SOFT, png_bytes, style_axes, title_axes
from smotext_core.mixing import MIXINGS, STRATEGIES, interpolate, make_pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = NDArray[np.float64]

HEIGHT = 12.0  # of the plane above the origin: directions to its points are nearly flat
TITLES = {
    "smote": "smote: every text, its nearest",
    "random": "random: any two of the class",
    "borderline-1": "borderline-1: bases in danger",
    "borderline-2": "borderline-2: the same, closer",
    "adasyn": "adasyn: more where others are",
    "svm": "svm: about the support vectors",
    "kmeans": "kmeans: inside safe clusters",
}
N_SAMPLES = 150


def toy_classes() -> tuple[Points, Points]:
    """A rare class (44, 2) of three parts, one of them among the common class (150, 2)."""
    rng = np.random.default_rng(3)
    rare = [
        rng.normal([-2.6, 0.9], [0.55, 0.5], (22, 2)),
        rng.normal([0.15, -1.15], [0.5, 0.4], (14, 2)),
        rng.normal([1.5, 0.9], [0.75, 0.65], (8, 2)),
    ]
    common = [
        rng.normal([1.9, 0.6], [0.85, 0.95], (120, 2)),
        rng.normal([-0.3, 2.1], [0.8, 0.25], (30, 2)),
    ]
    return np.concatenate(rare), np.concatenate(common)


def directions(points: Points) -> Points:
    """Unit vectors (n, 3) to points of the plane (n, 2)."""
    raised = np.column_stack([points, np.full(len(points), HEIGHT)])
    return raised / np.linalg.norm(raised, axis=1, keepdims=True)


def plane(vectors: NDArray[Any]) -> Points:
    """Where vectors (n, 3) meet the plane."""
    return np.asarray(vectors[:, :2] / vectors[:, 2:] * HEIGHT, dtype=np.float64)


def family_picture() -> bytes:
    """One panel a strategy: both classes, the bases by how often they are one, the samples."""
    rare, common = toy_classes()
    ids = [f"{row:02d}" for row in range(len(rare))]
    figure = _wide(10.1)
    panels = figure.subplots(4, 2, sharex=True, sharey=True).ravel()
    for axes, strategy in zip(panels, STRATEGIES, strict=False):
        pairs, note = make_pairs(
            ids,
            directions(rare),
            run="docs",
            label="rare",
            slug="rare",
            n_samples=N_SAMPLES,
            strategy=strategy,
            others=directions(common),
        )
        if note:
            raise ValueError(f"{strategy} fell back, its panel would show another one: {note}")
        made = plane(interpolate(pairs, ids, directions(rare), mixing="linear-norm"))
        bases = pairs["parent_ids"].list.first().cast(pl.Int64).to_numpy()
        _panel(axes, rare, common)
        axes.scatter(*made.T, s=7, color=BLUE, alpha=0.75, linewidths=0, zorder=3)
        times = np.bincount(bases, minlength=len(rare))
        based = times > 0
        sizes = 22 + 170 * times[based] / N_SAMPLES
        axes.scatter(
            *rare[based].T, s=sizes, facecolors="none", edgecolors=ORANGE, linewidths=1.2, zorder=5
        )
        title_axes(axes, TITLES[strategy], size=9.5)
    _panel(panels[-1], rare, common)
    title_axes(panels[-1], "the texts alone", size=9.5)
    keys = {
        "other classes": panels[-1].scatter([], [], s=13, color=GREY),
        "the class": panels[-1].scatter([], [], s=13, color=INK),
        "a base, wider where drawn more often": panels[-1].scatter(
            [], [], s=55, facecolors="none", edgecolors=ORANGE, linewidths=1.2
        ),
        "a sample": panels[-1].scatter([], [], s=13, color=BLUE),
    }
    _legend(figure, list(keys.values()), list(keys))
    return png_bytes(figure, colors=128)


def _panel(axes: Axes, rare: Points, common: Points) -> None:
    style_axes(axes)
    axes.scatter(*common.T, s=9, color=GREY, alpha=0.7, linewidths=0)
    axes.scatter(*rare.T, s=9, color=INK, linewidths=0, zorder=4)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")
    axes.set_xlim(-4.3, 4.3)
    axes.set_ylim(-2.6, 3.3)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(GRID)


def mixing_picture() -> bytes:
    """One panel a mixing: nine even λ between two unit vectors 100° apart."""
    figure = _wide(1.85)
    angles = np.deg2rad([140, 40])
    parents = np.column_stack([np.cos(angles), np.sin(angles)])
    lams = np.linspace(0, 1, 9)
    pairs = _pairs([[1 - lam, lam] for lam in lams])
    arc = np.deg2rad(np.linspace(40, 140, 200))
    for axes, mixing in zip(figure.subplots(1, 3, sharey=True), MIXINGS, strict=True):
        made = interpolate(pairs, ["0", "1"], parents, mixing=mixing)
        _bare(axes)
        axes.plot(np.cos(arc), np.sin(arc), color=GREY, linewidth=1)
        for parent in parents:
            axes.plot(*zip((0, 0), parent, strict=True), color=GRID, linewidth=1, zorder=0)
        axes.plot(*made.T, color=BLUE, linewidth=1, alpha=0.5)
        axes.scatter(*made[1:-1].T, s=26, color=BLUE, edgecolors="white", linewidths=0.6, zorder=3)
        axes.scatter(*parents.T, s=44, color=INK, zorder=4)
        sides: tuple[tuple[str, Literal["left", "right"], int], ...]
        sides = (("a", "right", -8), ("b", "left", 8))
        for parent, (name, side, shift) in zip(parents, sides, strict=True):
            axes.annotate(
                name,
                parent,
                xytext=(shift, 0),
                textcoords="offset points",
                ha=side,
                va="center",
                color=INK,
                fontsize=9.5,
            )
        middle = float(np.linalg.norm(made[4]))
        axes.annotate(
            f"length {middle:.2f}",
            made[4],
            xytext=(0, -15),
            textcoords="offset points",
            ha="center",
            color=SOFT,
            fontsize=8,
        )
        axes.set_xlim(-1.02, 1.02)
        axes.set_ylim(0.0, 1.12)
        title_axes(axes, mixing, size=9.5)
    return png_bytes(figure, colors=96)


def lam_picture() -> bytes:
    """Above: draws of four laws of λ between two texts. Below: three laws of three parents."""
    figure = _wide(4.1)
    rows = figure.subfigures(2, 1, height_ratios=[1, 1.25])
    ids, own = ["0", "1"], np.eye(2)
    laws = ("uniform", "beta:0.4", "beta:4", "0.2-0.5")
    for axes, lam in zip(rows[0].subplots(1, 4, sharey=True), laws, strict=True):
        pairs, _ = make_pairs(
            ids, own, run="docs", label="lam", slug="lam", n_samples=4000, k_neighbors=1, lam=lam
        )
        drawn = pairs["weights"].list.last().to_numpy()
        style_axes(axes)
        axes.hist(drawn, bins=np.linspace(0, 1, 21), color=BLUE, edgecolor="white", linewidth=0.6)
        axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        axes.set_yticks([])
        title_axes(axes, f"lam {lam}", size=9.5)
    corners = np.array([[-1, 0], [1, 0], [0, 3**0.5]])
    for axes, lam in zip(rows[1].subplots(1, 3), ("beta:0.4", "uniform", "beta:4"), strict=True):
        pairs, _ = make_pairs(
            ["0", "1", "2"],
            np.eye(3),
            run="docs",
            label="lam",
            slug="lam",
            n_samples=700,
            k_neighbors=2,
            n_parents=3,
            lam=lam,
        )
        weights = np.zeros((700, 3))
        parents = pairs["parent_ids"].list.eval(pl.element().cast(pl.Int64)).to_list()
        for row, (order, given) in enumerate(zip(parents, pairs["weights"].to_list(), strict=True)):
            weights[row, order] = given
        made = weights @ corners
        _bare(axes)
        axes.plot(*corners[[0, 1, 2, 0]].T, color=GREY, linewidth=1)
        axes.scatter(*made.T, s=6, color=BLUE, alpha=0.6, linewidths=0)
        axes.scatter(*corners.T, s=40, color=INK, zorder=4)
        axes.set_xlim(-1.3, 1.3)
        axes.set_ylim(-0.15, 1.9)
        title_axes(axes, f"n_parents 3, {lam}", size=9.5)
    return png_bytes(figure, colors=96)


def _pairs(weights: list[list[float]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "sample_id": [str(row) for row in range(len(weights))],
            "parent_ids": [[str(p) for p in range(len(row))] for row in weights],
            "weights": weights,
        }
    )


def _bare(axes: Axes) -> None:
    style_axes(axes)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_aspect("equal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    folder = parser.parse_args().out / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (
        ("family", family_picture),
        ("mixing", mixing_picture),
        ("lam", lam_picture),
    ):
        (folder / f"strategies-{name}.png").write_bytes(draw())


if __name__ == "__main__":
    main()
