"""Charts for the dataset card: PNG bytes, the same for the same input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from smotext_core.card.drawing import (
    BLUE,
    GREEN,
    GREY,
    GRID,
    INK,
    ORANGE,
    SOFT,
    name_rows,
    new_figure,
    png_bytes,
    style_axes,
    title_axes,
)
from smotext_core.filters import SURPLUS

MAX_LABELS = 24
FARTHEST = 3.0  # of the leakage scale; what lies beyond stands at the edge, as an arrow
HEADS = {  # color, marker, shift, name
    "embedding": (BLUE, "o", -0.2, "on embeddings"),
    "tfidf": (ORANGE, "D", 0.0, "on TF-IDF"),
    "other_encoder": (GREEN, "s", 0.2, "on another encoder"),
}


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

    figure = new_figure(0.3 + 0.3 * len(names))
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
    name_rows(axes, names)
    axes.set_xlim(0, max(total, 1))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    return png_bytes(figure)


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
    found = rows["head"].unique(maintain_order=True)
    drawn = {head: HEADS[head] for head in HEADS if head in set(found)}
    drawn |= {head: (SOFT, "^", 0.35, head) for head in found if head not in HEADS}
    order = ("smotext", "smotext_alone", "word_edits", "smote", "oversample", "class_weight")
    told = overall["arm"].unique(maintain_order=True).to_list()
    arms = [arm for arm in order if arm in told] + [arm for arm in told if arm not in order]
    blocks = [(arms, overall, "arm", "macro-F1, by training rows")]
    if labels:
        blocks.append((labels, per_label, "label", "F1 of each label, with the synthetic rows"))

    heights = [len(names) for names, *_ in blocks]
    figure = new_figure(0.9 + 0.3 * sum(heights) + 0.35 * len(blocks))
    panels = figure.subplots(
        len(blocks), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    for axes, (names, frame, column, heading) in zip(panels, blocks, strict=True):
        style_axes(axes)
        axes.axvline(0, color=INK, linewidth=1)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        for head, (color, marker, shift, _) in drawn.items():
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
        name_rows(axes, names)
        title_axes(axes, heading, size=9)
    panels[-1].set_xlabel("difference to the real rows alone (right of 0 is better)")
    keys = [
        panels[0].plot([], [], marker, color=color, markersize=5, label=name)[0]
        for color, marker, _, name in drawn.values()
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=3, frameon=False, fontsize=8.5)
    return png_bytes(figure)


def leakage_chart(privacy_audit: pl.DataFrame) -> bytes:
    """How far each measure of a PRIVACY_AUDIT frame is from its limit, on one scale.

    0 is what is expected of texts that do not leak, 1 the limit, whichever side of it is the bad
    one. Of many rows the red ones and those nearest the limit.

    Raises:
        ValueError: no rows.
    """
    if privacy_audit.is_empty():
        raise ValueError("a leakage chart needs at least one row of an audit, got none")
    found = [(_place(row, row["value"]), row) for row in privacy_audit.iter_rows(named=True)]
    worst = sorted(
        enumerate(found),
        key=lambda pair: (pair[1][1]["passed"] is not False, -(pair[1][0] or -9), pair[0]),
    )
    shown = [found[number] for number, _ in sorted(worst[:MAX_LABELS])]
    figure = new_figure(1.1 + 0.32 * len(shown))
    axes = figure.add_subplot()
    axes.axvline(0, color=GRID, linewidth=1.2)
    axes.axvline(1, color=INK, linewidth=1.2)
    names = []
    for y, (place, row) in enumerate(shown):
        name = row["measure"].replace("_", " ")
        names.append(name if row["label"] is None else f"{row['label']}: {name}")
        color, marker = _JUDGED[row["passed"]]
        ends = [_place(row, row.get(end)) for end in ("low", "high")]
        known = [end for end in ends if end is not None]
        if place is not None and len(known) == 2 and min(known) <= place <= max(known):
            axes.plot([_cut(end) for end in known], [y, y], color=color, linewidth=1.8)
        if place is None:  # no limit: it has no place on the scale
            axes.plot(-0.9, y, marker, color=color, markerfacecolor="white", markersize=6)
            continue
        if place > FARTHEST:
            marker = ">"
        fill = "white" if row["passed"] is None else color
        axes.plot(_cut(place), y, marker, color=color, markerfacecolor=fill, markersize=7)
    name_rows(axes, names)
    farthest = max([1.8, *(_cut(place) for place, _ in shown)])
    axes.set_xlim(-1.1, farthest + 0.15)
    axes.set_xticks([0, 1], ["as expected", "limit"])
    axes.set_xlabel("right of the limit: more than chance allows")
    keys = [
        axes.plot([], [], marker, color=color, markerfacecolor=fill, linestyle="", label=name)[0]
        for (color, marker), fill, name in (
            (_JUDGED[False], ORANGE, "red"),
            (_JUDGED[True], GREEN, "passed"),
            (_JUDGED[None], "white", "not judged"),
        )
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=3, frameon=False, fontsize=8.5)
    return png_bytes(figure)


_JUDGED = {False: (ORANGE, "D"), True: (GREEN, "o"), None: (SOFT, "s")}  # color, marker


def _place(row: Mapping[str, Any], value: float | None) -> float | None:
    """Of a value between what is expected (0) and the limit (1), None without a limit."""
    limit, expected = row["threshold"], row["reference"] or 0.0
    if value is None or limit is None:
        return None
    room = limit - expected
    place = (value - expected) / room if abs(room) > 1e-12 else math.nan
    odd = math.isnan(place) or (place <= 1) != row["passed"]
    if odd and row["passed"] is not None and value == row["value"]:
        # nothing is allowed, or more is expected than is allowed: the scale has no unit
        return 0.0 if row["passed"] else 2 * FARTHEST
    return place if math.isfinite(place) else None


def _cut(place: float | None) -> float:
    return min(max(place or 0.0, -1.0), FARTHEST)
