"""`smotext forget`: a source text and all that descends from it goes, a receipt stays.

A document is forgotten as a whole, with all documents of the same content: its raw row holds all
its passages. A passage that another document shares is that document's own and stays.

The order makes it safe to be killed: the receipt first, which names the documents; then what
descends from them, up to the pairs that tell the descent; then the vectors; the texts last. Nothing
else may write meanwhile.

Ids are data: they are compared with columns and never become a path or SQL.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from smotext_assets.receipts import FORGOTTEN, document_of, notice, receipts
from smotext_assets.storage import MissingPartition, Store
from smotext_assets.warehouse import refresh_warehouse
from smotext_core.markup import page, paragraph
from smotext_core.passages import content
from smotext_core.schemas import RAW_CORPUS, RUNS, conform

# Of label × run. The pairs come last: they tell which samples descend from a text.
_BY_SAMPLE = (
    "synthetic_table",
    "synthetic_texts",
    "rejected_texts",
    "decoded_texts",
    "interpolated_vectors",
    "class_pairs",
)
_PARENTS = ("synthetic_table", "synthetic_texts", "rejected_texts", "class_pairs")
_CORPUS = ("labelled_texts", "raw_corpus")
_REPEATED_WORDS = 5  # a candidate that repeats a text of at least so many words goes with it
_BEFORE = "before_forgetting"  # metadata of labelled_texts: sha256 of it, as runs were frozen on it


class _Change(NamedTuple):
    table: str
    partition: dict[str, str]
    kept: pl.DataFrame | None  # None: damaged, nobody can tell what it holds
    gone: int


def forget(store: Store, warehouse: Path, ids: Sequence[str]) -> pl.DataFrame:
    """Forget the documents of `ids`, which are documents' or passages'; the receipt, FORGOTTEN.

    Killed at any point, the same call finishes. Figures of the runs that had the texts stay as
    they were measured, their cards are withdrawn. Adapted generators, which were trained on the
    texts, are deleted; so are partitions that are damaged, for nobody can tell what they hold.

    Raises:
        LookupError: an id that nothing has.
        ValueError: the corpus is damaged.
        OSError: the store or the warehouse could not be written; the same call goes on.
    """
    key = {"receipt": hashlib.sha256(json.dumps(sorted(ids)).encode()).hexdigest()[:16]}
    before = _receipt(store, key)
    documents = _documents(store, ids, before)
    phrases = _phrases(store, documents)
    receipt = before
    if receipt is None or receipt["done"]:
        receipt = _plan(store, ids, documents, phrases)
        if before is not None and not receipt["tables"]:
            return store.read("forgotten", key)  # nothing has come back
        _write_receipt(store, key, receipt)
    for change in _sweep(store, documents, phrases):
        _apply(store, change)
    for label in receipt["labels"]:  # rows by number: theirs are other ones now
        store.delete("neighbors", {"label": label})
    _follow(store)
    for run in receipt["runs"]:
        _withdraw_card(store, run)
    store.delete_bytes("generators")
    store.purge()
    refresh_warehouse(store, warehouse)
    _write_receipt(store, key, {**receipt, "done": True})
    store.purge()  # of the receipt as it was
    return store.read("forgotten", key)


def _receipt(store: Store, key: dict[str, str]) -> dict[str, Any] | None:
    try:
        return store.read("forgotten", key).row(0, named=True)
    except MissingPartition:
        return None


def _write_receipt(store: Store, key: dict[str, str], receipt: dict[str, Any]) -> None:
    store.write("forgotten", conform(pl.DataFrame([receipt], schema=FORGOTTEN), FORGOTTEN), key)


def _documents(store: Store, ids: Sequence[str], receipt: dict[str, Any] | None) -> list[str]:
    """The documents of `ids`, and those of the same content."""
    there = set(receipts(store)["document_ids"].explode().drop_nulls())
    sources = [_read(store, "raw_corpus", {})]
    sources += [_read(store, "rejected_rows", p) for p in store.partitions("rejected_rows")]
    raw = pl.concat(
        [RAW_CORPUS.to_frame(), *(conform(f, RAW_CORPUS) for f in sources if f is not None)]
    )
    there |= set(raw["document_id"])
    labelled = _read(store, "labelled_texts", {})
    there |= set() if labelled is None else set(labelled["document_id"])
    for table in _PARENTS:  # documents that have left the corpus, their descendants have not
        for partition in store.partitions(table):
            frame = _read(store, table, partition)
            if frame is not None:
                there |= {document_of(p) for p in frame["parent_ids"].explode().drop_nulls()}
    found = set(receipt["document_ids"]) if receipt else set()
    for id_ in ids:
        if id_ not in there and document_of(id_) not in there:
            raise LookupError(f"no document or text has the id {id_!r}: see labelled_texts.text_id")
        found.add(id_ if id_ in there else document_of(id_))
    contents = {
        _content(text) for id_, text in raw.select("document_id", "text").rows() if id_ in found
    }
    found |= {
        id_
        for id_, text in raw.select("document_id", "text").rows()
        if text and _content(text) in contents
    }
    return sorted(found)


def _content(text: str | None) -> str:
    """What two texts share that differ in no more than case and punctuation."""
    return content(text or "") or (text or "")


def _phrases(store: Store, documents: list[str]) -> list[str]:
    """The texts themselves, whole and by passage, as long as they are there."""
    found = set()
    for table, partition in (
        *((table, {}) for table in _CORPUS),
        *(("rejected_rows", partition) for partition in store.partitions("rejected_rows")),
    ):
        frame = _read(store, table, partition)
        if frame is not None:
            texts = frame.filter(pl.col("document_id").is_in(documents))["text"]
            found |= {text.strip() for text in texts.drop_nulls()}
    return sorted(found - {""})


def _plan(
    store: Store, ids: Sequence[str], documents: list[str], phrases: list[str]
) -> dict[str, Any]:
    """The receipt of what is about to go."""
    rows: Counter[str] = Counter()
    labels: set[str] = set()
    for change in _sweep(store, documents, phrases):
        rows[change.table] += change.gone
        if change.table == "labelled_texts":
            texts = store.read("labelled_texts")
            labels |= set(texts.filter(pl.col("document_id").is_in(documents))["slug"])
        elif change.gone and "label" in change.partition:
            labels.add(change.partition["label"])
    rows = +rows
    had = {p["run"] for t in _BY_SAMPLE for p in store.partitions(t) if p["label"] in labels}
    return {
        "ids": sorted(ids),
        "document_ids": documents,
        "forgotten_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "labels": sorted(labels),
        "runs": sorted(had),
        "tables": sorted(rows),
        "rows": [rows[table] for table in sorted(rows)],
        "done": False,
    }


def _sweep(store: Store, documents: list[str], phrases: list[str]) -> Iterator[_Change]:
    """What has to change, in the order in which it may."""
    words = pl.Series(phrases, dtype=pl.String)  # typed, also where there are none
    long = words.filter(words.str.split(" ").list.len() >= _REPEATED_WORDS)
    repeats = pl.col("text").is_in(words.implode()) | pl.col("text").str.contains_any(
        long.implode()
    )
    descends = pl.col("parent_ids").list.eval(_document(pl.element()).is_in(documents)).list.any()
    there = {t: [tuple(p.items()) for p in store.partitions(t)] for t in _BY_SAMPLE}
    for place in sorted({place for places in there.values() for place in places}):
        partition = dict(place)
        frames = {t: _read(store, t, partition) for t in _BY_SAMPLE if place in there[t]}
        doomed = {
            sample
            for table in _PARENTS
            if (frame := frames.get(table)) is not None
            for sample in frame.filter(descends)["sample_id"]
        }
        for table, frame in frames.items():
            if frame is None:
                yield _Change(table, partition, None, 0)
                continue
            bad = pl.col("sample_id").is_in(list(doomed))
            bad = bad | repeats if "text" in frame.columns else bad
            yield from _change(table, partition, frame, frame.filter(~bad))
    for partition in store.partitions("embeddings"):
        frame = _read(store, "embeddings", partition)
        if frame is None:
            yield _Change("embeddings", partition, None, 0)
        else:
            kept = frame.filter(~_document(pl.col("text_id")).is_in(documents))
            yield from _change("embeddings", partition, frame, kept)
    of_others = ~pl.col("document_id").is_in(documents)
    for partition in store.partitions("rejected_rows"):
        frame = store.read("rejected_rows", partition)
        named = pl.col("reason").str.extract(r"(?s)^duplicate of (.*)$")
        told = pl.when(_document(named).is_in(documents)).then(
            pl.lit("duplicate of a forgotten text")
        )
        kept = frame.filter(of_others).with_columns(told.otherwise("reason").alias("reason"))
        yield from _change("rejected_rows", partition, frame, kept)
    for table in _CORPUS:
        if store.manifest(table) is not None:
            frame = store.read(table)
            yield from _change(table, {}, frame, frame.filter(of_others))


def _change(
    table: str, partition: dict[str, str], frame: pl.DataFrame, kept: pl.DataFrame
) -> Iterator[_Change]:
    if not kept.equals(frame):
        yield _Change(table, partition, kept, frame.height - kept.height)


def _document(text_id: pl.Expr) -> pl.Expr:
    return text_id.str.replace(r"#\d+$", "")


def _read(store: Store, table: str, partition: dict[str, str]) -> pl.DataFrame | None:
    """The partition; None where it is damaged or not there."""
    try:
        return store.read(table, partition)
    except (ValueError, LookupError, FileNotFoundError):
        return None


def _apply(store: Store, change: _Change) -> None:
    kept, partition = change.kept, change.partition
    if kept is None or (change.table == "embeddings" and kept.is_empty()):
        store.delete(change.table, partition)
        return
    manifest = store.manifest(change.table, partition)
    metadata = dict(manifest.metadata) if manifest else {}
    if manifest and change.table == "labelled_texts":
        before = metadata.get(_BEFORE)
        metadata[_BEFORE] = [*(before if isinstance(before, list) else []), manifest.sha256]
    # no fingerprint: what is left was made of more than there is now, so it is never "finished"
    store.write(change.table, kept, partition, metadata=metadata)


def _follow(store: Store) -> None:
    """Runs of the corpus as it was are runs of what is left of it: evidence can be made again."""
    manifest = store.manifest("labelled_texts")
    before = manifest.metadata.get(_BEFORE) if manifest else None
    if manifest is None or not isinstance(before, list):
        return
    for partition in store.partitions("runs"):
        frame = store.read("runs", partition)
        if frame["corpus_sha256"][0] in before:
            config = json.loads(frame["config"][0]) | {"corpus_sha256": manifest.sha256}
            frame = frame.with_columns(
                corpus_sha256=pl.lit(manifest.sha256),
                config=pl.lit(json.dumps(config, sort_keys=True)),
            )
            store.write("runs", conform(frame, RUNS), partition)


def _withdraw_card(store: Store, run: str) -> None:
    """In place of a card that quotes the text a page that says so."""
    told = paragraph(
        f"{notice(store, run)} This card quoted source texts and was withdrawn. The run's figures "
        "in evaluation and privacy_audit were measured before. Materialise evaluation, "
        "privacy_audit and dataset_card of this run to measure again and to have a card."
    )
    html = page("Synthetic texts", f"run {run}", facts=[], body=told[0])
    for name, text in (("html", html), ("md", f"# Synthetic texts, run {run}\n\n{told[1]}\n")):
        with suppress(FileNotFoundError):
            store.read_bytes(f"dataset_card/{run}.{name}")
            store.write_bytes(f"dataset_card/{run}.{name}", text.encode())
