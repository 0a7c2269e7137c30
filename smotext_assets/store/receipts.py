"""What is left of a forgotten text: a receipt, by which it stays away and cards say so.

A receipt holds ids, counts and labels' slugs; no text, and no hash of one.
"""

import re
from collections.abc import Mapping

import polars as pl

from smotext_assets.store.tables import Store
from smotext_core.schemas import REJECTED_CORPUS

# In a run's frozen configuration: its generator, perhaps trained on a forgotten text, is deleted.
GENERATOR_FORGOTTEN = "generator_forgotten"
# On the page that stands where a card was that quoted a forgotten text.
WITHDRAWN = "This card quoted source texts and was withdrawn."

FORGOTTEN = pl.Schema(
    {
        "ids": pl.List(pl.String()),  # as given to `smotext forget`
        "document_ids": pl.List(pl.String()),  # their documents, and others of the same content
        "forgotten_at": pl.String(),  # ISO 8601, UTC
        "labels": pl.List(pl.String()),  # slugs
        "runs": pl.List(pl.String()),  # made while the labels had the text
        "tables": pl.List(pl.String()),  # where rows went
        "rows": pl.List(pl.Int64()),  # how many, in the order of `tables`
        "done": pl.Boolean(),  # false: it was interrupted, the same command goes on
    }
)


def receipts(store: Store) -> pl.DataFrame:
    """All receipts, FORGOTTEN."""
    return store.read_all("forgotten", schema=FORGOTTEN)


def document_of(text_id: str) -> str:
    """The document of a passage; a text id ends in #number if and only if it is a passage's."""
    return re.sub(r"#\d+\Z", "", text_id)


def days_forgotten(store: Store) -> dict[str, str]:
    """The day on which each document that has a receipt was forgotten."""
    told = receipts(store).explode("document_ids")
    return dict(zip(told["document_ids"], told["forgotten_at"].str.head(10), strict=True))


def without_forgotten(
    days: Mapping[str, str], frame: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of a RAW_CORPUS or REJECTED_CORPUS frame whose document was not forgotten, and for
    each other one a REJECTED_CORPUS row that holds its id alone."""
    gone = [id_ for id_ in frame["document_id"] if id_ in days]
    refused = [(None, id_, None, None, f"forgotten {days[id_]}") for id_ in gone]
    return (
        frame.filter(~pl.col("document_id").is_in(gone)),
        pl.DataFrame(refused, schema=REJECTED_CORPUS, orient="row"),
    )


def notice(store: Store, run: str) -> str | None:
    """What the card of `run` must say of texts that were forgotten since it was made."""
    told = receipts(store).filter(pl.col("runs").list.contains(run))
    if told.is_empty():
        return None
    labels = ", ".join(sorted(set(told["labels"].explode())))
    days = ", ".join(sorted({at[:10] for at in told["forgotten_at"]}))
    return (
        f"{len(set(told['document_ids'].explode()))} source documents of the labels {labels} were "
        f"forgotten after this run was made ({days}). Synthetic texts that descended from them "
        "were deleted and not replaced."
    )
