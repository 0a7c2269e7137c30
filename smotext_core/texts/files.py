"""A file of rows opened by its bytes: what packs it, what format it has. Its name tells nothing.

Rows stream: what is held at a time is a row, or a row group of Parquet, and no field longer than
the caller says. A spreadsheet alone is held whole.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any, TextIO, cast

from smotext_core.texts.delimited import delimited_rows
from smotext_core.texts.encodings import UNDECODABLE, find_encoding, known_encoding
from smotext_core.texts.json_rows import array_rows, line_rows
from smotext_core.texts.records import Record, Rows, longest_row

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
}
_MOST_PACKED = 3  # a file packed more often is made to harm
_PARQUET, _ZIP, _OLD_SHEET = b"PAR1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_SHEET_BYTES = 2**30  # unpacked: what a spreadsheet may be, for it is held whole
_ARRAY = re.compile(r"\s*\[\s*[{\]]")
_OBJECT = re.compile(r"\s*\{\s*[\"}]")
_LINES = (".jsonl", ".ndjson", ".json")  # hints where the first line is neither object nor array
_PARQUET_ROWS = 1024
_HEAD = 2**10


def open_rows(
    name: str,
    reopen: Callable[[], IO[bytes]],
    *,
    longest: int,
    wanted: Sequence[str] = (),
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Rows:
    """The rows of a file, which is opened once or twice.

    Args:
        name: of the file, for errors.
        reopen: a new stream of its bytes from the start.
        longest: characters of the longest field that is held.
        wanted: columns that are looked for: they tell the delimiter, and of Parquet no other
            columns are read.
        delimiter: between the fields of a CSV file; None to find it.
        encoding: of a file of text; None to find it.

    Raises:
        ValueError: bytes that cannot be read as rows, or are cut off; the name is in the message.
    """
    with ExitStack() as stack, explained(name):

        def opened() -> tuple[IO[bytes], list[str]]:
            return _unpacked(stack.enter_context(reopen()), name, stack)

        rows = _rows(
            name,
            opened,
            longest=longest,
            wanted=wanted,
            delimiter=delimiter,
            encoding=known_encoding(encoding) if encoding else None,
        )
        return Rows(rows.read_as, rows.columns, _explained_rows(rows, name, stack.pop_all()))


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Say which file is at fault, and what to do: what the libraries raise does not."""
    import pyarrow as pa

    cut = "it was cut off or damaged on its way here: copy or export it again"
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise ValueError(f"{name} cannot be unpacked ({error}): {cut}") from error
    except pa.ArrowException as error:
        raise ValueError(f"{name} is no whole Parquet file ({_line(error)}): {cut}") from error
    except OSError as error:
        if error.errno is not None:  # of the system, which names the file
            raise
        raise ValueError(f"{name} cannot be read ({_line(error)}): {cut}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _explained_rows(rows: Rows, name: str, stack: ExitStack) -> Iterator[Record]:
    with stack, explained(name):
        yield from rows.records


def _rows(
    name: str,
    opened: Callable[[], tuple[IO[bytes], list[str]]],
    *,
    longest: int,
    wanted: Sequence[str],
    delimiter: str | None,
    encoding: str | None,
) -> Rows:
    file, packed = opened()
    by = "".join(f", unpacked by {kind}" for kind in packed)
    head = _peek(file, _HEAD)
    if head.startswith((_PARQUET, _ZIP, _OLD_SHEET)):
        whole = _copy(file) if packed else file
        if head.startswith(_PARQUET):
            return _parquet(name, whole, wanted, longest, f"Parquet{by}")
        return _spreadsheet(name, whole)
    found = encoding or find_encoding(file, name)

    def text(encoding: str) -> TextIO:
        stream = cast(Any, opened()[0])
        return io.TextIOWrapper(stream, encoding=encoding, errors=UNDECODABLE, newline="")

    begins = head.decode(found, UNDECODABLE).removeprefix("\ufeff")
    if _ARRAY.match(begins):
        return array_rows(text(found), longest=longest, read_as=f"a JSON array, {found}{by}")
    unpacked = re.sub(r"\.(gz|bz2|zst|xz)$", "", name.lower())
    if _OBJECT.match(begins) or unpacked.endswith(_LINES):
        if encoding is None and not found.startswith("utf"):
            found = "utf-8"  # by JSON's standard: what is not is refused, line by line
        return line_rows(text(found), longest=longest, read_as=f"JSON lines, {found}{by}")
    return delimited_rows(
        text(found), longest=longest, wanted=wanted, delimiter=delimiter, told=f"{found}{by}"
    )


def _peek(file: IO[bytes], size: int) -> bytes:
    return cast(io.BufferedReader, file).peek(size)[:size]


def _unpacked(file: IO[bytes], name: str, stack: ExitStack) -> tuple[IO[bytes], list[str]]:
    """The stream below what packs it, and the names of that, the outermost first."""
    packed: list[str] = []
    stream: Any = io.BufferedReader(cast(Any, file))
    while kind := next(
        (kind for magic, kind in _PACKED.items() if _peek(stream, 8).startswith(magic)), None
    ):
        if len(packed) == _MOST_PACKED:
            raise ValueError(f"{name} is packed more than {_MOST_PACKED} times: unpack it first")
        packed.append(kind)
        stream = io.BufferedReader(stack.enter_context(_unpacker(kind, stream)))
    return stream, packed


def _unpacker(kind: str, stream: Any) -> Any:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=stream, mode="rb")
    if kind == "bzip2":
        return bz2.BZ2File(stream)
    if kind == "xz":
        return lzma.LZMAFile(stream)
    import pyarrow as pa

    return pa.CompressedInputStream(stream, "zstd")


def _copy(file: IO[bytes]) -> IO[bytes]:
    """A nameless copy on disk: Parquet and spreadsheets are read from their end."""
    copy = cast(IO[bytes], tempfile.TemporaryFile())  # noqa: SIM115  # lives as long as its rows
    copyfileobj(file, copy, 2**20)
    copy.seek(0)
    return copy


def _parquet(name: str, file: IO[bytes], wanted: Sequence[str], longest: int, read_as: str) -> Rows:
    import pyarrow.parquet as pq

    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 4))
    if size < 2 * len(_PARQUET) or file.read(4) != _PARQUET:
        raise ValueError(
            f"{name} is a Parquet file without its end: it was cut off on its way here, or its "
            "writer is not done; copy or export it again"
        )
    file.seek(0)
    table = pq.ParquetFile(file)
    columns = list(table.schema_arrow.names)
    return Rows(read_as, columns, _parquet_records(table, columns, wanted, longest))


def _parquet_records(
    table: Any, columns: Sequence[str], wanted: Sequence[str], longest: int
) -> Iterator[Record]:
    from smotext_core.texts.headers import same_name

    names = {same_name(name) for name in wanted}
    read = [name for name in columns if not names or same_name(name) in names]
    # of a repeated name no values are looked at: it is refused
    read = [name for name in read if columns.count(name) == 1]
    for batch in table.iter_batches(_PARQUET_ROWS, columns=read, use_threads=False):
        yield from ({**row} for row in _cut(batch, longest).to_pylist())


def _cut(batch: Any, longest: int) -> Any:
    """The batch with no string longer than one character above what a row may have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    limit = longest_row(longest)
    for at, field in enumerate(batch.schema):
        is_string = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        if not is_string and not pa.types.is_binary(field.type):
            continue
        most = pc.max(pc.binary_length(batch.column(at))).as_py()
        if most is not None and most > limit:
            cut = pc.utf8_slice_codeunits if is_string else pc.binary_slice
            batch = batch.set_column(at, field, cut(batch.column(at), 0, limit + 1))
    return batch


def _spreadsheet(name: str, file: IO[bytes]) -> Rows:
    import fastexcel

    if zipfile.is_zipfile(file):
        file.seek(0)
        with zipfile.ZipFile(cast(Any, file)) as archive:
            inside, size = archive.namelist(), sum(item.file_size for item in archive.infolist())
        if not {"xl/workbook.xml", "xl/workbook.bin", "content.xml"} & set(inside):
            raise ValueError(
                f"{name} is a zip archive of {len(inside)} files: unpack it and give the file, or "
                "the folder"
            )
        if size > _SHEET_BYTES:
            raise ValueError(
                f"{name} is a spreadsheet of {size:,} bytes unpacked, more than {_SHEET_BYTES:,}: "
                "save it as CSV"
            )
    file.seek(0)
    try:
        book = fastexcel.read_excel(file.read())
        sheets = [book.load_sheet(sheet, dtypes="string") for sheet in book.sheet_names]
        full = [sheet for sheet in sheets if sheet.width and sheet.height]
        frame = full[0].to_polars() if full else None
    except fastexcel.FastExcelError as error:
        raise ValueError(
            f"{name} is a spreadsheet that cannot be read ({_line(error)}): save it again, or as "
            "CSV"
        ) from error
    if frame is None:
        return Rows("an empty spreadsheet", [], iter(()))
    others = f", the first of {len(full)} with rows" if len(full) > 1 else ""
    read_as = f"a spreadsheet, its sheet {full[0].name!r}{others}"
    return Rows(read_as, frame.columns, iter(frame.iter_rows(named=True)))


def local_file(source: str) -> Callable[[], IO[bytes]]:
    """What opens a local file.

    Raises:
        FileNotFoundError: there is none.
    """
    if not Path(source).is_file():
        raise FileNotFoundError(
            f"the corpus {source} is not a file; a corpus is a file of CSV, JSON, JSON lines, "
            "Parquet or a spreadsheet, help_desk, help_desk:unlabelled, clinic_notes, 20newsgroups "
            "or hf:NAME"
        )
    return lambda: open(source, "rb")


def copied(stream: IO[bytes]) -> Callable[[], IO[bytes]]:
    """What opens a nameless copy on disk of a stream that can be read but once.

    One that lies on disk itself is its own copy; it may be closed.
    """
    on_disk = isinstance(stream, io.BufferedRandom)
    copy = open(os.dup(stream.fileno()), "rb") if on_disk else _copy(stream)  # noqa: SIM115

    def reopen() -> IO[bytes]:
        copy.seek(0)
        return open(os.dup(copy.fileno()), "rb")

    return reopen
