"""The dataset card of a run: one HTML page that needs nothing else, and the same in Markdown.

Whatever comes from the corpus (texts, labels, configuration) reaches a page through `markup` only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from smotext_core.card.blocks import (
    Block,
    markdown_text,
    one_line,
    page,
    paragraph,
    picture,
    sample,
    section,
    table,
)
from smotext_core.card.evidence import (
    audit,
    diversity_table,
    efficacy,
    held_back,
    judged_labels,
    minima,
    reading,
    refused,
    result,
    verdict_lines,
)
from smotext_core.card.markdown_tables import samples
from smotext_core.card.reproduce import reproduce
from smotext_core.efficacy import verdicts
from smotext_core.filters import FOUND
from smotext_core.schemas import ACCEPTANCE, SYNTHETIC_TEXTS, with_later


def dataset_card(
    *,
    run: str,
    config: Mapping[str, Any],
    counts: pl.DataFrame,
    synthetic: pl.DataFrame,
    labelled: pl.DataFrame,
    rejected: pl.DataFrame,
    evaluation: pl.DataFrame,
    privacy_audit: pl.DataFrame,
    pictures: Mapping[str, bytes],
    generator: Mapping[str, str],
    notice: str | None = None,
    examples: Mapping[str, str] | None = None,
    gates: pl.DataFrame | None = None,
    options: Mapping[str, Mapping[str, Mapping[str, Any]]] = {},
    acceptance: pl.DataFrame | None = None,
    reader_calibration: pl.DataFrame | None = None,
    language: str = "en",
    licence: str = "other",
) -> tuple[str, str]:
    """The card of a run: one HTML page that needs nothing else, and a Hugging Face README.

    Args:
        config: the run's frozen configuration; values that JSON can hold.
        counts: per label: label, real, wanted, made, main_reason (why fewer, null if not).
        synthetic: SYNTHETIC_TEXTS. labelled: LABELLED_TEXTS.
        rejected: reason, count; several rows of a reason are added up.
        evaluation: EVALUATION, may be empty. privacy_audit: PRIVACY_AUDIT, may be empty.
        pictures: label → PNG, of all labels with rows or of some; in the HTML only.
        generator: name, licence, fingerprint, and `configured`: its name before adaptation.
        notice: what happened to the run's rows since; words of our own.
        examples: reason → a text refused for it.
        gates: run, label, gate, value, limit, passed, published_anyway; rows may be of any gate.
        options: slug → asset → the options, other than default, that `config` does not hold.
        acceptance: ACCEPTANCE, what readers kept; None or empty: nobody has read the texts.
        reader_calibration: READER_CALIBRATION, minima raised by what they kept; None or empty:
            none was asked for.
        language, licence: of the data set, as the Hugging Face hub writes them.

    Returns:
        HTML, Markdown.
    """
    synthetic = with_later(synthetic, SYNTHETIC_TEXTS)  # an older run has no found rows
    advice = verdicts(evaluation)
    audited = [result(passed) for passed in privacy_audit["passed"]]
    judged = judged_labels(advice, labelled)
    helped = judged.filter(pl.col("advice") == "augment").height
    facts = [
        (f"{synthetic.height:,}", "synthetic texts"),
        (f"{counts.height:,}", "labels"),
        (f"{helped} of {judged.height}" if judged.height else "–", "labels it helps"),
        (f"{audited.count('red')} of {len(audited)}" if audited else "–", "leak measures red"),
    ]
    held = held_back(gates)
    read = ACCEPTANCE.to_frame() if acceptance is None else acceptance
    sections = [
        *([section("Since this run was made", paragraph(notice))] if notice else []),
        section("What this is", *_what(synthetic)),
        section("From what", *_sources(labelled, generator)),
        section("Rows per label", *_counts(counts)),
        section("Samples and their parents", *_sample_blocks(synthetic, labelled)),
        section("Does it help?", *efficacy(evaluation, advice, labelled)),
        section("Does it leak?", *audit(privacy_audit)),
        section("Has anybody read them?", *reading(read), *minima(reader_calibration)),
        *([section("Held back, and published all the same", *held)] if held else []),
        section("Do the texts repeat each other?", *diversity_table(synthetic, labelled)),
        section("What the filters refused", *refused(rejected, synthetic.height, examples or {})),
        section("Maps", *_maps(pictures, synthetic["label"].n_unique())),
        section("How to reproduce", *reproduce(run, config, generator, options)),
    ]
    body = "\n".join(as_html for as_html, _ in sections)
    lines = verdict_lines(advice, labelled, privacy_audit, gates, read)
    as_html = page("Synthetic texts", f"run {run}", facts=facts, verdict=lines, body=body)
    header = {
        "pretty_name": f"Synthetic texts, run {one_line(run, 80)}",
        "language": [language],
        "license": licence,
        "task_categories": ["text-classification"],
        "tags": ["synthetic", "smote", "data-augmentation"],
        "size_categories": [size_category(synthetic.height)],
    }
    yaml = "\n".join(f"{key}: {json.dumps(value)}" for key, value in header.items())
    summary = " · ".join(f"{value} {name}" for value, name in facts)
    title = f"# Synthetic texts, run {markdown_text(run)}"
    told = "\n".join(f"- {markdown_text(line, max_characters=600)}" for _, line in lines)
    body = "\n\n".join(as_markdown for _, as_markdown in sections)
    return as_html, f"---\n{yaml}\n---\n\n{title}\n\n{told}\n\n{summary}\n\n{body}\n"


def _what(synthetic: pl.DataFrame) -> list[Block]:
    found = synthetic.filter(pl.col("origin") == FOUND).height
    nobody = f"Nobody wrote {'the others' if found else 'these texts'}."
    return [
        paragraph(
            f"{synthetic.height:,} texts made by SMOTExT (Bystroński et al. 2025), SMOTE for "
            "text: real texts of one label are embedded, a point between the vectors of two or "
            "more is chosen at random, and a language model decodes that point into a new text. "
            "Every row names its parents and their weights."
        ),
        *(
            [
                paragraph(
                    f"{found:,} of them are real texts that somebody wrote and nobody had "
                    "labelled, marked found: each lay nearest to such a point, and its label is "
                    "SMOTE's word. They are as sensitive as any other real text."
                )
            ]
            if found
            else []
        ),
        paragraph(
            f"{nobody} They can be wrong, garbled, or repeat what a parent says. "
            "They are meant as extra training rows for a classifier, not as facts, and not as "
            "test data."
        ),
    ]


def _sources(labelled: pl.DataFrame, generator: Mapping[str, str]) -> list[Block]:
    splits = labelled.group_by("split").len().sort("split", descending=True)
    of_split = ", ".join(f"{n:,} {split}" for split, n in splits.iter_rows())
    rows = [
        ("real texts", f"{labelled.height:,} ({of_split})"),
        ("generator", generator["name"]),
        ("its licence", generator["licence"]),
        ("its fingerprint", generator["fingerprint"]),
    ]
    return [
        table(("", ""), rows),
        paragraph(
            "Parents come from the train split alone. This page quotes source texts beside the "
            "synthetic ones: whoever may not read the source corpus should not read it either."
        ),
    ]


def _counts(counts: pl.DataFrame) -> list[Block]:
    frame = counts.select("label", "real", "wanted", "made", "main_reason")
    names = ("label", "real", "wanted", "made", "why fewer")
    return [table(names, frame.rows(), numbers=(1, 2, 3))]


def _sample_blocks(synthetic: pl.DataFrame, labelled: pl.DataFrame) -> list[Block]:
    if synthetic.is_empty():
        return [paragraph("No synthetic text passed the filters.")]
    # of each label the row in the middle: not the best one
    middle = (
        synthetic.sort("round_trip_cosine", "sample_id")
        .group_by("label", maintain_order=True)
        .agg(pl.all().gather(pl.len() // 2).first())
        .sort("label")
        .head(8)
    )
    note = (
        "One text a label, the middle one by round-trip cosine (how closely the re-embedded text "
        "returns to its point), so neither the best nor the worst. λ is how "
        "far the point lies from the first parent, the base."
    )
    return [
        paragraph(note),
        *(
            sample(
                label,
                text,
                f"λ {1 - parents[0][0]:.2f}, round-trip cosine {cosine:.2f}"
                + (", found" if origin == FOUND else ""),
                parents,
            )
            for (label, text, cosine, parents), origin in zip(
                samples(middle, labelled), middle["origin"], strict=True
            )
        ),
    ]


def _maps(pictures: Mapping[str, bytes], n_labels: int) -> list[Block]:
    if not pictures:
        return [paragraph("No maps were drawn.")]
    images = [picture(f"Map of {label}", pictures[label])[0] for label in sorted(pictures)]
    note = (
        "Each label in the plane where its real texts differ most. A plane cannot show distances "
        "in hundreds of dimensions: texts that fall together here may still differ."
    )
    told = "The HTML card has a map of each label."
    if len(pictures) < n_labels:
        some = f"{len(pictures)} of {n_labels:,} labels with rows"
        told, note = f"The HTML card has maps of {some}.", f"Maps of {some}. {note}"
    maps = f'<div class="maps">{"".join(images)}</div>', told
    return [paragraph(note), maps]


def size_category(n: int) -> str:
    """As the Hugging Face hub writes how many rows a data set has."""
    if n < 1000:
        return "n<1K"
    low = int(math.log10(n))
    names = {power: f"{10 ** (power % 3)}{'KM'[power // 3 - 1]}" for power in range(3, 8)}
    return f"{names[low]}<n<{names[low + 1]}" if low < 7 else "n>10M"
