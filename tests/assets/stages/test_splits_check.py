"""The check of `labelled_texts`: a document or a text in two splits stops what comes after."""

from pathlib import Path

import polars as pl
import pytest

from smotext_assets.graph import Table
from smotext_assets.stages.corpus import splits_share_no_document
from smotext_assets.store import Store
from smotext_core.schemas import LABELLED_TEXTS


@pytest.mark.parametrize(
    ("documents", "contents", "splits", "shared"),
    [
        ("abc", "xyz", ["train", "test", "holdout"], 0),
        ("aab", "xyz", ["test", "test", "train"], 0),
        ("aab", "xyz", ["train", "test", "train"], 1),
        ("abc", "xxz", ["train", "holdout", "train"], 1),
        ("aab", "xxz", ["train", "test", "train"], 2),
    ],
)
def test_a_document_or_a_text_in_two_splits_fails(
    tmp_path: Path, documents: str, contents: str, splits: list[str], shared: int
) -> None:
    columns = {"document_id": list(documents), "content_hash": list(contents), "split": splits}
    frame = pl.DataFrame(
        {name: columns.get(name, [0 if name == "passage" else "x"] * 3) for name in LABELLED_TEXTS},
        schema=LABELLED_TEXTS,
    )
    store = Store(str(tmp_path))
    store.write("labelled_texts", frame)
    result = splits_share_no_document(Table(store, "labelled_texts"))
    assert result.passed == (shared == 0)
    assert result.metadata["shared"].value == shared
