"""What a candidate must pass to become a row, and how strict that is: each refusal has its reason.

One text at a time beside its vector and label; what a whole run leaks is `privacy`'s.
"""

from smotext_core.filters.acceptance import (
    DECODED,
    FOUND,
    REASONS,
    SURPLUS,
    accept,
    main_reasons,
    shortfall,
)
from smotext_core.filters.calibration import (
    COMPETENCE,
    LABEL_RULE,
    LEAST_COMPETENCE,
    MIN_ROUND_TRIP_ROWS,
    ROUND_TRIP_RULE,
    calibrate_labels,
    calibrate_round_trip,
    calibration_texts,
    competence_of,
    threshold_of,
)
from smotext_core.filters.label_classifier import LabelClassifier, fit_label_classifier
from smotext_core.filters.prose import degenerate, least_words
from smotext_core.filters.relevance import RELEVANCE
from smotext_core.filters.sampling import Acceptance, Origin, Sample, most_samples

__all__ = [
    "COMPETENCE",
    "DECODED",
    "FOUND",
    "LABEL_RULE",
    "LEAST_COMPETENCE",
    "MIN_ROUND_TRIP_ROWS",
    "REASONS",
    "RELEVANCE",
    "ROUND_TRIP_RULE",
    "SURPLUS",
    "Acceptance",
    "LabelClassifier",
    "Origin",
    "Sample",
    "accept",
    "calibrate_labels",
    "calibrate_round_trip",
    "calibration_texts",
    "competence_of",
    "degenerate",
    "fit_label_classifier",
    "least_words",
    "main_reasons",
    "most_samples",
    "shortfall",
    "threshold_of",
]
