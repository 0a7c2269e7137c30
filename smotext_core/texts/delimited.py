"""Rows of CSV and its kin: what parts the fields is found from the first lines.

Rows stream; a faulty row fails alone, and a field that is too long is skipped, not held.
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TextIO

from smotext_core.texts.headers import same_name
from smotext_core.texts.records import Record, Rows, longest_row, shown

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SAMPLE = 2**18  # characters of the first lines, which tell the delimiter
_SAMPLE_ROWS = 200
_CHUNK = 2**18


def delimited_rows(
    text: TextIO,
    *,
    longest: int,
    wanted: Sequence[str] = (),
    delimiter: str | None = None,
    told: str = "",
) -> Rows:
    """The rows under a header, as RFC 4180 has them; blank lines between rows are no rows.

    Args:
        longest: characters of the longest field that is held.
        wanted: columns that are looked for; of two possible delimiters that one is meant which
            has them in the header.
        delimiter: one character, or "tab"; None to find it.
        told: of the file, beside the delimiter.

    Raises:
        ValueError: another delimiter, or a header that cannot be read.
    """
    lines = _Lines(text, longest_row(longest))
    sample = lines.sample()
    if sample and (stated := _stated(sample[0])):
        lines.drop_first()
        sample = sample[1:]
        delimiter = delimiter or stated
    if delimiter is None:
        delimiter = _find(sample, wanted)
    delimiter = "\t" if delimiter in ("tab", "\\t") else delimiter
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ValueError(f"--delimiter takes one character, or tab; got {delimiter!r}")
    quoted = delimiter != "\t" or _quotes(sample)
    rows = _rows(lines, delimiter, quoted)
    header = next(rows, None)
    if isinstance(header, tuple):
        raise ValueError(f"the header of the CSV file cannot be read: {header[1]}")
    read_as = f"CSV with {_DELIMITERS.get(delimiter, repr(delimiter))}, {told}"
    if header is None:
        return Rows(read_as, [], iter(()))
    return Rows(read_as, header, _records(rows, header, delimiter))


def _records(
    rows: Iterator[list[str] | tuple[str, str]], header: list[str], delimiter: str
) -> Iterator[Record]:
    for row in rows:
        if isinstance(row, tuple):
            yield row
        elif len(row) != len(header):
            reason = f"malformed CSV: {len(row)} fields where the header has {len(header)}"
            yield shown(delimiter.join(row)), reason
        else:
            yield dict(zip(header, row, strict=True))


class _TooLongError(Exception):
    """A line that is not held; it has been read to its end."""


class _Lines:
    """The lines of a text, no longer than a limit, of which some can be given back."""

    def __init__(self, text: TextIO, limit: int) -> None:
        self.texts, self.limit = deque([text]), limit
        self.queue: deque[str] = deque()
        self.of_row: list[str] = []  # handed out since the last whole row

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._read(self.limit)
        if not line:
            raise StopIteration
        self.of_row.append(line)
        if len(line) >= self.limit and line[-1] not in "\r\n":
            self.skip(0, at_end=False)
            raise _TooLongError
        return line

    def sample(self) -> list[str]:
        """The first lines, which are handed out again."""
        size = 0
        while size < _SAMPLE and (line := self.texts[0].readline(self.limit)):
            self.queue.append(line if self.queue else line.removeprefix("\ufeff"))
            size += len(line)
        return list(self.queue)

    def drop_first(self) -> None:
        self.queue.popleft()

    def skip(self, quotes: int, *, at_end: bool = True) -> None:
        """Read to the end of a line at which no quote is open."""
        while quotes % 2 or not at_end:
            part = self._read(_CHUNK)
            if not part:
                return
            quotes += part.count('"')
            at_end = part[-1] in "\r\n"

    def quote_closes(self, delimiter: str) -> bool:
        """Whether the next quote that is not doubled stands where one ends a field.

        What is read to find it goes to disk, not into memory, and is handed out again.
        """
        ahead = tempfile.TemporaryFile(  # noqa: SIM115  # it is read on after this call
            "w+", encoding="utf-8", errors="surrogatepass", newline=""
        )
        closes: bool | None = None
        while part := self._read(_CHUNK):
            while part[-1] == '"' and (more := self._read(1)):
                part += more  # a doubled quote is not looked at by halves
            ahead.write(part)
            if closes is None:
                closes = _closes(part, delimiter)
            if closes is not None and part[-1] in "\r\n":
                break
        ahead.writelines(self.queue)  # what was given back comes before what follows in the file
        self.queue.clear()
        ahead.seek(0)
        self.texts.appendleft(ahead)
        return bool(closes)

    def _read(self, size: int) -> str:
        """A line, or the next `size` characters of it; of what was given back, a whole line."""
        if self.queue:
            return self.queue.popleft()
        while not (part := self.texts[0].readline(size)) and len(self.texts) > 1:
            self.texts.popleft().close()
        return part

    def give_back(self, lines: Sequence[str]) -> None:
        self.queue.extendleft(reversed(lines))


def _rows(lines: _Lines, delimiter: str, quoted: bool) -> Iterator[list[str] | tuple[str, str]]:
    """Each row, or the first line of a malformed one with its fault; reading goes on below it."""
    before = csv.field_size_limit(lines.limit)
    width = 0
    try:
        while True:
            reader = csv.reader(
                lines,
                delimiter=delimiter,
                strict=True,
                quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
            )
            lines.of_row.clear()
            try:
                for row in reader:
                    lines.of_row.clear()
                    if row:
                        width = width or len(row)
                        yield row
                return
            except _TooLongError:
                fault = f"text too long: a line of more than {lines.limit} characters"
                first, *others = lines.of_row
                if others and _are_rows(others[:-1], delimiter, width):
                    lines.give_back(others[:-1])
                yield shown(first), fault
            except csv.Error as error:
                fault = f"malformed CSV: {error}"
                first, *others = lines.of_row
                too_long = "limit" in str(error)
                if too_long and (
                    lines.quote_closes(delimiter) or not _are_rows(others, delimiter, width)
                ):
                    fault = f"text too long: a field of more than {lines.limit} characters"
                    lines.skip("".join(lines.of_row).count('"'))
                else:
                    lines.give_back(others)
                yield shown(first), fault
    finally:
        csv.field_size_limit(before)


def _are_rows(lines: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether lines after an open quote are rows themselves, so that the quote is a fault."""
    return 2 * sum(line.count(delimiter) == width - 1 for line in lines) > len(lines)


def _closes(part: str, delimiter: str) -> bool | None:
    """Of the first quote that is not doubled: whether a field ends with it; None: there is none."""
    for run in re.finditer('"+', part):
        if len(run[0]) % 2:
            return part[run.end() : run.end() + 1] in ("", delimiter, "\r", "\n")
    return None


def _stated(line: str) -> str | None:
    """The delimiter of `sep=;`, which spreadsheets write and read above the header."""
    told = line.rstrip("\r\n")
    return told[4] if len(told) == 5 and told.lower().startswith("sep=") else None


def _find(sample: Sequence[str], wanted: Sequence[str]) -> str:
    """The delimiter whose header has the wanted columns, and that parts the rows as the header."""
    names = {same_name(name) for name in wanted}

    def fit(delimiter: str) -> tuple[bool, float, int]:
        rows: list[list[str]] = []
        with suppress(csv.Error):  # the sample may end inside a quote
            for row in csv.reader(sample, delimiter=delimiter):
                rows += [row] if row else []
                if len(rows) > _SAMPLE_ROWS:
                    break
        if not rows or len(rows[0]) == 1:
            return False, 0.0, 1
        widths = Counter(map(len, rows[1:]))
        has = bool(names) and names <= set(map(same_name, rows[0]))
        width = len(rows[0])
        return has, widths[width] / max(1, len(rows) - 1), width

    return max(_DELIMITERS, key=fit)  # of equals the first


def _quotes(sample: Sequence[str]) -> bool:
    """Whether quotes are marks in a file of tabs; some are written without, and quote in texts."""
    widths = Counter(line.count("\t") for line in sample if line.strip())
    starts = [
        field
        for line in sample
        for field in line.rstrip("\r\n").split("\t")
        if field.startswith('"')
    ]
    closed = all(len(field) > 1 and field.endswith('"') for field in starts)
    return closed or len(widths) > 1
