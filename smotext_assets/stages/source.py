"""The corpus, wherever it is: one file or many."""

from collections.abc import Callable, Collection, Iterator

import polars as pl

from smotext_assets.graph import Corpus, StoreResource
from smotext_assets.stages.inbox import inbox_frames, is_inbox
from smotext_core.texts import corpus_frames


def source_frames(
    corpus: Corpus,
    store: StoreResource,
    *,
    files: Collection[str] | None = None,
    tell: Callable[[str], None],
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """RAW_CORPUS and REJECTED_CORPUS frames, as `corpus_frames` and `inbox_frames` give them.

    Args:
        files: of a folder or a prefix these alone, by name.
        tell: is called with a line on how it was read, and one on texts of several labels.
    """
    if is_inbox(corpus.source):
        frames = inbox_frames(corpus.source, store, files=files, tell=tell, **corpus.reading)
    else:
        frames = corpus_frames(
            corpus.source, open_bytes=store.open_bytes, tell=tell, **corpus.reading
        )
    texts = rows = 0
    for good, bad in frames:
        if corpus.explode is not None:  # the rows of one text stand in one frame
            several = good.filter(pl.col("document_id").is_duplicated())["document_id"]
            texts, rows = texts + several.n_unique(), rows + several.len()
        yield good, bad
    if corpus.explode is not None:
        tell(f"{corpus.source}: {texts} texts of several labels are {rows} rows, one a label")


def read_source(
    corpus: Corpus, store: StoreResource, *, tell: Callable[[str], None]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All of it as one RAW_CORPUS frame and one REJECTED_CORPUS frame."""
    accepted, rejected = zip(*source_frames(corpus, store, tell=tell), strict=True)
    return pl.concat(accepted), pl.concat(rejected)
