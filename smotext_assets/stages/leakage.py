"""The leak measures of synthetic rows, as the gates and the audit of a run take them."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from smotext_core.privacy import CANARY, audit


def audit_rows(
    made: pl.DataFrame,
    real: pl.DataFrame,
    *,
    run: str,
    label: str | None,
    mixed: NDArray[np.float32] | None = None,
) -> pl.DataFrame:
    """PRIVACY_AUDIT of synthetic rows `made` against the real rows of their labels.

    Both have `text` and `embedding`; of `real` the train texts are what the rows may leak, the
    holdout is what they cannot know. A text of several labels counts once. `mixed` (n, d) are the
    interpolated vectors, to be attacked.
    """
    real = real.unique("content_hash", keep="first", maintain_order=True)
    train, holdout = (real.filter(pl.col("split") == split) for split in ("train", "holdout"))
    planted = train.filter(pl.col("document_id").str.starts_with(CANARY))
    return audit(
        run=run,
        label=label,
        synthetic_texts=made["text"].to_list(),
        train_texts=train["text"].to_list(),
        holdout_texts=holdout["text"].to_list(),
        synthetic=made["embedding"].to_numpy(),
        train=train["embedding"].to_numpy(),
        holdout=holdout["embedding"].to_numpy(),
        train_documents=train["document_id"].to_list(),
        holdout_documents=holdout["document_id"].to_list(),
        vectors=mixed,
        canaries=planted["text"].to_list(),
        seed=0,
    )
