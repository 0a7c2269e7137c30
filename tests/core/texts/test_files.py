"""Files as people bring them: the bytes tell what they are."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from smotext_core.texts.corpora import read_corpus

ROWS = [("Der Drucker läuft nicht.", "printer"), ("Größe; bitte, prüfen | neu", "login")]
EXPECTED = [("0", *ROWS[0]), ("1", *ROWS[1])]


def csv_of(delimiter: str = ",", *, encoding: str = "utf-8", header: str = "text,label") -> bytes:
    lines = [f'"{text}"{delimiter}{label}' for text, label in ROWS]
    return "\r\n".join([header.replace(",", delimiter), *lines, ""]).encode(encoding)


def zstd(data: bytes) -> bytes:
    found: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return found


def read(tmp_path: Path, name: str, data: bytes, **options: Any) -> tuple[list[Any], str]:
    """The accepted rows of a file whose every row is good, and what was told of it."""
    path = tmp_path / name
    path.write_bytes(data)
    told: list[str] = []
    raw, rejected = read_corpus(path, tell=told.append, **options)
    assert rejected.is_empty(), rejected
    (line,) = told
    return raw.rows(), line.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("delimiter", "told"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")]
)
@pytest.mark.parametrize("name", ["c.csv", "c.tsv", "c.txt", "export"])
def test_read_corpus_finds_the_delimiter(
    tmp_path: Path, delimiter: str, told: str, name: str
) -> None:
    rows, line = read(tmp_path, name, csv_of(delimiter))

    assert rows == EXPECTED
    assert line == f"CSV with {told}, utf-8; text in 'text', label in 'label'"


def test_read_corpus_takes_the_delimiter_it_is_told(tmp_path: Path) -> None:
    data = b"text~label,x\none, two~a\n"

    assert read(tmp_path, "c.csv", data, delimiter="~", label="label,x")[0] == [
        ("0", "one, two", "a")
    ]
    assert read(tmp_path, "d.csv", b"sep=~\ntext~label\none~a\n")[0] == [("0", "one", "a")]
    assert read(tmp_path, "e.csv", csv_of("\t"), delimiter="tab")[0] == EXPECTED
    with pytest.raises(ValueError, match="one character, or tab; got ', '"):
        read(tmp_path, "f.csv", data, delimiter=", ")


def test_read_corpus_reads_tabs_whose_quotes_are_text(tmp_path: Path) -> None:
    data = b'label\ttext\nham\t"Oh no, he said\nham\tfine\nspam\t"Win" a prize\n'

    rows, _ = read(tmp_path, "c.tsv", data)

    assert [text for _, text, _ in rows] == ['"Oh no, he said', "fine", '"Win" a prize']


JSON = [{"text": text, "label": label, "more": [{"a": "]},\\"}]} for text, label in ROWS]


@pytest.mark.parametrize("name", ["c.json", "c.jsonl", "c.csv"])
@pytest.mark.parametrize("indent", [None, 2])
def test_read_corpus_reads_a_json_array(tmp_path: Path, name: str, indent: int | None) -> None:
    rows, line = read(tmp_path, name, json.dumps(JSON, indent=indent).encode())

    assert rows == EXPECTED
    assert line.startswith("a JSON array, utf-8; ")


def test_read_corpus_refuses_faulty_elements_of_a_json_array_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('[{"text": "one", "label": "a"}, {"text": tw, "label": "a"}, 3, [1, {}],\n'
                    '{"text": "\\"two\\" [,", "label": "b"}, {"text": "cut')  # fmt: skip

    raw, rejected = read_corpus(path)

    assert raw["text"].to_list() == ["one", '"two" [,']
    assert rejected["row"].to_list() == [1, 2, 3, 5]
    reasons = rejected["reason"].to_list()
    assert reasons[0].startswith("malformed JSON: ")
    assert reasons[1:3] == [f"element is no JSON object: {kind}" for kind in ("int", "list")]
    assert reasons[3].startswith("malformed JSON: ")


def test_read_corpus_reads_json_across_its_chunks(tmp_path: Path) -> None:
    long = [{"text": ('x\\"é' * 13 + "[") * 700 + str(n), "label": "a"} for n in range(40)]

    rows, _ = read(tmp_path, "c.json", json.dumps(long).encode())

    assert [text for _, text, _ in rows] == [row["text"] for row in long]


@pytest.mark.parametrize("packer", [gzip.compress, bz2.compress, lzma.compress, zstd])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "xlsx"])
def test_read_corpus_unpacks_whatever_the_name(tmp_path: Path, packer: Any, kind: str) -> None:
    plain = tmp_path / "plain"
    frame = pl.DataFrame(ROWS, schema=["text", "label"], orient="row")
    if kind == "xlsx":
        write_xlsx(plain, [["text", "label"], *map(list, ROWS)])
    else:
        write = {"csv": "write_csv", "jsonl": "write_ndjson", "parquet": "write_parquet"}[kind]
        getattr(frame, write)(plain)
    packed = packer(plain.read_bytes())

    assert read(tmp_path, "c.csv", packed)[0] == EXPECTED
    assert read(tmp_path, "d.csv", packer(packed))[0] == EXPECTED
    with pytest.raises(ValueError, match=r"e\.csv cannot be .*: copy or export it again"):
        read(tmp_path, "e.csv", packed[:-9])


def test_read_corpus_refuses_what_is_packed_again_and_again(tmp_path: Path) -> None:
    data = csv_of()
    for _ in range(4):
        data = gzip.compress(data)

    with pytest.raises(ValueError, match="packed more than 3 times"):
        read(tmp_path, "c.csv", data)


def write_xlsx(path: Path, cells: list[list[Any]]) -> None:
    """A spreadsheet as small as one can be, its strings inline."""
    rows = ""
    for row in cells:
        values = (
            f"<c><v>{cell}</v></c>"
            if isinstance(cell, int | float)
            else f'<c t="inlineStr"><is><t>{cell}</t></is></c>'
            for cell in row
        )
        rows += f"<row>{''.join(values)}</row>"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
            f'ContentType="{kind}-package.relationships+xml"/><Override PartName="/xl/workbook.xml"'
            f' ContentType="{kind}-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
            f'Type="{relation}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{relation}"><sheets>'
            '<sheet name="Tickets" sheetId="1" r:id="rId1"/></sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
            f'Type="{relation}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
        )


def test_read_corpus_reads_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    write_xlsx(path, [[" Text ", "Label"], ["one", 1], ["two", 2.5], ["", 3], ["four", "x"]])
    told: list[str] = []

    raw, rejected = read_corpus(path, tell=told.append)

    assert raw.rows() == [("0", "one", "1"), ("1", "two", "2.5"), ("3", "four", "x")]
    assert rejected["reason"].to_list() in (["null text"], ["blank text"])
    assert "a spreadsheet, its sheet 'Tickets'; " in told[0]


def test_read_corpus_says_what_to_do_with_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("a.csv", csv_of())

    with pytest.raises(ValueError, match=r"c\.zip is a zip archive of 1 files: unpack it"):
        read_corpus(tmp_path / "c.zip")
    (tmp_path / "d.xlsx").write_bytes((tmp_path / "c.zip").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"d\.xlsx is a spreadsheet that cannot be read"):
        read_corpus(tmp_path / "d.xlsx")


def test_read_corpus_names_a_truncated_parquet_and_what_to_do(tmp_path: Path) -> None:
    pl.DataFrame(ROWS, schema=["text", "label"], orient="row").write_parquet(tmp_path / "c")
    whole = (tmp_path / "c").read_bytes()

    for data in (whole[:-1], whole[: len(whole) // 2], whole[:4]):
        with pytest.raises(ValueError, match=r"c\.parquet is a Parquet file without its end.*copy"):
            read(tmp_path, "c.parquet", data)
    for data in (b"PAR1PAR1", whole[:60] + b"PAR1", whole[:4] + bytes(50) + whole[54:]):
        with pytest.raises(ValueError, match=r"c\.parquet .*: copy or export it again"):
            read(tmp_path, "c.parquet", data)


@pytest.mark.parametrize("inner", ["a word, another\n", "no comma\n", 'it said ""so"", twice\n'])
def test_a_field_that_is_too_long_is_one_row_whatever_its_lines_hold(
    tmp_path: Path, inner: str
) -> None:
    path = tmp_path / "c.csv"
    field = inner * 9000  # far more than is held of a row
    path.write_text(f'text,label\nfirst,a\n"{field}",a\nlast,b\n"quoted, too",b\n')
    raw, rejected = read_corpus(path, max_characters=10)
    assert raw["text"].to_list() == ["first", "last"]
    assert rejected["row"].to_list() == [1, 3]
    assert rejected["reason"][0].startswith("text too long: a field of more than")
    assert rejected["reason"][1].startswith("text too long: 11 characters")


@pytest.mark.parametrize("later", ["", '"quoted, too",b\n'])
def test_a_stray_quote_costs_its_own_row_alone_however_many_follow(
    tmp_path: Path, later: str
) -> None:
    path = tmp_path / "c.csv"
    rows = "".join(f"text {n},a\n" for n in range(30_000))
    path.write_text(f'text,label\n"stray,a\n{rows}{later}last,b\n')
    raw, rejected = read_corpus(path, max_characters=1000)
    expected = [f"text {n}" for n in range(30_000)] + ["quoted, too"] * bool(later) + ["last"]
    assert raw["text"].to_list() == expected
    assert rejected["row"].to_list() == [0]
