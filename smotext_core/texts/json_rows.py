"""Rows of JSON: an object a line, or an array of objects. They stream; a faulty one fails alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, TextIO

from smotext_core.texts.records import Record, Rows, longest_row, shown

_PEEKED = 1_000  # rows whose keys are the columns
_CHUNK = 2**18
_MARK = re.compile(r'["\\\[\]{},]')
_SURROGATE = re.compile("[\ud800-\udfff]")


def line_rows(text: TextIO, *, longest: int, read_as: str) -> Rows:
    """An object a line; blank lines are no rows."""
    return _rows(_lines(text, longest_row(longest)), read_as)


def array_rows(text: TextIO, *, longest: int, read_as: str) -> Rows:
    """The elements of one array."""
    return _rows(_elements(text, longest_row(longest)), read_as)


def _rows(records: Iterator[Record], read_as: str) -> Rows:
    first = list(islice(records, _PEEKED))
    columns: dict[str, None] = {}
    for record in first:
        if not isinstance(record, tuple):
            columns.update(dict.fromkeys(record))
    return Rows(read_as, list(columns), chain(first, records))


def _parsed(string: str, what: str) -> Record:
    if _SURROGATE.search(string):
        return shown(string), f"{what} is not UTF-8"
    try:
        value: Any = json.loads(string)
    except (ValueError, RecursionError) as error:
        return shown(string), f"malformed JSON: {error}"
    if isinstance(value, dict):
        return value
    return shown(string), f"{what} is no JSON object: {type(value).__name__}"


def _lines(text: TextIO, limit: int) -> Iterator[Record]:
    first = True
    while line := text.readline(limit):
        if first:
            line, first = line.removeprefix("\ufeff"), False
        if len(line) == limit and not line.endswith("\n"):
            start = line
            while line and not line.endswith("\n"):
                line = text.readline(_CHUNK)
            yield shown(start), f"text too long: a line of more than {limit} characters"
        elif line.strip():
            yield _parsed(line.removesuffix("\n"), "line")


def _elements(text: TextIO, limit: int) -> Iterator[Record]:
    """Cut at the commas of the array itself, so that a faulty element fails alone."""
    depth, in_string, escaped, too_long = 0, False, False, False
    held: list[str] = []
    size = 0

    def hold(part: str) -> None:
        nonlocal size, too_long
        size += len(part)
        if size <= limit:
            held.append(part)
        elif not too_long:
            too_long = True
            held[:] = ["".join(held)[:limit]]

    def element() -> Iterator[Record]:
        nonlocal size, too_long
        string, was_too_long = "".join(held), too_long
        held.clear()
        size, too_long = 0, False
        if was_too_long:
            yield shown(string), f"text too long: an element of more than {limit} characters"
        elif string.strip():
            yield _parsed(string.strip(), "element")

    while chunk := text.read(_CHUNK):
        at, skip = 0, int(escaped)  # what a backslash escapes is no mark
        for mark in _MARK.finditer(chunk):
            if mark.start() < skip:
                continue
            sign = mark.group()
            if in_string:
                if sign == "\\":
                    skip = mark.end() + 1
                in_string = sign != '"'
            elif sign == '"':
                in_string = True
            elif sign in "[{":
                depth += 1
                if depth == 1:
                    at = mark.end()
            elif (sign in "]}" and depth == 1) or (sign == "," and depth <= 1):
                hold(chunk[at : mark.start()])
                yield from element()
                at = mark.end()
                depth -= sign != ","
            elif sign in "]}":
                depth -= 1
        hold(chunk[at:])
        escaped = skip > len(chunk)
    yield from element()  # what follows the array, or its open end
