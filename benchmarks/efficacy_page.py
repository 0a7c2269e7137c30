"""The page docs/efficacy.md and its pictures, of the rows that efficacy.py stored."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import polars as pl

from smotext_core.card import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    markdown_rows,
    name_rows,
    new_figure,
    png_bytes,
    style_axes,
)
from smotext_core.efficacy import CHEAP, WITH_ROWS

CEILING = "nearest_unlabelled"  # real text where a perfect decoder would write
LEAST_CEILING = 0.01  # a share of less is noise
KEYS = ("study", "corpus", "setting", "head")
SHOWN = {
    "smotext": BLUE,
    "smotext_word_edits": ORANGE,
    "class_weight": GREY,
    CEILING: INK,
}
HEADS = {"embedding": "the encoder's vectors", "tfidf": "TF-IDF"}
NAMES = {"243d85834b8ebce8": "mini, "}  # of older figures; every other is small
TITLES = {
    "table1": "The paper's Table 1, with error bars",
    "few-shot": "Few shots",
    "imbalance": "Imbalance",
}


def write_page(results: pl.DataFrame, docs: Path) -> None:
    """Fill in docs/efficacy.template.md and draw docs/images/efficacy-*.png."""
    blocks = []
    for study, title in TITLES.items():
        rows = results.filter(pl.col("study") == study)
        if rows.is_empty():
            continue
        (docs / "images").mkdir(exist_ok=True)
        (docs / "images" / f"efficacy-{study}.png").write_bytes(picture(rows))
        blocks += [f"## {title}", f"![{title}](images/efficacy-{study}.png)"]
        for (corpus,), part in rows.group_by("corpus", maintain_order=True):
            blocks += [f"### {title}: {corpus}", *_notes(str(corpus), part), _table(part)]
            blocks += [_per_label(part)]
    fingerprints = "; ".join(
        f"{NAMES.get(str(name), 'small, ')}`{name}` in {_cells(part)}"
        for (name,), part in results.group_by("generator", maintain_order=True)
    )
    template = (docs / "efficacy.template.md").read_text(encoding="utf-8")
    text = Template(template).substitute(
        results="\n\n".join(blocks),
        generator=fingerprints,
        summary=_summary(results),
        means=_means(results),
    )
    (docs / "efficacy.md").write_text(text, encoding="utf-8")


def _cells(rows: pl.DataFrame) -> str:
    """Which settings of which corpora, in words."""
    cells = rows.group_by("study", "corpus", maintain_order=True).agg(
        pl.col("setting").unique(maintain_order=True)
    )
    return ", ".join(
        f"{study} {corpus} ({', '.join(settings)})" for study, corpus, settings in cells.iter_rows()
    )


def _notes(corpus: str, rows: pl.DataFrame) -> list[str]:
    tests = rows["test_rows"][0]
    drawn = rows.select("setting", "n_seeds").unique(maintain_order=True).rows()
    seeds = ", ".join(f"{n} ({setting})" for setting, n in drawn)
    made = ", ".join(
        f"{setting}: {n:.0f}"
        for setting, n in rows.select("setting", "synthetic").unique(maintain_order=True).rows()
    )
    notes = [f"{seeds} paired seeds, {tests} test rows. Synthetic rows of a draw: {made}."]
    if corpus == "mtsamples":
        notes.append(
            "**Not an independent corpus**: nine tenths of MTSamples were in the embedded "
            "generator's training text, so read these figures as an upper bound. "
            + str(rows["note"][0])
        )
    return notes


def with_share(results: pl.DataFrame) -> pl.DataFrame:
    """The macro-F1 rows, with `share`: gain over the ceiling's gain, null where that is none."""
    macro = results.filter(pl.col("metric") == "macro_f1")
    ceiling = macro.filter(pl.col("arm") == CEILING).select(*KEYS, ceiling="difference")
    both = macro.join(ceiling, on=KEYS, how="left", maintain_order="left")
    share = pl.col("difference") / pl.col("ceiling")
    return both.with_columns(share=pl.when(pl.col("ceiling") > LEAST_CEILING).then(share))


def _signed(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return "–"
    shown = f"{value:+.3f}" if low is None else f"{value:+.3f} ({low:+.3f}, {high:+.3f})"
    return shown.replace("-", "\u2212")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "\u2212")


def _table(rows: pl.DataFrame) -> str:
    cells = []
    for row in with_share(rows).iter_rows(named=True):
        over = _signed(row["over_cheap"], row["over_low"], row["over_high"])
        cells.append(
            (
                row["setting"],
                HEADS[row["head"]],
                row["arm"],
                f"{row['value']:.3f}",
                _signed(row["difference"], row["low"], row["high"]),
                row["verdict"] or "–",
                _share(row["share"]),
                over if row["over_cheap"] is None else f"{over} {row['cheap_arm']}",
            )
        )
    names = (
        "setting", "head", "arm", "macro-F1", "difference to real rows alone", "verdict",
        "share of the ceiling", "over the best arm that costs nothing",
    )  # fmt: skip
    return markdown_rows(names, cells, max_characters=100)


def _per_label(rows: pl.DataFrame) -> str:
    """How many labels gain and lose in F1 with the synthetic rows."""
    own = rows.filter(pl.col("metric") == "f1", pl.col("arm") == "smotext")
    cells = []
    for (setting, head), part in own.group_by("setting", "head", maintain_order=True):
        said: list[Any] = [setting, HEADS[str(head)]]
        for verdict in ("helps", "no evidence", "hurts"):
            names = part.filter(pl.col("verdict") == verdict)["label"].to_list()
            listed = f": {', '.join(names)}" if names and verdict != "no evidence" else ""
            said.append(f"{len(names)}{listed}")
        cells.append(said)
    names = ("setting", "head", "labels it helps", "no evidence", "labels it hurts")
    return markdown_rows(names, cells, max_characters=400)


def _summary(results: pl.DataFrame) -> str:
    """Counts of verdicts on macro-F1, and how often duplicates do as well."""
    macro = results.filter(pl.col("metric") == "macro_f1")
    lines = []
    shares = with_share(results).drop_nulls("share")
    for (study, head), part in shares.group_by("study", "head", maintain_order=True):
        known, edited = (
            part.filter(pl.col("arm") == arm)["share"] for arm in ("smotext", "smotext_word_edits")
        )
        if len(known):
            lines.append(
                f"{TITLES[str(study)]}, on {HEADS[str(head)]}: **{_share(_mean(known))} of the "
                f"ceiling**, with word edits {_share(_mean(edited))}, mean of {len(known)} set-ups."
            )
    if results["n_seeds"].min() < 10:
        lines.append("**Provisional**: some figures are of fewer than ten seeds and small cells.")
    for arm in ("smotext", "smotext_alone"):
        own = macro.filter(pl.col("arm") == arm)
        counts = {v: int((own["verdict"] == v).sum()) for v in ("helps", "no evidence", "hurts")}
        lines.append(
            f"`{arm}` against real rows alone, of {own.height} set-ups and heads: helps in "
            f"{counts['helps']}, no evidence in {counts['no evidence']}, hurts in "
            f"{counts['hurts']}."
        )
    free = macro.filter(pl.col("arm").is_in(CHEAP))
    best = free.group_by(KEYS).agg(pl.col("value").max().alias("best"))
    for told, arms in (("`smotext`", WITH_ROWS[:1]), ("the best arm with rows", WITH_ROWS)):
        own = macro.filter(pl.col("arm").is_in(arms)).group_by(KEYS).agg(pl.col("value").max())
        beaten = own.join(best, on=KEYS).filter(pl.col("value") > pl.col("best")).height
        lines.append(
            f"The mean macro-F1 of {told} is above that of every arm that needs no generator in "
            f"{beaten} of {own.height}."
        )
    return " ".join(lines)


def _means(results: pl.DataFrame) -> str:
    """By study and head: what the synthetic rows do on average, and the arms that cost nothing."""
    macro = results.filter(pl.col("metric") == "macro_f1")
    arms = ("smotext", *WITH_ROWS[1:], "word_edits", "class_weight", "smotext_alone", CEILING)
    cells = []
    for (study, head), part in macro.group_by("study", "head", maintain_order=True):
        own = part.filter(pl.col("arm") == "smotext")["verdict"]
        means = [_mean(part.filter(pl.col("arm") == arm)["difference"]) for arm in arms]
        counts = [f"{(own == verdict).sum()} of {len(own)}" for verdict in ("helps", "hurts")]
        shown = [_signed(mean) for mean in means]
        cells.append((TITLES[str(study)], HEADS[str(head)], *counts, *shown))
    names = ("study", "head", "smotext helps", "hurts", *arms)
    return markdown_rows(names, cells, max_characters=100)


def _mean(values: pl.Series) -> float | None:
    return float(np.mean(values.drop_nulls().to_numpy())) if values.count() else None


def picture(rows: pl.DataFrame) -> bytes:
    """Differences in macro-F1 to the real rows alone, by corpus and setting; a panel a head."""
    macro = rows.filter(pl.col("metric") == "macro_f1", pl.col("arm").is_in(list(SHOWN)))
    keys = macro.select("corpus", "setting").unique(maintain_order=True).rows()
    figure = new_figure(1.3 + 0.9 * len(keys))
    panels = figure.subplots(len(HEADS), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (head, name) in zip(panels, HEADS.items(), strict=True):
        style_axes(axes)
        axes.axvline(0, color=INK, linewidth=1)
        for place, (arm, color) in enumerate(SHOWN.items()):
            part = macro.filter(pl.col("head") == head, pl.col("arm") == arm)
            for row in part.iter_rows(named=True):
                y = keys.index((row["corpus"], row["setting"])) + 0.2 * (place - 1.5)
                axes.plot([row["low"], row["high"]], [y, y], color=color, linewidth=1.6)
                fill = "white" if row["verdict"] == "no evidence" else color
                axes.plot(
                    row["difference"], y, "o", color=color, markerfacecolor=fill, markersize=4
                )
        name_rows(axes, [f"{corpus}, {setting}" for corpus, setting in keys])
        axes.set_title(f"on {name}", loc="left", fontsize=9, color=INK)
    panels[-1].set_xlabel("difference in macro-F1 to the real rows alone")
    lines = [
        panels[0].plot([], [], "o", color=color, markersize=4, label=arm)[0]
        for arm, color in SHOWN.items()
    ]
    figure.legend(handles=lines, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return png_bytes(figure)


if __name__ == "__main__":
    docs = Path(__file__).parents[1] / "docs"
    write_page(pl.read_parquet(docs / "efficacy.parquet"), docs)
