from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from smotext_core.training.training_texts import plain, training_passages, write_shards
from smotext_core.xrag.checkpoints import minilm_folder
from smotext_core.xrag.encoder import Embedder
from tests.fakes import FakeGenerator
from tests.tiny import DID, SENTENCES, WHAT, WHO


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


def test_plain_drops_train_passages_of_names_numbers_and_list_marks() -> None:
    texts = [
        "The old mill by the river burnt down in the winter of that year.",
        "Giuseppe Verdi and Arrigo Boito met Franco Faccio in Milan.",
        "It had 12 rooms and 3 halls on two floors.",
        "4. The patient was sent home in good health on that day.",
    ]
    frame = pl.DataFrame({"source": "s", "held_out": False, "text": texts})
    assert plain(frame)["text"].to_list() == texts[:1]
    assert plain(frame.with_columns(held_out=True))["text"].to_list() == texts


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
