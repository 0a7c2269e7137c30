import gzip
import io
import json
import pickle
import sys
import types
import urllib.error
import zlib

import polars as pl
import pytest

from smotext_core.schemas import RAW_CORPUS, REJECTED_CORPUS
from smotext_core.texts.corpora import read_corpus, strip_newsgroup


def write(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def reasons(rejected):
    return dict(zip(rejected["row"], rejected["reason"], strict=True))


def test_read_corpus_reads_csv(tmp_path):
    path = write(tmp_path, "c.csv", b'text,label\n"one, ""two""\nthree",a\r\nfour,b\n')

    raw, rejected = read_corpus(path)

    assert raw.schema == RAW_CORPUS
    assert rejected.schema == REJECTED_CORPUS
    assert raw.rows() == [("0", 'one, "two"\nthree', "a"), ("1", "four", "b")]
    assert rejected.is_empty()


def test_read_corpus_reads_the_same_rows_from_every_format(tmp_path):
    rows = [{"key": "x", "note": "Éa\nb", "class": 1}, {"key": "y", "note": "c", "class": 2}]
    jsonl = "\n".join(map(json.dumps, rows)).encode()
    write(tmp_path, "c.jsonl", jsonl)
    write(tmp_path, "c.ndjson.gz", gzip.compress(jsonl))
    pl.DataFrame(rows).write_csv(tmp_path / "c.csv", include_bom=True)
    pl.DataFrame(rows).write_parquet(tmp_path / "c.parquet")

    for name in ("c.jsonl", "c.ndjson.gz", "c.csv", "c.parquet"):
        raw, rejected = read_corpus(tmp_path / name, text="note", label="class", document_id="key")
        assert raw.rows() == [("x", "Éa\nb", "1"), ("y", "c", "2")], name
        assert rejected.is_empty()


def test_read_corpus_refuses_rows_with_reasons(tmp_path):
    rows = [
        {"text": "good", "label": "a"},
        {"text": None, "label": "a"},
        {"label": "a"},
        {"text": " \n", "label": "a"},
        {"text": "t", "label": None},
        {"text": "t", "label": " "},
        {"text": "x" * 11, "label": "a"},
        {"text": 5, "label": "a"},
        {"text": "t", "label": ["a"]},
        {"text": "t \ud800", "label": "a"},
    ]
    path = write(tmp_path, "c.jsonl", "\n".join(map(json.dumps, rows)).encode())

    raw, rejected = read_corpus(path, max_characters=10)

    assert raw.rows() == [("0", "good", "a")]
    assert reasons(rejected) == {
        1: "null text",
        2: "null text",
        3: "blank text",
        4: "null label",
        5: "blank label",
        6: "text too long: 11 characters, more than 10",
        7: "text is no string: int",
        8: "label is a list: --explode makes a row of each",
        9: "text is not UTF-8",
    }
    assert rejected.row(5)[2] == "x" * 10


def test_read_corpus_refuses_bad_jsonl_lines_alone(tmp_path):
    lines = [
        b'{"text": "one", "label": "a"}',
        b'{"text": "two", "label": ',
        b'{"text": "caf\xe9", "label": "a"}',
        b"[1, 2]",
        b"[" * 100_000,
        b'{"text": 1' + b"0" * 5000 + b"}",
        b"",
        b'{"text": "three", "label": "b"}',
    ]

    raw, rejected = read_corpus(write(tmp_path, "c.jsonl", b"\n".join(lines)))

    assert raw["document_id"].to_list() == ["0", "6"]
    found = reasons(rejected)
    assert found[1].startswith("malformed JSON: ")
    assert found[2] == "line is not UTF-8"
    assert found[3] == "line is no JSON object: list"
    assert found[4].startswith("malformed JSON: ")
    assert found[5].startswith("malformed JSON: ")
    assert rejected["text"][1] == '{"text": "caf\ufffd", "label": "a"}'


def test_read_corpus_refuses_bad_csv_rows_alone(tmp_path):
    data = (
        b"text,label\n"
        b"caf\xe9 \xc3\xa9t\xc3\xa9 \xc3\xa0 d\xc3\xa9j,a\n"  # UTF-8 but for one letter
        b"good,a\n"
        b"too,many,fields\n"
        b'"never closed,a\n'
        b'"quoted, good",b\n'
        b"\n"
        b"last,b\n"
        b'"open to the end,b\n'
    )

    raw, rejected = read_corpus(write(tmp_path, "c.csv", data))

    assert raw["text"].to_list() == ["good", "quoted, good", "last"]
    found = reasons(rejected)
    assert found[0] == "text is not UTF-8"
    assert found[2] == "malformed CSV: 3 fields where the header has 2"
    assert found[3].startswith("malformed CSV: ")
    assert found[6].startswith("malformed CSV: ")
    assert rejected["text"].to_list()[::3] == ["caf\ufffd été à déj", '"open to the end,b\n']


def test_read_corpus_reads_csv_fields_longer_than_the_csv_module_allows(tmp_path):
    path = write(tmp_path, "c.csv", b"text,label\n" + b"x" * 200_000 + b",a\n")

    raw, _ = read_corpus(path)

    assert raw["text"].str.len_chars().to_list() == [200_000]


def test_read_corpus_removes_control_characters(tmp_path):
    path = write(tmp_path, "c.csv", b"text,label\na\x00b\x07\tc\x1b[1m,x\x00\n")

    raw, _ = read_corpus(path)

    assert raw.rows() == [("0", "ab\tc[1m", "x")]


def test_read_corpus_keeps_hostile_labels(tmp_path):
    labels = ["a|b", "a/b", "..", "two\nlines", "🦠", ".hidden", "=1+1", "<b>"]
    path = tmp_path / "c.parquet"
    pl.DataFrame({"text": ["t"] * len(labels), "label": labels}).write_parquet(path)

    raw, rejected = read_corpus(path)

    assert raw["label"].to_list() == labels
    assert rejected.is_empty()


def test_read_corpus_decodes_binary_columns(tmp_path):
    path = tmp_path / "c.parquet"
    pl.DataFrame({"text": [b"caf\xc3\xa9", b"caf\xe9"], "label": ["a", "a"]}).write_parquet(path)

    raw, rejected = read_corpus(path)

    assert raw["text"].to_list() == ["café"]
    assert reasons(rejected) == {1: "text is not UTF-8"}


def test_read_corpus_refuses_later_document_ids(tmp_path):
    path = write(tmp_path, "c.csv", b"id,text,label\nx,one,a\nx,two,a\n,three,a\n")

    raw, rejected = read_corpus(path, document_id="id")

    assert raw.rows() == [("x", "one", "a")]
    assert reasons(rejected) == {1: "duplicate document id: 'x'", 2: "blank document id"}
    assert rejected["document_id"].to_list() == ["x", "2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"needs one column 'label'; .* has none among \['text', 'class', 'class'\]"),
        ({"text": "body"}, "needs one column 'body'"),
        ({"label": "class"}, "needs one column 'class'; .* has 2"),
        ({"label": "text", "document_id": "id"}, "needs one column 'id'"),
    ],
)
def test_read_corpus_names_the_columns_there_are(tmp_path, options, message):
    path = write(tmp_path, "c.csv", b"text,class,class\none,a,b\n")

    with pytest.raises(ValueError, match=message):
        read_corpus(path, **options)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("c.csv", b"", "no row of .* can be used: 0 rows"),
        ("c.csv", b"text,label\n", "0 rows"),
        ("c.jsonl", b"{}\n[]\n", "2 rows, 1 line is no JSON object, 1 null text"),
        ("c.csv", b"text,label\n,a\n ,b\nc,\n", "3 rows, 2 blank text, 1 blank label"),
    ],
)
def test_read_corpus_refuses_an_empty_corpus(tmp_path, name, data, message):
    with pytest.raises(ValueError, match=message):
        read_corpus(write(tmp_path, name, data))


def test_read_corpus_refuses_unknown_sources(tmp_path):
    pickled = write(tmp_path, "corpus.csv", pickle.dumps({"text": ["é" * 9]}))
    with pytest.raises(ValueError, match=r"corpus\.csv is neither text nor Parquet"):
        read_corpus(pickled)
    with pytest.raises(FileNotFoundError, match="is not a file"):
        read_corpus(tmp_path / "absent.csv")


def test_read_corpus_reads_addresses_through_open_bytes():
    stored = {"s3://bucket/c.csv": b"text,label\none,a\n"}

    raw, _ = read_corpus(
        "s3://bucket/c.csv", open_bytes=lambda address: io.BytesIO(stored[address])
    )

    assert raw.rows() == [("0", "one", "a")]
    with pytest.raises(ValueError, match="needs open_bytes"):
        read_corpus("s3://bucket/c.csv")


POST = """From: someone@example.org
Subject: Re: sprockets

Another writes:
> Which sprocket fits?
The wide one fits, and here is why I think so.

It has two more teeth than the others.

--
Someone, sprocket club
"""


def test_strip_newsgroup_leaves_the_writer_s_own_words():
    expected = (
        "The wide one fits, and here is why I think so.\n\nIt has two more teeth than the others."
    )

    assert strip_newsgroup(POST).strip() == expected
    assert strip_newsgroup(POST.replace("\n", "\r\n")).strip() == expected


def test_read_corpus_strips_newsgroup_posts(tmp_path):
    rows = [{"text": POST, "label": "a"}, {"text": "From: x\n\n> quoted only", "label": "a"}]
    path = tmp_path / "c.parquet"
    pl.DataFrame(rows).write_parquet(path)

    raw, rejected = read_corpus(path, newsgroups=True)

    assert raw["text"].to_list() == [strip_newsgroup(POST)]
    assert reasons(rejected) == {1: "blank text"}


def test_read_corpus_reads_20newsgroups_from_the_cache(tmp_path, monkeypatch):
    import numpy as np
    from sklearn.utils import Bunch

    parts = {
        part: Bunch(
            data=[POST],
            target=np.array([0]),
            target_names=["rec.sprockets"],
            filenames=np.array([f"/elsewhere/20news-bydate-{part}/rec.sprockets/1"]),
        )
        for part in ("train", "test")
    }
    cache = zlib.compress(pickle.dumps(parts))  # the format is scikit-learn's
    (tmp_path / "20news-bydate_py3.pkz").write_bytes(cache)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))

    raw, _ = read_corpus("20newsgroups")
    test, _ = read_corpus("20newsgroups:test")

    assert raw["document_id"].to_list() == [
        "20news-bydate-train/rec.sprockets/1",
        "20news-bydate-test/rec.sprockets/1",
    ]
    assert test["document_id"].to_list() == ["20news-bydate-test/rec.sprockets/1"]
    assert set(raw["label"]) == {"rec.sprockets"}
    assert raw["text"][0].startswith("The wide one fits")
    with pytest.raises(ValueError, match="not 'dev'"):
        read_corpus("20newsgroups:dev")


def test_read_corpus_says_that_20newsgroups_cannot_be_had(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.setattr("sklearn.datasets._base.urlretrieve", no_network)
    monkeypatch.setattr("sklearn.datasets._base.time.sleep", lambda seconds: None)

    with (
        pytest.warns(UserWarning, match="Retry downloading"),
        pytest.raises(OSError, match=r"not in scikit-learn's cache .* give a file"),
    ):
        read_corpus("20newsgroups")


class FakeDataset:
    column_names = ("text", "label")

    def __init__(self):
        self.features = {
            "text": object(),
            "label": types.SimpleNamespace(names=["bad", "good"]),
        }

    def __iter__(self):
        return iter(
            [{"text": "one", "label": 1}, {"text": "two", "label": 0}, {"text": "x", "label": -1}]
        )


def test_read_corpus_reads_huggingface_datasets(monkeypatch):
    calls = []

    def load_dataset(path, *, split, revision):
        calls.append((path, split, revision))
        return FakeDataset()

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)

    raw, rejected = read_corpus("hf:owner/reviews:test")
    read_corpus("hf:owner/reviews")
    read_corpus("hf:owner/reviews@0123456:test")

    assert calls == [
        ("owner/reviews", "test", None),
        ("owner/reviews", "train", None),
        ("owner/reviews", "test", "0123456"),
    ]
    assert raw.rows() == [("0", "one", "good"), ("1", "two", "bad")]
    assert reasons(rejected) == {2: "null label"}


def test_read_corpus_names_the_labels_of_huggingface_lists(monkeypatch):
    dataset = FakeDataset()
    of_items = types.SimpleNamespace(feature=dataset.features["label"])
    module = types.ModuleType("datasets")
    rows = [{"text": "one", "label": [1, 0]}, {"text": "two", "label": []}]
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(FakeDataset, "__iter__", lambda self: iter(rows))
    dataset.features["label"] = of_items
    module.load_dataset = lambda *path, **options: dataset

    raw, rejected = read_corpus("hf:owner/emotions", explode=";")

    assert raw.rows() == [("0", "one", "good"), ("0", "one", "bad")]
    assert reasons(rejected) == {1: "blank label"}


def test_read_corpus_names_the_extra_for_huggingface(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)

    with pytest.raises(ModuleNotFoundError, match=r"smotext\[huggingface\]"):
        read_corpus("hf:owner/reviews")
