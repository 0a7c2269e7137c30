"""The assets, a file each in the order of the graph: load, one call of the core, metadata.

Stages do not import each other's assets: lineage is the names of their parameters.
"""

from smotext_assets.stages.corpus import (
    LabelledTextsConfig,
    labelled_counts,
    store_corpus,
    store_labelled,
)
from smotext_assets.stages.decoding import DecodedTextsConfig
from smotext_assets.stages.export import FORMATS
from smotext_assets.stages.generator import GeneratorConfig
from smotext_assets.stages.inbox import inbox_files, is_inbox
from smotext_assets.stages.publication import SyntheticTableConfig, holds_where_it_hurts
from smotext_assets.stages.recorded_options import Options, options_of_labels
from smotext_assets.stages.reviews import reviews_of
from smotext_assets.stages.source import read_source, source_frames
from smotext_assets.stages.staleness import stale_rows
from smotext_assets.stages.synthetic import SyntheticTextsConfig
from smotext_assets.stages.unlabelled import N_NEAREST, FoundTextsConfig

__all__ = [
    "FORMATS",
    "N_NEAREST",
    "DecodedTextsConfig",
    "FoundTextsConfig",
    "GeneratorConfig",
    "LabelledTextsConfig",
    "Options",
    "SyntheticTableConfig",
    "SyntheticTextsConfig",
    "holds_where_it_hurts",
    "inbox_files",
    "is_inbox",
    "labelled_counts",
    "options_of_labels",
    "read_source",
    "reviews_of",
    "source_frames",
    "stale_rows",
    "store_corpus",
    "store_labelled",
]
