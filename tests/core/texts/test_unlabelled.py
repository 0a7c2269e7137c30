"""Texts that nobody labelled, before they are embedded."""

from pathlib import Path

import polars as pl
import pytest

from smotext_core.schemas import RAW_CORPUS, REJECTED_CORPUS, UNLABELLED_TEXTS
from smotext_core.texts import read_corpus, unlabelled_passages

LABELLED = pl.Series(["The pump of the third boiler leaks oil onto the floor near the gate."])


def raw(*texts: str) -> pl.DataFrame:
    rows = [(str(row), text, "") for row, text in enumerate(texts)]
    return pl.DataFrame(rows, schema=RAW_CORPUS, orient="row")


def test_no_labelled_text_comes_back_unlabelled() -> None:
    kept, rejected = unlabelled_passages(
        raw(
            LABELLED[0].upper(),
            LABELLED[0].replace("gate", "door"),  # all 3-grams but one are shared
            "A valve was replaced on Monday by the night shift.",
            "a valve was replaced, on monday, by the night shift",
            "=== 12 / 34 ===",
        ),
        LABELLED,
    )
    assert kept.schema == UNLABELLED_TEXTS
    assert kept["text_id"].to_list() == ["unlabelled:2"]
    assert rejected.schema == REJECTED_CORPUS
    assert rejected.select("row", "reason").rows() == [
        (0, "near duplicate of a labelled text"),
        (1, "near duplicate of a labelled text"),
        (3, "duplicate of unlabelled:2"),
        (4, "not prose"),
    ]


def test_long_texts_become_passages_with_ids_of_their_own() -> None:
    sentence = "The crew checked the number {} line for cracks and wrote a short note."
    long = " ".join(sentence.format(number) for number in range(9))
    kept, rejected = unlabelled_passages(raw(long), LABELLED, max_words=30)
    assert rejected.is_empty()
    assert kept["document_id"].unique().to_list() == ["unlabelled:0"]
    assert kept["text_id"].to_list() == [f"unlabelled:0#{n}" for n in range(kept.height)]
    assert " ".join(kept["text"]) == long
    again, _ = unlabelled_passages(
        kept.select("document_id", "text", label=pl.lit("")).unique("text", maintain_order=True),
        LABELLED,
    )
    assert set(again["document_id"]) == {"unlabelled:0"}  # the prefix comes once


def test_nothing_unlabelled_is_an_empty_table() -> None:
    kept, rejected = unlabelled_passages(raw(), LABELLED)
    assert kept.schema == UNLABELLED_TEXTS
    assert kept.is_empty()
    assert rejected.is_empty()


def test_a_corpus_without_labels_needs_its_texts_alone(
    tmp_path: Path,
) -> None:
    file = tmp_path / "notes.csv"
    file.write_text("when;Text\n1;The night shift replaced a valve.\n2;\n")
    frame, rejected = read_corpus(file, label=None)
    assert frame.rows() == [("0", "The night shift replaced a valve.", "")]
    assert rejected.height == 1
    with pytest.raises(ValueError, match="needs one column 'label'"):
        read_corpus(file)
