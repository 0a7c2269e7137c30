"""Does it help: classifiers trained with and without the rows, arm against arm, with intervals."""

from smotext_core.efficacy.advice import best_with_rows, verdicts
from smotext_core.efficacy.arms import subsample
from smotext_core.efficacy.evaluation import (
    ARMS,
    CHEAP,
    HEADS,
    MIN_TEST_DOCUMENTS,
    PROTOCOL,
    WITH_ROWS,
    compare,
    evaluate,
    predict,
)
from smotext_core.efficacy.label_sample import MOST_LABELS
from smotext_core.efficacy.word_edits import edit_texts

__all__ = [
    "ARMS",
    "CHEAP",
    "HEADS",
    "MIN_TEST_DOCUMENTS",
    "MOST_LABELS",
    "PROTOCOL",
    "WITH_ROWS",
    "best_with_rows",
    "compare",
    "edit_texts",
    "evaluate",
    "predict",
    "subsample",
    "verdicts",
]
