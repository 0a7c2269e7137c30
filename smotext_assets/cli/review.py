"""`smotext review`: rows of a run out to a reader, and the verdicts back."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console
from rich.text import Text

from smotext_assets.graph import check_run
from smotext_assets.stages import reviews_of
from smotext_assets.store import Store, frame_sha256
from smotext_core.reviews import (
    acceptance,
    matching,
    parse_verdicts,
    pull_review,
    push_review,
    read_review,
    review_frame,
    review_page,
    review_rows,
    review_xlsx,
)
from smotext_core.schemas import REVIEWS, SYNTHETIC_TEXTS, conform
from smotext_core.texts import csv_bytes

if TYPE_CHECKING:
    from argilla import Argilla


def add_review(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("run", help="key of a run, as `smotext status` lists them")
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--export", metavar="FILE", help="write rows to read: FILE.csv, FILE.xlsx or FILE.html"
    )
    way.add_argument(
        "--import", metavar="FILE", dest="taken", help="take back the verdicts: FILE.csv or .xlsx"
    )
    way.add_argument(
        "--to-argilla",
        metavar="DATASET",
        help="send rows to an Argilla server (ARGILLA_API_URL, ARGILLA_API_KEY), DATASET or "
        "WORKSPACE/DATASET",
    )
    way.add_argument(
        "--from-argilla", metavar="DATASET", help="take back what its readers submitted there"
    )
    parser.add_argument(
        "--sample", type=int, default=20, help="rows a label drawn at random; default: 20"
    )
    parser.add_argument(
        "--unsure", type=int, default=10, help="rows a label of the least sure; default: 10"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw; default: 0")
    parser.add_argument(
        "--without-parents", action="store_true", help="the reader may not see the real texts"
    )
    parser.add_argument("--reviewer", help="who read the rows that name nobody")
    parser.add_argument(
        "--skip-faulty", action="store_true", help="import the other lines, where some have faults"
    )


def review_command(
    given: argparse.Namespace,
    *,
    store: Store,
    materialize: Callable[[Mapping[str, Any]], Mapping[str, str]],
    console: Console,
) -> int:
    """Write the file, or take one back; without either, say what readers accepted.

    Raises:
        LookupError: there is no such run.
        ValueError: the file is none, or has faulty lines: nothing of it is imported then.
        OSError: the file cannot be read or written, or the server refuses or does not answer.
        ImportError: the package argilla is not installed, and asked for.
    """
    check_run(store, given.run, command="review")
    if given.export or given.to_argilla:
        return _export(given, store, console)
    if given.taken or given.from_argilla:
        return _import(given, store, materialize, console)
    rows = store.read_all("synthetic_texts", {"run": given.run}, schema=SYNTHETIC_TEXTS)
    _print_acceptance(matching(reviews_of(store, given.run), rows), console)
    return 0


def _export(given: argparse.Namespace, store: Store, console: Console) -> int:
    kind = Path(given.export or "").suffix
    if given.export and kind not in (".csv", ".xlsx", ".html"):
        raise ValueError(f"--export takes a file .csv, .xlsx or .html, got {given.export!r}")
    rows = store.read_all("synthetic_texts", {"run": given.run}, schema=SYNTHETIC_TEXTS)
    chosen = review_rows(rows, n_sample=given.sample, n_unsure=given.unsure, seed=given.seed)
    corpus = store.read("labelled_texts")
    texts = dict(corpus.select("text_id", "text").iter_rows())
    told = matching(reviews_of(store, given.run), chosen)
    frame = review_frame(chosen, told, None if given.without_parents else texts)
    labels = sorted(set(corpus["label"]))
    drawn = chosen.filter(why="sample").height
    if given.to_argilla:
        with _argilla() as client:
            sent = push_review(client, frame, name=given.to_argilla, labels=labels)
        console.print(
            Text(
                f"{sent} of {chosen.height} rows sent to {given.to_argilla}, where the others are; "
                f"{drawn} of all were drawn at random"
            ),
            soft_wrap=True,
        )
        _warn_of_parents(given, console)
        return 0
    if kind == ".csv":
        data = csv_bytes(frame, bom=True)
    elif kind == ".xlsx":
        data = review_xlsx(frame, labels)
    else:
        data = review_page(frame, run=given.run, labels=labels).encode()
    Path(given.export).write_bytes(data)
    console.print(
        Text(f"{given.export}: {chosen.height} rows, {drawn} of them drawn at random"),
        soft_wrap=True,
    )
    _warn_of_parents(given, console)
    return 0


def _warn_of_parents(given: argparse.Namespace, console: Console) -> None:
    if not given.without_parents:
        console.print("It quotes source texts: for readers who may see them.")


def _import(
    given: argparse.Namespace,
    store: Store,
    materialize: Callable[[Mapping[str, Any]], Mapping[str, str]],
    console: Console,
) -> int:
    rows = store.read_all("synthetic_texts", {"run": given.run}, schema=SYNTHETIC_TEXTS)
    now = datetime.now(UTC)
    disagreeing: list[str] = []
    places = None
    if given.from_argilla:
        with _argilla() as client:
            cells, places, disagreeing = pull_review(client, given.from_argilla)
    else:
        cells = read_review(Path(given.taken).read_bytes(), name=given.taken)
    found = parse_verdicts(
        cells,
        rows,
        run=given.run,
        labels=set(store.read("labelled_texts")["label"]),
        reviewer=given.reviewer,
        now=now,
        places=places,
    )
    for line in (*disagreeing, *found.gone, *found.faults):
        console.print(Text(line, style="yellow"), soft_wrap=True)
    if found.faults and not given.skip_faulty:
        raise ValueError(
            f"{given.taken or given.from_argilla} has {len(found.faults)} faulty lines and nothing "
            "of it was imported: mend them, or import the others by --skip-faulty"
        )
    older = keep_verdicts(store, given.run, found.verdicts, now=now)
    if failed := materialize({}):
        raise ValueError("; ".join(f"{key}: {why}" for key, why in failed.items()))
    skipped = len(disagreeing) + len(found.gone) + len(found.faults)
    console.print(
        Text(
            f"{found.verdicts.height} verdicts imported, {skipped} lines skipped, "
            f"{found.unread} rows not read"
        ),
        soft_wrap=True,
    )
    if older:
        console.print(f"{older} of them were read before what somebody said since, which stands.")
    _print_acceptance(matching(reviews_of(store, given.run), rows), console)
    console.print(
        Text(
            f"Dropped rows leave the table at its next materialisation: smotext run --run "
            f"{given.run}"
        ),
        soft_wrap=True,
    )
    return 0


@contextmanager
def _argilla() -> Iterator["Argilla"]:
    """A client of the server that Argilla's own variables name; its errors are ours."""
    try:
        import argilla
        from argilla._exceptions import ArgillaError
        from httpx import HTTPError
    except ImportError as error:
        raise ImportError("Argilla needs its client: pip install 'smotext[argilla]'") from error
    try:
        yield argilla.Argilla()
    except (ArgillaError, HTTPError) as error:
        raise OSError(
            f"Argilla: {error}; look at ARGILLA_API_URL and ARGILLA_API_KEY, and what the key may"
        ) from error


def keep_verdicts(store: Store, run: str, verdicts: pl.DataFrame, *, now: datetime) -> int:
    """Verdicts into the table of record, as a partition that no other import writes.

    Who imports at the same moment loses nothing, on a bucket too. The same verdicts taken again are
    one partition: the new one, in the place of the one before.

    Args:
        verdicts: REVIEWS; those without a time of their own have that of `now`.

    Returns:
        how many of them do not stand, for a later one on the same text is there.
    """
    if verdicts.is_empty():
        return 0
    time = pl.col("reviewed_at")
    untimed = pl.when(time != now.isoformat(timespec="seconds")).then(time).alias("reviewed_at")
    content = frame_sha256(verdicts.with_columns(untimed))[:16]
    there = [at for at in store.partitions("reviews") if at["run"] == run]
    at = {"run": run, "taken": f"{now:%Y%m%dT%H%M%S%f}-{content}"}
    store.write("reviews", conform(verdicts, REVIEWS), at)
    for before in there:
        if before != at and before.get("taken", "").endswith(content):
            store.delete("reviews", before)
    told = store.read_all("reviews", {"run": run}, schema=REVIEWS)
    later = verdicts.join(told, on=["sample_id", "content_hash"]).filter(
        pl.col("reviewed_at_right") > pl.col("reviewed_at")
    )
    return later["sample_id"].n_unique()


def _print_acceptance(reviews: pl.DataFrame, console: Console) -> None:
    told = acceptance(reviews)
    if told.is_empty():
        console.print("Nobody has read these rows yet.")
    for label, read, sampled, accepted, share, low, high in told.iter_rows():
        of_sample = (
            f"{accepted} of {sampled} drawn at random accepted, {share:.0%} "
            f"({low:.0%} to {high:.0%})"
            if sampled
            else "none of them drawn at random: no acceptance can be told"
        )
        console.print(Text(f"{label}: {read} read, {of_sample}"), soft_wrap=True)
