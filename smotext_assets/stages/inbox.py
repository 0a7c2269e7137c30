"""A corpus of many files: of a folder, a glob or an s3:// prefix, in the order of their names.

Names of files are data: they are compared with the listing and never joined from outside it.
"""

import fnmatch
import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from smotext_assets.graph import StoreResource
from smotext_core.schemas import RAW_CORPUS, REJECTED_CORPUS
from smotext_core.texts import Spool, corpus_frames

_KINDS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx")
_ENDINGS = tuple(
    f"{kind}{packed}" for kind in _KINDS for packed in ("", ".gz", ".bz2", ".zst", ".xz")
)
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_HIDDEN = (".", "_", "~")


def is_inbox(source: str) -> bool:
    """Whether a corpus is many files: it ends with "/", is a folder, or is a glob."""
    is_folder = source.endswith("/") or ("://" not in source and os.path.isdir(source))
    return is_folder or (_is_glob(source) and not os.path.exists(source))


def _is_glob(source: str) -> bool:
    return re.search("[*?[]", source) is not None and not source.startswith("hf:")


def inbox_files(source: str, store: StoreResource) -> dict[str, str]:
    """The corpus files of `source`: a stamp that changes with the content, by name.

    Of a folder or a prefix they are those directly below it, and below folders named key=value as
    of a partitioned data set. Hidden names (a leading ".", "_" or "~") and names of no known
    ending, such as `.csv.part`, do not count. Of a glob they are all that it finds, and their names
    begin where it has its first wildcard.

    Raises:
        FileNotFoundError: there is no such folder.
        OSError: the folder or the bucket refuses to be listed.
    """
    root, pattern = _root(source)
    if "://" in source:
        found = store.list_objects(root, deep=pattern is not None)
        if pattern is not None:
            found = {name: found[name] for name in found if _matches(name, pattern)}
    elif pattern is not None:
        names = glob.glob(pattern, root_dir=root or None, recursive=True)
        found = {name: _stamp(os.stat(Path(root, name))) for name in names
                 if Path(root, name).is_file()}  # fmt: skip
    else:
        found = _below(Path(source), "")
    return {
        name: found[name]
        for name in sorted(found)
        if pattern is not None
        or (name.lower().endswith(_ENDINGS) and not _is_hidden(name.rpartition("/")[2]))
    }


def _root(source: str) -> tuple[str, str | None]:
    """The folder or prefix, with its "/", and the glob below it."""
    if not _is_glob(source) or (not source.endswith("*") and os.path.exists(source)):
        return source, None
    start = source.rfind("/", 0, re.search("[*?[]", source).start()) + 1  # type: ignore[union-attr]
    return source[:start], source[start:]


def _matches(name: str, pattern: str) -> bool:
    """As a shell would: a star finds no "/", two do."""
    if "**" in pattern:
        return fnmatch.fnmatchcase(name, pattern.replace("**/", "*"))
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


def _below(folder: Path, name: str) -> dict[str, str]:
    found = {}
    for entry in os.scandir(folder):
        if entry.is_file():
            found[name + entry.name] = _stamp(entry.stat())
        elif entry.is_dir() and "=" in entry.name and not _is_hidden(entry.name):
            found |= _below(folder / entry.name, f"{name}{entry.name}/")
    return found


def _stamp(told: os.stat_result) -> str:
    return f"{told.st_size}:{told.st_mtime_ns}"


def _is_hidden(name: str) -> bool:
    return name.startswith(_HIDDEN)


def _partition(name: str) -> dict[str, str | None]:
    """The columns that a file has from its folders: label=login/part-0.parquet."""
    pairs = [part.split("=", 1) for part in name.split("/")[:-1] if "=" in part]
    return {key: None if value == _HIVE_NULL else unquote(value) for key, value in pairs}


def inbox_frames(
    source: str,
    store: StoreResource,
    *,
    files: Collection[str] | None = None,
    tell: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The files of an inbox as RAW_CORPUS frames, each with the REJECTED_CORPUS frame of its rows.

    A document's id is `file name/id`, its `row` counts in its file. A file that cannot be read is
    one refused row, and the others are read. None is held whole.

    Args:
        files: these alone; None for all that are there.
        tell: is called with a line for each way that files were read.
        options: see `corpus_frames`.

    Raises:
        ValueError: no file, none of `files`, or no row of any that can be used.
    """
    there = inbox_files(source, store)
    names = [name for name in there if files is None or name in files]
    if files is not None and (gone := sorted(set(files) - there.keys())):
        raise ValueError(f"the inbox {source} has {sorted(there)}, not {gone}")
    if not names:
        raise ValueError(
            f"the inbox {source} has no corpus file: put one there whose name ends in "
            f"{', '.join(_KINDS)} and does not begin with {' or '.join(_HIDDEN)}"
        )
    root, _ = _root(source)
    told: Counter[str] = Counter()
    faults: list[str] = []
    for name in names:
        address = f"{root.rstrip('/')}/{name}" if "://" in source else str(Path(root, name))
        lines: list[str] = []
        accepted, rejected = Spool(), Spool()  # the end of a file may tell that it is cut off
        try:
            for good, bad in corpus_frames(
                address,
                open_bytes=store.open_bytes,
                constants=_partition(name),
                tell=lines.append,
                **options,
            ):
                accepted.append(good)
                rejected.append(bad)
        except ValueError as error:
            faults.append(f"unreadable file: {error}".replace(address, name))
            row = (0, name, None, None, faults[-1])
            yield RAW_CORPUS.to_frame(), pl.DataFrame([row], schema=REJECTED_CORPUS, orient="row")
            continue
        told.update(line.removeprefix(f"{address}: ") for line in lines)
        of_file = pl.concat_str(pl.lit(f"{name}/"), "document_id").alias("document_id")
        for good, bad in zip(accepted.frames(), rejected.frames(), strict=True):
            yield good.with_columns(of_file), bad.with_columns(of_file)
    if len(faults) == len(names):
        raise ValueError(f"no file of the inbox {source} can be used: {'; '.join(faults[:3])}")
    for kind, count in told.items():
        tell(f"{source}: {count} files as {kind}")
