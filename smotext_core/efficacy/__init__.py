"""Does it help: classifiers trained with and without the rows, arm against arm, with intervals."""

from smotext_core.efficacy.arms import subsample
from smotext_core.efficacy.evaluation import (
    ARMS,
    HEADS,
    MIN_TEST_DOCUMENTS,
    PROTOCOL,
    compare,
    evaluate,
    predict,
    verdicts,
)

__all__ = [
    "ARMS",
    "HEADS",
    "MIN_TEST_DOCUMENTS",
    "PROTOCOL",
    "compare",
    "evaluate",
    "predict",
    "subsample",
    "verdicts",
]
