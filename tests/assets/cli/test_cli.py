"""The command: what it says and how it ends. What it makes is in test_graph.py."""

import re
from collections import Counter
from pathlib import Path

import pytest

from smotext_assets.cli import command as cli
from tests.assets.conftest import (
    Calls,
    CountingGenerator,
    Home,
    corpus_rows,
    write_corpus,
)

# run


def test_run_prints_wanted_and_made_and_where_to_look(
    home: Home, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    totals = ("--totals", "medicine=9,cooking=9")
    assert home.main("run", str(corpus), "--run", "r1", "--labels", "medicine", *totals) == 0
    printed = capfd.readouterr()
    (row,) = [line.split("│") for line in printed.out.splitlines() if line.startswith("│ medicine")]
    assert [cell.strip() for cell in row[2:5]] == ["6", "3", "3"]
    assert "│ cooking" not in printed.out  # --labels
    assert len(home.tables()["synthetic_texts"]) == 3
    assert f"{home.warehouse} (tables synthetic_texts, lineage" in printed.out
    assert f"{home.store.root}/dataset_card/r1.html" in printed.out
    assert "medicine: decoding: 5 done" in printed.err
    ((sample_id, text),) = home.query(
        "SELECT sample_id, text FROM synthetic_texts ORDER BY round_trip_cosine DESC LIMIT 1"
    )
    assert sample_id in printed.out
    assert text.split()[0] in printed.out
    ((parent, weight),) = home.query(
        f"SELECT parent_id, weight FROM lineage WHERE sample_id = '{sample_id}' LIMIT 1"
    )
    assert f"{weight:.2f} × {parent}: " in printed.out


def test_run_without_key_is_named_by_the_time(home: Home, corpus: Path) -> None:
    assert home.main("run", str(corpus), "--labels", "astronomy", "--candidates", "1") == 0
    ((run,),) = home.query("SELECT run FROM runs")
    assert len(run) == len("20261122T0300")
    assert run[8] == "T"
    # astronomy is the largest: nothing is wanted, and that is no fault
    assert home.tables()["synthetic_texts"] == []
    assert home.store.read_bytes(f"dataset_card/{run}.html")


def said(capfd: pytest.CaptureFixture[str]) -> str:
    """What went to stderr, in one line."""
    return " ".join(capfd.readouterr().err.split())


BAD_CORPORA = {
    "empty": ("", "no row of .* can be used: 0 rows"),
    "header": ("text,label\n", "no row of .* can be used: 0 rows"),
    "columns": ("body,label\na,b\n", r"needs one column 'text'.*among \['body', 'label'\]"),
    "one_class": (
        "text,label\n"
        + "".join(f"a sentence of {w} words,only\n" for w in ("four", "five", "six")),
        r"at least two labels; 3 texts leave \['only'\]",
    ),
}


@pytest.mark.parametrize("name", BAD_CORPORA)
def test_run_refuses_a_bad_corpus(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    content, message = BAD_CORPORA[name]
    path = tmp_path / "bad.csv"
    path.write_text(content)
    assert home.main("run", str(path), "--run", "r1") == 2
    error = said(capfd)
    assert "Traceback" not in error
    assert re.search(f"smotext: raw_corpus, labelled_texts failed: ValueError: .*{message}", error)
    assert home.store.partitions("runs") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.csv"], "the corpus absent.csv is not a file"),
        (["CORPUS.docx"], "is not a file; a corpus is a file of CSV, JSON"),
        (["CORPUS", "--run", "a/b"], "a run key has letters, digits, - and _ only, got 'a/b'"),
        (["CORPUS", "--run", "r1\n"], "a run key has letters"),
        (["CORPUS", "--run", "../up"], "a run key has letters"),
        (
            ["CORPUS", "--labels", "medicine,absent"],
            r"the corpus has \['astronomy', 'cooking', "
            r"'medicine'\], not \['absent'\]",
        ),
        (["CORPUS", "--sampling-strategy", "most"], "sampling_strategy must be one of"),
        (["CORPUS", "--totals", "absent=3"], "names the classes .'absent'."),
        (["CORPUS", "--lam", "2"], "lam must be 'uniform'"),
        (["CORPUS", "--n-parents", "7"], "n_parents=7 takes 6 neighbours"),
        (["CORPUS", "--n-parents", "3", "--lam", "0.5"], "3 parents take lam='uniform'"),
        (["CORPUS", "--k-neighbors", "0"], "k_neighbors must be at least 1"),
        (["CORPUS", "--oversample", "-1"], "oversample must be above 0"),
    ],
)
def test_run_refuses_bad_arguments(
    home: Home,
    corpus: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    given = [argument.replace("CORPUS", str(corpus)) for argument in arguments]
    assert home.main("run", *given) == 2
    error = said(capfd)
    assert "Traceback" not in error
    assert re.search(f"smotext: .*{message}", error)


@pytest.mark.parametrize(
    ("option", "value", "required"),
    [
        ("--candidates", "0", "greater than or equal to 1, got 0"),
        ("--temperature", "-1", "greater than or equal to 0, got -1.0"),
        ("--max-rouge-l", "70", "less than or equal to 1, got 70.0"),
        ("--adapt", "-1", "greater than or equal to 0, got -1"),
    ],
)
def test_run_refuses_bad_options_before_it_makes_anything(
    home: Home,
    corpus: Path,
    capfd: pytest.CaptureFixture[str],
    option: str,
    value: str,
    required: str,
) -> None:
    assert home.main("run", str(corpus), option, value) == 2
    assert f"smotext: {option}: Input should be {required}" in said(capfd)
    assert home.files() == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--totals", "medicine"],
        ["--totals", "=3"],
        ["--totals", "medicine=-1"],
        ["--seed", "x"],
        ["--strategy", "auto"],
        ["--mixing", "cubic"],
    ],
)
def test_run_refuses_what_cannot_be_parsed(
    home: Home, capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as status:
        home.main("run", "corpus.csv", *arguments)
    assert status.value.code == 2
    assert f"argument {arguments[0]}" in capfd.readouterr().err


def test_run_refuses_another_seed_for_a_frozen_run(
    finished: Home, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = finished.files()
    assert finished.main("run", str(corpus), "--run", "r1", "--seed", "8") == 2
    error = said(capfd)
    assert "smotext: the run r1 is frozen and seed was 7, is 8: start a run with another" in error
    assert "medicine failed" not in error  # once, not once a label
    assert finished.files() == before


def test_run_refuses_a_generator_that_is_not_there(
    home: Home, corpus: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMOTEXT_HOME", str(home.folder))
    monkeypatch.setattr(cli, "dagster_instance", lambda: home.instance)
    absent = str(home.folder / "no-generator")
    assert cli.main(["run", str(corpus), "--generator", absent]) == 2
    assert "no-generator" in capfd.readouterr().err
    assert Calls.encoded == []


def test_run_tells_the_cause_where_too_few_labels_are_left(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [*corpus_rows({"medicine": 6, "cooking": 4}), ("a xylophone in the oven", "cooking")]
    corpus = write_corpus(tmp_path / "two.csv", rows)
    Calls.poison = "xylophone"
    assert home.main("run", str(corpus), "--run", "r1") == 2
    error = said(capfd)
    assert "cooking failed: RuntimeError: the encoder stumbled over xylophone" in error
    assert re.search("smotext: .*synthetic_texts.* failed: .*two classes or more", error)


def test_run_fails_where_the_evidence_fails(
    home: Home,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError("no measure")

    monkeypatch.setattr("smotext_assets.stages.evidence.audit_rows", broken)
    arguments = ("run", str(corpus), "--run", "r1", "--labels", "medicine", "--candidates", "2")
    assert home.main(*arguments) == 1
    printed = capfd.readouterr()
    assert "r1 failed: ArithmeticError: no measure" in printed.err
    assert "run r1" in printed.out  # the rows are there nevertheless
    assert home.tables()["synthetic_texts"]


def test_run_reads_the_corpus_of_the_environment(tmp_path: Path, corpus: Path) -> None:
    home = Home(tmp_path / "home", environment={"SMOTEXT_CORPUS": str(corpus)})
    assert home.main("run", "--run", "r1", "--labels", "absent") == 2
    manifest = home.store.manifest("raw_corpus")
    assert manifest is not None
    assert manifest.metadata["source"] == str(corpus)


def test_run_interrupted_says_how_to_go_on(
    home: Home,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CountingGenerator, "encode", interrupted)
    assert home.main("run", str(corpus), "--run", "r1") == 130
    assert "smotext: interrupted; the same command with --run KEY goes on" in said(capfd)


# status


def test_status_prints_a_line_a_run(finished: Home, capfd: pytest.CaptureFixture[str]) -> None:
    assert finished.main("status") == 0
    out = capfd.readouterr().out
    (row,) = [line.split("│") for line in out.splitlines() if line.startswith("│ r1")]
    rejected = len(finished.tables()["rejected_texts"])
    cells = [cell.strip() for cell in row[1:9]]
    assert cells[:6] == ["r1", "3 of 3", "18", "18", str(rejected), "7"]
    assert cells[6].startswith("small ")
    assert cells[7] == "current"
    manifest = finished.store.manifest("labelled_texts")
    assert manifest is not None
    texts = finished.store.read("labelled_texts").select("slug", "split").rows()
    train = Counter(slug for slug, split in texts if split == "train")
    told = ", ".join(f"{slug} {n}" for slug, n in sorted(train.items(), key=lambda x: (x[1], x[0])))
    assert f"corpus {manifest.sha256[:8]}, train texts: {told}\n" in out


def test_status_of_an_empty_store_says_what_to_do(
    home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    assert home.main("status") == 0
    assert "no run yet; `smotext run` makes one" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize("store", ["s3://", "ftp://somewhere"])
def test_status_refuses_a_store_that_cannot_be(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], store: str
) -> None:
    assert Home(tmp_path / "home", store=store).main("status") == 2
    assert "smotext: " in capfd.readouterr().err
