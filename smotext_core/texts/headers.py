"""Which column is meant: blanks and case do not matter; else the likeliest ones are proposed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = 24  # characters of a column's name: without a header the first text would stand there
# What people call them, folded, the likelier first.
_USUAL = {
    "text": "text texts body content message description note notes comment review sentence "
    "utterance question query document post tweet abstract transcription inhalt beschreibung "
    "nachricht texte contenu texto mensaje testo tekst",
    "label": "label labels category class target intent topic tag tags sentiment specialty type "
    "queue kategorie klasse categorie catégorie etiquette étiquette categoria categoría etiqueta "
    "rating stars score",
    "id": "id key uid guid number nummer document_id ticket_id",
}


def same_name(name: str) -> str:
    """What two names of a column have in common where they differ in blanks and case alone."""
    return " ".join(name.replace("\ufeff", "").split()).casefold()


def find_column(
    columns: Sequence[str],
    wanted: str,
    *,
    source: str,
    sample: Sequence[Mapping[str, Any]] = (),
    asked: Mapping[str, str] | None = None,
) -> str:
    """The name in `columns` of the wanted column.

    Args:
        sample: rows, by whose values columns are proposed where no name tells.
        asked: every option and the column it names, for the proposal.

    Raises:
        ValueError: there is none or more than one; the message proposes the likeliest columns, as
            a command.
    """
    count = columns.count(wanted)
    if count == 1:
        return wanted
    alike = [name for name in columns if same_name(name) == same_name(wanted)]
    if not count and len(alike) == 1:
        return alike[0]
    told = [name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…" for name in columns]
    raise ValueError(
        f"the corpus needs one column {wanted!r}; {source} has {count or len(alike) or 'none'} "
        f"among {told}; {_proposal(columns, source, sample, asked or {})}"
    )


def _proposal(
    columns: Sequence[str],
    source: str,
    sample: Sequence[Mapping[str, Any]],
    asked: Mapping[str, str],
) -> str:
    once = [name for name in columns if name.strip() and columns.count(name) == 1]
    options, taken = [], set()
    for option, wanted in asked.items():
        there = [name for name in once if same_name(name) == same_name(wanted)]
        if len(there) == 1:
            taken.add(there[0])
            if wanted != option:
                options.append((option, there[0]))
    for option, wanted in asked.items():
        if any(same_name(name) == same_name(wanted) for name in once):
            continue
        free = [name for name in once if name not in taken]
        likely = _usual(free, option) or _by_values(free, option, sample)
        if likely is None:
            return "name the columns with --text, --label and --id; the first line is the header"
        taken.add(likely)
        options.append((option, likely))
    told = " ".join(f"--{option} {shlex.quote(name)}" for option, name in options)
    return f"the likeliest are: smotext run {shlex.quote(source)} {told}"


def _usual(columns: Sequence[str], option: str) -> str | None:
    names = _USUAL[option].split()
    for whole in (True, False):
        for usual in names:
            for name in columns:
                words = re.findall(r"[^\W_]+", same_name(name))
                if same_name(name) == usual if whole else usual in words:
                    return name
    return None


def _by_values(
    columns: Sequence[str], option: str, sample: Sequence[Mapping[str, Any]]
) -> str | None:
    """The longest strings are texts; what comes most often again is a label."""
    values = {
        name: [str(row[name]) for row in sample if row.get(name) is not None] for name in columns
    }
    values = {name: found for name, found in values.items() if found}
    if option == "text":
        lengths = {name: sum(map(len, found)) / len(found) for name, found in values.items()}
        return max(lengths, key=lengths.__getitem__, default=None)
    if option == "label":
        distinct = {name: len(set(found)) / len(found) for name, found in values.items()}
        repeated = {
            name: share
            for name, share in distinct.items()
            if share < 0.8 and len(set(values[name])) > 1
        }
        return min(repeated, key=repeated.__getitem__, default=None)
    return None
