"""`smotext forget`: a source text and all that descends from it goes, a receipt stays.

A document is forgotten as a whole, with all documents of the same content: its raw row holds all
its passages. A passage that another document shares is that document's own and stays.

The order makes it safe to be killed: the receipt first, which names the documents; then Dagster's
record of past runs, which is searched for the texts while they are there; then what
descends from them, up to the pairs that tell the descent; then the vectors; the texts last. Nothing
else may write meanwhile.

Ids are data: they are compared with columns and never become a path or SQL.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from smotext_assets.forgetting.descendants import (
    BY_SAMPLE,
    PARENTS,
    Change,
    changes,
    phrases_of,
    quotes_of,
    speaks_of,
)
from smotext_assets.forgetting.record import RECORD, Spoken, redact_record
from smotext_assets.store import (
    FORGOTTEN,
    GENERATOR_FORGOTTEN,
    WITHDRAWN,
    MissingPartition,
    Store,
    document_of,
    notice,
    read_if_sound,
    receipts,
    refresh_warehouse,
)
from smotext_core.card import page, paragraph
from smotext_core.schemas import RAW_CORPUS, RUNS, conform
from smotext_core.texts import content

_BEFORE = "before_forgetting"  # metadata of labelled_texts: sha256 of it, as runs were frozen on it


def forget(
    store: Store,
    warehouse: Path,
    ids: Sequence[str],
    *,
    instance: dg.DagsterInstance | None = None,
    workspace: Path | None = None,
) -> pl.DataFrame:
    """Forget the documents of `ids`, which are documents' or passages'; the receipt, FORGOTTEN.

    Killed at any point, the same call finishes. Figures of the runs that had the texts stay as
    they were measured, their cards are withdrawn. Adapted generators, which were trained on the
    texts, are deleted; so are partitions that are damaged, for nobody can tell what they hold.

    Args:
        instance: whose record of past runs is redacted, which the receipt counts.
        workspace: where copies of adapted generators are, and what their training left behind.

    Raises:
        LookupError: an id that nothing has.
        ValueError: the corpus is damaged.
        OSError: the store or the warehouse could not be written; the same call goes on.
    """
    key = {"receipt": hashlib.sha256(json.dumps(sorted(ids)).encode()).hexdigest()[:16]}
    before = _receipt(store, key)
    documents = _documents(store, ids, before)
    phrases = phrases_of(store, documents)
    receipt, spoken = before, _spoken(documents, phrases)
    if receipt is None or receipt["done"]:
        quoted = 0 if instance is None else redact_record(instance, spoken, write=False)
        receipt = _plan(store, ids, documents, phrases, quoted=quoted)
        trained_on = "unlabelled_texts" in receipt["tables"] or _is_trained_on(store, documents)
        if before is not None and not receipt["tables"]:
            return store.read("forgotten", key)  # nothing has come back
        if before is not None:
            receipt = _together(before, receipt)
        if trained_on:  # before the receipt: it does not tell, and a restart asks it alone
            _end_adapted_runs(store)
        _write_receipt(store, key, receipt)
    if instance is not None:  # while the texts are there to be looked for
        redact_record(instance, spoken, write=True)
    for change in changes(store, documents, phrases):
        _apply(store, change)
    for label in receipt["labels"]:  # rows by number: theirs are other ones now
        store.delete("neighbors", {"label": label})
    _follow(store)
    for run in receipt["runs"]:
        _withdraw_card(store, run)
    in_use = store.manifest("generator")
    if in_use is not None and in_use.metadata["adapted"]:  # the next run takes the configured one
        store.delete("generator")
    store.delete_bytes("generators")
    if workspace is not None:
        for folder in sorted(path for path in workspace.glob("*") if path.is_dir()):
            shutil.rmtree(folder)
    store.purge()
    refresh_warehouse(store, warehouse, rebuild=True)  # a copy would keep their bytes
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
    sources = [read_if_sound(store, "raw_corpus", {})]
    sources += [read_if_sound(store, "rejected_rows", p) for p in store.partitions("rejected_rows")]
    unlabelled = read_if_sound(store, "unlabelled_texts", {})
    if unlabelled is not None:  # whole documents: a passage may be shared
        whole = unlabelled.filter(pl.col("text_id") == pl.col("document_id"))
        sources.append(whole.with_columns(label=pl.lit("")))
        there |= set(unlabelled["document_id"])
    raw = pl.concat(
        [RAW_CORPUS.to_frame(), *(conform(f, RAW_CORPUS) for f in sources if f is not None)]
    )
    there |= set(raw["document_id"])
    labelled = read_if_sound(store, "labelled_texts", {})
    there |= set() if labelled is None else set(labelled["document_id"])
    for table in PARENTS:  # documents that have left the corpus, their descendants have not
        for partition in store.partitions(table):
            frame = read_if_sound(store, table, partition)
            if frame is not None:
                named = frame["parent_ids"].explode().drop_nulls().to_list()
                if "found_id" in frame.columns:
                    named += frame["found_id"].drop_nulls().to_list()
                there |= {document_of(id_) for id_ in named}
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


def _spoken(documents: list[str], phrases: list[str]) -> Spoken:
    quotes = quotes_of(phrases)
    return Spoken(
        text=lambda told: speaks_of(told, [], quotes),
        reason=lambda told: speaks_of(told, documents, quotes),
    )


def _together(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """A finished receipt and what has come back, or what an older version left."""
    rows = Counter(dict(zip(before["tables"], before["rows"], strict=True)))
    rows.update(dict(zip(now["tables"], now["rows"], strict=True)))
    return {
        **now,
        "labels": sorted({*before["labels"], *now["labels"]}),
        "runs": sorted({*before["runs"], *now["runs"]}),
        "tables": sorted(rows),
        "rows": [rows[table] for table in sorted(rows)],
    }


def _plan(
    store: Store, ids: Sequence[str], documents: list[str], phrases: list[str], *, quoted: int
) -> dict[str, Any]:
    """The receipt of what is about to go."""
    rows: Counter[str] = Counter({RECORD: quoted})
    labels, runs = set[str](), set[str]()
    for change in changes(store, documents, phrases):
        rows[change.table] += change.gone
        if change.table == "gates":  # a reason of theirs: the rows are of other texts
            runs.add(change.partition["run"])
        elif change.table == "labelled_texts":
            texts = store.read("labelled_texts")
            labels |= set(texts.filter(pl.col("document_id").is_in(documents))["slug"])
        elif change.gone and "label" in change.partition:
            labels.add(change.partition["label"])
    rows = +rows
    had = {p["run"] for t in BY_SAMPLE for p in store.partitions(t) if p["label"] in labels}
    return {
        "ids": sorted(ids),
        "document_ids": documents,
        "forgotten_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "labels": sorted(labels),
        "runs": sorted(runs | had),
        "tables": sorted(rows),
        "rows": [rows[table] for table in sorted(rows)],
        "done": False,
    }


def _apply(store: Store, change: Change) -> None:
    kept, partition = change.kept, change.partition
    if kept is None or (change.table in ("embeddings", "reviews") and kept.is_empty()):
        store.delete(change.table, partition)
        return
    manifest = store.manifest(change.table, partition)
    metadata = dict(manifest.metadata) if manifest else {}
    if manifest and change.table == "labelled_texts":
        before = metadata.get(_BEFORE)
        metadata[_BEFORE] = [*(before if isinstance(before, list) else []), manifest.sha256]
    # no fingerprint: what is left was made of more than there is now, so it is never "finished"
    store.write(change.table, kept, partition, metadata=metadata)


def _is_trained_on(store: Store, documents: list[str]) -> bool:
    """Whether one of them is among the train texts, which adaptation takes."""
    texts = read_if_sound(store, "labelled_texts", {})
    if texts is None:
        return False
    return not texts.filter(pl.col("document_id").is_in(documents), split="train").is_empty()


def _end_adapted_runs(store: Store) -> None:
    """Runs of the corpus get no more rows where their generator was adapted: it is deleted, and
    adaptation to what is left makes another one."""
    for partition, frame in _runs_of_corpus(store):
        config = json.loads(frame["config"][0])
        if "adapted_from" in config:
            config[GENERATOR_FORGOTTEN] = True
            _write_run(store, partition, frame, config)


def _follow(store: Store) -> None:
    """Runs of the corpus as it was are runs of what is left of it: evidence can be made again."""
    for partition, frame in _runs_of_corpus(store):
        manifest = store.manifest("labelled_texts")
        if manifest is not None and frame["corpus_sha256"][0] != manifest.sha256:
            config = json.loads(frame["config"][0]) | {"corpus_sha256": manifest.sha256}
            _write_run(store, partition, frame, config)


def _runs_of_corpus(store: Store) -> Iterator[tuple[dict[str, str], pl.DataFrame]]:
    """The runs that are frozen on the corpus in the store, or on what it was before forgetting."""
    manifest = store.manifest("labelled_texts")
    if manifest is None:
        return
    before = manifest.metadata.get(_BEFORE)
    ours = {manifest.sha256, *(before if isinstance(before, list) else [])}
    for partition in store.partitions("runs"):
        frame = store.read("runs", partition)
        if frame["corpus_sha256"][0] in ours:
            yield partition, frame


def _write_run(
    store: Store, partition: dict[str, str], frame: pl.DataFrame, config: dict[str, Any]
) -> None:
    frame = frame.with_columns(
        corpus_sha256=pl.lit(config["corpus_sha256"]),
        config=pl.lit(json.dumps(config, sort_keys=True)),
    )
    store.write("runs", conform(frame, RUNS), partition)


def _withdraw_card(store: Store, run: str) -> None:
    """In place of a card that quotes the text a page that says so."""
    told = paragraph(
        f"{notice(store, run)} {WITHDRAWN} The run's figures in evaluation and privacy_audit were "
        "measured before. Materialise evaluation, privacy_audit and dataset_card of this run to "
        "measure again and to have a card: smotext card does."
    )
    html = page("Synthetic texts", f"run {run}", facts=[], body=told[0])
    for name, text in (("html", html), ("md", f"# Synthetic texts, run {run}\n\n{told[1]}\n")):
        with suppress(FileNotFoundError):
            store.read_bytes(f"dataset_card/{run}.{name}")
            store.write_bytes(f"dataset_card/{run}.{name}", text.encode())
