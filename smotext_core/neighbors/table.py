"""The neighbours of a class as a table: searched once, whatever the seed, ratio or λ of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from smotext_core.neighbors.exact import paired_cosines, vector_norms
from smotext_core.neighbors.index import EXACT_UP_TO, find_neighbors
from smotext_core.schemas import NEIGHBORS, conform


def neighbor_table(
    text_ids: Sequence[str],
    embeddings: NDArray[np.floating[Any]],
    *,
    k: int,
    exact_up_to: int = EXACT_UP_TO,
) -> tuple[pl.DataFrame, float]:
    """NEIGHBORS of n unique texts (n, d), sorted by text_id, and the recall of the search.

    k neighbours a text, n - 1 where there are fewer others. The order of the texts does not matter.

    Raises:
        ValueError: as `nearest_neighbors`, or ids that do not match the rows.
    """
    n = len(text_ids)
    if len(embeddings) != n or len(set(text_ids)) != n or not n:
        raise ValueError(
            f"neighbours need one vector for each unique text id, got {len(embeddings)} vectors "
            f"for {n} ids, {len(set(text_ids))} of them unique"
        )
    order = np.array(sorted(range(n), key=text_ids.__getitem__))
    ids = pl.Series([text_ids[i] for i in order], dtype=pl.String)
    embeddings = np.asarray(embeddings)
    if (order[1:] < order[:-1]).any():  # sorted already, they need no copy
        embeddings = embeddings[order]
    norms = vector_norms(embeddings)
    if n == 1:
        none: list[list[str]] = [[]]
        alone = pl.DataFrame({"text_id": ids, "neighbor_ids": none, "cosines": none})
        return conform(alone, NEIGHBORS), 1.0
    found, recall = find_neighbors(embeddings, k=min(k, n - 1), exact_up_to=exact_up_to)
    cosines = paired_cosines(embeddings, norms, np.arange(n).repeat(found.shape[1]), found.ravel())
    table = pl.DataFrame(
        {
            "text_id": ids,
            "neighbor_ids": ids.gather(found.ravel()).reshape(found.shape),
            "cosines": cosines.reshape(found.shape),
        }
    )
    return conform(table, NEIGHBORS), recall


def neighbor_rows(table: pl.DataFrame, text_ids: Sequence[str]) -> NDArray[np.int64]:
    """The neighbours as rows of `text_ids` (n,), in their order: (n, k), what `make_pairs` takes.

    Raises:
        ValueError: the table is of other texts.
    """
    ids = pl.Series("text_id", text_ids, dtype=pl.String)
    rows = pl.DataFrame({"text_id": ids, "row": np.arange(len(ids))})
    lists = rows.join(table, on="text_id", how="inner", maintain_order="left")["neighbor_ids"]
    flat = lists.explode().drop_nulls().rename("text_id").to_frame()
    found = flat.join(rows, on="text_id", how="inner", maintain_order="left")["row"].to_numpy()
    if len(lists) != len(ids) or table.height != len(ids) or len(found) != flat.height:
        raise ValueError(
            f"the table of neighbours is of other texts: it has {table.height}, {len(lists)} of "
            f"them among the {len(ids)} asked for; make it again"
        )
    return found.reshape(len(ids), -1).astype(np.int64)
