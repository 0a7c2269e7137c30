"""The leakage measures for any table of synthetic texts, whoever made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from smotext_core.privacy.attacks import audit

if TYPE_CHECKING:
    from numpy.typing import NDArray


def audit_table(
    synthetic: pl.DataFrame,
    train: pl.DataFrame,
    holdout: pl.DataFrame,
    *,
    encode: Callable[[Sequence[str]], NDArray[np.float32]],
    name: str = "",
    seed: int = 0,
) -> pl.DataFrame:
    """PRIVACY_AUDIT of the whole table, then of each of its labels where there are several.

    Rows are compared as they are, and only those of labels that the synthetic texts have: the
    encoder reads the beginning of a long one.

    Args:
        synthetic, train, holdout: columns text and label, and document_id where texts are passages
            of documents, or a row for each of several labels: the measures of the whole table take
            such a text once. Where `train` or `holdout` lacks it, every row counts as a document.
            `holdout` are texts of the same kind as `train` that nothing was made from; without
            rows only copies are judged.
        encode: texts to vectors (n, d).
        name: of the table, in the column `run`.

    Raises:
        ValueError: no synthetic text, or labels that `train` does not have.
    """
    labels = synthetic["label"].unique().sort().to_list()
    if not labels:
        raise ValueError("an audit needs a synthetic text or more; the table has none")
    if strange := sorted(set(labels) - set(train["label"])):
        raise ValueError(
            f"the synthetic texts have labels that the corpus does not have, {strange}: give the "
            "corpus that they were made from"
        )
    by_document = all("document_id" in frame.columns for frame in (train, holdout))
    sides = []
    for frame in (synthetic, train, holdout):
        own = frame.filter(pl.col("label").is_in(labels))
        texts = own["text"].to_list()
        once = np.ones(own.height, dtype=bool)
        documents = np.arange(own.height)
        if "document_id" in own.columns:
            documents = own["document_id"].to_numpy() if by_document else documents
            # a text of several labels has a row of each; its document may have other passages
            seen = pl.struct("document_id", "text").is_first_distinct()
            once = own.select(seen).to_series().to_numpy()
        sides.append((own["label"].to_numpy(), once, texts, encode(texts), documents))

    def measured(label: str | None) -> pl.DataFrame:
        rows = [np.flatnonzero(once if label is None else of == label) for of, once, *_ in sides]
        texts = [[side[2][row] for row in at] for side, at in zip(sides, rows, strict=True)]
        vectors = [side[3][at] for side, at in zip(sides, rows, strict=True)]
        documents = [side[4][at].tolist() for side, at in zip(sides, rows, strict=True)]
        return audit(
            run=name,
            label=label,
            synthetic_texts=texts[0],
            train_texts=texts[1],
            holdout_texts=texts[2],
            synthetic=vectors[0],
            train=vectors[1],
            holdout=vectors[2],
            train_documents=documents[1],
            holdout_documents=documents[2],
            seed=seed,
        )

    return pl.concat(map(measured, [None, *(labels if len(labels) > 1 else [])]))
