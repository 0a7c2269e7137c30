"""What a corpus that does not fit into memory leaves there: digests; its frames wait on disk."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

_IN_MEMORY = 2**24  # bytes of a spool that small corpora do not take to disk


class Spool:
    """Frames in a nameless file, read back as often as asked, in the order in which they came.

    They can be kept apart by keys, as the parts of a sort are.
    """

    def __init__(self) -> None:
        self._file: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # as we live
        self._places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)

    def append(self, frame: pl.DataFrame, key: int = 0) -> None:
        buffer = io.BytesIO()
        frame.write_ipc(buffer, compression="lz4")
        at = self._file.seek(0, io.SEEK_END)
        self._file.write(buffer.getbuffer())
        self._places[key].append((at, buffer.tell()))

    def frames(self, key: int = 0) -> Iterator[pl.DataFrame]:
        for at, size in self._places[key]:
            self._file.seek(at)
            yield pl.read_ipc(io.BytesIO(self._file.read(size)))


class Known:
    """Which strings came before: 16 bytes are held of each, not the string."""

    def __init__(self) -> None:
        self._sorted: list[np.ndarray] = []  # each at least as long as those behind it

    def add(self, strings: Sequence[str]) -> np.ndarray:
        """Remember `strings`; which of them came before, in this call or an earlier one: bool."""
        digests = np.frombuffer(
            b"".join(
                hashlib.blake2b(string.encode(), digest_size=16).digest() for string in strings
            ),
            dtype="S16",
        )
        new, first = np.unique(digests, return_index=True)
        before = np.ones(len(digests), dtype=bool)
        before[first] = False
        for known in self._sorted:
            at = np.minimum(np.searchsorted(known, new), len(known) - 1)
            old = known[at] == new
            before[first[old]] = True
            new, first = new[~old], first[~old]
        while len(new) and self._sorted and len(self._sorted[-1]) <= len(new):
            new = np.concatenate([self._sorted.pop(), new])
            new.sort(kind="stable")  # of two sorted halves a merge
        if len(new):
            self._sorted.append(new)
        return before
