"""A review on an Argilla server: rows go as records, readers' responses come back as cells.

What comes back is judged by `parse_verdicts`, as a file is. Texts are fields without Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from smotext_core.reviews.files import FILE_COLUMNS
from smotext_core.reviews.verdicts import UNDECIDED, content_hash
from smotext_core.texts import guarded

if TYPE_CHECKING:
    from argilla import Argilla, Dataset, Workspace

_PAGE = 100  # records a request, as Argilla's own client asks for
_SAID = ("keep", "drop")  # who cannot tell discards the record


class Pulled(NamedTuple):
    """What a data set's readers say, a record a row."""

    cells: pl.DataFrame  # as `read_review` gives those of a file
    places: list[str]  # what to call each row
    disagreeing: list[str]  # records whose readers differ, a sentence each; they are no row


def push_review(client: Argilla, frame: pl.DataFrame, *, name: str, labels: Sequence[str]) -> int:
    """Send rows to the data set `name`, which is made where it is not there; how many were sent.

    A record's id is the row's; one that is there already stays, with what readers said of it.

    Args:
        frame: of `review_frame`.
        name: DATASET in the first workspace, or WORKSPACE/DATASET.
        labels: those that a reader may correct one to.

    Raises:
        ValueError: no such workspace, a data set that is no review, or one that has another text of
            a row, for what its readers said was of that text.
        ArgillaError, httpx.HTTPError: the server refuses, or does not answer.
    """
    import argilla

    workspace, title, dataset = _find(client, name)
    there: dict[str, str] = {}
    if dataset is not None:
        for record in _records(client, dataset):
            metadata = record.get("metadata") or {}
            there[record["external_id"]] = metadata.get("content_hash", "")
    records, other = [], []
    for row in frame.iter_rows(named=True):
        sample_id, hashed = row["sample_id"], content_hash(row["text"])
        if sample_id in there:
            other += [] if there[sample_id] == hashed else [sample_id]
            continue
        fields = {field: row[field] for field in ("text", "label", "parents") if row[field]}
        told = {"run": row["run"], "why": row["why"], "content_hash": hashed}
        scores = {
            score: row[score]
            for score in ("round_trip_cosine", "label_confidence")
            if row[score] is not None
        }
        records.append(argilla.Record(id=sample_id, fields=fields, metadata=told | scores))
    if other:
        raise ValueError(
            f"{name} has another text of {len(other)} of these rows, the first is {other[0]}: they "
            "were made anew since; push into a data set of another name"
        )
    if dataset is None:
        dataset = argilla.Dataset(
            name=title, workspace=workspace, settings=_settings(labels, client), client=client
        )
        dataset.create()
    if records:
        dataset.records.log(records)
    return len(records)


def pull_review(client: Argilla, name: str) -> Pulled:
    """What the readers of the data set `name` said, as cells of a file.

    A discarded record is undecided, a draft says nothing. Of several readers one verdict is taken
    where all of them agree.

    Raises:
        ValueError: there is no such data set, or it is no review.
        ArgillaError, httpx.HTTPError: the server refuses, or does not answer.
    """
    workspace, title, dataset = _find(client, name)
    if dataset is None:
        names = sorted(found.name for found in workspace.datasets)
        raise ValueError(f"the workspace {workspace.name} has no data set {title!r}, but {names}")
    readers: dict[str, str] = {}
    rows, places, disagreeing = [], [], []
    for record in _records(client, dataset):
        fields, metadata = record["fields"], record.get("metadata") or {}
        sample_id = record["external_id"] or f"without an id ({record['id']})"
        said = [
            (_said(response, fields), _reader(client, response, readers), response["updated_at"])
            for response in record.get("responses") or []
            if response["status"] != "draft"
        ]
        if len({verdict for verdict, _, _ in said}) > 1:
            said.sort(key=lambda one: one[1])
            each = "; ".join(f"{who}: {label or told}" for (told, label), who, _ in said)
            disagreeing.append(f"record {sample_id}: its readers disagree ({each})")
            continue
        verdict, label = said[0][0] if said else ("", "")
        cells = {
            "run": metadata.get("run", ""),
            "sample_id": sample_id,
            "label": fields.get("label", ""),
            "text": fields.get("text", ""),
            "why": metadata.get("why", ""),
            "verdict": verdict,
            "corrected_label": label,
            "reviewer": ", ".join(sorted(who for _, who, _ in said)),
            "reviewed_at": max((at for _, _, at in said), default=""),
        }
        rows.append({column: cells.get(column, "") for column in FILE_COLUMNS})
        places.append(f"record {sample_id}")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(FILE_COLUMNS, pl.String()))
    return Pulled(guarded(frame), places, disagreeing)


def _find(client: Argilla, name: str) -> tuple[Workspace, str, Dataset | None]:
    """The workspace, the data set's own name, and it, None where it is not there."""
    of, _, title = name.rpartition("/")
    known = list(client.workspaces)
    found = [workspace for workspace in known if workspace.name == of or not of]
    if not found or not title:
        names = [workspace.name for workspace in known]
        raise ValueError(
            f"a review is DATASET or WORKSPACE/DATASET, got {name!r}; there are {names}"
        )
    for dataset in found[0].datasets:
        if dataset.name == title:
            dataset.get()
            if not {q.name for q in dataset.settings.questions} >= {"verdict"}:
                raise ValueError(
                    f"{name} is no review: it has no question 'verdict'; give another name, "
                    "`smotext review --to-argilla` makes the data set"
                )
            return found[0], title, dataset
    return found[0], title, None


def _settings(labels: Sequence[str], client: Argilla) -> Any:
    import argilla

    questions = [
        argilla.LabelQuestion(
            "verdict", labels=list(_SAID), title="Keep the text, or drop it?", client=client
        )
    ]
    if len(labels) > 1:  # a choice of one is none
        questions.append(
            argilla.LabelQuestion(
                "corrected_label",
                labels=list(labels),
                title="Keep it under another label?",
                required=False,
                client=client,
            )
        )
    return argilla.Settings(
        guidelines="Keep what could be a text of its label, drop what could not. Discard a record "
        "to leave it undecided: a verdict from before is taken back then.",
        fields=[
            argilla.TextField("text", client=client),
            argilla.TextField("label", client=client),
            argilla.TextField("parents", required=False, client=client),
        ],
        questions=questions,
        metadata=[  # why a row was chosen would tell the reader what to expect of it
            *(
                argilla.TermsMetadataProperty(told, visible_for_annotators=False, client=client)
                for told in ("run", "why", "content_hash")
            ),
            *(
                argilla.FloatMetadataProperty(score, visible_for_annotators=False, client=client)
                for score in ("round_trip_cosine", "label_confidence")
            ),
        ],
    )


def _records(client: Argilla, dataset: Dataset) -> Iterator[dict[str, Any]]:
    """The records as the server tells them.

    `dataset.records` of the client 2.8 does not tell when a response was given, loses a record that
    was discarded without an answer, and fails where its answer is null.
    """
    offset = 0
    while True:
        reply = client.http_client.get(
            f"/api/v1/datasets/{dataset.id}/records",
            params={"offset": offset, "limit": _PAGE, "include": ["responses"]},
        )
        reply.raise_for_status()
        items = reply.json()["items"]
        if not items:
            return
        yield from items
        offset += len(items)


def _said(response: dict[str, Any], fields: dict[str, Any]) -> tuple[str, str]:
    """The verdict and the corrected label of one reader."""
    if response["status"] == "discarded":
        return UNDECIDED, ""
    values = response["values"] or {}
    verdict, label = (
        str((values.get(question) or {}).get("value") or "")
        for question in ("verdict", "corrected_label")
    )
    return verdict, "" if label == fields.get("label") else label


def _reader(client: Argilla, response: dict[str, Any], known: dict[str, str]) -> str:
    """Who gave it: the name, or the id where the server does not tell one's name to us."""
    user = response["user_id"]
    if user is None:
        return "a reader who was deleted"
    if user not in known:
        reply = client.http_client.get(f"/api/v1/users/{user}")  # owners alone may ask
        known[user] = reply.json()["username"] if reply.is_success else user
    return str(known[user])
