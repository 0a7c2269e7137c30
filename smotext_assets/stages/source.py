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
    """
    if is_inbox(corpus.source):
        return read_inbox(corpus.source, store, files=files, tell=tell, **corpus.reading)
    return read_corpus(corpus.source, open_bytes=store.open_bytes, tell=tell, **corpus.reading)
