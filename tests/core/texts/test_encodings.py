"""Encodings that spreadsheets write: found, or an error that names the option; no row is lost."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from smotext_core.texts.corpora import read_corpus
from smotext_core.texts.encodings import find_encoding

FRENCH = "Le client ne peut pas se connecter, le mot de passe a été refusé, déjà signalé."
GERMAN = "Der Kunde kann sich nicht anmelden; Größe der Datei überprüfen, Drucker läuft nicht."
SPANISH = "El cliente no puede iniciar sesión, la contraseña fue cambiada. ¿Cuándo estará lista?"
RUSSIAN = "Клиент не может войти в систему, пароль был изменён. Принтер не работает."
GREEK = "Ο πελάτης δεν μπορεί να συνδεθεί, ο κωδικός άλλαξε. Ο εκτυπωτής δεν λειτουργεί."
CHINESE = "客户无法登录，密码已被更改。打印机不工作，请尽快修理。谢谢您的帮助。"
JAPANESE = "お客様はログインできません。パスワードが変更されました。プリンターが動作しません。"
CZECH = "Zákazník se nemůže přihlásit, heslo bylo změněno. Tiskárna nefunguje, prosím o opravu."
POLISH = "Klient nie może się zalogować, hasło zostało zmienione. Proszę o pilną naprawę."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((text, "cp1252") for text in (FRENCH, GERMAN, SPANISH, "5 °C", "Preis 5 €", "“so”")),
        *((text, "mac_roman") for text in (FRENCH, GERMAN)),
        *((text, "cp850") for text in (FRENCH, GERMAN)),
        *((RUSSIAN, encoding) for encoding in ("cp1251", "koi8_r", "cp866")),
        (CZECH, "cp1250"),
        (GREEK, "cp1253"),
        (CHINESE, "gb18030"),
        (JAPANESE, "cp932"),
        *((JAPANESE, encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32")),
        *((FRENCH, encoding) for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-16-be")),
    ],
)
def test_read_corpus_loses_no_row_to_an_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    path, told = tmp_path / "c.csv", list[str]()
    path.write_bytes(f'Text;Label\r\n"{text}";é\r\n'.replace("é\r", "a\r").encode(encoding))

    raw, rejected = read_corpus(path, tell=told.append)

    assert raw.rows() == [("0", text, "a")]
    assert rejected.is_empty()
    assert f"CSV with semicolons, {encoding}; " in told[0]


def test_read_corpus_asks_for_an_encoding_in_doubt(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(f'Text;Label\r\n"{POLISH}";a\r\n'.encode("cp1250"))

    with pytest.raises(ValueError, match=r"c\.csv is in doubt.*--encoding cp1250 or --encoding"):
        read_corpus(path)
    raw, _ = read_corpus(path, encoding="windows-1250")
    assert raw["text"].to_list() == [POLISH]
    with pytest.raises(ValueError, match="no encoding 'windows'"):
        read_corpus(path, encoding="windows")
    with pytest.raises(ValueError, match="no encoding 'hex'"):
        read_corpus(path, encoding="hex")


def test_read_corpus_refuses_rows_that_are_not_in_the_file_s_encoding(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes("text,label\nété,a\nhé là,b\n".encode() + b"caf\xe9,a\n")

    raw, rejected = read_corpus(path)

    assert raw["text"].to_list() == ["été", "hé là"]
    assert rejected["reason"].to_list() == ["text is not UTF-8"]


def test_find_encoding_doubts_a_file_of_two_encodings() -> None:
    data = "été\n".encode() + b"caf\xe9\n"

    with pytest.raises(ValueError, match="--encoding utf-8 or --encoding cp1252"):
        find_encoding(io.BytesIO(data), "c.csv")


def test_find_encoding_looks_at_the_whole_file() -> None:
    data = b"plain,ascii\n" * 300_000 + b"caf\xe9,a\n"

    assert find_encoding(io.BytesIO(data), "c.csv") == "cp1252"
