"""Options of `smotext run` that a run is frozen with: how many samples, of which texts."""

import argparse
from typing import Any

from smotext_assets.graph import DEFAULTS
from smotext_core.mixing import MIXINGS, STRATEGIES


def add_pair_options(parser: argparse.ArgumentParser) -> None:
    """The options of `runs.DEFAULTS`; what is not given stays as frozen, or the default."""
    parser.add_argument("--seed", type=int, help="of all random draws; default: 0")
    parser.add_argument(
        "--sampling-strategy",
        metavar="TARGETS",
        help="which classes grow to the largest, in imbalanced-learn's words: auto or 'not "
        "majority', minority, 'not minority', all; default: auto",
    )
    parser.add_argument(
        "--totals",
        type=_totals,
        metavar="LABEL=N,…",
        help="instead of --sampling-strategy: real and synthetic train texts wanted, by slug",
    )
    parser.add_argument(
        "--strategy", choices=STRATEGIES, help="member of the SMOTE family; default: smote"
    )
    parser.add_argument("--k-neighbors", type=int, help="nearest texts to mix with; default: 5")
    parser.add_argument(
        "--m-neighbors", type=int, help="that tell what is in danger, of all classes; default: 10"
    )
    parser.add_argument("--n-parents", type=int, help="texts mixed in a sample; default: 2")
    parser.add_argument(
        "--lam", help="neighbour's share: uniform, beta:0.4, 0.5 or 0.2-0.8; default: uniform"
    )
    parser.add_argument(
        "--mixing",
        choices=MIXINGS,
        help="default: linear-norm with an encoder of unit vectors, else linear",
    )
    parser.add_argument(
        "--across-documents",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="mix no two passages of one document; default: yes",
    )
    parser.add_argument(
        "--oversample", type=float, help="samples made per row wanted; default: 1.5"
    )


def pair_options(given: argparse.Namespace) -> dict[str, Any]:
    """What was given of the options of `runs.DEFAULTS`, else None."""
    asked = {name: getattr(given, name) for name in DEFAULTS}
    return {**asked, "sampling_strategy": given.totals or given.sampling_strategy}


def _totals(text: str) -> dict[str, int]:
    pairs = [part.rpartition("=") for part in text.split(",")]
    if not all(slug and number.isdigit() for slug, _, number in pairs):
        raise argparse.ArgumentTypeError(f"LABEL=NUMBER, separated by commas; got {text!r}")
    return {slug: int(number) for slug, _, number in pairs}
