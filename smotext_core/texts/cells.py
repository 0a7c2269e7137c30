"""What stands in a cell: a text, an id, one label or several; and why it is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from smotext_core.texts.records import CONTROL

MOST_LABELS = 100  # of one text: more are no labels, and each is a row with the whole text
_LONGEST_LIST = 2**16  # characters; nobody's labels of one text
# ['a', "b"], as Python prints a list, and pandas a column of lists
_ITEM = r"""\s*+(?:'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")\s*+"""
_PRINTED = re.compile(rf"\[{_ITEM}(?:,{_ITEM})*+,?+\s*+\]", re.DOTALL)


def clean(value: object, what: str) -> tuple[str | None, str | None]:
    """`value` as a string without control characters, and why it is refused, or None.

    Args:
        what: the cell is: "text", "label" or "document id". Blanks around a text stay.
    """
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
        return shown.translate(CONTROL), f"{what} is not UTF-8"
    string = string.translate(CONTROL)
    if what != "text":
        string = string.strip()
    return string, None if string.strip() else f"blank {what}"


def labels_of(value: object, *, separator: str | None) -> tuple[list[str], str | None, str | None]:
    """The labels of a cell, each once and in its order; else what it shows, and why it is refused.

    Several are a list, a string that is one as JSON or Python print it, or, with a separator, the
    parts of a string between it. Nulls and blanks among several count for nothing.

    Args:
        separator: one character; None: a cell of a list is refused.
    """
    listed = _listed(value)
    if listed is None:
        whole, fault = clean(value, "label")
        if separator is None or fault or whole is None or separator not in whole:
            return [] if fault or whole is None else [whole], whole, fault
        listed = whole.split(separator)
    elif separator is None:
        return [], clean(str(value), "label")[0], "label is a list: --explode makes a row of each"
    found: dict[str, None] = {}
    for item in listed:
        label, fault = clean(item, "label")
        if fault and fault.partition(" ")[0] not in ("null", "blank"):
            return [], label, fault
        if not fault and label is not None:
            found[label] = None
    shown = clean(str(value), "label")[0]
    if not found:
        return [], shown, "blank label"
    if len(found) > MOST_LABELS:
        return [], shown, f"too many labels: {len(found)}, more than {MOST_LABELS}"
    return list(found), shown, None


def _listed(value: object) -> Sequence[object] | None:
    """The items of a list, or of a string that is one; None where it is neither."""
    if isinstance(value, list):
        return value
    if not isinstance(value, str) or len(value) > _LONGEST_LIST:
        return None
    string = value.strip()
    if not (string.startswith("[") and string.endswith("]")):
        return None
    try:
        found = json.loads(string)
    except (ValueError, RecursionError):
        if _PRINTED.fullmatch(string) is None:
            return None
        items = (item.strip()[1:-1] for item in re.findall(_ITEM, string[1:-1]))
        return [re.sub(r"\\(.)", r"\1", item, flags=re.DOTALL) for item in items]
    return found if isinstance(found, list) else None
