from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertLMHeadModel

from smotext_core.training.xrag_mini import EOS, PAD, XRAG, train_tokenizer
from smotext_core.xrag.checkpoints import MINILM, minilm_folder
from smotext_core.xrag.encoder import Embedder
from smotext_core.xrag.folder import manifest_fingerprint, read_manifest, write_generator
from smotext_core.xrag.generator import Generator, load_generator
from smotext_core.xrag.projector import Projector

TEXTS = [
    "The comet passed close to the sun.",
    "Butter, garlic and onion simmer in the pan.",
    "The striker scored the only goal of the match.",
    "The bank refunded the fee to the account.",
    "A nurse measured the blood pressure of the patient.",
]


def tiny_models() -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS, vocab_size=320)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        is_decoder=True,
        initializer_range=0.4,
        bos_token_id=None,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    projector = Projector(384, 32)
    return BertLMHeadModel(config), projector, tokenizer


def manifest(encoder: str) -> dict[str, Any]:
    return {
        "name": "tiny",
        "licence": "CC0-1.0",
        "encoder": {
            "name": MINILM,
            "fingerprint": encoder,
            "dimension": 384,
            "normalized": True,
            "max_tokens": 256,
        },
        "prompt": {
            "ids": [XRAG],
            "xrag_token_id": XRAG,
            "eos_token_id": EOS,
            "suppress_tokens": [PAD, XRAG],
            "max_new_tokens": 16,
        },
    }


def write_tiny(folder: Path, *, encoder: str, projector: Any = None) -> Path:
    lm, own, tokenizer = tiny_models()
    write_generator(
        folder,
        lm=lm,
        projector=projector or own,
        tokenizer=tokenizer,
        manifest=manifest(encoder),
    )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = Embedder(minilm_folder()).fingerprint
    return write_tiny(tmp_path_factory.mktemp("generators") / "tiny", encoder=encoder)


@pytest.fixture(scope="module")
def generator(folder: Path) -> Generator:
    return load_generator(str(folder))


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def test_generator_round_trip(folder: Path, generator: Generator) -> None:
    lm, projector, tokenizer = tiny_models()
    assert (generator.name, generator.licence) == ("tiny", "CC0-1.0")
    assert (generator.dimension, generator.normalized) == (384, True)
    loaded = generator.decoder.lm.state_dict()
    for name, weight in lm.state_dict().items():
        if weight.is_floating_point():
            assert torch.equal(loaded[name], weight.half().float()), name
            assert loaded[name].dtype == torch.float32
    for name, weight in projector.state_dict().items():
        assert torch.equal(generator.decoder.projector.state_dict()[name], weight.half().float())
    ids = tokenizer.encode(TEXTS[0]).ids
    assert generator.decoder.tokenizer.encode(TEXTS[0]).ids == ids
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "generator.json", "model.safetensors", "projector.safetensors",
        "tokenizer.json",
    ]  # fmt: skip
    assert read_manifest(str(folder)) == generator.manifest
    assert load_generator(str(folder)).fingerprint == generator.fingerprint


def test_write_generator_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    lm, projector, tokenizer = tiny_models()
    before = {name: weight.clone() for name, weight in lm.state_dict().items()}
    write_generator(
        tmp_path, lm=lm, projector=projector, tokenizer=tokenizer, manifest=manifest("x")
    )
    assert all(torch.equal(weight, before[name]) for name, weight in lm.state_dict().items())
    assert lm.dtype == projector[0].weight.dtype == torch.float32


def test_generator_encodes_and_decodes(generator: Generator) -> None:
    vectors = generator.encode(TEXTS)
    assert vectors.shape == (5, 384)
    texts = generator.decode(vectors, seed=0)
    assert len(set(texts)) == 5
    assert generator.decode(vectors, seed=0) == texts
    assert generator.decode(vectors, seed=9) != texts
    # Row i uses the seed `seed + i`.
    assert generator.decode(vectors[1:], seed=1) == texts[1:]
    assert generator.decode(vectors[:0]) == []


def test_decode_candidates_are_sorted_with_true_cosines(generator: Generator) -> None:
    vectors = generator.encode(TEXTS) * np.float32(2)  # cosines know no length
    done: list[int] = []
    found = generator.decode_candidates(
        vectors, seeds=range(5), n_candidates=6, temperature=1.5, progress=done.append
    )
    assert sum(done) == 5
    assert found.cosines.shape == (5, 6)
    assert found.embeddings.shape == (5, 6, 384)
    assert found.cosines.dtype == found.embeddings.dtype == np.float32
    for vector, texts, cosines, embeddings in zip(vectors, *found[:3], strict=True):
        assert len(set(texts)) > 3
        assert cosines.tolist() == sorted(cosines, reverse=True)
        again = generator.encode(texts)
        assert np.allclose(embeddings, again, atol=1e-5)
        assert np.allclose(cosines, again @ vector / 2, atol=1e-5)


def test_decode_candidates_of_a_row_depend_on_its_vector_and_seed_alone(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = generator.encode(TEXTS)
    whole = generator.decode_candidates(vectors, seeds=range(5), n_candidates=4)
    some = generator.decode_candidates(vectors[[3, 1]], seeds=[3, 1], n_candidates=4)
    assert some.texts == [whole.texts[3], whole.texts[1]]
    assert np.allclose(some.cosines, whole.cosines[[3, 1]], atol=1e-5)
    # Blocks of one vector, instead of all five in one.
    monkeypatch.setattr(generator.decoder, "batch_size", 1)
    small = generator.decode_candidates(vectors, seeds=range(5), n_candidates=8)
    monkeypatch.undo()
    assert small.texts == generator.decode_candidates(vectors, seeds=range(5), n_candidates=8).texts
    likeliest = generator.decoder.sample(vectors, seeds=range(5), temperature=0)
    assert all(text in row for text, row in zip(likeliest, whole.texts, strict=True))


def test_decode_candidates_refuses(generator: Generator) -> None:
    vectors = generator.encode(TEXTS)
    with pytest.raises(ValueError, match="5 vectors need as many seeds, got 4"):
        generator.decode_candidates(vectors, seeds=range(4), n_candidates=2)
    with pytest.raises(ValueError, match="n_candidates must be at least 1, got 0"):
        generator.decode_candidates(vectors, seeds=range(5), n_candidates=0)
    with pytest.raises(ValueError, match=r"shape \(n, 384\) are required, these have \(5, 32\)"):
        generator.decode_candidates(vectors[:, :32], seeds=range(5), n_candidates=2)
    vectors[3] = 0
    with pytest.raises(ValueError, match="1 are not, the first in row 3"):
        generator.decode_candidates(vectors, seeds=range(5), n_candidates=2)


def test_manifest_fingerprint_is_stable() -> None:
    whole = {**manifest("x"), "sha256": {"tokenizer.json": "0"}}
    fingerprint = manifest_fingerprint(whole)
    assert fingerprint == "6cbf4484f15390d6"
    assert manifest_fingerprint(dict(reversed(whole.items()))) == fingerprint
    assert manifest_fingerprint(json.loads(json.dumps(whole))) == fingerprint
    assert manifest_fingerprint({**whole, "sha256": {"tokenizer.json": "1"}}) != fingerprint


def test_read_manifest_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys\n"
        "from smotext_core.xrag import manifest_fingerprint, read_manifest\n"
        "print(manifest_fingerprint(read_manifest(sys.argv[1])))\n"
        "assert not {'torch', 'transformers', 'tokenizers', 'dagster'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == manifest_fingerprint(read_manifest(str(folder)))


@pytest.mark.parametrize("name", ["maxi", "", "../mini"])
def test_load_generator_refuses_unknown_names(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"'mini', 'xrag-7b', 'xrag-moe' or a folder .* is none of them"
    ):
        load_generator(name)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"name": "ti', "not a JSON object: copy the generator again"),
        ("3", "not a JSON object"),
        ('{"name": "tiny", "licence": "CC0-1.0"}', r"\['encoder', 'prompt', 'sha256'\] are missi"),
    ],
)
def test_read_manifest_refuses_damage(copied: Path, text: str, match: str) -> None:
    (copied / "generator.json").write_text(text)
    with pytest.raises(ValueError, match=match):
        read_manifest(str(copied))


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "projector.safetensors", "tokenizer.json"]
)
def test_load_generator_refuses_damaged_files(copied: Path, name: str) -> None:
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(
        ValueError, match=rf"{name} should have the sha256 \w+, it has \w+: the gen"
    ):
        load_generator(str(copied))
    (copied / name).unlink()
    with pytest.raises(ValueError, match=rf"{name} should have the sha256 \w+, it has no file"):
        load_generator(str(copied))


def test_load_generator_refuses_another_projector(folder: Path, tmp_path: Path) -> None:
    wide = Projector(768, 32)
    encoder = read_manifest(str(folder))["encoder"]["fingerprint"]
    write_tiny(tmp_path, encoder=encoder, projector=wide)
    with pytest.raises(ValueError, match=r"weights .*\(32, 384\).* it holds .*\(32, 768\)"):
        load_generator(str(tmp_path))


def test_load_generator_refuses_a_foreign_encoder(tmp_path: Path) -> None:
    write_tiny(tmp_path, encoder="0123456789abcdef")
    with pytest.raises(ValueError, match=r"vectors of the encoder 0123.*; the encoder here is \w+"):
        load_generator(str(tmp_path))
