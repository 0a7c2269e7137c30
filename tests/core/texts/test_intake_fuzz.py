"""Whatever comes as a corpus: a row is taken in or refused with a reason, and nothing crashes."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smotext_core.texts.corpora import read_corpus
from smotext_core.texts.passages import label_texts

Rows = list[tuple[str, str]]
FEW, MANY = 200, 10_000
ANY = st.text(max_size=30)  # every Unicode character but lone surrogates
HEADS = st.sampled_from([b"text,label\n", b"text;label\n", b'{"text": "a", "label": "b"}\n', b"[{",
                         b"PAR1", b"\x1f\x8b\x08\x00", b"BZh9", b"\x28\xb5\x2f\xfd", b"PK\x03\x04",
                         b"\xff\xfet\x00", b"\xef\xbb\xbf", b""])  # fmt: skip


def every(n: int) -> Callable[..., Callable[..., None]]:
    return settings(
        max_examples=n, deadline=None, database=None, derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )  # fmt: skip


def as_csv(rows: Rows, delimiter: str) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows([("text", "label"), *rows])
    return out.getvalue().encode()


def as_json_lines(rows: Rows) -> bytes:
    return "".join(json.dumps({"text": t, "label": label}) + "\n" for t, label in rows).encode()


def as_parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    schema = {"text": pl.String, "label": pl.String}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(out)
    return out.getvalue()


WRITERS: dict[str, Callable[[Rows], bytes]] = {
    "comma": lambda rows: as_csv(rows, ","),
    "tab": lambda rows: as_csv(rows, "\t"),
    "jsonl": as_json_lines,
    "parquet": as_parquet,
}


def read(data: bytes, **options: str) -> tuple[pl.DataFrame, pl.DataFrame] | str:
    """The two frames, or the error that says what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.dat"
        path.write_bytes(data)
        try:
            return read_corpus(path, **options)  # type: ignore[arg-type]
        except ValueError as refusal:
            told = str(refusal)
    assert told.strip()
    return told


def check_bytes(head: bytes, rest: bytes) -> None:
    found = read(head + rest)
    if not isinstance(found, str):
        _, rejected = found
        assert (rejected["reason"].str.len_chars() > 0).all()


def check_rows(rows: Rows, kind: str) -> None:
    found = read(WRITERS[kind](rows), **({"encoding": "utf-8"} if kind in ("comma", "tab") else {}))
    if isinstance(found, str):  # of one bad row after another the error counts the reasons
        assert f"can be used: {len(rows)} rows" in found
        return
    raw, rejected = found
    assert raw.height + rejected.height == len(rows)
    assert (rejected["reason"].str.len_chars() > 0).all()
    assert not set(raw["document_id"]) & set(rejected["document_id"].drop_nulls())
    try:
        labelled, dropped = label_texts(raw, seed=0)
    except ValueError as refusal:
        if "at least two labels" not in str(refusal):
            raise
        return
    kept = set(labelled["document_id"])
    refused = set(dropped["document_id"])
    assert kept | refused == set(raw["document_id"])  # none is neither
    assert labelled.group_by("slug").agg(pl.col("label").n_unique())["label"].max() == 1
    assert labelled["slug"].str.contains(r"^[A-Za-z0-9_-]{1,60}$").all()


ROWS = st.lists(st.tuples(ANY, st.text(max_size=8)), min_size=1, max_size=12)
KINDS = st.sampled_from(sorted(WRITERS))


@every(FEW)
@given(HEADS, st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(head: bytes, rest: bytes) -> None:
    check_bytes(head, rest)


@every(FEW)
@given(ROWS, KINDS)
def test_any_row_is_taken_in_or_refused_with_a_reason(rows: Rows, kind: str) -> None:
    check_rows(rows, kind)


@pytest.mark.soak
@every(MANY)
@given(HEADS, st.binary(max_size=400))
def test_ten_thousand_files_of_any_bytes(head: bytes, rest: bytes) -> None:
    check_bytes(head, rest)


@pytest.mark.soak
@every(MANY)
@given(ROWS, KINDS)
def test_ten_thousand_tables_of_any_rows(rows: Rows, kind: str) -> None:
    check_rows(rows, kind)
