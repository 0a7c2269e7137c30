from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from smotext_core.training import xrag_mini as mini
from smotext_core.training.training_texts import write_shards
from smotext_core.training.xrag_mini import (
    EOS,
    PAD,
    XRAG,
    learning_rate,
    train,
    train_tokenizer,
    warm_start,
    write_trained,
)
from smotext_core.xrag.checkpoints import minilm_folder
from smotext_core.xrag.encoder import Embedder
from smotext_core.xrag.generator import load_generator
from tests.tiny import SENTENCES


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(minilm_folder())


@pytest.fixture(scope="module")
def trained(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    halves = [row % 10 == 0 for row in range(len(SENTENCES))]
    frame = pl.DataFrame({"source": "people", "held_out": halves, "text": SENTENCES})
    others = frame.filter("held_out").with_columns(source=pl.lit("others"))
    write_shards([frame, others], folder / "data", embedder=embedder)
    train(
        folder / "data",
        folder / "out",
        encoder_folder=minilm_folder(),
        steps=24,
        batch_size=16,
        checkpoint_every=12,
    )
    return folder / "out"


def test_train_lowers_the_held_out_loss_of_each_source(trained: Path) -> None:
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [0, 12, 24]
    for name in ("people_nll", "others_nll"):
        assert log[0][name] > 1.5 * log[1][name] > 1.6 * log[2][name]


def test_write_trained_is_a_generator(trained: Path, tmp_path: Path) -> None:
    write_trained(
        trained.parent / "data", trained, tmp_path / "generator", encoder_folder=minilm_folder()
    )
    generator = load_generator(str(tmp_path / "generator"))
    assert generator.manifest["training"]["steps"] == 24
    saved = torch.load(trained / "checkpoint.pt", weights_only=True)["model"]["projector.0.weight"]
    assert torch.equal(generator.decoder.projector[0].weight, saved.half().float())
    assert generator.unknown_words(f"{SENTENCES[1]} Imprasion.") == ["imprasion"]
    texts = generator.decode(generator.encode(SENTENCES[:2]))
    assert all(texts)


def test_train_goes_on_from_a_generator_in_bfloat16(trained: Path, tmp_path: Path) -> None:
    data, folder = trained.parent / "data", tmp_path / "generator"
    write_trained(data, trained, folder, encoder_folder=minilm_folder())
    train(
        data,
        tmp_path / "out",
        encoder_folder=minilm_folder(),
        steps=8,
        start=folder,
        dtype="bfloat16",
        batch_size=16,
        checkpoint_every=8,
    )
    logs = [
        [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        for out in (trained, tmp_path / "out")
    ]
    assert logs[1][0]["people_nll"] == pytest.approx(logs[0][-1]["people_nll"], abs=0.02)
    assert logs[1][-1]["people_nll"] < logs[1][0]["people_nll"] - 0.05
    saved = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["model"]
    assert {weight.dtype for weight in saved.values()} == {torch.float32}


def test_train_needs_shards(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="shard-000"):
        train(tmp_path, tmp_path / "out", encoder_folder=minilm_folder(), steps=1)


def test_main_trains_and_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[Any] = []
    monkeypatch.setattr(mini, "train", lambda *given, **options: done.append((given, options)))
    monkeypatch.setattr(mini, "write_trained", lambda *given, **_: done.append(given))
    command = f"mini --data {tmp_path}/data --out {tmp_path}/out --steps 7 --write {tmp_path}/gen"
    monkeypatch.setattr("sys.argv", command.split())
    mini.main()
    ((data, out), options), written = done
    assert (data, out, options["steps"]) == (tmp_path / "data", tmp_path / "out", 7)
    assert written == (tmp_path / "data", tmp_path / "out", tmp_path / "gen")


def test_learning_rate_schedule() -> None:
    def rate(step: int) -> float:
        return learning_rate(step, steps=1000, peak=2.0)

    assert [rate(step) for step in (0, 49, 99)] == [0.02, 1, 2]
    # 2 (.05 + .95 (1 + cos(pi step / 1000)) / 2); it ends at a twentieth of the peak
    assert [rate(step) for step in (250, 500, 1000, 1200)] == pytest.approx(
        [1.7217514, 1.05, 0.1, 0.1]
    )
    rates = [rate(step) for step in range(100, 1001)]
    assert rates == sorted(rates, reverse=True)
    assert learning_rate(0, steps=3, peak=1.0) == 0.01


def test_warm_start_copies_the_encoder(embedder: Embedder) -> None:
    tokenizer = train_tokenizer(SENTENCES, vocab_size=400)
    lm, projector = warm_start(tokenizer, minilm_folder())
    weights = embedder.model.embeddings.word_embeddings.weight
    cook = tokenizer.encode(" cook").ids
    assert len(cook) == 1
    theirs = embedder.tokenizer.encode("cook", add_special_tokens=False).ids
    assert torch.equal(lm.get_input_embeddings().weight[cook[0]], weights[theirs].mean(0))
    for layer, source in zip(lm.bert.encoder.layer, (0, 2, 4), strict=True):
        for name, weight in embedder.model.encoder.layer[source].state_dict().items():
            assert torch.equal(layer.state_dict()[name], weight)
    assert lm.get_output_embeddings().weight is lm.get_input_embeddings().weight
    assert projector(torch.zeros(2, 384)).shape == (2, 1, 384)


def test_train_tokenizer_spells_anything() -> None:
    tokenizer = train_tokenizer(SENTENCES, vocab_size=350)
    assert tokenizer.get_vocab_size() == 350
    assert [tokenizer.token_to_id(token) for token in ("<eos>", "<pad>", "<xRAG>")] == [
        EOS, PAD, XRAG,
    ]  # fmt: skip
    for text in ("The Cook sold some bread.", "Zürich, 東京 🙂\n\ttab"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.to_str() == train_tokenizer(SENTENCES, vocab_size=350).to_str()
