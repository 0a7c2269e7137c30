"""Read labelled text and refuse, with a reason, the rows that cannot be used.

A refused row is a row of the rejected frame: nothing is dropped in silence. Text that came in is
kept as it came, but for control characters, which are removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import polars as pl

from smotext_core.schemas import RAW_CORPUS, REJECTED_CORPUS
from smotext_core.texts.cells import clean, labels_of
from smotext_core.texts.files import copied, local_file, open_rows
from smotext_core.texts.headers import find_column
from smotext_core.texts.held import Known
from smotext_core.texts.records import Record, Rows, longest_row

_EXAMPLES = {  # corpora that come with smotext, by name
    "help_desk": "help_desk/tickets.jsonl",
    "help_desk:unlabelled": "help_desk/unlabelled.jsonl",
    "clinic_notes": "clinic_notes/notes.jsonl",
}
_PEEKED = 200  # rows by whose values columns are proposed
_BLOCK_ROWS, _BLOCK_CHARACTERS = 50_000, 2**25  # that are held at a time


def read_corpus(source: str | Path, **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`source` as one RAW_CORPUS frame and one REJECTED_CORPUS frame; see `corpus_frames`."""
    accepted, rejected = zip(*corpus_frames(source, **options), strict=True)
    return pl.concat(accepted), pl.concat(rejected)


def corpus_frames(
    source: str | Path,
    *,
    text: str = "text",
    label: str | None = "label",
    document_id: str | None = None,
    newsgroups: bool = False,
    delimiter: str | None = None,
    encoding: str | None = None,
    explode: str | None = None,
    max_characters: int = 1_000_000,
    constants: Mapping[str, str | None] = {},
    open_bytes: Callable[[str], IO[bytes]] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Read `source` into RAW_CORPUS frames, each with the REJECTED_CORPUS frame of its rows.

    A block of rows at a time is held, and 16 bytes of each id. There is at least one; what is
    raised may come after some.

    Args:
        source: a file or address of CSV (with commas, semicolons, tabs or bars), JSON lines, a JSON
            array, Parquet or a spreadsheet, also packed by gzip, bzip2, zstd or xz: its bytes tell
            which, not its name; `help_desk`, `help_desk:unlabelled` or `clinic_notes`, which come
            with smotext; `20newsgroups`, also with `:train` or `:test`;
            `hf:NAME`, `hf:NAME:SPLIT` or `hf:NAME@COMMIT:SPLIT` for a Hugging Face dataset (SPLIT
            is train and COMMIT the newest if not given).
        text: the column of texts; blanks around its name and case do not matter.
        label: the column of labels; blanks around one are removed, other types become strings.
            None: texts alone are read, and the label of each is "".
        document_id: the column of ids, or None for the row's number from 0.
        newsgroups: strip headers, quotes and footers of posts, as `20newsgroups` always does.
        delimiter: between the fields of CSV; None to find it.
        encoding: of CSV or JSON; None to find it.
        explode: a cell of several labels, a list or parted by this character, becomes a row for
            each, of one document id; None: a list is refused, and no character parts labels.
        max_characters: a longer text is refused, and cut to this length in the rejected frame.
        constants: columns of one value that the file itself does not have, such as those that the
            folders of a partitioned data set name.
        open_bytes: opens an address with "://", such as s3://bucket/key, as a stream of bytes.
        tell: is called with one line on what the file was read as.

    Raises:
        ValueError: an unknown source, a missing column, an `explode` of several characters, an
            encoding in doubt, a file that is cut off, or no row that can be used.
        FileNotFoundError: the file does not exist.
        ModuleNotFoundError: a Hugging Face dataset without the package `datasets`.
        OSError: 20 Newsgroups is neither cached nor can be downloaded.
    """
    if explode is not None and (len(explode) != 1 or explode.isalnum()):
        raise ValueError(
            f"--explode takes the character between labels, such as ';' or ',', got {explode!r}: "
            "a corpus stands before it"
        )
    name = str(source)
    if name in _EXAMPLES or name.partition(":")[0] == "20newsgroups":
        document_id = document_id or "id"
    asked = {"text": text}
    asked |= {"label": label} if label is not None else {}
    asked |= {"id": document_id} if document_id else {}
    rows = _load(
        name,
        open_bytes,
        longest=max_characters,
        wanted=list(asked.values()),
        delimiter=delimiter,
        encoding=encoding,
    )
    if constants and rows.columns:
        rows = _with_constants(rows, constants)
    first = list(islice(rows.records, _PEEKED))
    sample = [record for record in first if not isinstance(record, tuple)]
    of = {
        option: find_column(rows.columns, wanted, source=name, sample=sample, asked=asked)
        if rows.columns
        else wanted
        for option, wanted in asked.items()
    }
    found = ", ".join(f"{option} in {column!r}" for option, column in of.items())
    tell(f"{name}: {rows.read_as}; {found}")

    good: list[tuple[int, str, str, str | None, list[str]]] = []
    bad: list[tuple[int, str, str | None, str | None, str]] = []
    reasons: Counter[str] = Counter()
    known = Known()
    held = n_accepted = 0
    row = -1

    def block() -> tuple[pl.DataFrame, pl.DataFrame]:
        """What is held, as frames; of an id that came before the row is refused."""
        nonlocal good, bad, held, n_accepted
        if document_id is not None:
            before = known.add([id_ for _, id_, *_ in good]).tolist()
            bad += [
                (row, id_, text, shown, f"duplicate document id: {id_!r}")
                for (row, id_, text, shown, _), again in zip(good, before, strict=True)
                if again
            ]
            good = [item for item, again in zip(good, before, strict=True) if not again]
            bad.sort(key=itemgetter(0))
        accepted = [(id_, text, label) for _, id_, text, _, labels in good for label in labels]
        n_accepted += len(accepted)
        reasons.update(_kind(reason) for *_, reason in bad)
        frames = (
            pl.DataFrame(accepted, schema=RAW_CORPUS, orient="row"),
            pl.DataFrame(bad, schema=REJECTED_CORPUS, orient="row"),
        )
        good, bad, held = [], [], 0
        return frames

    for row, record in enumerate(chain(first, rows.records)):
        if len(good) + len(bad) == _BLOCK_ROWS or held > _BLOCK_CHARACTERS:
            yield block()
        if isinstance(record, tuple):
            bad.append((row, str(row), record[0][:max_characters], None, record[1]))
            continue
        text_, text_fault = clean(record.get(of["text"]), "text")
        labels, shown, label_fault = (
            labels_of(record.get(of["label"]), separator=explode)
            if label is not None
            else ([""], "", None)
        )
        id_, id_fault = str(row), None
        if document_id is not None:
            given, id_fault = clean(record.get(of["id"]), "document id")
            id_ = given or id_
        if newsgroups and text_ is not None and text_fault is None:
            text_ = strip_newsgroup(text_)
            text_fault = None if text_.strip() else "blank text"
        if text_ is not None and len(text_) > max_characters:
            whole = len(text_) <= longest_row(max_characters)
            told = f"{len(text_)} characters, " if whole else ""
            text_fault = f"text too long: {told}more than {max_characters}"
            text_ = text_[:max_characters]
        held += len(text_ or "")
        fault = text_fault or label_fault or id_fault
        if fault is not None or text_ is None:
            bad.append((row, id_, text_, shown, fault or "null text"))
        else:
            good.append((row, id_, text_, shown, labels))
    last = block()
    if not n_accepted:
        counts = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        told = "".join(f", {count} {reason}" for reason, count in counts)
        raise ValueError(f"no row of {name} can be used: {row + 1} rows{told}")
    yield last


def _with_constants(rows: Rows, constants: Mapping[str, str | None]) -> Rows:
    columns = [*rows.columns, *(name for name in constants if name not in rows.columns)]
    records = (
        record if isinstance(record, tuple) else {**constants, **record} for record in rows.records
    )
    return Rows(rows.read_as, columns, records)


def strip_newsgroup(text: str) -> str:
    """Remove headers, footer and quoted lines of a newsgroup post, as scikit-learn does."""
    from sklearn.datasets._twenty_newsgroups import (
        strip_newsgroup_footer,
        strip_newsgroup_header,
        strip_newsgroup_quoting,
    )

    text = text.replace("\r\n", "\n")
    return str(strip_newsgroup_quoting(strip_newsgroup_footer(strip_newsgroup_header(text))))


def _kind(reason: str) -> str:
    """The part before a colon, which names no row."""
    return reason.partition(":")[0]


def _load(source: str, open_bytes: Callable[[str], IO[bytes]] | None, **options: Any) -> Rows:
    """The columns and the rows of `source`; `options` are those of `open_rows`."""
    if source in _EXAMPLES:
        file = Path(__file__).parent / _EXAMPLES[source]
        return open_rows(source, local_file(str(file)), **options)
    if source.partition(":")[0] == "20newsgroups":
        return _fetch_newsgroups(source.partition(":")[2] or "all")
    if source.startswith("hf:"):
        return _load_huggingface(source.removeprefix("hf:"))
    if "://" not in source:
        return open_rows(source, local_file(source), **options)
    if open_bytes is None:
        raise ValueError(f"reading {source} needs open_bytes, which opens it as a stream")
    with open_bytes(source) as stream:
        return open_rows(source, copied(stream), **options)


def _fetch_newsgroups(subset: str) -> Rows:
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
    records = [
        # by-date folder, group, number: the rest of the path is this machine's
        {"id": "/".join(Path(file).parts[-3:]), "text": post, "label": posts.target_names[target]}
        for file, post, target in zip(posts.filenames, posts.data, posts.target, strict=True)
    ]
    return Rows("20 Newsgroups", ["id", "text", "label"], iter(records))


def _load_huggingface(name: str) -> Rows:
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
    named = {
        column: names
        for column, feature in dataset.features.items()
        # of a column of lists they are those of its items
        if (names := getattr(getattr(feature, "feature", feature), "names", None)) is not None
    }
    records = (_with_names(dict(row), named) for row in dataset)
    return Rows("a Hugging Face dataset", list(dataset.column_names), records)


def _with_names(record: dict[str, Any], named: Mapping[str, Any]) -> Record:
    for column, names in named.items():
        given = record[column]
        if isinstance(given, list):
            record[column] = [_name(number, names) for number in given]
        else:
            record[column] = _name(given, names)
    return record


def _name(number: Any, names: Any) -> Any:
    if not isinstance(number, int):
        return number
    return names[number] if number >= 0 else None  # -1 is unlabelled
