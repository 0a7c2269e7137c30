"""The corpus, wherever it is: one file or many."""

from collections.abc import Callable, Collection

import polars as pl

from smotext_assets.graph import Corpus, StoreResource
from smotext_assets.stages.inbox import is_inbox, read_inbox
from smotext_core.texts import read_corpus


def read_source(
    corpus: Corpus,
    store: StoreResource,
    *,
    files: Collection[str] | None = None,
    tell: Callable[[str], None],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A RAW_CORPUS frame and a REJECTED_CORPUS frame, as `read_corpus` and `read_inbox` do.

    Args:
        files: of a folder or a prefix these alone, by name.
        tell: is called with a line on how it was read, and one on texts of several labels.
    """
    if is_inbox(corpus.source):
        frames = read_inbox(corpus.source, store, files=files, tell=tell, **corpus.reading)
    else:
        frames = read_corpus(
            corpus.source, open_bytes=store.open_bytes, tell=tell, **corpus.reading
        )
    if corpus.explode is not None:
        several = frames[0].filter(pl.col("document_id").is_duplicated())["document_id"]
        tell(
            f"{corpus.source}: {several.n_unique()} texts of several labels are {several.len()} "
            "rows, one a label"
        )
    return frames
