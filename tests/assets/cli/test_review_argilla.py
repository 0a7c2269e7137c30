"""`smotext review --to-argilla` and `--from-argilla`, by Argilla's own client."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from smotext_assets.stages import reviews_of
from tests.assets.conftest import Home, copy_of
from tests.core.reviews.argilla_server import KEY, argilla_server

argilla = pytest.importorskip("argilla", reason="needs argilla: pip install 'smotext[argilla]'")


def test_rows_go_to_argilla_and_verdicts_come_back(
    finished: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    home = copy_of(finished, tmp_path)

    def review(*arguments: str) -> tuple[int, str]:
        status = home.main("review", "r1", *arguments)
        told = capfd.readouterr()
        return status, " ".join((told.out + told.err).split())

    with argilla_server() as server:
        client = partial(argilla.Argilla, api_url=server.url, retries=0)
        monkeypatch.setattr(argilla, "Argilla", partial(client, api_key=KEY))
        n = home.store.read_all("synthetic_texts", {"run": "r1"}).height
        status, told = review("--to-argilla", "review", "--sample", "100", "--without-parents")
        assert (status, f"{n} of {n} rows sent to review" in told) == (0, True)
        sent = server.records("review")
        assert "parents" not in sent[0]["fields"]
        status, told = review("--to-argilla", "review", "--sample", "100")
        assert (status, f"0 of {n} rows sent" in told) == (0, True)

        ids = [record["external_id"] for record in sent]
        server.answer_record("review", ids[0], "ada", "submitted", {"verdict": "keep"})
        server.answer_record("review", ids[1], "ada", "submitted", {"verdict": "drop"})
        for who, verdict in (("ada", "keep"), ("bob", "drop")):
            server.answer_record("review", ids[2], who, "submitted", {"verdict": verdict})
        status, told = review("--from-argilla", "team/review")
        assert status == 0
        assert f"record {ids[2]}: its readers disagree (ada: keep; bob: drop)" in told
        assert f"2 verdicts imported, 1 lines skipped, {n - 3} rows not read" in told
        found = reviews_of(home.store, "r1")
        assert {row["sample_id"]: row["verdict"] for row in found.to_dicts()} == {
            ids[0]: "keep", ids[1]: "drop"
        }  # fmt: skip
        assert review("--from-argilla", "review")[0] == 0  # again: the same verdicts are there once
        assert len(home.store.partitions("reviews")) == 1
        # ada discards what she had kept, later
        server.answer_record("review", ids[0], "ada", "discarded", None, at="2026-11-30T10:05:00")
        assert review("--from-argilla", "review")[0] == 0
        assert reviews_of(home.store, "r1")["sample_id"].to_list() == [ids[1]]

        sent[1]["fields"]["text"] = "another text"
        status, told = review("--from-argilla", "review")
        assert status == 2
        assert f"record {ids[1]}: the text of {ids[1]} is another one" in told
        assert "review has 1 faulty lines and nothing of it was imported" in told
        monkeypatch.setattr(argilla, "Argilla", partial(client, api_key="another"))
        status, told = review("--from-argilla", "review")
        assert status == 2
        assert "smotext: Argilla:" in told
        assert "look at ARGILLA_API_URL and ARGILLA_API_KEY" in told
    status, told = review("--from-argilla", "review")  # nobody answers
    assert (status, "smotext: Argilla: [Errno" in told) == (2, True)


def test_without_the_package_the_command_says_what_to_install(
    finished: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "argilla", None)
    assert finished.main("review", "r1", "--from-argilla", "review") == 2
    assert "pip install 'smotext[argilla]'" in " ".join(capfd.readouterr().err.split())
