"""What people bring, from the command's side."""

from pathlib import Path

import pytest

from tests.assets.conftest import Home, corpus_rows


def test_run_takes_the_export_of_a_european_desktop_without_an_option(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "Tickets 2026.csv"
    rows = [f'{n};"Größe: {text}";{label}' for n, (text, label) in enumerate(corpus_rows())]
    path.write_bytes("\r\n".join(["Nr; Text ; Label ", *rows]).encode("cp1252"))

    assert home.main("run", str(path), "--run", "r1", "--labels", "astronomy") == 0

    told = " ".join(capfd.readouterr().err.split())
    assert "CSV with semicolons, cp1252; text in ' Text ', label in ' Label '" in told
    assert home.store.read("rejected_rows", {"stage": "raw_corpus"}).is_empty()
    texts = home.store.read("raw_corpus")["text"]
    assert texts.len() == len(rows)
    assert texts.str.starts_with("Größe: ").all()
