"""What is held of a corpus does not depend on how it comes."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smotext_core.schemas import RAW_CORPUS
from smotext_core.texts import corpus_frames, label_frames, label_texts, read_corpus
from smotext_core.texts.held import Known, Spool

CORPORA = sys.modules[read_corpus.__module__]
PASSAGES, DOCUMENTS = (
    sys.modules[f"smotext_core.texts.{name}"] for name in ("passages", "documents")
)


@given(st.lists(st.lists(st.text("ab", max_size=3), max_size=20), max_size=20))
def test_known_tells_what_came_before_as_a_set_does(blocks: list[list[str]]) -> None:
    known, seen = Known(), set[str]()
    for block in blocks:
        expected = []
        for string in block:
            expected.append(string in seen)
            seen.add(string)
        assert known.add(block).tolist() == expected


def test_spool_gives_frames_back_by_key_as_often_as_asked() -> None:
    spool = Spool()
    frames = [pl.DataFrame({"n": [n], "text": [f"text {n}"]}) for n in range(5)]
    for n, frame in enumerate(frames):
        spool.append(frame, n % 2)
    for _ in range(2):
        for key in (0, 1):
            read = list(spool.frames(key))
            assert len(read) == len(frames[key::2])
            for found, frame in zip(read, frames[key::2], strict=True):
                assert_frame_equal(found, frame)
    assert list(spool.frames(2)) == []


@pytest.mark.parametrize("limits", [{"_BLOCK_ROWS": 3}, {"_BLOCK_CHARACTERS": 10}])
def test_corpus_frames_refuse_across_blocks_what_they_refuse_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    path = tmp_path / "c.csv"
    rows = [f"{id_},text {n},{'' if n == 4 else 'x;y'}" for n, id_ in enumerate("abcabdefgea")]
    path.write_text("\n".join(["id,text,label", *rows, "h,only one"]))
    options = {"document_id": "id", "explode": ";"}
    whole = read_corpus(path, **options)
    assert whole[1]["reason"].to_list() == [
        "duplicate document id: 'a'",
        "blank label",
        "duplicate document id: 'e'",
        "duplicate document id: 'a'",
        "malformed CSV: 2 fields where the header has 3",
    ]
    for name, value in limits.items():
        monkeypatch.setattr(CORPORA, name, value)
    blocks = list(corpus_frames(path, **options))
    assert len(blocks) > 3
    for found, frame in zip(map(pl.concat, zip(*blocks, strict=True)), whole, strict=True):
        assert_frame_equal(found, frame)


def test_label_frames_do_not_depend_on_frames_or_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        (f"d{n}{'#1' * (n % 7 == 0)}", text, label)
        for n in range(60)
        for text in [" ".join([f"word{chr(97 + n % 23)} is here"] * (1 + n % 3 * 4)) + "."]
        for label in ("one", "two")[: 1 + (n % 5 == 0)]
    ]
    raw = pl.DataFrame(rows, schema=RAW_CORPUS, orient="row")
    raw = raw.with_columns(text=pl.when(pl.int_range(pl.len()) % 4 == 1)
                           .then(pl.col("text").str.to_uppercase())
                           .otherwise("text"))  # fmt: skip
    raw = raw.with_columns(pl.col("text").first().over("document_id"))
    options = {"seed": 3, "max_words": 8}
    whole = label_texts(raw, **options)
    assert whole[1].height > 10
    assert whole[0]["passage"].max() > 0  # type: ignore[operator]
    monkeypatch.setattr(PASSAGES, "_SORTED_ROWS", 5)
    monkeypatch.setattr(PASSAGES, "_SAMPLE", 20)
    monkeypatch.setattr(DOCUMENTS, "_AT_ONCE", 7)
    parts = [list(frames) for frames in label_frames(lambda: raw.iter_slices(4), **options)]
    assert len(parts[0]) > 5
    for found, frame in zip(map(pl.concat, parts), whole, strict=True):
        assert_frame_equal(found, frame)
