from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smotext_core.xrag.checkpoints import MINILM, minilm_folder
from smotext_core.xrag.encoder import Embedder, encoder_entry, encoder_spec, length_batches

TEXTS = [
    "The comet passed close to the sun.",
    "Butter, garlic and onion.",
    "",
    "A striker scored the only goal of the match after the break, and the keeper could not help.",
    "Der Zug fährt um acht Uhr ab. 東京 🙂",
    "The patient was given antibiotics. " * 90,  # longer than 256 tokens
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(minilm_folder())


def test_encode_equals_sentence_transformers(embedder: Embedder) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm_folder()), device="cpu")
    assert model.max_seq_length == 256
    expected = model.encode(TEXTS, normalize_embeddings=True)
    got = embedder.encode(TEXTS)
    assert got.shape == (6, embedder.dimension) == (6, 384)
    assert got.dtype == np.float32
    assert (got * expected).sum(axis=1).min() >= 0.9999
    assert np.allclose(got, expected, atol=1e-5)
    # The vectors differ enough for a wrong order to show.
    assert np.max(got @ got.T - np.eye(6)) < 0.9


def test_encode_does_not_depend_on_the_batch(embedder: Embedder) -> None:
    whole = embedder.encode(TEXTS)
    backwards = embedder.encode(TEXTS[::-1], batch_tokens=64)[::-1]
    alone = np.concatenate([embedder.encode([text]) for text in TEXTS])
    assert np.allclose(whole, backwards, atol=1e-5)
    assert np.allclose(whole, alone, atol=1e-5)
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    assert embedder.encode(TEXTS).tobytes() == whole.tobytes()


def test_encode_in_bfloat16_is_close(embedder: Embedder) -> None:
    found = Embedder(minilm_folder(), dtype="bfloat16").encode(TEXTS)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    cosines = (found * embedder.encode(TEXTS)).sum(axis=1)
    assert cosines.min() >= 0.999
    assert cosines.max() < 1 - 1e-7  # it is not float32


def test_encode_cuts_at_max_tokens(embedder: Embedder) -> None:
    longer = [TEXTS[5], TEXTS[5] + "Nothing of this is read."]
    assert np.allclose(*embedder.encode(longer), atol=1e-6)
    short = Embedder(minilm_folder(), max_tokens=6)
    cut, uncut = short.encode(["The comet passed close to the sun.", "The comet passed close"])
    assert np.allclose(cut, uncut, atol=1e-6)
    assert short.fingerprint != embedder.fingerprint


def test_encode_no_texts(embedder: Embedder) -> None:
    assert embedder.encode([]).shape == (0, 384)


def test_encode_reports_progress(embedder: Embedder) -> None:
    done: list[int] = []
    embedder.encode(TEXTS, batch_tokens=64, progress=done.append)
    assert sum(done) == 6
    assert len(done) > 1


def test_encode_of_strange_texts(embedder: Embedder) -> None:
    strange = ["x" * 100_000, "a b. " * 20_000, "\x00\x07\x1b[2J\u200b\u202e", "\n\t ", ""]
    vectors = embedder.encode(strange)
    assert np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    # What has no token, white space among it, is read as the empty text.
    assert np.allclose(vectors[3], vectors[4], atol=1e-6)
    assert np.allclose(embedder.encode(["a\x00b"]), embedder.encode(["ab"]), atol=1e-6)


class Hungry:
    """A model for which there is memory for `limit` texts at once."""

    def __init__(self, model: Any, limit: int) -> None:
        self.model, self.config, self.limit, self.sizes = model, model.config, limit, list[int]()

    def __call__(self, input_ids: Any, attention_mask: Any) -> Any:
        self.sizes.append(len(input_ids))
        if len(input_ids) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.model(input_ids=input_ids, attention_mask=attention_mask)


def test_encode_halves_batches_where_memory_runs_out(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{text} {n}" for n in range(5) for text in TEXTS[:5]]
    expected, done = embedder.encode(texts), list[int]()
    hungry = Hungry(embedder.model, 3)
    monkeypatch.setattr(embedder, "model", hungry)
    with pytest.warns(UserWarning, match="no memory left for 25 texts of .* at once: batches are"):
        got = embedder.encode(texts, progress=done.append)
    assert np.allclose(got, expected, atol=1e-5)
    assert sum(done) == 25
    assert [size for size in hungry.sizes if size > 3] == [25, 12, 6, 4]  # few of them stumble
    hungry.limit = 0
    with pytest.raises(MemoryError, match=r"no memory left for 1 texts of \d+ tokens: another dev"):
        embedder.encode(TEXTS[:1])


def test_encode_refuses_what_is_not_finite(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = embedder.model.embeddings.word_embeddings.weight
    damaged = weight.detach().clone()
    damaged[embedder.tokenizer.token_to_id("comet")] = torch.nan
    monkeypatch.setattr(weight, "data", damaged)
    with pytest.raises(ValueError, match="vectors that are not finite: its weights are damaged"):
        embedder.encode(TEXTS[:2])
    assert np.isfinite(embedder.encode(TEXTS[1:2])).all()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(minilm_folder(), tmp_path / "model"))


@pytest.mark.parametrize(("pooling", "name"), [("cls", "cls"), ("last", "lasttoken")])
def test_encode_pools_as_sentence_transformers(copied: Path, pooling: Any, name: str) -> None:
    from sentence_transformers import SentenceTransformer

    (copied / "1_Pooling" / "config.json").write_text(
        json.dumps({"embedding_dimension": 384, "pooling_mode": name})
    )
    modules = json.loads((copied / "modules.json").read_text())
    (copied / "modules.json").write_text(json.dumps(modules[:2]))
    spec = encoder_spec(copied)
    assert spec == {"pooling": pooling, "normalized": False, "max_tokens": 256}
    model = SentenceTransformer(str(copied), device="cpu")
    got = Embedder(copied, **spec).encode(TEXTS)
    assert np.allclose(got, model.encode(TEXTS), atol=1e-4)
    assert np.linalg.norm(got, axis=1).min() > 2


def test_encoder_spec_of_a_plain_checkpoint(copied: Path) -> None:
    assert encoder_spec(copied) == {"pooling": "mean", "normalized": True, "max_tokens": 256}
    (copied / "sentence_bert_config.json").write_text('{"max_seq_length": 99}')
    assert encoder_spec(copied)["max_tokens"] == 99
    (copied / "modules.json").unlink()
    assert encoder_spec(copied) == {"pooling": "mean", "normalized": False, "max_tokens": 256}


def test_encoder_spec_refuses_what_it_does_not_know(copied: Path) -> None:
    (copied / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}'
    )
    with pytest.raises(
        ValueError, match=r"pools by \['pooling_mode_mean_tokens', 'pooling_mode_max"
    ):
        encoder_spec(copied)
    modules = json.loads((copied / "modules.json").read_text())
    modules[2]["type"] = "sentence_transformers.models.Dense"
    (copied / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match=r"Transformer, Pooling and Normalize; .* 'Dense'\]"):
        encoder_spec(copied)


def test_encoder_entry_is_what_the_embedded_generator_says() -> None:
    from smotext_core.xrag.folder import read_manifest

    entry = encoder_entry(MINILM)
    assert entry["fingerprint"] == "d19b3e3b4bed99b2"
    assert entry.items() >= read_manifest("mini")["encoder"].items()
    assert (entry["pooling"], entry["revision"]) == ("mean", None)


def test_embedder_refuses_weights_that_lack_some(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    del weights["encoder.layer.3.output.dense.weight"]
    save_file(weights, copied / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"lacks 1 weights of its model, encoder\.layer\.3\.output"
    ):
        Embedder(copied)
    whole = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(whole[:100_000])
    with pytest.raises(ValueError, match="holds no whole model of this kind"):
        Embedder(copied)
    with pytest.raises(ValueError, match="pooling is mean, cls or last, got 'max'"):
        Embedder(copied, pooling="max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_tokens leaves no room for a text, got 2"):
        Embedder(minilm_folder(), max_tokens=2)


def test_fingerprint_is_of_the_files(embedder: Embedder, tmp_path: Path) -> None:
    again = Embedder(minilm_folder())
    assert again.fingerprint == embedder.fingerprint
    assert len(again.fingerprint) == 16
    folder = tmp_path / "model"
    shutil.copytree(minilm_folder(), folder)
    assert Embedder(folder).fingerprint == embedder.fingerprint  # wherever they lie
    tokenizer = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(tokenizer + "\n")
    assert Embedder(folder).fingerprint != embedder.fingerprint


@pytest.mark.parametrize("batch_tokens", [1, 20, 64, 10_000])
def test_length_batches_fill_without_overflow(batch_tokens: int) -> None:
    lengths = np.random.default_rng(0).integers(2, 40, 300).tolist()
    batches = length_batches(lengths, batch_tokens=batch_tokens)
    assert sorted(row for batch in batches for row in batch) == list(range(300))
    for batch in batches:
        width = max(lengths[row] for row in batch)
        assert len(batch) == 1 or len(batch) * width <= batch_tokens
    # No batch could have taken the next one's first row as well.
    for batch, following in pairwise(batches):
        assert (len(batch) + 1) * lengths[following[0]] > batch_tokens
    in_order = [lengths[row] for batch in batches for row in batch]
    assert in_order == sorted(in_order)


def test_length_batches_golden() -> None:
    assert length_batches([5, 2, 9, 2, 3], batch_tokens=9) == [[1, 3, 4], [0], [2]]
    assert length_batches([5, 2, 9, 2, 3], batch_tokens=8) == [[1, 3], [4], [0], [2]]
    assert length_batches([], batch_tokens=8) == []
