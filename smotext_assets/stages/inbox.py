"""A corpus of many files: all of a folder or an s3:// prefix together, in the order of their names.

Names of files are data: they are compared with the listing and never joined from outside it.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl

from smotext_assets.graph import StoreResource
from smotext_core.schemas import RAW_CORPUS, REJECTED_CORPUS
from smotext_core.texts import read_corpus

_KINDS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx")
_ENDINGS = tuple(
    f"{kind}{packed}" for kind in _KINDS for packed in ("", ".gz", ".bz2", ".zst", ".xz")
)
_HIDDEN = (".", "_", "~")


def is_inbox(source: str) -> bool:
    """Whether a corpus is a folder or a prefix: it ends with "/", or is a folder."""
    return source.endswith("/") or ("://" not in source and os.path.isdir(source))


def inbox_files(source: str, store: StoreResource) -> dict[str, str]:
    """The corpus files directly below `source`: a stamp that changes with the content, by name.

    Hidden names (a leading ".", "_" or "~") and names of no known ending, such as `.csv.part`, do
    not count.

    Raises:
        FileNotFoundError: there is no such folder.
        OSError: the folder or the bucket refuses to be listed.
    """
    if "://" in source:
        found = store.list_objects(source)
    else:
        found = {}
        for entry in os.scandir(source):
            if entry.is_file():
                told = entry.stat()
                found[entry.name] = f"{told.st_size}:{told.st_mtime_ns}"
    return {
        name: found[name]
        for name in sorted(found)
        if name.lower().endswith(_ENDINGS) and not name.startswith(_HIDDEN)
    }


def read_inbox(
    source: str, store: StoreResource, *, files: Collection[str] | None = None, **options: Any
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The files of an inbox as one RAW_CORPUS frame and one REJECTED_CORPUS frame.

    A document's id is `file name/id`, its `row` counts in its file. A file that cannot be read is
    one refused row, and the others are read.

    Args:
        files: these alone; None for all that are there.
        options: see `read_corpus`.

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
    accepted, rejected = [RAW_CORPUS.to_frame()], [REJECTED_CORPUS.to_frame()]
    for name in names:
        address = f"{source.rstrip('/')}/{name}" if "://" in source else str(Path(source, name))
        try:
            good, bad = read_corpus(address, open_bytes=store.open_bytes, **options)
        except ValueError as error:
            reason = f"unreadable file: {error}".replace(address, name)
            row = (0, name, None, None, reason)
            rejected.append(pl.DataFrame([row], schema=REJECTED_CORPUS, orient="row"))
            continue
        of_file = pl.concat_str(pl.lit(f"{name}/"), "document_id").alias("document_id")
        accepted.append(good.with_columns(of_file))
        rejected.append(bad.with_columns(of_file))
    if len(accepted) == 1:
        reasons = "; ".join(pl.concat(rejected)["reason"].head(3))
        raise ValueError(f"no file of the inbox {source} can be used: {reasons}")
    return pl.concat(accepted), pl.concat(rejected)
