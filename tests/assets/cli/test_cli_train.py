"""`smotext train-generator`: from a file of texts to a folder that decodes."""

import json
import re
from pathlib import Path

import polars as pl
import pytest

from smotext_assets.cli import command as cli
from smotext_core.xrag.generator import load_generator
from tests.tiny import SENTENCES, write_encoder, write_lm


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_encoder(folder / "encoder")
    write_lm(folder / "lm")
    pl.DataFrame({"body": [*SENTENCES, " "]}).write_csv(folder / "texts.csv")
    return folder


def command(models: Path, out: Path, *, corpus: str = "texts.csv", lm: str = "lm") -> list[str]:
    options = {
        "--encoder": models / "encoder",
        "--encoder-tokens": 32,
        "--lm": models / lm,
        "--corpus": models / corpus,
        "--text": "body",
        "--max-tokens": 12,
        "--steps": 4,
        "--second-stage": 2,
        "--checkpoint-every": 2,
        "--out": out,
    }
    return ["train-generator", *(str(part) for pair in options.items() for part in pair), "--raw"]


def test_train_generator_writes_a_generator_and_says_how_far_it_is(
    models: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command(models, tmp_path / "mine")) == 0
    said = capfd.readouterr().err
    assert "216 texts, 1 rows refused" in said
    steps = re.findall(
        r"step (\d+): (?:NLL [\d.]+, )?held out [\d.]+, round-trip cosine -?\d", said
    )
    assert steps == ["0", "2", "4", "0", "2"]
    assert f"SMOTEXT_GENERATOR={tmp_path / 'mine'}" in said.replace("\n", "")
    generator = load_generator(str(tmp_path / "mine"))
    assert not generator.normalized
    assert generator.manifest["training"]["second_stage"] == 2
    manifest = json.loads((tmp_path / "mine" / "generator.json").read_text())
    assert manifest["prompt"]["max_new_tokens"] == 12


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"corpus": "absent.csv"}, "absent.csv is not a file"),
        ({"lm": "absent"}, "a model is a folder or a name"),
        ({"lm": "encoder"}, "lacks \\d+ weights"),
    ],
)
def test_train_generator_refuses_what_is_not_there(
    models: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    given: dict[str, str],
    message: str,
) -> None:
    assert cli.main(command(models, tmp_path / "mine", **given)) == 2
    error = " ".join(capfd.readouterr().err.split())
    assert re.search(f"smotext: .*{message}", error)
    assert "Traceback" not in error
    assert not (tmp_path / "mine" / "generator.json").exists()


def test_train_generator_refuses_another_corpus_in_the_same_folder(
    models: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command(models, tmp_path / "mine")) == 0
    pl.DataFrame({"body": SENTENCES[:150]}).write_csv(models / "fewer.csv")
    assert cli.main(command(models, tmp_path / "mine", corpus="fewer.csv")) == 2
    assert "was begun otherwise: corpus was" in " ".join(capfd.readouterr().err.split())
