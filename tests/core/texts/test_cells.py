"""Cells of labels: one, several, and what is neither."""

import json

import polars as pl
import pytest

from smotext_core.texts.cells import MOST_LABELS, labels_of
from smotext_core.texts.corpora import read_corpus


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("a", ["a"]),
        (" a ", ["a"]),
        ("a;b", ["a", "b"]),
        (" b ; a;b;; ", ["b", "a"]),
        ('["a", "b"]', ["a", "b"]),
        ("['a', \"it's\", 'it\\'s', 'a, b', 'c;d']", ["a", "it's", "a, b", "c;d"]),
        ("[3, 27]", ["3", "27"]),
        (["a", None, " ", "b\x00"], ["a", "b"]),
        ([3, 27], ["3", "27"]),
        (7, ["7"]),
        ("[red]cooking", ["[red]cooking"]),
        ("['a' 'b']", ["['a' 'b']"]),  # as numpy prints: no comma, no list
        ("a,b|c", ["a,b|c"]),
    ],
)
def test_labels_of_a_cell(cell: object, labels: list[str]) -> None:
    assert labels_of(cell, separator=";")[::2] == (labels, None)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "null label"),
        (float("nan"), "null label"),
        ("  ", "blank label"),
        (" ; ;", "blank label"),
        ([], "blank label"),
        ("[]", "blank label"),
        ([None], "blank label"),
        ({"a": 1}, "label is no string: dict"),
        (["a", ["b"]], "label is no string: list"),
        (["a", "\udc80"], "label is not UTF-8"),
        ([str(n) for n in range(MOST_LABELS + 1)], "too many labels: 101, more than 100"),
    ],
)
def test_labels_of_a_cell_are_refused_with_a_reason(cell: object, reason: str) -> None:
    assert labels_of(cell, separator=";")[::2] == ([], reason)


@pytest.mark.parametrize("cell", [["a", "b"], '["a", "b"]', "['a']"])
def test_labels_of_a_list_are_refused_by_default(cell: object) -> None:
    labels, shown, reason = labels_of(cell, separator=None)
    assert (labels, reason) == ([], "label is a list: --explode makes a row of each")
    assert shown == str(cell)
    assert labels_of("a;b", separator=None) == (["a;b"], "a;b", None)


@pytest.mark.parametrize("hostile", ["['a'" + " " * 60_000 + "x]", "[" * 60_000 + "]", "['\\" * 9])
def test_labels_of_a_hostile_cell_are_one(hostile: str) -> None:
    assert labels_of(hostile, separator=",")[0] == [hostile]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_read_corpus_explodes_what_each_format_writes(tmp_path, kind):
    rows = {"id": ["x", "y", "z"], "text": ["One.", "Two.", "Three."]}
    lists = pl.DataFrame({**rows, "label": [["a", "b"], ["b"], []]})
    path = tmp_path / f"c.{kind}"
    if kind == "parquet":
        lists.write_parquet(path)
    elif kind == "jsonl":
        lists.write_ndjson(path)
    else:
        printed = pl.Series("label", [json.dumps(cell) for cell in lists["label"].to_list()])
        lists.with_columns(printed).write_csv(path)

    raw, refused = read_corpus(path, document_id="id", explode=";")
    assert raw.rows() == [("x", "One.", "a"), ("x", "One.", "b"), ("y", "Two.", "b")]
    assert refused.select("document_id", "reason").rows() == [("z", "blank label")]
    with pytest.raises(ValueError, match=r"3 rows, 3 label is a list"):
        read_corpus(path, document_id="id")


def test_read_corpus_explodes_at_another_character(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text('text,label\nOne.,"a,b;c"\nTwo.,b\n')
    raw, _ = read_corpus(path, explode=",")
    assert raw.rows() == [("0", "One.", "a"), ("0", "One.", "b;c"), ("1", "Two.", "b")]
    with pytest.raises(ValueError, match=r"--explode takes the character.* got 'notes\.csv'"):
        read_corpus(path, explode="notes.csv")
