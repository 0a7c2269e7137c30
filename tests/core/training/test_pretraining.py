from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from smotext_core.training import adaptation
from smotext_core.training.adaptation import adapt, adaptation_figures
from smotext_core.training.language_model import load_lm
from smotext_core.training.pretraining import corpus_passages, new_projector, train_generator
from smotext_core.xrag.generator import load_generator
from tests.tiny import SENTENCES, write_encoder, write_lm, write_tiny_generator

DOCUMENTS = pl.DataFrame({"text": SENTENCES})
STEPS = 100


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_encoder(folder / "encoder")
    write_lm(folder / "lm", steps=60)
    return folder


def make(models: Path, out: Path, documents: pl.DataFrame = DOCUMENTS, **options: Any) -> Any:
    encoder = {"name": str(models / "encoder"), "pooling": "mean", "normalized": True}
    given: dict[str, Any] = {
        "encoder": {**encoder, "max_tokens": 32},
        "lm": {"name": str(models / "lm")},
        "template": "{xrag_token}",
        "steps": STEPS,
        "learning_rate": 1e-2,
        "checkpoint_every": 50,
        "max_new_tokens": 12,
        "licence": "CC0-1.0",
    }
    return train_generator(documents, out, **{**given, **options})


@pytest.fixture(scope="module")
def trained(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generators") / "tiny"
    make(models, out)
    return out


def lines(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "training" / "log.jsonl").read_text().splitlines()]


def test_train_generator_brings_held_out_texts_back(trained: Path) -> None:
    untrained, _, last = lines(trained)
    assert (untrained["step"], last["step"]) == (0, STEPS)
    assert last["held_out_nll"] < untrained["held_out_nll"] - 0.4
    assert last["cosine"] > untrained["cosine"] + 0.2
    held_out = pl.read_parquet(trained / "training" / "data" / "held-out.parquet")["text"]
    train = pl.read_parquet(trained / "training" / "data" / "shard-000.parquet")["text"]
    assert not set(held_out) & set(train)
    assert len(held_out) > 10


def test_train_generator_writes_what_load_generator_takes(models: Path, trained: Path) -> None:
    generator = load_generator(str(trained))
    assert (generator.name, generator.licence, generator.dimension) == ("tiny", "CC0-1.0", 48)
    assert generator.manifest["encoder"]["name"] == str(models / "encoder")
    assert generator.manifest["lm"]["name"] == str(models / "lm")
    assert {path.name for path in trained.iterdir()} == {
        "generator.json", "projector.safetensors", "tokenizer.json", "training"
    }  # fmt: skip
    held_out = pl.read_parquet(trained / "training" / "data" / "held-out.parquet")
    texts = generator.decoder.sample(
        held_out["embedding"].to_numpy(), seeds=range(held_out.height), temperature=0.0
    )
    vectors = generator.encode(held_out["text"].to_list())
    cosine = (generator.encode(texts) * vectors).sum(axis=1).mean()
    assert cosine == pytest.approx(lines(trained)[-1]["cosine"], abs=0.02)  # weights were rounded
    # a frozen language model has not changed
    assert generator.manifest["lm"]["fingerprint"]


def test_train_generator_stopped_goes_on_to_the_same_generator(
    models: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tiny"

    def stop(line: Any) -> None:
        if line["step"] == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(models, out, report=stop)
    assert not (out / "generator.json").exists()
    told: list[tuple[str, int]] = []

    def progress(what: str, total: int) -> Any:
        return lambda done: told.append((what, done))

    make(models, out, progress=progress)
    for name in ("projector.safetensors", "generator.json"):
        assert (out / name).read_bytes() == (trained / name).read_bytes()
    assert sum(done for what, done in told if what == "training") == STEPS
    assert not [what for what, _ in told if what == "embedding"]  # kept


def test_train_generator_second_stage_goes_on_from_the_first(
    models: Path, trained: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "tiny"))
    last = make(models, out, second_stage=6, second_learning_rate=1e-3, checkpoint_every=3)
    log = [
        json.loads(line)
        for line in (out / "training" / "second-stage" / "log.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in log] == [0, 3, 6]
    assert log[0]["held_out_nll"] == lines(trained)[-1]["held_out_nll"]
    assert log[1]["train_nll"] > 1.2 * lines(trained)[-1]["train_nll"]  # with the divergence
    assert last == log[-1]
    manifest = json.loads((out / "generator.json").read_text())
    assert manifest["training"]["second_stage"] == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"documents": pl.DataFrame({"text": SENTENCES[:100]})}, "corpus was '"),
        ({"learning_rate": 1e-3}, "learning_rate was 0.01, is 0.001"),
        ({"template": "{xrag_token} The"}, "prompt was"),
    ],
)
def test_train_generator_refuses_to_go_on_otherwise(
    models: Path, trained: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"was begun otherwise: .*{message}"):
        make(models, trained, **options)


def test_train_generator_refuses_an_encoder_of_another_width(
    models: Path, trained: Path, tmp_path: Path
) -> None:
    wide = write_encoder(tmp_path / "wide", hidden=64)
    encoder = {"name": str(wide), "pooling": "mean", "normalized": True, "max_tokens": 32}
    with pytest.raises(ValueError, match="dimension was 48, is 64"):
        make(models, trained, encoder=encoder)


def test_train_generator_refuses_a_small_corpus(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of 2 documents 0 passages are held out and 2 are left"):
        make(models, tmp_path / "out", documents=DOCUMENTS.head(2))
    assert not (tmp_path / "out").exists()


def test_train_generator_refuses_no_steps(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="steps, batch_size, tokens must be at least 1"):
        make(models, tmp_path / "out", steps=0)


@pytest.mark.parametrize(("model", "message"), [("encoder", "tokenizer"), ("lm", "no tokenizer")])
def test_train_generator_refuses_models_without_a_tokenizer(
    models: Path, tmp_path: Path, model: str, message: str
) -> None:
    copied = Path(shutil.copytree(models, tmp_path / "models"))
    (copied / model / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=message):
        make(copied, tmp_path / "out")


def test_load_lm_builds_the_prompt_around_the_vector(models: Path) -> None:
    template = "The nurse {xrag_token} some bread."
    lm = {"name": str(models / "lm"), "revision": None}
    model, tokenizer, prompt = load_lm(lm, template=template, max_new_tokens=12, device="cpu")
    place = prompt["ids"].index(prompt["xrag_token_id"])
    assert tokenizer.decode(prompt["ids"][:place]) == "The nurse"
    assert tokenizer.decode(prompt["ids"][place + 1 :]).endswith("bread.")
    assert prompt["suppress_tokens"] == [prompt["xrag_token_id"]]
    assert prompt["eos_token_id"] == 0
    assert not any(weight.requires_grad for weight in model.parameters())
    for bad in ("no place", "{xrag_token} {xrag_token}"):
        with pytest.raises(ValueError, match="once, where the vector goes"):
            load_lm(lm, template=bad, max_new_tokens=12, device="cpu")
    with pytest.raises(ValueError, match="must fit the 64 positions"):
        load_lm(lm, template=template, max_new_tokens=60, device="cpu")
    with pytest.raises(ValueError, match="2 × 32 of text"):
        load_lm(lm, template=template, max_new_tokens=32, texts=2, device="cpu")


def test_load_lm_refuses_a_model_that_cannot_end(models: Path, tmp_path: Path) -> None:
    lm = Path(shutil.copytree(models / "lm", tmp_path / "lm"))
    for name in ("config.json", "generation_config.json"):
        config = json.loads((lm / name).read_text())
        (lm / name).write_text(json.dumps({**config, "eos_token_id": None}))
    with pytest.raises(ValueError, match="names no eos_token_id"):
        load_lm(
            {"name": str(lm), "revision": None},
            template="{xrag_token}",
            max_new_tokens=12,
            device="cpu",
        )


def test_corpus_passages_hold_out_whole_documents() -> None:
    documents = [f"{SENTENCES[n]} {SENTENCES[n + 1]} House {n}." for n in range(0, 200, 2)]
    copies = [text.replace("The ", "THE  ") for text in documents]
    frame = corpus_passages(pl.DataFrame({"text": [*documents, *copies, None]}), max_words=8)
    assert frame["text"].is_duplicated().sum() == 0
    number = pl.col("text").str.extract(r"House (\d+)")
    by_document = frame.filter(number.is_not_null()).group_by(number).agg(pl.col("held_out"))
    assert by_document["held_out"].list.n_unique().max() == 1
    both = frame.group_by("text").agg(pl.col("held_out").n_unique())
    assert both["held_out"].max() == 1
    assert 3 <= by_document["held_out"].list.first().sum() <= 25


def test_new_projector_suits_the_scale_of_the_vectors() -> None:
    rng = np.random.default_rng(0)
    for scale in (0.05, 30.0):  # a unit vector of 400 numbers; a raw last hidden state
        vectors = (rng.standard_normal((50, 64)) * scale).astype(np.float32)
        torch.manual_seed(0)
        projector = new_projector(vectors, hidden=16)
        spread = projector[0](torch.from_numpy(vectors)).std().item()
        assert 0.1 < spread < 0.6
        assert projector(torch.from_numpy(vectors)).shape == (50, 1, 16)


@pytest.fixture(scope="module")
def with_adapter(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapted") / "tiny"
    make(models, out, lora=4, tokens=3)
    return out


def test_train_generator_with_an_adapter_and_tokens(models: Path, with_adapter: Path) -> None:
    untrained, _, last = lines(with_adapter)
    assert last["held_out_nll"] < untrained["held_out_nll"] - 0.4
    assert last["cosine"] > untrained["cosine"] + 0.2
    assert {path.name for path in with_adapter.iterdir()} == {
        "generator.json", "projector.safetensors", "tokenizer.json", "training",
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    generator = load_generator(str(with_adapter))
    assert generator.decoder.prompt_ids == [generator.decoder.xrag_token_id] * 3
    held_out = pl.read_parquet(with_adapter / "training" / "data" / "held-out.parquet")
    vectors = held_out["embedding"].head(64).to_numpy()
    texts = generator.decoder.sample(vectors, seeds=range(len(vectors)), temperature=0.0)
    cosine = (generator.encode(texts) * vectors).sum(axis=1).mean()
    assert cosine == pytest.approx(last["cosine"], abs=0.03)  # weights were rounded
    # the adapter is merged into the copy in memory alone
    plain = load_lm(
        {"name": str(models / "lm"), "revision": None},
        template="{xrag_token}",
        max_new_tokens=12,
        device="cpu",
    )[0].state_dict()
    merged = generator.decoder.lm.state_dict()
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(plain[name], merged[name])


def test_train_generator_with_an_adapter_goes_on_to_the_same_generator(
    models: Path, with_adapter: Path, tmp_path: Path
) -> None:
    def stop(line: Any) -> None:
        if line["step"] == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(models, tmp_path / "tiny", lora=4, tokens=3, report=stop)
    make(models, tmp_path / "tiny", lora=4, tokens=3)
    for name in ("projector.safetensors", "adapter_model.safetensors", "generator.json"):
        assert (tmp_path / "tiny" / name).read_bytes() == (with_adapter / name).read_bytes()
    with pytest.raises(ValueError, match="begun otherwise"):
        make(models, tmp_path / "tiny", lora=2, tokens=3)


@pytest.mark.parametrize("has_adapter", [True, False])
def test_adapt_takes_larger_steps_with_an_adapter(
    with_adapter: Path,
    has_adapter: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = with_adapter if has_adapter else write_tiny_generator(tmp_path / "tiny")
    generator = load_generator(str(folder))
    vectors = generator.encode(SENTENCES[:4])
    texts = pl.DataFrame({"text": SENTENCES[:4], "label": ["a"] * 4})
    texts = texts.with_columns(pl.Series("embedding", vectors, dtype=pl.Array(pl.Float32, 48)))
    peaks = []

    def rate(step: int, *, steps: int, peak: float) -> float:
        peaks.append(peak)
        return 0.0

    monkeypatch.setattr(adaptation, "linear_rate", rate)
    adapt(generator, texts, tmp_path / "work", tmp_path / "own", steps=1)
    assert set(peaks) == {1e-3 if has_adapter else 1e-4}


def test_adapt_trains_the_adapter(with_adapter: Path, tmp_path: Path) -> None:
    generator = load_generator(str(with_adapter))
    texts = pl.DataFrame({"text": SENTENCES[:24], "label": ["a"] * 24})
    vectors = generator.encode(SENTENCES[:24])
    texts = texts.with_columns(pl.Series("embedding", vectors, dtype=pl.Array(pl.Float32, 48)))
    before = adaptation_figures(generator, texts, texts)
    adapt(generator, texts, tmp_path / "work", tmp_path / "own", steps=40, learning_rate=5e-3)
    adapted = load_generator(str(tmp_path / "own"))
    after = adaptation_figures(adapted, texts, texts)
    assert before["nll"] is not None
    assert after["nll"] is not None
    assert after["nll"] < before["nll"] - 0.2
    own, theirs = (
        (folder / "adapter_model.safetensors").read_bytes()
        for folder in (tmp_path / "own", with_adapter)
    )
    assert own != theirs
    assert adapted.manifest["lm"] == generator.manifest["lm"]
    assert adapted.manifest["adapted"]["from"] == generator.fingerprint
