"""Rows to Argilla and verdicts back, by Argilla's own client against its server's replies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl
import pytest

from smotext_core.reviews import Found, parse_verdicts, pull_review, push_review
from smotext_core.reviews.verdicts import content_hash
from tests.core.reviews.argilla_server import KEY, ArgillaServer, argilla_server
from tests.core.reviews.test_reviews import NOW, asked, rows

if TYPE_CHECKING:
    from argilla import Argilla

argilla = pytest.importorskip("argilla", reason="needs argilla: pip install 'smotext[argilla]'")
LABELS = ["a", "b"]


@pytest.fixture
def server() -> Iterator[ArgillaServer]:
    with argilla_server() as found:
        yield found


@pytest.fixture
def client(server: ArgillaServer) -> Iterator[Argilla]:
    found = argilla.Argilla(api_url=server.url, api_key=KEY, retries=0)
    yield found
    found.http_client.close()


def pulled(client: Argilla, frame: pl.DataFrame | None = None) -> Found:
    cells, places, _ = pull_review(client, "review")
    made = rows() if frame is None else frame
    return parse_verdicts(
        cells, made, run="r1", labels=set(LABELS), reviewer=None, now=NOW, places=places
    )


def test_push_review_makes_a_data_set_that_shows_texts_as_texts(
    client: Argilla, server: ArgillaServer
) -> None:
    frame = asked(n_sample=3, n_unsure=2)
    assert push_review(client, frame, name="team/review", labels=LABELS) == 10
    (dataset,) = server.datasets.values()
    assert (dataset["name"], dataset["status"]) == ("review", "ready")
    assert dataset["workspace_id"] == server.workspace["id"]
    parts = {name: found for (_, name), found in server.parts.items()}
    assert {f["name"]: f["settings"]["use_markdown"] for f in parts["fields"]} == {
        "text": False, "label": False, "parents": False
    }  # fmt: skip
    options = {
        q["name"]: [o["value"] for o in q["settings"]["options"]] for q in parts["questions"]
    }
    assert options == {"verdict": ["keep", "drop"], "corrected_label": LABELS}
    assert {q["name"]: q["required"] for q in parts["questions"]}["corrected_label"] is False
    assert not any(m["visible_for_annotators"] for m in parts["metadata-properties"])
    sent = server.records("review")
    assert [record["external_id"] for record in sent] == frame["sample_id"].to_list()
    first, row = sent[0], frame.row(0, named=True)
    assert first["fields"] == {name: row[name] for name in ("text", "label", "parents")}
    assert first["metadata"]["content_hash"] == content_hash(row["text"])
    assert first["metadata"]["why"] == row["why"]
    assert first["metadata"]["round_trip_cosine"] == row["round_trip_cosine"]


def test_push_review_sends_what_is_not_there_yet(client: Argilla, server: ArgillaServer) -> None:
    push_review(client, asked(n_sample=3, n_unsure=2), name="review", labels=LABELS)
    (first, *_) = (record["external_id"] for record in server.records("review"))
    server.answer_record("review", first, "ada", "submitted", {"verdict": "keep"})
    more = asked(n_sample=60, n_unsure=0)  # all of them: three pages of records
    assert push_review(client, more, name="review", labels=LABELS) == 70
    assert push_review(client, more, name="review", labels=LABELS) == 0
    assert len(server.records("review")) == 80
    assert pulled(client).verdicts["sample_id"].to_list() == [first]
    made_anew = more.with_columns(text=pl.lit("another text"))
    with pytest.raises(ValueError, match=r"another text of 80 of these rows.* of another name"):
        push_review(client, made_anew, name="review", labels=LABELS)
    assert len(server.records("review")) == 80


def test_pull_review_gives_what_readers_submitted(client: Argilla, server: ArgillaServer) -> None:
    frame = asked(n_sample=60, n_unsure=0)
    push_review(client, frame, name="review", labels=LABELS)
    ids = frame.filter(label="a")["sample_id"].to_list()

    def answer(
        place: int, who: str | None, status: str, verdict: str | None, label: str = ""
    ) -> None:
        told = {"verdict": verdict} if verdict else None
        if told and label:
            told["corrected_label"] = label
        at = f"2026-11-2{place}T09:30:00.500000"
        server.answer_record("review", ids[place], who, status, told, at=at)

    answer(0, "ada", "submitted", "keep")
    answer(1, "ada", "submitted", "drop")
    answer(2, "ada", "submitted", "keep", "b")
    answer(3, "ada", "submitted", "keep", "a")  # its own label
    answer(4, "ada", "discarded", None)
    answer(5, "ada", "draft", "drop")
    answer(6, None, "submitted", "drop")
    answer(7, "bob", "discarded", "keep")
    found = pulled(client)
    assert found.faults == []
    told = {row["sample_id"]: row for row in found.verdicts.iter_rows(named=True)}
    assert {i: told[i]["verdict"] for i in told} == {
        ids[0]: "keep", ids[1]: "drop", ids[2]: "relabel", ids[3]: "keep", ids[4]: "undecided",
        ids[6]: "drop", ids[7]: "undecided",
    }  # fmt: skip
    assert told[ids[2]]["corrected_label"] == "b"
    assert [told[ids[n]]["reviewer"] for n in (0, 6, 7)] == [
        "ada", "a reader who was deleted", "bob"
    ]  # fmt: skip
    assert told[ids[1]]["reviewed_at"] == "2026-11-21T09:30:00+00:00"
    assert set(found.verdicts["sampled"]) == {True}
    assert found.unread == 80 - 7


def test_pull_review_takes_several_readers_where_they_agree(
    client: Argilla, server: ArgillaServer
) -> None:
    frame = asked(n_sample=3, n_unsure=0)
    push_review(client, frame, name="review", labels=LABELS)
    agreed, differ, other = frame["sample_id"].head(3)
    for who, at in (("bob", "2026-11-21T00:00:00"), ("ada", "2026-11-20T00:00:00")):
        server.answer_record("review", agreed, who, "submitted", {"verdict": "keep"}, at=at)
    for who, verdict in (("bob", "keep"), ("ada", "drop")):
        server.answer_record("review", differ, who, "submitted", {"verdict": verdict})
    server.answer_record("review", other, "ada", "submitted", {"verdict": "keep"})
    server.answer_record("review", other, "bob", "draft", {"verdict": "drop"})
    (ada,) = (user for user, name in server.users.items() if name == "ada")
    told = pull_review(client, "review").disagreeing
    assert told == [f"record {differ}: its readers disagree (ada: drop; bob: keep)"]
    found = pulled(client).verdicts
    by = dict(found.select("sample_id", "reviewer").iter_rows())
    assert by == {agreed: "ada, bob", other: "ada"}
    at = dict(found.select("sample_id", "reviewed_at").iter_rows())
    assert at[agreed] == "2026-11-21T00:00:00+00:00"
    server.hidden.add(ada)  # a key that may not ask for names
    by = dict(pulled(client).verdicts.select("sample_id", "reviewer").iter_rows())
    assert by[other] == ada


def test_pull_review_refuses_a_text_that_is_another_one_now(
    client: Argilla, server: ArgillaServer
) -> None:
    frame = asked(n_sample=3, n_unsure=0)
    push_review(client, frame, name="review", labels=LABELS)
    first, second = frame["sample_id"].head(2)
    server.answer_record("review", first, "ada", "submitted", {"verdict": "keep"})
    anew = rows().with_columns(
        pl.when(pl.col("sample_id") == first).then(pl.lit("new")).otherwise("text").alias("text")
    )
    found = pulled(client, anew)
    assert found.faults == [
        f"record {first}: the text of {first} is another one than that in the store"
    ]
    both = {"verdict": "drop", "corrected_label": "b" if second.startswith("r1.a") else "a"}
    server.answer_record("review", second, "ada", "submitted", both)
    assert "it says drop and corrects the label" in pulled(client).faults[0]


def test_argilla_reviews_that_are_none_are_refused(client: Argilla, server: ArgillaServer) -> None:
    frame = asked(n_sample=1, n_unsure=0)
    for name in ("other/review", "team/", ""):
        with pytest.raises(ValueError, match=r"DATASET or WORKSPACE/DATASET.*\['team'\]"):
            push_review(client, frame, name=name, labels=LABELS)
    with pytest.raises(ValueError, match=r"team has no data set 'review', but \[\]"):
        pull_review(client, "review")
    settings = argilla.Settings(
        fields=[argilla.TextField("text", client=client)],
        questions=[argilla.TextQuestion("comment", client=client)],
    )
    argilla.Dataset("review", workspace="team", settings=settings, client=client).create()
    for ask in (pull_review, lambda *_: push_review(client, frame, name="review", labels=LABELS)):
        with pytest.raises(ValueError, match="no question 'verdict'"):
            ask(client, "review")
    assert not [path for method, path in server.asked if method == "PUT" and "bulk" in path]
