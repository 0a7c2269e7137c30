"""What a review file says, line by line, against the rows that there are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import polars as pl

from smotext_core.reviews.order import SAMPLE, UNSURE
from smotext_core.schemas import REVIEWS
from smotext_core.texts import unguarded

UNDECIDED = "undecided"  # takes a verdict back
VERDICTS = ("keep", "drop", UNDECIDED)
_MANGLED = re.compile(r"[\d.,:/+\-\sEe]+")


class Found(NamedTuple):
    """What a file says."""

    verdicts: pl.DataFrame  # REVIEWS
    unread: int  # rows without a verdict
    gone: list[str]  # lines about rows that are no more, a sentence each
    faults: list[str]  # lines that cannot be, a sentence each


def content_hash(text: str) -> str:
    """Of a text, as `labelled_texts` has it of the real ones."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse_verdicts(
    cells: pl.DataFrame,
    rows: pl.DataFrame,
    *,
    run: str,
    labels: Collection[str],
    reviewer: str | None,
    now: datetime,
    places: Sequence[str] | None = None,
) -> Found:
    """The verdicts in a file; nothing is refused here, the faults are told.

    Args:
        cells: of `read_review`. rows: SYNTHETIC_TEXTS, the run's rows now.
        places: what to call each row of `cells`; None: it is a line of a file.
        labels: of the corpus, one of which a corrected label must be.
        reviewer: who read rows that name nobody. now: when, of those that name no time, or one
            that is yet to come.
    """
    known = {row["sample_id"]: row for row in rows.iter_rows(named=True)}
    numbers = {sample_id.rpartition(".")[0] for sample_id in known}
    found: dict[str, dict[str, object]] = {}
    first: dict[str, str] = {}
    gone: list[str] = []
    faults: list[str] = []
    unread = 0
    if places is None:
        places = [f"line {n}" for n in range(2, cells.height + 2)]  # the header is the first
    for place, row in zip(places, cells.iter_rows(named=True), strict=True):
        cell = {name: unguarded(text).strip() for name, text in row.items() if name != "text"}
        sample_id, label = cell["sample_id"], cell["corrected_label"]
        if not cell["verdict"] and not label:
            unread += 1
            continue
        fault = None
        verdict = cell["verdict"].lower()
        if cell["run"] != run:
            fault = f"it is of the run {cell['run']!r}, not of {run!r}"
        elif sample_id not in known:
            stem, _, number = sample_id.rpartition(".")
            if stem in numbers and number.isdigit():
                gone.append(f"{place}: the row {sample_id} is no more")
                continue
            fault = (
                f"the id {sample_id!r} is no id but a number or date: a spreadsheet changed it, "
                "read that column as text"
                if _MANGLED.fullmatch(sample_id)
                else f"no row of the run has the id {sample_id!r}"
            )
        elif not _same(unguarded(row["text"]), known[sample_id]["text"]):
            fault = f"the text of {sample_id} is another one than that in the store"
        elif verdict and verdict not in VERDICTS:
            fault = f"the verdict must be keep, drop or undecided, got {cell['verdict']!r}"
        elif label and verdict in ("drop", UNDECIDED):
            fault = f"it says {verdict} and corrects the label: leave one of the two empty"
        elif label and label not in labels:
            fault = f"the corrected label must be one of {sorted(labels)}, got {label!r}"
        elif not (cell["reviewer"] or reviewer):
            fault = "it does not say who read it: fill in reviewer, or give --reviewer"
        elif (at := _time(cell["reviewed_at"], now)) is None:
            fault = f"reviewed_at must be ISO 8601 or empty, got {cell['reviewed_at']!r}"
        elif sample_id in first:
            fault = f"the row {sample_id} is in {first[sample_id]} too"
        else:
            first[sample_id] = place
            of = known[sample_id]
            correct = bool(label) and label != of["label"]
            found[sample_id] = {
                "run": run,
                "label": of["label"],
                "sample_id": sample_id,
                "content_hash": content_hash(of["text"]),
                "verdict": "relabel" if correct else verdict or "keep",
                "corrected_label": label if correct else None,
                "reviewer": cell["reviewer"] or reviewer,
                "reviewed_at": at,
                "sampled": cell["why"] == SAMPLE,
                "round_trip_cosine": of["round_trip_cosine"],
                "label_confidence": of["label_confidence"],
            }
            if cell["why"] not in (SAMPLE, UNSURE, ""):
                fault = f"why must be {SAMPLE!r} or {UNSURE!r}, got {cell['why']!r}"
                del found[sample_id]
        if fault:
            faults.append(f"{place}: {fault}")
    table = pl.DataFrame(list(found.values()), schema=REVIEWS, orient="row").sort("sample_id")
    return Found(table, unread, gone, faults)


def _same(told: str, text: str) -> bool:
    """Whether two texts differ in no more than white space, which spreadsheets change."""
    return " ".join(told.split()) == " ".join(text.split())


def _time(told: str, now: datetime) -> str | None:
    if not told:
        return now.isoformat(timespec="seconds")
    try:
        at = datetime.fromisoformat(told)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    # the latest verdict stands: by a clock that is ahead it would for ever
    return min(at, now).astimezone(UTC).isoformat(timespec="seconds")
