from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer

from smotext_core.embedding import Embedder, minilm_folder
from smotext_core.training import (
    EOS,
    PAD,
    XRAG,
    held_out_nll,
    learning_rate,
    reconstruction_loss,
    train,
    train_tokenizer,
    warm_start,
)
from smotext_core.training_texts import training_passages, write_shards
from tests.fakes import FakeGenerator

WHO = ["The nurse", "The keeper", "A banker", "The cook", "An astronomer", "My neighbour"]
DID = ["watched", "praised", "forgot", "described", "counted", "sold"]
WHAT = ["the old telescope", "two red tomatoes", "the last invoice", "a long match", "some bread",
        "the new ward"]  # fmt: skip
SENTENCES = [f"{who} {did} {what}." for who in WHO for did in DID for what in WHAT]


def passages(source: str, texts: list[str]) -> pl.DataFrame:
    """Every tenth is held out."""
    return pl.DataFrame(
        {"source": source, "held_out": [row % 10 == 0 for row in range(len(texts))], "text": texts}
    )


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(minilm_folder())


@pytest.fixture(scope="module")
def shards(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    sources = [passages("people", SENTENCES[:120]), passages("others", SENTENCES[120:216])]
    write_shards(sources, folder, embedder=embedder, shard_rows=140)
    return folder


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """Folder and log of a run of 60 steps that was stopped after 40."""
    out = tmp_path_factory.mktemp("out")
    options: dict[str, Any] = {
        "encoder_folder": minilm_folder(),
        "batch_size": 16,
        "checkpoint_every": 20,
    }
    train(shards, out, steps=40, **options)
    train(shards, out, steps=60, **options)
    return out, [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_train_lowers_the_loss(shards: Path, trained: tuple[Path, list[Any]]) -> None:
    out, log = trained
    held_out = pl.read_parquet(shards / "held-out.parquet")
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    torch.manual_seed(0)
    before = held_out_nll(*warm_start(tokenizer, minilm_folder()), tokenizer, held_out)
    assert before.keys() == {"people_nll", "others_nll"}
    for name, nll in before.items():
        assert log[-1][name] < 0.5 * nll
        assert nll > log[0][name] > 1.5 * log[-1][name]
    assert log[1]["train_nll"] < log[0]["train_nll"]  # the running mean starts anew at 40


def test_train_resumes_from_its_checkpoint(
    shards: Path, trained: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    out, log = trained
    assert [line["step"] for line in log] == [20, 40, 60]
    tokens, seconds = ([line[name] for line in log] for name in ("tokens", "seconds"))
    assert tokens == sorted(set(tokens))
    assert seconds == sorted(set(seconds))
    saved = torch.load(out / "checkpoint.pt", weights_only=True)
    assert saved["state"]["step"] == 60
    step = {int(state["step"]) for state in saved["optimizer"]["state"].values()}
    assert step == {60}  # Adam's own count went on as well
    # Nothing is left to do, and nothing is done.
    written = (out / "checkpoint.pt").stat().st_mtime_ns
    train(shards, out, encoder_folder=minilm_folder(), steps=60)
    assert (out / "checkpoint.pt").stat().st_mtime_ns == written
    assert len((out / "log.jsonl").read_text().splitlines()) == 3


def test_train_needs_shards(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="shard-000"):
        train(tmp_path, tmp_path / "out", encoder_folder=minilm_folder(), steps=1)


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


def test_reconstruction_loss_is_the_likelihood_of_each_row() -> None:
    tokenizer = train_tokenizer(SENTENCES, vocab_size=300)
    lm, projector = warm_start(tokenizer, minilm_folder())
    vectors = torch.nn.functional.normalize(torch.randn(3, 384), dim=1)
    ids = [[*tokenizer.encode(text).ids, EOS] for text in SENTENCES[:3]]
    ids[1] = ids[1][-6:]  # of different lengths
    expected = 0.0
    with torch.no_grad():
        for vector, row in zip(vectors, ids, strict=True):
            words = lm.get_input_embeddings()(torch.tensor([row[:-1]]))
            inputs = torch.cat([projector(vector)[None, None], words], dim=1)
            likelihood = lm(inputs_embeds=inputs).logits[0].log_softmax(-1)
            expected -= likelihood[range(len(row)), row].sum().item()
        got = reconstruction_loss(lm, projector, vectors, ids).item()
    assert np.isclose(got, expected, rtol=1e-5)


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
    assert projector(torch.zeros(2, 384)).shape == (2, 384)


def test_train_tokenizer_spells_anything() -> None:
    tokenizer = train_tokenizer(SENTENCES, vocab_size=350)
    assert tokenizer.get_vocab_size() == 350
    assert [tokenizer.token_to_id(token) for token in ("<eos>", "<pad>", "<xRAG>")] == [
        EOS, PAD, XRAG,
    ]  # fmt: skip
    for text in ("The Cook sold some bread.", "Zürich, 東京 🙂\n\ttab"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.to_str() == train_tokenizer(SENTENCES, vocab_size=350).to_str()


def document(number: int) -> str:
    lines = [
        f"{who} of house {number} {did} {what} on that day."
        for who, did, what in zip(WHO, DID, WHAT, strict=True)
    ]
    return " ".join([*lines, *(line.replace("that day", "the next day") for line in lines)])


def test_training_passages_hold_out_whole_documents() -> None:
    documents = [document(number) for number in range(300)]
    assert min(map(len, documents)) > 500
    # Copies end otherwise and are spaced and written otherwise at the beginning.
    copies = [
        text.replace("The nurse", "The  Nurse") + f" Copy {number} has one more sentence here."
        for number, text in enumerate(documents)
    ]
    frame = training_passages(pl.DataFrame({"text": documents + copies}), source="tales")
    assert frame.columns == ["source", "held_out", "text"]
    assert frame["source"].unique().to_list() == ["tales"]
    assert frame["text"].is_duplicated().sum() == 0
    number = pl.col("text").str.extract(r"(?:house|Copy) (\d+)")
    by_document = frame.group_by(number).agg(pl.col("held_out").n_unique().alias("halves"))
    assert by_document.height == 300
    assert by_document["halves"].max() == 1
    held_out = frame.filter("held_out").select(number.n_unique()).item()
    assert 15 < held_out < 45
    assert frame.filter(pl.col("text").str.contains("Nurse")).height > 0


def test_training_passages_do_not_depend_on_the_order() -> None:
    documents = pl.DataFrame({"text": [document(number) for number in range(30)]})
    frame = training_passages(documents, source="tales")
    backwards = training_passages(documents.reverse(), source="tales")
    assert frame.sort("text").equals(backwards.sort("text"))
    twice = training_passages(pl.concat([documents, documents]), source="tales")
    assert twice.equals(frame)


def test_training_passages_of_both_halves_are_dropped() -> None:
    shared = "All rights in this text are reserved by nobody at all."
    documents = [f"{shared}\n{document(number)}" for number in range(60)]
    frame = training_passages(pl.DataFrame({"text": documents}), source="t", per_document=100)
    assert frame["held_out"].n_unique() == 2
    assert shared not in frame["text"].to_list()


def test_training_passages_are_clean_and_short() -> None:
    good = ["The patient slept well during the whole night.", "12 men waited for the late train."]
    bad = [
        "see https://example.org for the whole long story.",
        "See https://example.org for the whole long story.",
        "and this one begins in the middle of a sentence.",
        "This one has no end that a reader would accept",
        "Too short it is.",
        "Some <b>markup</b> is left in this long sentence.",
        "The river ( ; formerly called Elbe) flows to the sea.",
        "Name | age | town | country | and other columns.",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18.",
    ]
    text = "\n".join([*good, *bad, "HISTORY OF ILLNESS: The headache began two days ago at noon."])
    frame = training_passages(pl.DataFrame({"text": [text, None]}), source="t")
    assert set(frame["text"]) == {*good, "The headache began two days ago at noon."}

    long = pl.DataFrame({"text": [document(number) for number in range(40)]})
    frame = training_passages(long, source="t", max_words=25, per_document=3)
    words = frame["text"].str.split(" ").list.len()
    assert 12 < words.max() <= 25
    counts = frame.group_by(pl.col("text").str.extract(r"house (\d+)")).len()["len"]
    assert counts.max() == 3


def test_write_shards_mixes_sources_beside_true_vectors(shards: Path, embedder: Embedder) -> None:
    names = sorted(path.name for path in shards.iterdir())
    assert names == ["held-out.parquet", "shard-000.parquet", "shard-001.parquet"]
    first, second, held_out = (
        pl.read_parquet(shards / f"{name}.parquet")
        for name in ("shard-000", "shard-001", "held-out")
    )
    assert [frame.height for frame in (first, second, held_out)] == [140, 54, 22]
    assert first["source"].value_counts(sort=True)["count"].to_list() == [70, 70]
    assert sorted(pl.concat([first, second, held_out])["text"]) == sorted(SENTENCES)
    assert set(held_out["text"]) == set(SENTENCES[:120:10]) | set(SENTENCES[120::10])
    assert first["text"].to_list()[:70] != first.sort("source")["text"].to_list()[:70]
    vectors = first["embedding"].to_numpy()
    assert vectors.shape == (140, 384)
    assert np.allclose(vectors, embedder.encode(first["text"].to_list()), atol=1e-3)
    assert first["held_out"].sum() == 0


def test_write_shards_goes_on_and_leaves_finished_shards_alone(tmp_path: Path) -> None:
    sources = [passages("people", SENTENCES[:150]), passages("others", SENTENCES[150:180])]
    fake: Any = FakeGenerator(16)
    write_shards(sources, tmp_path, embedder=fake, shard_rows=40)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["held-out.parquet", *(f"shard-{n:03d}.parquet" for n in range(7))]
    written = {name: (tmp_path / name).read_bytes() for name in names}
    (tmp_path / "shard-003.parquet").unlink()
    (tmp_path / "shard-003.partial").write_bytes(b"half")
    (tmp_path / "shard-001.parquet").write_bytes(b"finished")
    write_shards(sources, tmp_path, embedder=fake, shard_rows=40)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "shard-001.parquet").read_bytes() == b"finished"
    (tmp_path / "shard-001.parquet").write_bytes(written["shard-001.parquet"])
    assert {name: (tmp_path / name).read_bytes() for name in names} == written
