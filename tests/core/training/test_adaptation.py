from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from smotext_core.training.adaptation import adapt, adaptation_figures, memorised
from smotext_core.training.objectives import mean_cosine
from smotext_core.xrag.generator import Generator, load_generator
from tests.tiny import tales, write_tiny_generator

TEXTS = [*tales("The nurse", 24), *tales("A banker", 12)]


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return load_generator(str(write_tiny_generator(tmp_path_factory.mktemp("generators"))))


def frame(generator: Generator, texts: list[str] = TEXTS) -> pl.DataFrame:
    labels = [text.split()[1] for text in texts]
    embedding = pl.Series("embedding", generator.encode(texts), dtype=pl.Array(pl.Float32, 48))
    return pl.DataFrame({"text": texts, "label": labels}).with_columns(embedding)


@pytest.fixture(scope="module")
def adapted(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapted")
    done: list[int] = []
    given = frame(generator)
    before = [weight.clone() for weight in generator.decoder.lm.parameters()]
    adapt(
        generator,
        given,
        folder / "work",
        folder / "tiny",
        steps=120,
        learning_rate=5e-3,
        progress=done.append,
    )
    assert sum(done) == 120
    after = generator.decoder.lm.parameters()  # the caller's own is as it was
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    return folder


def test_adapt_keeps_the_weights_of_a_bfloat16_generator_in_float32(
    generator: Generator, tmp_path: Path
) -> None:
    folder = write_tiny_generator(tmp_path / "tiny")
    half = load_generator(str(folder), dtype="bfloat16")
    given = frame(generator)
    # A step this small is lost in half precision: 1 + 1e-5 is 1 there.
    adapt(half, given, tmp_path / "work", tmp_path / "adapted", steps=2, learning_rate=1e-5)
    saved = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)["model"]
    assert {weight.dtype for weight in saved.values()} == {torch.float32}
    before = half.decoder.lm.state_dict()
    trained = [name for name in before if f"lm.{name}" in saved and "norm" not in name]
    assert len(trained) > 4
    assert not any(torch.equal(saved[f"lm.{name}"], before[name].float()) for name in trained)
    assert adaptation_figures(half, given, given, rows=4)["nll"] is not None


def test_adapt_writes_a_generator_of_the_same_encoder(generator: Generator, adapted: Path) -> None:
    found = load_generator(str(adapted / "tiny"))
    assert found.manifest["encoder"] == generator.manifest["encoder"]
    assert (found.name, found.licence) == ("tiny, adapted", "CC0-1.0")
    assert found.manifest["adapted"] == {"from": generator.fingerprint, "texts": 36, "steps": 120}
    assert found.fingerprint != generator.fingerprint
    ours, theirs = (g.decoder.lm.state_dict() for g in (found, generator))
    assert not any(torch.equal(ours[name], theirs[name]) for name in ours if "norm" not in name)


def test_adaptation_figures_show_what_it_gains_and_what_it_learns_by_heart(
    generator: Generator, adapted: Path
) -> None:
    train = frame(generator)
    held_out = frame(generator, [text for text in tales("The nurse", 40) if text not in TEXTS])
    found = load_generator(str(adapted / "tiny"))
    before = adaptation_figures(generator, train, held_out)
    after = adaptation_figures(found, train, held_out)
    assert before["memorised"] == before["memorised_mixed"] == 0
    assert after["memorised"] > 0.3  # type: ignore[operator]  # there are texts
    assert 0 < after["memorised_mixed"] <= after["memorised"]  # type: ignore[operator]
    assert after["cosine"] > before["cosine"] + 0.1  # type: ignore[operator]
    vectors = held_out["embedding"].to_numpy()
    texts = found.decoder.sample(vectors, seeds=range(len(vectors)), temperature=0.0)
    assert after["cosine"] == pytest.approx(mean_cosine(found.encode(texts), vectors), abs=1e-6)
    assert adaptation_figures(found, train, held_out) == after
    done: list[int] = []
    nothing = adaptation_figures(found, train, held_out.clear(), progress=done.append)
    assert (nothing["nll"], nothing["cosine"]) == (None, None)
    assert sum(done) == 3


def test_adapt_leaves_a_language_model_kept_elsewhere_alone(
    generator: Generator, tmp_path: Path
) -> None:
    elsewhere = Path(generator.manifest["encoder"]["name"]).parent / "lm"
    manifest = {**generator.manifest, "lm": {"name": str(elsewhere), "revision": None}}
    named = Generator(manifest, generator.embedder, generator.decoder)
    adapt(named, frame(generator), tmp_path / "work", tmp_path / "out", steps=2)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    written = json.loads((tmp_path / "out" / "generator.json").read_text())
    assert written["lm"]["name"] == str(elsewhere)
    names = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)["model"]
    assert {name.partition(".")[0] for name in names} == {"projector"}


def test_adapt_refuses_what_it_cannot_train_on(generator: Generator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vectors of 48 numbers"):
        adapt(generator, frame(generator).clear(), tmp_path / "w", tmp_path / "o", steps=1)
    narrow = pl.DataFrame({"text": ["The nurse sold some bread."]}).with_columns(
        pl.Series("embedding", np.ones((1, 8), np.float32), dtype=pl.Array(pl.Float32, 8))
    )
    with pytest.raises(ValueError, match="vectors of 48 numbers"):
        adapt(generator, narrow, tmp_path / "w", tmp_path / "o", steps=1)
    with pytest.raises(ValueError, match="steps and batch_size must be at least 1, got 0 and 32"):
        adapt(generator, frame(generator), tmp_path / "w", tmp_path / "o", steps=0)


def test_memorised_counts_runs_of_nine_words() -> None:
    known = ["one two three four five six seven eight nine ten"]
    texts = ["Two, three four five six seven eight nine ten!", "one two three four five six seven "
             "eight eleven", ""]  # fmt: skip
    assert memorised(texts, known) == pytest.approx(1 / 3)
    assert memorised([], known) is None
