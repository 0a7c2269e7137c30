"""A person's word on the rows: what to read first, the file that comes back, what it says.

Verdicts are about one text: a row whose text has changed has none.
"""

from smotext_core.reviews.acceptance import (
    acceptance,
    apply_verdicts,
    matching,
    standing,
    wilson,
)
from smotext_core.reviews.argilla_records import Pulled, pull_review, push_review
from smotext_core.reviews.files import (
    FILE_COLUMNS,
    read_review,
    review_frame,
    review_xlsx,
)
from smotext_core.reviews.order import SAMPLE, review_rows
from smotext_core.reviews.page import review_page
from smotext_core.reviews.thresholds import (
    MIN_VERDICTS,
    NOT_REACHED,
    RAISED,
    REACHED,
    TOO_FEW,
    calibrate_on_reviews,
)
from smotext_core.reviews.verdicts import Found, parse_verdicts

__all__ = [
    "FILE_COLUMNS",
    "MIN_VERDICTS",
    "NOT_REACHED",
    "RAISED",
    "REACHED",
    "SAMPLE",
    "TOO_FEW",
    "Found",
    "Pulled",
    "acceptance",
    "apply_verdicts",
    "calibrate_on_reviews",
    "matching",
    "parse_verdicts",
    "pull_review",
    "push_review",
    "read_review",
    "review_frame",
    "review_page",
    "review_rows",
    "review_xlsx",
    "standing",
    "wilson",
]
