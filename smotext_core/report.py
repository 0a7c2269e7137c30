"""What a person reads about a run: Markdown tables and the dataset card.

Whatever comes from the corpus (texts, labels, configuration) reaches a page through `markup` only.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from smotext_core.evaluation import HEADS, MIN_TEST_DOCUMENTS, verdicts
from smotext_core.filters import REASONS
from smotext_core.markup import (
    Block,
    code,
    markdown_rows,
    markdown_text,
    one_line,
    page,
    paragraph,
    picture,
    sample,
    section,
    table,
)
from smotext_core.pictures import efficacy_chart, funnel

MEASURES = {
    "identical_share": "synthetic texts that are a training text word for word",
    "copied_run_share": "synthetic texts with a long run of a training text's words",
    "dcr_train_share": "synthetic texts nearer to a training text than to a holdout text",
    "nndr_ratio": "nearness to one training text, compared with nearness to one holdout text",
    "membership_auc": "success of guessing which texts were used for training",
    "membership_tpr_at_1_fpr": "training texts recognised at one false alarm in a hundred",
    "reconstruction_recall_vectors": "training vectors that the mixed vectors give away",
    "reconstruction_recall_texts": "training vectors that the synthetic texts give away",
    "canary_share": "planted texts of which a trace comes out",
    "replayed_identifiers": "synthetic texts with an address or long number of a training text",
    "replayed_names": "synthetic texts with a name that stands in training texts alone",
}


def markdown_table(
    frame: pl.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    max_rows: int = 20,
    max_characters: int = 200,
) -> str:
    """The first rows of `frame` as a Markdown table, every cell escaped and cut.

    Raises:
        ValueError: a column that `frame` does not have.
    """
    columns = frame.columns if columns is None else list(columns)
    unknown = [name for name in columns if name not in frame.columns]
    if unknown:
        raise ValueError(f"the frame has the columns {frame.columns}; {unknown} are not among them")
    rows = frame.select(columns).head(max_rows).rows()
    lines = markdown_rows(columns, rows, max_characters=max_characters)
    left = frame.height - len(rows)
    return f"{lines}\n\n… and {left:,} more rows" if left else lines


def sample_table(
    synthetic: pl.DataFrame,
    labelled: pl.DataFrame,
    *,
    max_rows: int = 5,
    max_characters: int = 300,
) -> str:
    """Synthetic texts beside the texts they lie between, as a Markdown table.

    λ is how far the point lies from the base: 0 is the base itself, 1 the other parent.
    """
    rows = []
    for label, text, _, parents in _samples(synthetic.head(max_rows), labelled):
        others = " + ".join(parent for _, parent in parents[1:]) or "–"
        rows.append((label, text, parents[0][1], others, f"{1 - parents[0][0]:.2f}"))
    names = ("label", "synthetic text", "base", "neighbour", "λ")
    return markdown_rows(names, rows, max_characters=max_characters)


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
        pictures: label → PNG; in the HTML only.
        generator: name, licence, fingerprint.
        notice: what happened to the run's rows since; words of our own.
        language, licence: of the data set, as the Hugging Face hub writes them.

    Returns:
        HTML, Markdown.
    """
    advice = verdicts(evaluation)
    audited = [_result(passed) for passed in privacy_audit["passed"]]
    helped = advice.filter(pl.col("label").is_not_null(), pl.col("advice") == "augment").height
    facts = [
        (f"{synthetic.height:,}", "synthetic texts"),
        (f"{counts.height:,}", "labels"),
        (f"{helped} of {advice['label'].count()}" if advice.height else "–", "labels it helps"),
        (f"{audited.count('red')} of {len(audited)}" if audited else "–", "leak measures red"),
    ]
    sections = [
        *([section("Since this run was made", paragraph(notice))] if notice else []),
        section("What this is", *_what(synthetic.height)),
        section("From what", *_sources(labelled, generator)),
        section("Rows per label", *_counts(counts)),
        section("Samples and their parents", *_sample_blocks(synthetic, labelled)),
        section("Does it help?", *_efficacy(evaluation, advice)),
        section("Does it leak?", *_audit(privacy_audit)),
        section("What the filters refused", *_refused(rejected, synthetic.height)),
        section("Maps", *_maps(pictures)),
        section("How to reproduce", *_reproduce(run, config, generator)),
    ]
    body = "\n".join(as_html for as_html, _ in sections)
    as_html = page("Synthetic texts", f"run {run}", facts=facts, body=body)
    header = {
        "pretty_name": f"Synthetic texts, run {one_line(run, 80)}",
        "language": [language],
        "license": licence,
        "task_categories": ["text-classification"],
        "tags": ["synthetic", "smote", "data-augmentation"],
        "size_categories": [_size_category(synthetic.height)],
    }
    yaml = "\n".join(f"{key}: {json.dumps(value)}" for key, value in header.items())
    summary = " · ".join(f"{value} {name}" for value, name in facts)
    title = f"# Synthetic texts, run {markdown_text(run)}"
    body = "\n\n".join(as_markdown for _, as_markdown in sections)
    return as_html, f"---\n{yaml}\n---\n\n{title}\n\n{summary}\n\n{body}\n"


def _what(n: int) -> list[Block]:
    return [
        paragraph(
            f"{n:,} texts made by SMOTExT (Bystroński et al. 2025), SMOTE for text: real texts of "
            "one label are embedded, a point between the vectors of two or more is chosen at "
            "random, and a language model decodes that point into a new text. Every row names its "
            "parents and their weights."
        ),
        paragraph(
            "Nobody wrote these texts. They can be wrong, garbled, or repeat what a parent says. "
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
                label, text, f"λ {1 - parents[0][0]:.2f}, round-trip cosine {cosine:.2f}", parents
            )
            for label, text, cosine, parents in _samples(middle, labelled)
        ),
    ]


_HEADS = {
    "embedding": "on embeddings",
    "tfidf": "on TF-IDF",
    "other_encoder": "on another encoder",
}


def _efficacy(evaluation: pl.DataFrame, advice: pl.DataFrame) -> list[Block]:
    if advice.is_empty():
        return [paragraph("Not judged: there were no synthetic rows to train on.")]
    of_row = {
        (row["head"], row["label"]): row
        for row in evaluation.filter(
            pl.col("arm") == "smotext", pl.col("metric").is_in(["macro_f1", "f1"])
        ).iter_rows(named=True)
    }
    heads = [head for head in HEADS if head in advice.columns]
    rows = []
    for label, *_, advised in advice.iter_rows():
        found = [of_row.get((head, label)) for head in heads]
        rows.append(
            ("all labels (macro-F1)" if label is None else label, *map(_interval, found), advised)
        )
    n_seeds = int(evaluation["n_seeds"][0])
    return [
        paragraph(
            f"The same classifier is trained on {n_seeds} subsamples of the real rows, each time "
            "with and without the synthetic rows that descend from that subsample, and tested on "
            "real texts that neither the generator's pairs nor the classifier saw. A figure is the "
            "difference in F1, then its 95 % bootstrap interval. Where the interval spans 0 there "
            "is no evidence of help: do not augment that label."
        ),
        table(("label", *(_HEADS[head] for head in heads), "advice"), rows),
        picture(
            "Differences to the real rows alone, with 95 % intervals", efficacy_chart(evaluation)
        ),
        paragraph(
            "Filled markers are verdicts; a label with fewer than "
            f"{MIN_TEST_DOCUMENTS} test documents gets none. Of twenty intervals about one misses "
            "by chance. class_weight, oversample, smote and word_edits are what one would try "
            "first; if they do as well, prefer them. TF-IDF matters most: it never saw the encoder "
            "that made the texts."
        ),
    ]


def _audit(privacy_audit: pl.DataFrame) -> list[Block]:
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
            "whole run" if row["label"] is None else row["label"],
            row["value"],
            row["reference"],
            row["threshold"],
            _result(row["passed"]),
        )
        for row in privacy_audit.iter_rows(named=True)
    ]
    names = ("measure", "rows", "found", "expected", "limit", "result")
    red = sum(row[-1] == "red" for row in rows)
    unjudged = sum(row[-1] == "not judged" for row in rows)
    verdict = f"{len(rows) - red - unjudged} passed, {red} red, {unjudged} not judged. "
    meaning = (
        "Red: the synthetic texts tell more about the training texts than chance allows; do not "
        "pass them on. Not judged: too few rows to tell, which is not a pass."
    )
    return [paragraph(verdict + meaning), table(names, rows, numbers=(2, 3, 4)), warning]


def _refused(rejected: pl.DataFrame, accepted: int) -> list[Block]:
    totals = dict(rejected.group_by("reason").agg(pl.col("count").sum()).sort("reason").iter_rows())
    known = [reason for reason in REASONS if reason in totals]
    by_reason = {
        reason: int(totals[reason])
        for reason in [*known, *(reason for reason in totals if reason not in known)]
    }
    as_html, _ = picture(
        "Decoded texts and what became of them", funnel(by_reason, accepted=accepted)
    )
    _, as_markdown = table(("reason", "texts"), [*by_reason.items(), ("accepted", accepted)])
    return [(as_html, as_markdown)]


def _maps(pictures: Mapping[str, bytes]) -> list[Block]:
    if not pictures:
        return [paragraph("No maps were drawn.")]
    images = [picture(f"Map of {label}", pictures[label])[0] for label in sorted(pictures)]
    note = (
        "Each label in the plane where its real texts differ most. A plane cannot show distances "
        "in hundreds of dimensions: texts that fall together here may still differ."
    )
    maps = f'<div class="maps">{"".join(images)}</div>', "The HTML card has a map of each label."
    return [paragraph(note), maps]


_FROZEN = (
    "strategy", "k_neighbors", "m_neighbors", "n_parents", "lam", "mixing", "oversample",
)  # fmt: skip


def _reproduce(run: str, config: Mapping[str, Any], generator: Mapping[str, str]) -> list[Block]:
    command = ["smotext", "run", "CORPUS", "--generator", generator["name"], "--run", run]
    for name in ("seed", *_FROZEN):
        if config.get(name) is not None:
            command += [f"--{name.replace('_', '-')}", str(config[name])]
    targets = config.get("sampling_strategy", "auto")
    if isinstance(targets, Mapping):
        command += ["--totals", ",".join(f"{slug}={n}" for slug, n in targets.items())]
    else:
        command += ["--sampling-strategy", str(targets)]
    if config.get("across_documents") is False:
        command.append("--no-across-documents")
    line = shlex.join(one_line(word, 2000) for word in command)
    frozen = json.dumps(config, indent=2, sort_keys=True, default=str, ensure_ascii=False)
    return [
        paragraph(
            "The same corpus, generator and configuration give the same rows, whatever the batch "
            "size, the order of the labels or interruptions."
        ),
        code(line),
        code(frozen),
    ]


def _samples(
    synthetic: pl.DataFrame, labelled: pl.DataFrame
) -> list[tuple[str, str, float, list[tuple[float, str]]]]:
    """Label, text, round-trip cosine, and (weight, text) of each parent, the base first."""
    wanted = synthetic["parent_ids"].explode().unique()
    known = labelled.filter(pl.col("text_id").is_in(wanted.implode()))
    text_of = dict(known.select("text_id", "text").iter_rows())
    rows = synthetic.select("label", "text", "round_trip_cosine", "parent_ids", "weights")
    return [
        (
            label,
            text,
            cosine,
            [
                (weight, text_of.get(parent, "(no longer in the corpus)"))
                for parent, weight in zip(parents, weights, strict=True)
            ],
        )
        for label, text, cosine, parents, weights in rows.iter_rows()
    ]


def _interval(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    figures = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
    return f"{figures}: {row['verdict']}".replace("-", "\u2212")  # minus signs


def _result(passed: bool | None) -> str:
    return "not judged" if passed is None else "passed" if passed else "red"


def _size_category(n: int) -> str:
    if n < 1000:
        return "n<1K"
    low = int(math.log10(n))
    names = {power: f"{10 ** (power % 3)}{'KM'[power // 3 - 1]}" for power in range(3, 8)}
    return f"{names[low]}<n<{names[low + 1]}" if low < 7 else "n>10M"
