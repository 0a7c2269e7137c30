"""What is known of a corpus's texts without their characters: which are alike, and their splits."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable

import numpy as np
import polars as pl

from smotext_core.schemas import RAW_CORPUS, SPLITS, conform
from smotext_core.texts.splitting import is_prose, passages, plain_texts
from smotext_core.texts.tokenization import content

LEAST_WORDS = 4  # of a passage in a longer document; a text that short by itself is kept
KEPT, NO_PROSE, SHORT, DUPLICATE = range(4)  # faults
_AT_ONCE = 2**20
KINDS = ("kept", "not prose", f"fewer than {LEAST_WORDS} words", "duplicate")
_FAULTY = (
    "raw has nulls, or rows of one document id that differ in more than their label; "
    "read_corpus refuses such rows"
)


class Documents:
    """The rows of a corpus as arrays, with an item a row or a place.

    A place is what is kept or refused by itself. Row r has place r, and so has its passage where it
    has no other; the passages of longer texts have the places behind those of all rows.
    """

    def __init__(self, frames: Iterable[pl.DataFrame], *, seed: int, max_words: int) -> None:
        """`frames` are of RAW_CORPUS; one at a time is held.

        Raises:
            ValueError: nulls, or rows of one id that differ in more than their label.
        """
        codes: dict[str, int] = {}
        ids = [pl.Series(dtype=pl.String)]
        of_frames = [(np.empty(0, np.int32), np.empty(0, np.uint64), np.empty(0, np.uint64))]
        n_parts = [np.empty(0, np.int32)]
        # of the rows, 16 bytes a digest and one a fault; of the passages that are not all of theirs
        digests, row_faults = bytearray(), bytearray()
        part_digests, part_faults = bytearray(), bytearray()
        for frame in frames:
            frame = conform(frame, RAW_CORPUS)
            if any(frame.null_count().row(0)):
                raise ValueError(_FAULTY)
            plain = plain_texts(frame["text"], max_words=max_words)
            keys, parts_of = bytearray(), np.ones(frame.height, np.int32)
            columns = zip(frame["text"], plain["content"], plain["prose"], strict=True)
            for row, (text, words, prose) in enumerate(columns):
                digest = hashlib.sha256((content(text) if words is None else words).encode())
                digests += digest.digest()[:16]
                keys += hashlib.sha256(f"{seed}:{digest.hexdigest()}".encode()).digest()[:8]
                if words is None:
                    parts = passages(text, max_words=max_words)
                    parts_of[row] = len(parts)
                    # those of several have faults of their own
                    prose = len(parts) > 1 or any(map(is_prose, parts))
                    for part in parts if len(parts) > 1 else ():
                        part_digests += hashlib.sha256(content(part).encode()).digest()[:16]
                        is_short = part.count(" ") + 1 < LEAST_WORDS
                        fault = SHORT if is_short else KEPT
                        part_faults.append(fault if is_prose(part) else NO_PROSE)
                row_faults.append(KEPT if prose else NO_PROSE)
            label = np.array([codes.setdefault(x, len(codes)) for x in frame["label"]], np.int32)
            # of texts of the same content: whether they are the same
            text_hash = frame["text"].hash().to_numpy()
            of_frames.append((label, text_hash, np.frombuffer(keys, ">u8").astype(np.uint64)))
            n_parts.append(parts_of)
            ids.append(frame["document_id"])
        self.labels, self.ids = list(codes), pl.concat(ids, rechunk=True)
        self.label, self._text, self._key = map(np.concatenate, zip(*of_frames, strict=True))
        self.n_parts = np.concatenate(n_parts)
        del of_frames, ids, n_parts  # what comes next takes the most
        self.fault = np.frombuffer(row_faults + part_faults, np.int8).copy()
        self.rows = len(self.ids)
        self._long = np.flatnonzero(self.n_parts > 1)
        self._starts = np.cumsum(self.n_parts[self._long]) - self.n_parts[self._long]
        self._content = _codes(digests + part_digests if part_digests else digests)  # a place
        del digests
        # of places that are duplicates: of which place. Zeros that nobody touches take no memory.
        self.twin = np.zeros(len(self.fault), np.int64)
        self._counts = np.bincount(self.label, minlength=len(codes))
        self._rarest_first = sorted(
            range(len(codes)), key=lambda code: (self._counts[code], self.labels[code])
        )
        self._several = self._of_several_labels()
        self.number, self.others = np.zeros(self.rows, np.int32), np.zeros(self.rows, np.int32)
        self.number[self._several["row"]] = self._several["number"]
        self.others[self._several["row"]] = self._several["own"] - 1
        self._to_lead = np.zeros(self.rows, np.int64)

    def _of_several_labels(self) -> pl.DataFrame:
        """A row for each of several of one id: `row`, `group`, its `number` of so many `own`."""
        hashes = self.ids.hash().to_numpy()
        alike = np.sort(hashes)
        alike = np.unique(alike[1:][alike[1:] == alike[:-1]])
        rows = np.flatnonzero(np.isin(hashes, alike)) if len(alike) else np.empty(0, np.int64)
        found = pl.DataFrame(
            {"row": rows, "text": self._text[rows], "label": self.label[rows]}
        ).with_columns(id=self.ids.gather(rows))
        found = found.filter(pl.col("id").is_duplicated())
        odd = found.group_by("id").agg(
            fits=(pl.col("text").n_unique() == 1) & (pl.col("label").n_unique() == pl.len())
        )
        if not odd["fits"].all():
            raise ValueError(_FAULTY)
        return found.select(
            "row",
            group=pl.col("row").first().over("id"),
            number=pl.int_range(pl.len()).over("id"),
            own=pl.len().over("id").cast(pl.Int64),
        )

    def lead(self, rows: np.ndarray) -> np.ndarray:
        """The row that decides for each of `rows`: of its document that of the rarest label."""
        found: np.ndarray = rows + self._to_lead[rows]
        return found

    def first(self, rows: np.ndarray) -> np.ndarray:
        """The place of the first passage of each of `rows`."""
        found = rows.copy()
        long = self.n_parts[rows] > 1
        found[long] = self.rows + self._starts[np.searchsorted(self._long, rows[long])]
        return found

    def row_of(self, places: np.ndarray) -> np.ndarray:
        """The row that has each of `places`."""
        found = places.copy()
        behind = places >= self.rows
        at = np.searchsorted(self._starts, places[behind] - self.rows, side="right") - 1
        found[behind] = self._long[at]
        return found

    def refuse_duplicates(self, frames: Callable[[], Iterable[pl.DataFrame]]) -> None:
        """Mark what has the content of something before it: the rarest label comes first, in a
        label the least content, of the same the least text, of that the least id.

        Args:
            frames: the corpus again, gone through where texts of one content differ.
        """
        shared = np.bincount(self._content, minlength=1)[self._content] > 1
        rows = np.unique(self.row_of(np.flatnonzero(shared)))
        del shared
        rank = np.empty(len(self.labels), np.int32)
        rank[self._rarest_first] = np.arange(len(self.labels))
        tied = pl.DataFrame(
            {
                "row": rows,
                "label": rank[self.label[rows]],
                "content": self._content[rows],
                "hash": self._text[rows],
            }
        ).with_columns(document_id=self.ids.gather(rows))
        unlike = tied.filter(pl.col("hash").n_unique().over("label", "content") > 1)["row"]
        texts = _texts(frames(), unlike.to_numpy()) if len(unlike) else []
        told = pl.DataFrame({"row": unlike, "text": texts}, schema_overrides={"text": pl.String})
        ordered = (
            tied.drop("hash")
            .join(told, on="row", how="left")
            .sort("label", "content", "text", "document_id", "row")["row"]
        )
        del tied, told, self._text
        if self._several.height:  # all are tied: they have one content
            leads = ordered.to_frame().join(self._several, on="row", maintain_order="left")
            leads = leads.with_columns(lead=pl.col("row").first().over("group"))
            self._to_lead[leads["row"]] = leads["lead"] - leads["row"]
        keeper = np.zeros(int(self._content.max(initial=0)) + 1, np.int64)  # place + 1, by content
        for row in ordered:
            if self._to_lead[row]:
                continue
            own = self._content[row]
            if keeper[own]:
                self.fault[row], self.twin[row] = DUPLICATE, keeper[own] - 1
            elif self.n_parts[row] == 1:
                if self.fault[row] == KEPT:
                    keeper[own] = row + 1
            elif self.n_parts[row] > 1 and self._keeps_passages(row, keeper) and not keeper[own]:
                keeper[own] = row + 1
        del self._content

    def _keeps_passages(self, row: int, keeper: np.ndarray) -> bool:
        start = int(self.first(np.array([row]))[0])
        kept = False
        for place in range(start, start + self.n_parts[row]):
            same = self._content[place]
            if self.fault[place] == KEPT and keeper[same]:
                self.fault[place], self.twin[place] = DUPLICATE, keeper[same] - 1
            elif self.fault[place] == KEPT:
                keeper[same], kept = place + 1, True
        return kept

    def splits(self, *, test_fraction: float, holdout_fraction: float) -> np.ndarray:
        """Of each row that decides for its document, its place in SPLITS; int8, -1 where nothing of
        the document is kept.

        Raises:
            ValueError: fewer than two labels are left.
        """
        kept = self.fault[: self.rows] == KEPT
        if len(self._long):
            some = np.logical_or.reduceat(self.fault[self.rows :] == KEPT, self._starts)
            kept[self._long] &= some
        by_label = np.argsort(self.label, kind="stable")
        ends = np.cumsum(self._counts)
        splits = np.full(self.rows, -1, np.int8)
        left = []
        for code in self._rarest_first:
            rows = by_label[ends[code] - self._counts[code] : ends[code]]
            rows = rows[kept[self.lead(rows)]]
            if not len(rows):
                continue
            left.append(self.labels[code])
            _split(
                self.lead(rows[np.argsort(self._key[rows], kind="stable")]),
                splits,
                test_fraction=test_fraction,
                holdout_fraction=holdout_fraction,
            )
        if len(left) < 2:
            raise ValueError(
                f"SMOTE needs at least two labels; {self.rows} texts leave {sorted(left)}; "
                f"refused: {dict(sorted(self._refused().items()))}"
            )
        del self._key
        return splits

    def _refused(self) -> dict[str, int]:
        """Refused documents and passages by the kind of their fault."""
        leads = self.lead(np.arange(self.rows))
        counts = np.bincount(self.fault[leads], minlength=len(KINDS))
        for row in leads[(self.n_parts[leads] > 1) & (self.fault[leads] == KEPT)]:
            start = int(self.first(np.array([row]))[0])
            of_parts = self.fault[start : start + self.n_parts[row]]
            counts += np.bincount(of_parts, minlength=len(KINDS))
        return {
            kind: int(n)
            for fault, (kind, n) in enumerate(zip(KINDS, counts, strict=True))
            if n and fault != KEPT
        }


def _codes(digests: bytearray) -> np.ndarray:
    """A number for each digest of 16 bytes, the same for the same, in their order. Int32."""
    each = np.frombuffer(digests, "S16")
    order = np.argsort(each, kind="stable")
    new = np.zeros(len(order), bool)
    for start in range(1, len(order), _AT_ONCE):  # a copy of all in order would be the largest
        block = each[order[start - 1 : start + _AT_ONCE]]
        new[start : start + _AT_ONCE] = block[1:] != block[:-1]
    codes = np.empty(len(order), np.int32)
    codes[order] = np.cumsum(new, dtype=np.int32)
    return codes


def _texts(frames: Iterable[pl.DataFrame], rows: np.ndarray) -> list[str]:
    """The texts of `rows`, which ascend."""
    found: list[str] = []
    start = 0
    for frame in frames:
        begin, end = np.searchsorted(rows, [start, start + frame.height])
        found += frame["text"].gather(rows[begin:end] - start).to_list()
        start += frame.height
    return found


def _split(
    documents: np.ndarray, splits: np.ndarray, *, test_fraction: float, holdout_fraction: float
) -> None:
    """Set the splits of documents: test from the front, holdout from the back.

    Documents that have one of another label keep it, but the last that a label would train on.
    """
    train, test, holdout = map(SPLITS.index, ("train", "test", "holdout"))
    n = len(documents)
    n_test = n_holdout = 0
    if n >= 3 and test_fraction > 0:
        n_test = max(1, math.floor(n * test_fraction + 0.5))
    if n >= 3 and holdout_fraction > 0:
        n_holdout = max(int(n >= 4), math.floor(n * holdout_fraction + 0.5))
    given = splits[documents]
    free = documents[given < 0]
    had = np.bincount(given[given >= 0], minlength=len(SPLITS)).tolist()
    if not len(free) and not had[train]:
        splits[documents[0]] = train
        return
    room = len(free) - (not had[train])
    n_test = min(max(0, n_test - had[test]), room)
    n_holdout = min(max(0, n_holdout - had[holdout]), room - n_test)
    splits[free] = train
    splits[free[:n_test]] = test
    splits[free[len(free) - n_holdout :]] = holdout
