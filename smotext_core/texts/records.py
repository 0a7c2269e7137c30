"""A row as it is read, before anybody has looked at what is in it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CONTROL = {
    code: None
    for code in range(0xA0)
    if unicodedata.category(chr(code)) == "Cc" and chr(code) not in "\t\n\r"
}
_SHOWN = 1_000  # characters of a line that could not be read

# Its values by column, or (what could be read of it, why it is refused).
Record = Mapping[str, Any] | tuple[str, str]


@dataclass(frozen=True)
class Rows:
    """The rows of one file."""

    read_as: str  # format, delimiter, encoding: for people
    columns: list[str]  # as the file names them; of JSON those of the first rows
    records: Iterator[Record]


def shown(line: str) -> str:
    """What a refused line's reader sees of it: no control characters, no lone surrogates."""
    return re.sub("[\ud800-\udfff]", "\ufffd", line[:_SHOWN]).translate(CONTROL)


def longest_row(longest: int) -> int:
    """Characters of a row that are held, where a field may have `longest`: some fields of them."""
    return 4 * longest + 2**16
