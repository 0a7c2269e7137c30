"""Which labels an evaluation looks at where there are many."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

# A classifier takes rows × labels: of 1,000 labels an evaluation takes ten times as long as of 200.
MOST_LABELS = 200


def sampled_labels(
    labels: Collection[str],
    *,
    tested: Collection[str],
    with_rows: Collection[str],
    seed: int,
    most: int = MOST_LABELS,
) -> list[str]:
    """All of `labels`, or `most` of them; sorted.

    Those that are `tested` come before others, for the rest cannot be judged, and among both those
    of `with_rows`; then a hash of `seed` and label decides, so that one more label takes the place
    of at most one.
    """

    def place(label: str) -> tuple[bool, bool, bytes]:
        drawn = hashlib.sha256(f"{seed}\n{label}".encode()).digest()
        return label not in tested, label not in with_rows, drawn

    return sorted(sorted(labels, key=place)[:most])
