"""Options of `smotext run` beside the corpus and the pairs, and the assets' fields they set."""

import argparse
from collections.abc import Sequence
from typing import Any

import dagster as dg
from pydantic import ValidationError

from smotext_assets.cli.corpus import add_corpus_options
from smotext_assets.cli.pairs import add_pair_options
from smotext_assets.stages import (
    N_NEAREST,
    DecodedTextsConfig,
    FoundTextsConfig,
    GeneratorConfig,
    SyntheticTableConfig,
    SyntheticTextsConfig,
)

ADAPT_STEPS = (50, 100)  # where there is unlabelled text to train on: at least, at most
_AS_MADE = "default: of a label that is there as it was made, else"
_OPTION = {
    "n_candidates": "--candidates",
    "temperature": "--temperature",
    "n_nearest": "--found",
    "max_rouge_l": "--max-rouge-l",
    "calibrate_on_reviews": "--calibrate-on-reviews",
    "adapt_steps": "--adapt",
    "min_accepted": "--min-accepted",
}


def add_run(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "corpus",
        nargs="?",
        help="a file by path or s3:// address, a folder, a quoted glob or s3://bucket/prefix/, "
        "help_desk, clinic_notes, 20newsgroups or hf:NAME; default: of a run that is there the "
        "corpus in the store, which is not read again; else SMOTEXT_CORPUS, else help_desk",
    )
    add_corpus_options(parser)
    parser.add_argument("--generator", help="small, mini or a folder; default: SMOTEXT_GENERATOR")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: SMOTEXT_DEVICE, or cpu")
    parser.add_argument("--run", help="key of the run; default: the time, such as 20261122T0300")
    parser.add_argument("--labels", help="only these, by slug, separated by commas")
    add_pair_options(parser)
    parser.add_argument("--candidates", type=int, help=f"texts decoded per sample; {_AS_MADE} 6")
    parser.add_argument(
        "--unlabelled",
        metavar="FILE",
        help="texts of the same kind that nobody labelled, a corpus without labels, such as "
        "help_desk:unlabelled, read by the same --text, --newsgroups, --delimiter and --encoding: "
        "the generator is trained on them too, see --adapt, or --found makes rows of them; "
        "default: SMOTEXT_UNLABELLED, else none",
    )
    parser.add_argument(
        "--found",
        type=int,
        nargs="?",
        const=N_NEAREST,
        metavar="N",
        help="let a sample first take the nearest of N unlabelled texts that passes the filters, a "
        f"real text then; {N_NEAREST} where no number is given; {_AS_MADE} none",
    )
    parser.add_argument(
        "--max-rouge-l",
        type=float,
        metavar="F1",
        help="refuse texts that repeat a closer one of their label to this ROUGE-L, such as 0.7; "
        f"{_AS_MADE} no such filter",
    )
    parser.add_argument(
        "--calibrate-on-reviews",
        type=float,
        metavar="SHARE",
        help="raise the least round trip and label confidence of each label until readers accept "
        f"this share of its texts, such as .9, see `smotext review`; 0: do not; {_AS_MADE} not",
    )
    parser.add_argument(
        "--publish-anyway",
        action="append",
        default=[],
        metavar="SLUG=REASON",
        help="publish a label that a gate holds back; the reason is kept",
    )
    parser.add_argument(
        "--hold-where-it-hurts",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="evaluate before publishing, and hold back labels whose rows hurt a classifier; "
        f"{_AS_MADE} not",
    )
    parser.add_argument(
        "--min-accepted",
        type=float,
        metavar="SHARE",
        help="hold back labels of which readers accept less, such as .8, see `smotext review`; "
        f"{_AS_MADE} no such gate",
    )
    parser.add_argument(
        "--adapt",
        type=int,
        metavar="STEPS",
        help="train the generator on the train texts and the unlabelled ones first; default: of a "
        "run that is there as it was done, else with --unlabelled and without --found a pass over "
        f"them, {ADAPT_STEPS[0]} to {ADAPT_STEPS[1]} steps, where held-out texts then come back "
        "nearer, else 0, not at all",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        help="of the sampled candidates; 0: the likeliest ones, by a search of as many beams; "
        f"{_AS_MADE} 0.5",
    )


def adapt_steps(texts: int) -> int:
    """Steps of one pass over so many texts, of `ADAPT_STEPS` at least and at most."""
    least, most = ADAPT_STEPS
    return min(most, max(least, -(-texts // GeneratorConfig().batch_size)))


def asked_options(given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """By asset, the options that were given.

    Raises:
        ValueError: one that cannot be.
    """
    configs: dict[str, tuple[type[dg.Config], dict[str, Any]]] = {
        "generator": (GeneratorConfig, {"adapt_steps": given.adapt}),
        "decoded_texts": (
            DecodedTextsConfig,
            {"n_candidates": given.candidates, "temperature": given.temperature},
        ),
        "found_texts": (FoundTextsConfig, {"n_nearest": given.found}),
        "synthetic_texts": (
            SyntheticTextsConfig,
            {
                "max_rouge_l": given.max_rouge_l,
                "calibrate_on_reviews": given.calibrate_on_reviews,
            },
        ),
        "synthetic_table": (
            SyntheticTableConfig,
            {
                "hold_where_it_hurts": given.hold_where_it_hurts,
                "min_accepted": given.min_accepted,
                "publish_anyway": _reasons(given.publish_anyway) or None,
            },
        ),
    }
    asked = {}
    for asset, (config, options) in configs.items():
        asked[asset] = {name: value for name, value in options.items() if value is not None}
        try:
            config(**asked[asset])
        except ValidationError as error:
            (fault, *_) = error.errors()
            name = str(fault["loc"][0])
            raise ValueError(
                f"{_OPTION.get(name, name)}: {fault['msg']}, got {fault['input']}"
            ) from error
    return asked


def _reasons(given: Sequence[str]) -> dict[str, str]:
    """Of "slug=reason" the reason by slug."""
    found = {}
    for pair in given:
        slug, _, reason = pair.partition("=")
        if not reason.strip():
            raise ValueError(f"--publish-anyway takes slug=reason, got {pair!r}: say why")
        found[slug] = reason.strip()
    return found
