"""What a committed partition is called and what its manifest says; nothing here touches a file."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, TypeAlias

JSON: TypeAlias = "str | int | float | bool | list[JSON] | dict[str, JSON] | None"
Inputs: TypeAlias = "Mapping[str, JSON | Encoded]"

MANIFEST = "_manifest.json"
BROUGHT_IN = ("reviews",)  # by people: no asset makes such a table again
WRITTEN_BY = {  # the assets of tables that are none themselves
    "gates": "synthetic_table",
    "rejected_texts": "synthetic_texts",
    "reader_calibration": "synthetic_texts",
    "label_calibration": "synthetic_texts",
    "calibration": "decoded_texts",
    "neighbors": "class_pairs",
    "exports": "exported_dataset",
}
LEFTOVER = ("part-", "batch-", ".tmp-")  # files of a table that count only if a manifest names them
_KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")  # 200: "label=" and a slug must fit a 255-byte name
_BLOB = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_PART = re.compile(r"part-[0-9a-f]{16}\.parquet")
# Names a store gives to files: an inbox and exports may lie beside it, with parts of their own.
OWN_FILE = re.compile(rf"{_PART.pattern}|batch-[0-9a-f]{{16}}-\d+-[0-9a-f]{{16}}\.parquet|\.tmp-.+")
PAGES = ("dataset_card", "generators")  # folders of the files that are no table's


class MissingPartition(LookupError):  # noqa: N818
    """The partition was never committed, or was deleted."""


@dataclass(frozen=True)
class Manifest:
    """What a committed partition holds. `fingerprint` and `metadata` are the writer's own."""

    table: str
    partition: dict[str, str]
    file: str
    rows: int
    sha256: str
    fingerprint: str
    schema: list[list[str]]  # [name, polars dtype] a column
    metadata: dict[str, JSON]

    @property
    def path(self) -> str:
        """The Parquet file, from the store's root."""
        return f"{folder_of(self.table, self.partition)}/{self.file}"


@dataclass(frozen=True)
class Encoded:
    """A value in canonical JSON: what many partitions are made from is encoded once.

    The vectors of ten thousand labels, named for each of these labels, are a hundred million names.
    """

    text: str

    @classmethod
    def of(cls, value: JSON) -> Self:
        """Raises: TypeError, ValueError: it is not JSON."""
        return cls(json.dumps(value, sort_keys=True, allow_nan=False))


def fingerprint_of(table: str, inputs: Inputs) -> str:
    """sha256 of a table's name and all that decides a partition's content, in canonical JSON."""
    parts = []
    for name, value in sorted({"table": table, **inputs}.items()):
        encoded = value if isinstance(value, Encoded) else Encoded.of(value)
        parts.append(f"{json.dumps(name)}: {encoded.text}")
    return hashlib.sha256(f"{{{', '.join(parts)}}}".encode()).hexdigest()


def folder_of(table: str, partition: Mapping[str, str]) -> str:
    """`table/label=…/run=…`, the keys in sorted order."""
    for name in (table, *partition.keys(), *partition.values()):
        if not _KEY.fullmatch(name):
            raise ValueError(
                f"{name!r} (table {table!r}) cannot be a path: tables, partition keys and values "
                "must match [A-Za-z0-9_-]+, at most 200 characters; use the label's slug"
            )
    return "/".join([table, *(f"{key}={partition[key]}" for key in sorted(partition))])


def are_keys(partition: Mapping[str, str]) -> bool:
    return all(_KEY.fullmatch(text) for pair in partition.items() for text in pair)


def is_own(name: str) -> bool:
    """Whether a store wrote the file `name`, from its root: it is a table's, a card or a generator.

    Any other is somebody else's under the same prefix: of an inbox, an export, a backup.
    """
    folder, _, file = name.rpartition("/")
    table, *pairs = folder.split("/")
    if table in PAGES:
        return True
    keys = dict(pair.partition("=")[::2] for pair in pairs)
    is_tables = bool(_KEY.fullmatch(table)) and all("=" in pair for pair in pairs)
    return is_tables and are_keys(keys) and bool(file == MANIFEST or OWN_FILE.fullmatch(file))


def blob_name(name: str) -> str:
    """`name`, if it can be that of a file that is not a table's."""
    if not _BLOB.fullmatch(name) or name.rpartition("/")[2].startswith((MANIFEST, *LEFTOVER)):
        raise ValueError(
            f"{name!r} cannot name a file of the store: parts of [A-Za-z0-9_.-], none with a "
            "leading dot, joined by '/', and none of a table's own files"
        )
    return name


def decode(data: bytes, folder: str) -> Manifest:
    """The manifest of the partition in `folder`.

    Raises:
        ValueError: it is damaged, or another partition's.
    """
    try:
        manifest = Manifest(**json.loads(data))
        found = folder_of(manifest.table, manifest.partition)
        if found == folder and _PART.fullmatch(manifest.file):
            return manifest
        raise ValueError(f"it names {manifest.path!r}")
    except (AttributeError, TypeError, ValueError) as error:
        table, *pairs = folder.split("/")
        at = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
        raise ValueError(
            f"{folder}/{MANIFEST} is damaged ({error}); {remedy_of(table, at)}"
        ) from error


def remedy_of(table: str, partition: Mapping[str, str]) -> str:
    """What brings the partition back.

    For most it is what to ask Dagster for, which joins values with "|", in the order of their
    names.
    """
    if table in BROUGHT_IN:
        return f"delete {folder_of(table, partition)} and import the file that was read again"
    if table == "rejected_rows" and "stage" in partition:
        return f"materialise {partition['stage']}"
    if table == "runs":
        return (
            f"bring {folder_of(table, partition)} back from a backup, or delete it and ask for the "
            "run again with the options on its card"
        )
    if table == "forgotten":
        return (
            f"bring {folder_of(table, partition)} back from a backup: it says which texts stay away"
        )
    table = WRITTEN_BY.get(table, table)
    key = "|".join(partition[name] for name in sorted(partition))
    return f"materialise {table}" + (f", partition {key!r}" if key else "")
