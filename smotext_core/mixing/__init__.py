"""Where new samples lie: how many of a class, which parents, λ, mixed vectors, cleaning.

Vectors and labels only. No text is read or written here; `xrag` turns the vectors into texts.
"""

from smotext_core.mixing.cleaning import Cleaning, clean, edited_nearest_neighbours, tomek_links
from smotext_core.mixing.geometry import MOST_SAMPLES, placement, spread
from smotext_core.mixing.interpolation import (
    MIXINGS,
    Lam,
    Mixing,
    default_mixing,
    interpolate,
    mixed_blocks,
)
from smotext_core.mixing.pairs import check_options, make_pairs
from smotext_core.mixing.strategies import SPARE, STRATEGIES, WITHIN_CLASS, Strategy
from smotext_core.mixing.targets import sampling_targets

__all__ = [
    "MIXINGS",
    "MOST_SAMPLES",
    "SPARE",
    "STRATEGIES",
    "WITHIN_CLASS",
    "Cleaning",
    "Lam",
    "Mixing",
    "Strategy",
    "check_options",
    "clean",
    "default_mixing",
    "edited_nearest_neighbours",
    "interpolate",
    "make_pairs",
    "mixed_blocks",
    "placement",
    "sampling_targets",
    "spread",
    "tomek_links",
]
