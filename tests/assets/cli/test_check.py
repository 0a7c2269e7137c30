"""`smotext check`: what a corpus holds, told before a model is loaded."""

import re
from pathlib import Path

import pytest

from smotext_assets.cli.run_options import adapt_steps
from tests.assets.conftest import Home, corpus_rows, write_corpus


def told(home: Home, capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = home.main("check", *arguments)
    return status, " ".join(capfd.readouterr().out.split())


def test_check_says_what_a_run_will_make_and_makes_nothing(
    home: Home, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, said = told(home, capfd, str(corpus))
    assert status == 0
    assert "text in 'text', label in 'label'" in said
    assert "0 refused" in said
    assert "languages: en 100%" in said
    assert not (home.folder / "store").exists()

    assert home.main("run", str(corpus), "--run", "r1") == 0
    wanted = home.query("SELECT sum(n) FROM (SELECT count(*) n FROM synthetic_texts)")[0][0]
    assert f"{wanted} new rows" in said


def test_check_of_a_european_export_counts_its_rows_by_label_and_reason(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [f'{n};"Größe: {text}";{label}' for n, (text, label) in enumerate(corpus_rows())]
    path = tmp_path / "Tickets 2026.csv"
    lines = ["Nr; Text ; Label ", *rows, f'{len(rows)};"";medicine', rows[0]]
    path.write_bytes("\r\n".join(lines).encode("cp1252"))
    status, said = told(home, capfd, str(path))
    assert status == 0
    assert "CSV with semicolons, cp1252; text in ' Text ', label in ' Label '" in said
    assert f"{len(rows) + 2} rows: {len(rows) + 1} read, 1 refused" in said
    assert "duplicate of another text" in said
    n_medicine = sum(label == "medicine" for _, label in corpus_rows())
    assert f"medicine │ medicine │ {n_medicine} " in said


def test_check_says_that_the_generator_writes_another_language(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    german = "Die Rechnung vom letzten Monat ist noch nicht bezahlt und die Mahnung kam heute {}."
    french = "Le colis que nous attendons depuis une semaine est arrivé ce matin tout cassé {}."
    rows = [(german.format(n), "billing") for n in range(30)]
    path = write_corpus(
        tmp_path / "t.csv", [*rows, *((french.format(n), "post") for n in range(9))]
    )
    status, said = told(home, capfd, str(path))
    assert status == 0
    assert "languages: de 7" in said
    assert "billing │ billing │ 30 " in said
    assert "│ fr │" in said


def minutes(said: str) -> tuple[int, int]:
    found = re.search(r"(\d+) to (\d+) minutes of a processor core", said)
    assert found is not None, said
    return int(found[1]), int(found[2])


def test_check_estimates_the_minutes_as_a_range_and_says_of_what(
    home: Home, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, said = told(home, capfd, str(corpus), "--totals", "medicine=4000")
    fast, slow = minutes(said)
    decoded = int(re.search(r"of (\d+) candidates;", said)[1])  # type: ignore[index]
    per_second = [
        int(n) for n in re.findall(r"at (\d+) candidates a second .* to (\d+) \(", said)[0]
    ]
    assert decoded > 30_000
    # what is said of the speed gives what is said of the time, but for texts and calibration
    assert fast == pytest.approx(decoded / per_second[0] / 60, rel=0.1)
    assert slow == pytest.approx(decoded / per_second[1] / 60, rel=0.1)
    assert fast < slow
    assert "Estimated, for no model was loaded" in said
    _, said = told(home, capfd, str(corpus), "--totals", "medicine=4000", "--candidates", "12")
    assert minutes(said)[1] == pytest.approx(2 * slow, rel=0.05)

    elsewhere = Home(home.folder, environment={"SMOTEXT_DEVICE": "cuda"})
    _, said = told(elsewhere, capfd, str(corpus))
    assert "was not measured for small on cuda" in said


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"body,kind\nsome text,a\n", "a run would fail: "),
        ("a.parquet", b"PAR1" + b"\x00" * 20, "without its end: it was cut off"),
        ("a.csv", b"text,label\n", "a run would fail: "),
        ("one.csv", b"text,label\nonly one text of one label here,a\n", "a run would fail: "),
    ],
)
def test_check_fails_where_a_run_would(
    home: Home,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    reason: str,
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    status, said = told(home, capfd, str(path))
    assert status == 1
    assert reason in said


@pytest.mark.parametrize("number", ["0", "-1"])
def test_check_refuses_a_number_of_candidates_that_cannot_be(
    home: Home, corpus: Path, capfd: pytest.CaptureFixture[str], number: str
) -> None:
    assert home.main("check", str(corpus), "--candidates", number) == 2
    assert f"--candidates must be 1 or more, got {number}" in capfd.readouterr().err


def training(said: str) -> tuple[int, int]:
    found = re.search(r"otherwise: (\d+) to (\d+) minutes of a processor core more", said)
    assert found is not None, said
    return int(found[1]), int(found[2])


def test_check_reads_the_unlabelled_texts_and_says_what_training_on_them_takes(
    home: Home, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    known = corpus_rows()[0][0]
    lines = [f"The parcel number {n} has not come to our house yet" for n in range(40)]
    more = tmp_path / "more.csv"
    more.write_text("\n".join(["text", *lines, lines[0], known]) + "\n")
    status, said = told(home, capfd, str(corpus), "--unlabelled", str(more))
    assert status == 0
    assert (
        "utf-8; text in 'text' 40 unlabelled passages; "
        "refused: 1 near duplicates of labelled texts, 1 for other reasons" in said
    )
    assert "the unlabelled and the train texts, 50 steps" in said
    took = training(said)
    assert 0 < took[0] < took[1]
    more.write_text("\n".join(["text", *(f"{line} {line} and then some" for line in lines)]) + "\n")
    _, said = told(home, capfd, str(corpus), "--unlabelled", str(more))
    assert training(said)[1] == pytest.approx(2.2 * took[1], rel=0.1)  # longer texts, longer steps

    asked = {"SMOTEXT_UNLABELLED": str(more), "SMOTEXT_DEVICE": "cuda"}
    _, said = told(Home(home.folder, environment=asked), capfd, str(corpus))
    assert "40 unlabelled passages" in said
    assert "50 steps, unless --found or --adapt says otherwise. How long that takes was not" in said

    _, said = told(home, capfd, str(corpus))
    assert "unlabelled passages" not in said
    assert "trained on" not in said
    status, said = told(home, capfd, str(corpus), "--unlabelled", str(tmp_path / "gone.csv"))
    assert status == 1
    assert "a run would fail: the corpus" in said


def test_adapt_steps_are_a_pass_within_their_limits() -> None:
    assert [adapt_steps(n) for n in (1, 1_600, 1_601, 3_200, 9_999)] == [50, 50, 51, 100, 100]


def test_check_of_the_demo(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    status, said = told(home, capfd, "help_desk", "--unlabelled", "help_desk:unlabelled")
    assert status == 0
    assert "342 rows: 342 read, 0 refused" in said
    assert "3006 unlabelled passages; refused: 0 near duplicates" in said
    assert "the train texts, 100 steps" in said
    status, said = told(home, capfd, "help_desk", "--unlabelled", "help_desk:unlabeled")
    assert status == 1
    assert "help_desk:unlabelled" in said
