"""How to make a run's rows again: the commands, with every option that shaped them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from smotext_core.card.blocks import Block, code, one_line, paragraph

_FROZEN = (
    "strategy", "k_neighbors", "m_neighbors", "n_parents", "lam", "mixing", "oversample",
)  # fmt: skip
# Options of assets that the command has, too.
_FLAGS = {
    ("raw_corpus", "text"): "--text",
    ("raw_corpus", "label"): "--label",
    ("raw_corpus", "document_id"): "--id",
    ("raw_corpus", "newsgroups"): "--newsgroups",
    ("raw_corpus", "delimiter"): "--delimiter",
    ("raw_corpus", "encoding"): "--encoding",
    ("raw_corpus", "explode"): "--explode",
    ("generator", "adapt_steps"): "--adapt",
    ("generator", "unlabelled"): "--unlabelled",
    ("decoded_texts", "n_candidates"): "--candidates",
    ("decoded_texts", "temperature"): "--temperature",
    ("found_texts", "n_nearest"): "--found",
    ("synthetic_texts", "max_rouge_l"): "--max-rouge-l",
    ("synthetic_texts", "calibrate_on_reviews"): "--calibrate-on-reviews",
    ("synthetic_table", "hold_where_it_hurts"): "--hold-where-it-hurts",
    ("synthetic_table", "min_accepted"): "--min-accepted",
}
_REASON = ("synthetic_table", "publish_anyway")  # the label's own: no label is parted by it


def reproduce(
    run: str,
    config: Mapping[str, Any],
    generator: Mapping[str, str],
    options: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> list[Block]:
    """The section's text, a command for each set of labels that were made alike, and `config`.

    No command where `smotext forget` has deleted the generator.

    Args:
        as `card.dataset_card`.
    """
    command = ["smotext", "run", "CORPUS", "--generator"]
    command += [generator.get("configured", generator["name"]), "--run", run]
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
    frozen = json.dumps(config, indent=2, sort_keys=True, default=str, ensure_ascii=False)
    if config.get("generator_forgotten"):
        return [
            paragraph(
                "These rows cannot be made again: their generator may have been trained on source "
                "texts that were forgotten since, and was deleted with them."
            ),
            code(frozen),
        ]
    lines, unsaid = _lines(command, config.get("wanted", {}), options)
    several = (
        "Its labels were made with different options: each command makes its own. "
        if len(lines) > 1
        else ""
    )
    by_hand = (
        f"The command has no option for these, which are set on the assets: {'; '.join(unsaid)}. "
        if unsaid
        else ""
    )
    return [
        paragraph(
            "The same corpus, generator and configuration give the same rows, whatever the batch "
            f"size, the order of the labels or interruptions. {several}{by_hand}".strip()
        ),
        *(code(line) for line in lines),
        code(frozen),
    ]


def _lines(
    command: list[str],
    wanted: Mapping[str, int],
    options: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> tuple[list[str], list[str]]:
    """A shell command for the labels that were made alike, and the options that it cannot name."""
    augmented = {slug for slug, n in wanted.items() if n}
    made = {
        slug: {(a, name): v for a, own in of.items() for name, v in own.items()}
        for slug, of in options.items()
        if slug in augmented or not augmented
    }
    groups: dict[str, list[str]] = {}
    for slug, own in sorted(made.items()):
        alike = [(*key, value) for key, value in sorted(own.items()) if key != _REASON]
        groups.setdefault(json.dumps(alike), []).append(slug)
    lines, unsaid = [], list[str]()
    for alike_options, slugs in groups.items() or [("[]", [])]:
        words = list(command)
        for asset, name, value in json.loads(alike_options):
            flag = _FLAGS.get((asset, name))
            if flag is None:
                told = f"{asset} {name}={json.dumps(value)}"
                unsaid += [told] if told not in unsaid else []
            else:
                words += [flag] if value is True else [flag, str(value)]
        if slugs and set(slugs) != (augmented or set(made)):
            words += ["--labels", ",".join(slugs)]
        for slug in slugs:
            if reason := made[slug].get(_REASON):
                words += ["--publish-anyway", f"{slug}={reason}"]
        lines.append(shlex.join(one_line(word, 20_000) for word in words))
    return lines, unsaid
