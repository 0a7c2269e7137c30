"""The graph and the shipped weights together: real notes, the real encoder and decoder."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from smotext_assets.cli import command as cli
from smotext_core.texts.corpora import read_corpus
from smotext_core.texts.tokenization import words
from smotext_core.xrag.folder import MINI_FOLDER
from smotext_core.xrag.generator import load_generator
from tests.assets.conftest import Home, write_corpus

NOTES = read_corpus("clinic_notes")[0]


def test_weights_are_safetensors_under_64_megabytes() -> None:
    names = {path.name for path in MINI_FOLDER.iterdir()}
    assert {"generator.json", "model.safetensors", "projector.safetensors", "README.md"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    assert sum(path.stat().st_size for path in MINI_FOLDER.iterdir()) < 64_000_000


def test_decoded_texts_are_about_their_vectors() -> None:
    generator = load_generator("mini")
    texts = NOTES["text"].head(12).to_list()
    vectors = generator.encode(texts)
    found = generator.decode_candidates(vectors, seeds=range(12), n_candidates=4)
    best = found.cosines[:, 0]
    # .53 with eight candidates over many notes; a text of another note is at .20
    strangers = (found.embeddings[:, 0] * np.roll(vectors, 1, axis=0)).sum(axis=1)
    assert best.mean() > 0.4
    assert best.mean() > strangers.mean() + 0.2
    assert all(len(words(row[0])) >= 3 for row in found.texts)


def test_decoded_text_does_not_depend_on_its_batch() -> None:
    generator = load_generator("mini")
    vectors = generator.encode(NOTES["text"].head(5).to_list())
    together = generator.decoder.sample(vectors, seeds=[1, 2, 3, 4, 5])
    alone = [
        generator.decoder.sample(vectors[row : row + 1], seeds=[row + 1])[0] for row in range(5)
    ]
    assert alone == together


def test_graph_makes_the_same_rows_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = pl.concat(
        [
            NOTES.filter(pl.col("label") == label).head(n)
            for label, n in {"cardiology": 20, "dermatology": 12, "ophthalmology": 6}.items()
        ]
    )
    corpus = write_corpus(tmp_path / "notes.csv", kept.select("text", "label").rows())
    homes = [Home(tmp_path / name) for name in ("first", "second")]
    for home in homes:
        with monkeypatch.context() as patch:
            patch.setenv("SMOTEXT_HOME", str(home.folder))
            patch.setenv("SMOTEXT_STORE", home.root)
            patch.setattr(cli, "dagster_instance", lambda home=home: home.instance)
            arguments = ["run", str(corpus), "--run", "r1", "--candidates", "4"]
            assert cli.main([*arguments, "--generator", "mini"]) == 0
    assert homes[0].files(without=["runs"]) == homes[1].files(without=["runs"])

    rows = homes[0].query("SELECT label, text, round_trip_cosine FROM synthetic_texts")
    config = json.loads(homes[0].query("SELECT config FROM runs")[0][0])
    assert {label for label, _, _ in rows} <= {"dermatology", "ophthalmology"}
    assert 1 <= len(rows) <= sum(config["wanted"].values())
    assert all(cosine >= 0.3 for _, _, cosine in rows)
    assert not {text for _, text, _ in rows} & set(kept["text"])
    assert "wanted" in capsys.readouterr().out


def test_graph_takes_the_likeliest_texts_at_temperature_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = pl.concat(
        [NOTES.filter(pl.col("label") == name).head(n) for name, n in
         {"cardiology": 12, "dermatology": 8}.items()]
    )  # fmt: skip
    corpus = write_corpus(tmp_path / "notes.csv", kept.select("text", "label").rows())
    home = Home(tmp_path / "home")
    monkeypatch.setenv("SMOTEXT_HOME", str(home.folder))
    monkeypatch.setenv("SMOTEXT_STORE", home.root)
    monkeypatch.setattr(cli, "dagster_instance", lambda: home.instance)
    arguments = ["run", str(corpus), "--run", "r1", "--generator", "mini", "--candidates", "3"]
    assert cli.main([*arguments, "--temperature", "0"]) == 0
    decoded = home.store.read("decoded_texts", {"label": "dermatology", "run": "r1"})
    likelihoods = decoded["log_probability"]
    assert (likelihoods < 0).all()
    taken = home.store.read("synthetic_texts", {"label": "dermatology", "run": "r1"})
    refused = home.store.read("rejected_texts", {"label": "dermatology", "run": "r1"})
    waiting = refused.filter(pl.col("reason") == "another candidate was taken")
    keys = decoded.select("sample_id", "candidate").rows()
    of = dict(zip(keys, likelihoods, strict=True))
    taken = taken.join(decoded, on=["sample_id", "text"]).select("sample_id", "candidate")
    chosen = {row[0]: of[row] for row in taken.rows()}
    assert taken.filter(pl.col("candidate") > 0).height  # not always the closest
    assert waiting.height
    assert all(of[row] <= chosen[row[0]] for row in waiting.select("sample_id", "candidate").rows())
