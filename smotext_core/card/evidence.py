"""The evidence on a dataset card: does a run help, does it leak, what was refused or held back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from smotext_core.card.blocks import Block, markdown_rows, one_line, paragraph, picture, table
from smotext_core.card.evidence_charts import efficacy_chart, funnel, leakage_chart
from smotext_core.efficacy import HEADS, MIN_TEST_DOCUMENTS, MOST_LABELS, best_with_rows
from smotext_core.filters import REASONS
from smotext_core.privacy import MEASURES
from smotext_core.texts import MAX_TEXTS, diversity

_HEADS = {
    "embedding": "on embeddings",
    "tfidf": "on TF-IDF",
    "other_encoder": "on another encoder",
}


def efficacy(evaluation: pl.DataFrame, advice: pl.DataFrame, labelled: pl.DataFrame) -> list[Block]:
    """The rows over what costs nothing, as a table, and over the real rows alone, as a chart."""
    if advice.is_empty():
        return [paragraph("Not judged: there were no synthetic rows to train on.")]
    of_row = {
        (row["head"], row["label"]): row for row in best_with_rows(evaluation).iter_rows(named=True)
    }
    known = [head for head in HEADS if head in advice.columns]
    others = [name for name in advice.columns if name not in (*known, "label", "advice")]
    heads = [*known, *others]
    n_labels = labelled["label"].n_unique()
    whole, sampled = "all labels", ""
    if n_labels > MOST_LABELS:
        whole = f"{MOST_LABELS} labels"
        sampled = (
            f" Of {n_labels} labels {MOST_LABELS} were looked at, drawn by hash, those with rows "
            "before others; the rest were not judged."
        )
    rows = []
    for label, *_, advised in advice.iter_rows():
        found = [of_row.get((head, label)) for head in heads]
        name = f"{whole} (macro-F1)" if label is None else label
        rows.append((name, advised, *map(_interval, found)))
    n_seeds = int(evaluation["n_seeds"][0])
    return [
        paragraph(
            f"The same classifier is trained on {n_seeds} subsamples of the real rows, each time "
            "with and without the synthetic rows that descend from that subsample, and tested on "
            "real texts that neither the generator's pairs nor the classifier saw. A figure is the "
            "difference in F1 of the best arm with the rows, alone or with class weights or word "
            "edits, to the best arm that needs none; then its 95 % bootstrap interval. Where the "
            "interval spans 0 there is no evidence that the rows are worth more than what costs "
            f"nothing. Rows that a gate holds back are judged with the others.{sampled}"
        ),
        table(("label", "advice", *(_HEADS.get(head, head) for head in heads)), rows),
        picture(
            "Differences to the real rows alone, with 95 % intervals", efficacy_chart(evaluation)
        ),
        paragraph(
            "Filled markers are verdicts; a label with fewer than "
            f"{MIN_TEST_DOCUMENTS} test documents gets none. Of twenty intervals about one misses "
            "by chance. class_weight, oversample, smote, mixup and word_edits are what one would "
            "try first; if they do as well, prefer them. TF-IDF matters most: it never saw the "
            "encoder that made the texts."
        ),
    ]


def audit(privacy_audit: pl.DataFrame) -> list[Block]:
    """Every measure against its limit, as a chart and as a table."""
    warning = paragraph(
        "Passing is no guarantee. It says that these measures, on these rows, found no more than "
        "they find in texts the generator never saw; another attack may find more. Embeddings, "
        "pairs and mixed vectors are as sensitive as the source texts and are no part of this data."
    )
    if privacy_audit.is_empty():
        return [paragraph("Not judged: no audit was run."), warning]
    rows = [
        (
            MEASURES.get(row["measure"], row["measure"]),
            result(row["passed"]),
            "whole run" if row["label"] is None else row["label"],
            row["value"],
            row["reference"],
            row["threshold"],
        )
        for row in privacy_audit.iter_rows(named=True)
    ]
    names = ("measure", "result", "rows", "found", "expected", "limit")
    chart = picture(
        "Every measure between what is expected and its limit", leakage_chart(privacy_audit)
    )
    red = sum(row[1] == "red" for row in rows)
    unjudged = sum(row[1] == "not judged" for row in rows)
    verdict = f"{len(rows) - red - unjudged} passed, {red} red, {unjudged} not judged. "
    meaning = (
        "Red: the synthetic texts tell more about the training texts than chance allows; do not "
        "pass them on. Not judged: too few rows to tell, which is not a pass."
    )
    return [paragraph(verdict + meaning), chart, table(names, rows, numbers=(3, 4, 5)), warning]


def refused(rejected: pl.DataFrame, accepted: int, examples: Mapping[str, str]) -> list[Block]:
    """The funnel, and of each reason its count and, where `examples` has one, a text."""
    totals = dict(rejected.group_by("reason").agg(pl.col("count").sum()).sort("reason").iter_rows())
    known = [reason for reason in REASONS if reason in totals]
    by_reason = {
        reason: int(totals[reason])
        for reason in [*known, *(reason for reason in totals if reason not in known)]
    }
    as_html, _ = picture(
        "Decoded texts and what became of them", funnel(by_reason, accepted=accepted)
    )
    told = [(reason, n, examples.get(reason)) for reason, n in by_reason.items()]
    names = ("reason", "texts", "an example")
    shown, _ = table(names, told, numbers=(1,)) if told else ("", "")
    as_markdown = markdown_rows(names, [*told, ("accepted", accepted, None)], max_characters=200)
    return [(as_html + shown, as_markdown)]


def diversity_table(synthetic: pl.DataFrame, labelled: pl.DataFrame) -> list[Block]:
    """Of each label that got texts, beside as many of its real train texts."""
    rows = []
    for label in sorted(set(synthetic["label"])):
        made = synthetic.filter(pl.col("label") == label)["text"].to_list()
        real = labelled.filter(pl.col("label") == label, pl.col("split") == "train")["text"]
        most = min(len(made), len(real), MAX_TEXTS)
        found, expected = diversity(made, most=most), diversity(real.to_list(), most=most)
        if found:
            of_real = expected or (None, None)
            rows.append((label, most, found[0], of_real[0], found[1], of_real[1]))
    if not rows:
        return [paragraph("Not measured: no label has two texts to compare.")]
    names = (
        "label",
        "texts",
        "distinct-2",
        "distinct-2, real",
        "ROUGE-L",
        "ROUGE-L, real",
    )
    return [
        paragraph(
            "Distinct-2 is the share of different word pairs: lower than that of as many real "
            "texts, the synthetic ones repeat each other's phrases. ROUGE-L is how much of one "
            "text recurs, in order, in the next: higher than that of real texts, they are alike."
        ),
        table(names, rows, numbers=(1, 2, 3, 4, 5)),
    ]


def reading(acceptance: pl.DataFrame) -> list[Block]:
    """What readers accepted of each label, or that nobody has looked; ACCEPTANCE."""
    if acceptance.is_empty():
        return [
            paragraph(
                "Nobody has read these texts. `smotext review` writes a file or a page of those "
                "worth reading, and takes the verdicts back."
            )
        ]
    rows = [
        (label, read, sampled, accepted, _share(share, low, high))
        for label, read, sampled, accepted, share, low, high in acceptance.iter_rows()
    ]
    return [
        paragraph(
            "Readers kept a text, dropped it or gave it another label. The share is that of texts "
            "drawn at random which they kept, with its 95 % interval; those that were read for "
            "being doubtful are not in it. Dropped texts are in no count on this page."
        ),
        table(("label", "read", "of them drawn", "kept", "accepted"), rows, numbers=(1, 2, 3)),
    ]


def minima(reader_calibration: pl.DataFrame | None) -> list[Block]:
    """What readers' verdicts made of the filters' minima; none where it was not asked for."""
    if reader_calibration is None or reader_calibration.is_empty():
        return []
    rows = [
        (
            row["label"],
            row["asked"],
            row["outcome"],
            row["held_out_round_trip"],
            row["min_round_trip"],
            row["held_out_label_confidence"],
            row["min_label_confidence"],
            row["read"],
            _share(row["share"], row["low"], row["high"]),
        )
        for row in reader_calibration.sort("label").iter_rows(named=True)
    ]
    names = (
        "label", "asked", "outcome", "round trip", "by readers", "confidence", "by readers",
        "read", "accepted",
    )  # fmt: skip
    return [
        paragraph(
            "The least round trip and label confidence were to be raised until readers accept the "
            "share asked for. Beside what held-out texts gave stands what the verdicts made of it, "
            "then the texts drawn at random that reach it and the share of them that was kept. "
            "The minima were chosen by these very verdicts, so the share flatters them: of texts "
            "read later a little less will be accepted. Whoever makes the run again needs the "
            "verdicts too."
        ),
        table(names, rows, numbers=(1, 3, 4, 5, 6, 7)),
    ]


def _share(share: float | None, low: float | None, high: float | None) -> str:
    if share is None or low is None or high is None:
        return "not told"
    return f"{share:.0%} ({low:.0%} to {high:.0%})"


def held_back(gates: pl.DataFrame | None) -> list[Block]:
    """Gates that held a label's rows back, or would have; none where there are none."""
    if gates is None or (held := _held(gates)).is_empty():
        return []
    rows = [
        (
            "whole run" if row["label"] is None else row["label"],
            row["gate"],
            row["value"],
            row["limit"],
            "held back"
            if row["published_anyway"] is None
            else f"published all the same: {row['published_anyway']}",
        )
        for row in held.iter_rows(named=True)
    ]
    return [
        paragraph(
            "A gate that a label did not pass keeps its rows from being published, unless whoever "
            "looked at them chose otherwise and said why. Of the gate \u201churts\u201d, what is "
            "found is the most that the rows may add to the label's F1, by the worse classifier."
        ),
        table(("rows", "gate", "found", "limit", "what became of them"), rows, numbers=(2, 3)),
    ]


def _held(gates: pl.DataFrame) -> pl.DataFrame:
    return gates.filter(~pl.col("passed"))


def judged_labels(advice: pl.DataFrame, labelled: pl.DataFrame) -> pl.DataFrame:
    """The rows of `advice` whose label has enough test documents to be judged by itself."""
    documents = labelled.filter(pl.col("split") == "test").group_by("label")
    enough = documents.agg(pl.col("document_id").n_unique()).filter(
        pl.col("document_id") >= MIN_TEST_DOCUMENTS
    )
    return advice.filter(pl.col("label").is_in(enough["label"].to_list()))


def verdict_lines(
    advice: pl.DataFrame,
    labelled: pl.DataFrame,
    privacy_audit: pl.DataFrame,
    gates: pl.DataFrame | None,
    acceptance: pl.DataFrame | None = None,
) -> list[tuple[str, str]]:
    """Tone ("good", "bad" or "open") and a sentence: does it help, does it leak, what was held,
    has anybody read it (ACCEPTANCE).

    That it helps is good where it helps most of `judged_labels`, and hurts none.
    """
    judged = judged_labels(advice, labelled)
    heads = [name for name in judged.columns if name not in ("label", "advice")]
    hurt = judged.filter(pl.any_horizontal(pl.col(heads) == "hurts"))
    helped = judged.filter(pl.col("advice") == "augment").join(hurt, on="label", how="anti")
    if judged.is_empty():
        lines = [("open", "Whether it helps a classifier was not judged.")]
    elif helped.is_empty() and hurt.is_empty():
        lines = [
            (
                "open",
                f"No evidence that it helps any of {judged.height} labels with enough test texts.",
            )
        ]
    else:
        good = 2 * helped.height > judged.height and hurt.is_empty()
        sentences = [
            f"It {verb} {part.height} of {judged.height} labels with enough test texts: "
            f"{_some(part['label'])}."
            for verb, part in (("helps", helped), ("hurts", hurt))
            if part.height
        ]
        lines = [("good" if good else "open", " ".join(sentences))]
    red = privacy_audit.filter(~pl.col("passed")).height
    unjudged = privacy_audit["passed"].null_count()
    if privacy_audit.is_empty() or unjudged == privacy_audit.height:
        lines.append(("open", "Whether it leaks was not judged."))
    elif red:
        told = f"{red} of {privacy_audit.height} leak measures are red: do not pass the texts on."
        lines.append(("bad", told))
    else:
        rest = f" {unjudged} could not be judged." if unjudged else ""
        lines.append(("good", f"No leak measure is red, which is no guarantee.{rest}"))
    if gates is not None and (held := _held(gates)).height:
        for kept, words in ((False, "Held back"), (True, "Published all the same")):
            chosen = held.filter(pl.col("published_anyway").is_not_null() == kept)
            rows = chosen.select("label", "gate").rows()
            named = [
                f"{'the whole run' if label is None else one_line(label, 60)} ({gate})"
                for label, gate in rows[:6]
            ]
            more = f" and {len(rows) - 6} more" if len(rows) > 6 else ""
            if rows:
                lines.append(("bad", f"{words}: {', '.join(named)}{more}."))
    if acceptance is None or acceptance.is_empty():
        lines.append(("open", "Nobody has read the texts."))
    else:
        drawn, accepted = acceptance["sampled"].sum(), acceptance["accepted"].sum()
        told = f"Readers kept {accepted} of {drawn} texts drawn at random"
        lines.append(("open", f"{told}, of {acceptance.height} labels."))
    return lines


def _some(labels: pl.Series) -> str:
    names = [one_line(label, 60) for label in labels.sort()]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more


def _interval(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    figures = f"{row['over_cheap']:+.3f} ({row['over_low']:+.3f} to {row['over_high']:+.3f})"
    figures = figures.replace("-", "\u2212")  # minus signs
    return f"{figures}: {row['over_verdict']} ({row['arm']} over {row['cheap_arm']})"


def result(passed: bool | None) -> str:
    """How a measure of the audit came out."""
    return "not judged" if passed is None else "passed" if passed else "red"
