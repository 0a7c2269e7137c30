"""Columns: blanks and case do not matter; else the likeliest are proposed, as a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from smotext_core.texts.corpora import read_corpus


@pytest.mark.parametrize(
    "header", [" Text , Label ", "TEXT,label", "\ufefftext,LABEL", "text\t,label"]
)
def test_read_corpus_overlooks_blanks_and_case(tmp_path: Path, header: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(f"{header}\none,a\n", encoding="utf-8")

    assert read_corpus(path)[0].rows() == [("0", "one", "a")]


def test_read_corpus_prefers_the_exact_name(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("Text,text,label\nno,one,a\n")

    assert read_corpus(path)[0]["text"].to_list() == ["one"]
    with pytest.raises(ValueError, match=r"needs one column 'TEXT'; .* has 2 among"):
        read_corpus(path, text="TEXT")


@pytest.mark.parametrize(
    ("header", "proposal"),
    [
        ("Body,category,x", "--text Body --label category"),
        (
            "ticket,Message body,x,Ticket category",
            "--text 'Message body' --label 'Ticket category'",
        ),
        ("text,Kategorie,x", "--label Kategorie"),
        ("Beschreibung,label,x", "--text Beschreibung"),
        ("a,b,c", "--text a --label b"),
    ],
)
def test_read_corpus_proposes_the_likeliest_columns(
    tmp_path: Path, header: str, proposal: str
) -> None:
    path = tmp_path / "my tickets.csv"
    lines = [header, *(f"a long text about {n},class {n % 2},{n}" for n in range(9))]
    if header.startswith("ticket"):
        lines = [lines[0], *(f"{n},{line}" for n, line in enumerate(lines[1:]))]
    path.write_text("\n".join(lines))

    with pytest.raises(ValueError) as found:  # noqa: PT011  # looked at below
        read_corpus(path)
    assert str(found.value).endswith(f"the likeliest are: smotext run '{path}' {proposal}")


def test_read_corpus_does_not_quote_a_text_for_want_of_a_header(tmp_path: Path) -> None:
    path = tmp_path / "c.tsv"
    path.write_text("ham\tGo until jurong point, crazy, available only in bugis\nspam\tWin\n")

    with pytest.raises(ValueError, match="needs one column 'text'") as found:
        read_corpus(path)
    assert "available" not in str(found.value)
