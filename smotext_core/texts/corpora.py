"""Read labelled text and refuse, with a reason, the rows that cannot be used.

A refused row is a row of the rejected frame: nothing is dropped in silence. Text that came in is
kept as it came, but for control characters, which are removed.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from smotext_core.schemas import RAW_CORPUS, REJECTED_CORPUS

_FORMATS = (".csv", ".jsonl", ".ndjson", ".parquet")
_CONTROL = {
    code: None
    for code in range(0xA0)
    if unicodedata.category(chr(code)) == "Cc" and chr(code) not in "\t\n\r"
}

# A row as read: its values by column, or (what could be read of it, why it is refused).
_Record = dict[str, Any] | tuple[str, str]


def read_corpus(
    source: str | Path,
    *,
    text: str = "text",
    label: str = "label",
    document_id: str | None = None,
    newsgroups: bool = False,
    max_characters: int = 1_000_000,
    open_bytes: Callable[[str], bytes] | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read `source` into a RAW_CORPUS frame and a REJECTED_CORPUS frame.

    Args:
        source: a file or address ending in .csv, .jsonl, .ndjson or .parquet, the first three also
            with .gz; `clinic_notes`; `20newsgroups`, also with `:train` or `:test`; `hf:NAME`,
            `hf:NAME:SPLIT` or `hf:NAME@COMMIT:SPLIT` for a Hugging Face dataset (SPLIT is train and
            COMMIT the newest if not given).
        text: the column of texts.
        label: the column of labels; blanks around one are removed, other types become strings.
        document_id: the column of ids, or None for the row's number from 0.
        newsgroups: strip headers, quotes and footers of posts, as `20newsgroups` always does.
        max_characters: a longer text is refused, and cut to this length in the rejected frame.
        open_bytes: reads an address with "://", such as s3://bucket/key, into bytes.

    Raises:
        ValueError: an unknown source, a missing column, or no row that can be used.
        FileNotFoundError: the file does not exist.
        ModuleNotFoundError: a Hugging Face dataset without the package `datasets`.
        OSError: 20 Newsgroups is neither cached nor can be downloaded.
    """
    name = str(source)
    if name == "clinic_notes" or name.partition(":")[0] == "20newsgroups":
        document_id = document_id or "id"
    columns, records = _load(name, open_bytes)
    for column in (text, label) if document_id is None else (text, label, document_id):
        if columns.count(column) != 1 and columns:
            count = columns.count(column)
            raise ValueError(
                f"the corpus needs one column {column!r}; {name} has {count or 'none'} "
                f"among {columns}; name the columns for text, label and document id"
            )

    accepted: dict[str, tuple[str | None, str | None]] = {}
    rejected: list[tuple[int, str, str | None, str | None, str]] = []
    for row, record in enumerate(records):
        if isinstance(record, tuple):
            rejected.append((row, str(row), record[0][:max_characters], None, record[1]))
            continue
        text_, text_fault = _clean(record.get(text), "text")
        label_, label_fault = _clean(record.get(label), "label")
        id_, id_fault = str(row), None
        if document_id is not None:
            given, id_fault = _clean(record.get(document_id), "document id")
            id_ = given or id_
        if newsgroups and text_ is not None and text_fault is None:
            text_ = strip_newsgroup(text_)
            text_fault = None if text_.strip() else "blank text"
        if text_ is not None and len(text_) > max_characters:
            text_fault = f"text too long: {len(text_)} characters, more than {max_characters}"
            text_ = text_[:max_characters]
        if id_ in accepted:
            id_fault = id_fault or f"duplicate document id: {id_!r}"
        fault = text_fault or label_fault or id_fault
        if fault is None:
            accepted[id_] = (text_, label_)
        else:
            rejected.append((row, id_, text_, label_, fault))

    if not accepted:
        reasons = _count_reasons(reason for *_, reason in rejected)
        raise ValueError(f"no row of {name} can be used: {len(records)} rows{reasons}")
    raw = [(id_, text_, label_) for id_, (text_, label_) in accepted.items()]
    return (
        pl.DataFrame(raw, schema=RAW_CORPUS, orient="row"),
        pl.DataFrame(rejected, schema=REJECTED_CORPUS, orient="row"),
    )


def strip_newsgroup(text: str) -> str:
    """Remove headers, footer and quoted lines of a newsgroup post, as scikit-learn does."""
    from sklearn.datasets._twenty_newsgroups import (
        strip_newsgroup_footer,
        strip_newsgroup_header,
        strip_newsgroup_quoting,
    )

    text = text.replace("\r\n", "\n")
    return str(strip_newsgroup_quoting(strip_newsgroup_footer(strip_newsgroup_header(text))))


def _count_reasons(reasons: Iterable[str]) -> str:
    """Say how often each kind of reason, the part before a colon, occurs: `, 2 blank text, …`."""
    counts = Counter(reason.partition(":")[0] for reason in reasons)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f", {count} {reason}" for reason, count in ordered)


def _clean(value: object, what: str) -> tuple[str | None, str | None]:
    """Return `value` as a string without control characters, and why it is refused."""
    if value is None or value != value:  # NaN is what pandas writes for null
        return None, f"null {what}"
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, list | dict) or (what == "text" and not isinstance(value, str)):
        return str(value), f"{what} is no string: {type(value).__name__}"
    string = str(value)
    try:
        string.encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates: bytes that could not be decoded
        shown = re.sub("[\ud800-\udfff]", "\ufffd", string)
        return shown.translate(_CONTROL), f"{what} is not UTF-8"
    string = string.translate(_CONTROL)
    if what != "text":
        string = string.strip()
    return string, None if string.strip() else f"blank {what}"


def _load(
    source: str, open_bytes: Callable[[str], bytes] | None
) -> tuple[list[str], list[_Record]]:
    """Return the columns and the rows of `source`."""
    if source == "clinic_notes":
        return _parse_jsonl((Path(__file__).parent / source / "notes.jsonl").read_bytes())
    if source.partition(":")[0] == "20newsgroups":
        return _fetch_newsgroups(source.partition(":")[2] or "all")
    if source.startswith("hf:"):
        return _load_huggingface(source.removeprefix("hf:"))

    stem = source.lower().removesuffix(".gz")
    if not stem.endswith(_FORMATS):
        raise ValueError(
            f"a corpus is a file ending in {', '.join(_FORMATS)}, or clinic_notes, 20newsgroups "
            f"or hf:NAME; not {source!r}"
        )
    if "://" in source:
        if open_bytes is None:
            raise ValueError(f"reading {source} needs open_bytes, a function from it to its bytes")
        data = open_bytes(source)
    elif not Path(source).is_file():
        raise FileNotFoundError(f"the corpus {source} is not a file")
    else:
        data = Path(source).read_bytes()
    if source.lower().endswith(".gz"):
        data = gzip.decompress(data)

    if stem.endswith(".parquet"):
        frame = pl.read_parquet(io.BytesIO(data))
        return frame.columns, list(frame.iter_rows(named=True))
    return _parse_csv(data) if stem.endswith(".csv") else _parse_jsonl(data)


def _parse_jsonl(data: bytes) -> tuple[list[str], list[_Record]]:
    columns: dict[str, None] = {}
    records: list[_Record] = []
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if not line.strip():
            continue
        shown = line.decode("utf-8", "replace").translate(_CONTROL)
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError:
            records.append((shown, "line is not UTF-8"))
        except (ValueError, RecursionError) as error:
            records.append((shown, f"malformed JSON: {error}"))
        else:
            if isinstance(value, dict):
                columns.update(dict.fromkeys(value))
                records.append(value)
            else:
                records.append((shown, f"line is no JSON object: {type(value).__name__}"))
    return list(columns), records


def _parse_csv(data: bytes) -> tuple[list[str], list[_Record]]:
    """Parse RFC 4180 rows under a header; blank lines between rows are no rows.

    Bytes that are not UTF-8 become lone surrogates, which `_clean` refuses.
    """
    lines = io.StringIO(data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"), "")
    limit = csv.field_size_limit(sys.maxsize)  # the default refuses fields above 131,072
    try:
        rows = _csv_rows(lines.readlines())
        header = next(rows, None)
        if header is None:
            return [], []
        if isinstance(header, tuple):
            raise ValueError(f"the header of the CSV file cannot be read: {header[1]}")
        records: list[_Record] = []
        for row in rows:
            if isinstance(row, tuple):
                records.append(row)
            elif len(row) != len(header):
                shown, _ = _clean(",".join(row), "text")
                reason = f"malformed CSV: {len(row)} fields where the header has {len(header)}"
                records.append((shown or "", reason))
            else:
                records.append(dict(zip(header, row, strict=True)))
    finally:
        csv.field_size_limit(limit)
    return header, records


def _csv_rows(lines: list[str]) -> Iterator[list[str] | tuple[str, str]]:
    """Yield each row, or the first line of a malformed one with its fault and go on below it."""
    start = 0
    while start < len(lines):
        reader = csv.reader((lines[i] for i in range(start, len(lines))), strict=True)
        taken = 0
        try:
            for row in reader:
                taken = reader.line_num
                if row:
                    yield row
            return
        except csv.Error as error:
            shown, _ = _clean(lines[start + taken], "text")
            yield shown or "", f"malformed CSV: {error}"
            start += taken + 1


def _fetch_newsgroups(subset: str) -> tuple[list[str], list[_Record]]:
    """Fetch posts without headers, footers and quotes, from scikit-learn's cache if it is there."""
    if subset not in ("all", "train", "test"):
        raise ValueError(f"20newsgroups has the parts all, train and test, not {subset!r}")
    from sklearn.datasets import fetch_20newsgroups, get_data_home

    try:
        posts = fetch_20newsgroups(
            subset=subset, shuffle=False, remove=("headers", "footers", "quotes"), n_retries=1
        )
    except OSError as error:
        raise OSError(
            f"20 Newsgroups is not in scikit-learn's cache {get_data_home()} and could not be "
            f"downloaded ({error}); fetch it once on a machine with network and copy that folder, "
            "or give a file"
        ) from error
    records: list[_Record] = [
        # by-date folder, group, number: the rest of the path is this machine's
        {"id": "/".join(Path(file).parts[-3:]), "text": post, "label": posts.target_names[target]}
        for file, post, target in zip(posts.filenames, posts.data, posts.target, strict=True)
    ]
    return ["id", "text", "label"], records


def _load_huggingface(name: str) -> tuple[list[str], list[_Record]]:
    """Load one split of a dataset; labels of a ClassLabel column become their names."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ModuleNotFoundError(
            f"reading hf:{name} needs the package datasets: pip install 'smotext[huggingface]'"
        ) from error

    path, _, split = name.partition(":")
    path, _, revision = path.partition("@")
    dataset = load_dataset(path, split=split or "train", revision=revision or None)
    records: list[_Record] = [dict(row) for row in dataset]
    for column, feature in dataset.features.items():
        names = getattr(feature, "names", None)
        if names is not None:
            for record in records:
                if isinstance(record, dict) and isinstance(record[column], int):
                    number = record[column]
                    record[column] = names[number] if number >= 0 else None  # -1 is unlabelled
    return list(dataset.column_names), records
