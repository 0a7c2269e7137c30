"""A run that is there is asked for again: what was not said anew stays as it was made; and its card
says what to say so that somebody else gets the same rows."""

import shlex
from pathlib import Path

import pytest

from smotext_core.card.reproduce import reproduce
from tests.assets.conftest import Calls, Home, copy_of, corpus_rows, write_corpus

OPTIONS = ("--candidates", "3", "--temperature", "0.7", "--max-rouge-l", "0.4")


def commands(home: Home, run: str) -> list[list[str]]:
    """What the run's card says to type."""
    card = home.store.read_bytes(f"dataset_card/{run}.md").decode()
    lines = [line for line in card.splitlines() if line.startswith("smotext run ")]
    return [shlex.split(line)[1:] for line in lines]


def test_known_run_needs_no_corpus(
    finished: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not the one of the environment either, whether it is there or not."""
    home = copy_of(finished, tmp_path)
    files = home.files()
    assert home.main("run", "--run", "r1") == 0
    assert "run r1: the corpus in the store, generator small" in capfd.readouterr().err
    other = write_corpus(tmp_path / "other.csv", corpus_rows({"cooking": 9, "medicine": 5}))
    home.environment = {"SMOTEXT_CORPUS": str(other)}
    assert home.main("run", "--run", "r1") == 0
    assert home.files() == files
    assert Calls.decoded == 0
    # A new instance, which knows no label of the store, makes what is missing.
    home.store.delete("synthetic_table", {"label": "medicine", "run": "r1"})
    fresh = Home(home.folder)
    assert fresh.main("run", "--run", "r1") == 0
    assert fresh.files() == files


def test_known_run_of_another_corpus_is_refused_before_anything_is_made(
    finished: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)
    other = write_corpus(tmp_path / "other.csv", corpus_rows({"cooking": 9, "medicine": 5}))
    assert home.main("run", str(other), "--run", "r2") == 0
    files = home.files()
    assert home.main("run", "--run", "r1") == 2
    assert "the run r1 is frozen and corpus_sha256 was" in " ".join(capfd.readouterr().err.split())
    assert home.files() == files


def test_another_corpus_for_a_known_run_leaves_the_stored_one(
    finished: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)
    rows = corpus_rows()
    other = write_corpus(tmp_path / "other.csv", rows[:-1])
    files = home.files()
    assert home.main("run", str(other), "--run", "r1") == 2
    said = " ".join(capfd.readouterr().err.split())
    assert "the run r1 is frozen and corpus_sha256 was" in said
    assert f"{other} gives" in said
    assert "start a run with another key, or leave the corpus out" in said
    assert home.files() == files
    # Its own is taken, also by a run whose corpus lacks what was forgotten, which its file has.
    again = write_corpus(tmp_path / "again.csv", rows)
    assert home.main("run", str(again), "--run", "r1") == 0
    assert home.main("forget", "0") == 0
    for _ in range(2):
        assert home.main("run", str(again), "--run", "r2", "--labels", "medicine") == 0


def test_run_keeps_the_options_it_was_made_with(home: Home, corpus: Path) -> None:
    given = ("run", str(corpus), "--run", "r1")
    assert home.main(*given, *OPTIONS, "--totals", "medicine=12,cooking=12") == 0
    files, decoded = home.files(), Calls.decoded
    assert home.main(*given) == 0
    assert (home.files(), Calls.decoded) == (files, decoded)
    # One label with more candidates: the others stay, and each keeps its own.
    assert home.main(*given, "--labels", "medicine", "--candidates", "5") == 0
    files, decoded = home.files(), Calls.decoded
    assert home.main(*given) == 0
    assert (home.files(), Calls.decoded) == (files, decoded)
    candidates = {
        label: home.store.read("decoded_texts", {"label": label, "run": "r1"})["candidate"].max()
        for label in ("medicine", "cooking")
    }
    assert candidates == {"medicine": 4, "cooking": 2}


def test_card_names_the_options_that_shaped_the_rows(
    home: Home, tmp_path: Path, corpus: Path
) -> None:
    own = tmp_path / "own.csv"
    own.write_text(corpus.read_text().replace("text,label", "body,kind", 1))
    columns = ("--text", "body", "--label", "kind")
    given = ("run", str(own), "--run", "r1", "--seed", "3")
    assert home.main(*given, *columns, *OPTIONS, "--hold-where-it-hurts") == 0
    (command,) = commands(home, "r1")
    assert command[:2] == ["run", "CORPUS"]
    for words in (columns, OPTIONS, ("--hold-where-it-hurts",)):
        assert " ".join(words) in " ".join(command) or set(words) <= set(command)
    assert "--labels" not in command
    # One label made otherwise: a command for each, and all of them make the same rows elsewhere.
    assert home.main("run", "--run", "r1", "--labels", "medicine", "--candidates", "5") == 0
    first, second = commands(home, "r1")
    assert first[-2:] == ["--labels", "cooking"]
    assert second[-2:] == ["--labels", "medicine"]
    there = Home(tmp_path / "there")
    for command in (first, second):
        words = [str(own) if word == "CORPUS" else word for word in command]
        assert there.main(*words) == 0
    for table in ("synthetic_texts", "rejected_texts", "synthetic_table", "gates"):
        for label in ("medicine", "cooking"):
            at = {"label": label, "run": "r1"}
            assert there.store.read(table, at).equals(home.store.read(table, at))
    assert commands(there, "r1") == [first, second]


def test_card_without_options_names_none(finished: Home) -> None:
    (command,) = commands(finished, "r1")
    assert command[2:7] == ["--generator", "small", "--run", "r1", "--seed"]
    known = ("--candidates", "--temperature", "--max-rouge-l", "--adapt", "--hold-where-it-hurts")
    assert not {*known, "--labels", "--publish-anyway"} & set(command)


def test_card_names_reasons_and_what_the_command_cannot_say(finished: Home) -> None:
    alike = {"synthetic_texts": {"min_words": 3}}
    published = {**alike, "synthetic_table": {"publish_anyway": "it's public\nindeed"}}
    blocks = reproduce(
        "r1",
        {"wanted": {"cooking": 4, "medicine": 2, "astronomy": 0}},
        {"name": "mini-adapted", "configured": "mini"},
        {"cooking": alike, "medicine": published, "astronomy": {}},
    )
    told, line = blocks[0][1], blocks[1][1].strip("`\n")
    assert "no option for these, which are set on the assets: synthetic" in told.replace("\\", "")
    assert shlex.split(line) == [
        *("smotext", "run", "CORPUS", "--generator", "mini", "--run", "r1"),
        *("--sampling-strategy", "auto", "--publish-anyway", "medicine=it's public indeed"),
    ]
