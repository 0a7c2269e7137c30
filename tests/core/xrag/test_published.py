"""Checkpoints of the published layout, tiny ones: read, encoded and decoded as the real are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentencepiece import SentencePieceProcessor

from smotext_assets.graph.resources import GeneratorResource
from smotext_core.xrag.checkpoints import read_json
from smotext_core.xrag.encoder import Embedder, encoder_entry
from smotext_core.xrag.folder import manifest_fingerprint, read_manifest
from smotext_core.xrag.generator import Generator, load_generator
from smotext_core.xrag.published import (
    PARAPHRASE_PROMPTS,
    prompt_ids,
    published_manifest,
    write_published,
)
from tests.core.xrag.published_layout import (
    DIMENSION,
    SENTENCEPIECE,
    quick,
    read_shards,
    tiny_projector,
    write_cache,
    write_lm,
)

TEXTS = ["The comet passed close to the sun.", "", "  Butter,\n\ngarlic  東京 🙂", "word " * 400]
SFR = ("Salesforce/SFR-Embedding-Mistral", "2e059fe468df39a429eb2cdd56d55c038eb8eaf6")
XRAG = ("Hannibal046/xrag-7b", "3767571cc0d58b5babc8eac0f3ea0f269cfa27ec")


def test_prompt_ids_are_those_of_training(lm: Path) -> None:
    sp = SentencePieceProcessor(model_file=str(SENTENCEPIECE))
    ids = prompt_ids(PARAPHRASE_PROMPTS[0], lm, xrag_token_id=32001)
    before, after = "[INST] Background: ", " means the same as [/INST]"
    assert ids == [1, *sp.encode(before), 32001, *sp.encode(after)]
    assert ids == [
        1, 733, 16289, 28793, 24316, 28747, 28705, 32001,
        28705, 2825, 272, 1348, 390, 733, 28748, 16289, 28793,
    ]  # fmt: skip
    # A tokenizer that reads the text as one loses the space marks at the cut.
    assert len(sp.encode(before.strip()) + sp.encode(after.strip())) == len(ids) - 4


def test_prompt_ids_refuse(lm: Path, copied: Path) -> None:
    for template in ("no place", "{xrag_token} {xrag_token}"):
        with pytest.raises(ValueError, match=r"a prompt has \{xrag_token\} once"):
            prompt_ids(template, lm, xrag_token_id=32001)
    (copied / "added_tokens.json").write_text('{"<xRAG>": 32000, "<pad>": 32001}')
    with pytest.raises(ValueError, match=r"should give <xRAG> the id 32001, it holds .*32000"):
        prompt_ids(PARAPHRASE_PROMPTS[0], copied, xrag_token_id=32001)


def test_load_generator_reads_the_published_layout(
    generator: Generator, folder: Path, lm: Path, encoder: Path
) -> None:
    published = read_shards(lm)
    loaded = generator.decoder.lm.state_dict()
    assert {f"projector.projector.{name}" for name in tiny_projector().state_dict()} == (
        set(published) - set(loaded)
    )
    for name, weight in loaded.items():
        assert torch.equal(weight, published[name].float()), name
    for name, weight in tiny_projector().state_dict().items():
        assert torch.equal(generator.decoder.projector.state_dict()[name], weight.float())
    assert generator.decoder.suppress_tokens == [32000, 32001]
    assert (generator.dimension, generator.normalized) == (DIMENSION, False)
    assert generator.embedder.max_tokens == 180
    assert "CC-BY-NC-4.0" in generator.licence
    assert sorted(path.name for path in folder.iterdir()) == ["generator.json"]
    manifest = read_manifest(str(folder))
    assert manifest["encoder"] == {
        "name": str(encoder),
        "revision": None,
        "fingerprint": generator.embedder.fingerprint,
        "dimension": DIMENSION,
        "pooling": "last",
        "normalized": False,
        "max_tokens": 180,
    }
    assert generator.fingerprint == manifest_fingerprint(manifest)


def test_generator_resource_takes_a_published_pair(folder: Path, generator: Generator) -> None:
    resource = GeneratorResource(generator=str(folder))
    assert (resource.name, resource.normalized) == ("own", False)
    assert resource.fingerprint == generator.fingerprint
    assert resource.encoder_fingerprint == generator.embedder.fingerprint
    assert "CC-BY-NC-4.0" in resource.licence
    loaded = quick(resource.load())
    vectors = loaded.encode(TEXTS)
    found = loaded.decode_candidates(vectors, seeds=range(4), n_candidates=2, temperature=1.0)
    assert found.cosines.shape == (4, 2)
    assert len({text for texts in found.texts for text in texts}) > 4
    # λ = .5 of two raw vectors is decoded as it is: nothing brings it to unit length.
    norms = np.linalg.norm(vectors, axis=1)
    assert (norms > 2).all()
    seen: list[Any] = []
    handle = loaded.decoder.projector.register_forward_hook(
        lambda _, given, out: seen.append(given)
    )
    loaded.decode((vectors[:1] + vectors[1:2]) / 2)
    handle.remove()
    assert torch.equal(seen[0][0][0], torch.from_numpy((vectors[0] + vectors[1]) / 2))


def test_embedder_last_equals_sentence_transformers(generator: Generator, encoder: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    ends = {"add_bos_token": True, "add_eos_token": True}
    transformer = Transformer(str(encoder), max_seq_length=180, processor_kwargs=ends)
    theirs = SentenceTransformer(modules=[transformer, Pooling(DIMENSION, "lasttoken")])
    expected = theirs.encode(TEXTS, normalize_embeddings=False)
    got = generator.encode(TEXTS)
    assert np.allclose(got, expected, atol=1e-5)
    ids = generator.embedder._token_ids(TEXTS)
    assert [(row[0], row[-1], row.count(2)) for row in ids] == [(1, 2, 1)] * 4
    assert ids[1] == [1, 2]
    assert len(ids[3]) == 180
    # `</s>` pads as well as it ends: what is padding, the mask says.
    assert np.allclose(got, [generator.encode([text])[0] for text in TEXTS], atol=1e-5)


def test_embedder_reads_sentencepiece(encoder: Path, tmp_path: Path) -> None:
    plain = Path(shutil.copytree(encoder, tmp_path / "plain"))
    (plain / "tokenizer.json").unlink()
    options: dict[str, Any] = {"pooling": "last", "normalized": False, "max_tokens": 180}
    expected, got = Embedder(encoder, **options), Embedder(plain, **options)
    assert got._token_ids(TEXTS) == expected._token_ids(TEXTS)
    assert np.allclose(got.encode(TEXTS), expected.encode(TEXTS), atol=1e-6)
    assert got.fingerprint != expected.fingerprint
    assert encoder_entry(str(plain), max_tokens=9)["max_tokens"] == 9
    assert encoder_entry(str(plain))["pooling"] == "last"


def test_prompt_holds_the_projected_vector(generator: Generator) -> None:
    decoder, vectors = generator.decoder, generator.encode(TEXTS)
    with torch.inference_mode():
        prompt = decoder._prompt(vectors, [decoder.prompt_ids] * 4)
        expected = decoder.projector(torch.from_numpy(vectors))[:, 0]
        place = decoder.prompt_ids.index(32001)
        assert torch.equal(prompt[:, place], expected)
        others = [i for i in range(len(decoder.prompt_ids)) if i != place]
        tokens = torch.tensor(decoder.prompt_ids)[others]
        known = decoder.lm.get_input_embeddings()(tokens)
    assert torch.equal(prompt[:, others], known.expand(4, -1, -1))


def test_sample_left_padded_batch_equals_single_rows(generator: Generator, lm: Path) -> None:
    decoder, vectors = generator.decoder, generator.encode(TEXTS)[[0, 1, 2, 3, 0, 1]]
    known = [prompt_ids(template, lm, xrag_token_id=32001) for template in PARAPHRASE_PROMPTS]
    assert [len(ids) for ids in known] == [17, 17, 27]
    prompts = known * 2
    for temperature in (0.0, 1.5):
        options: dict[str, Any] = {"temperature": temperature, "top_k": 20}
        batch = decoder.sample(vectors, seeds=range(6), prompts=prompts, **options)
        alone = [
            decoder.sample(vectors[[i]], seeds=[i], prompts=[prompts[i]], **options)[0]
            for i in range(6)
        ]
        assert batch == alone
        assert len(set(batch)) == 6


def test_sample_equals_plain_generate(generator: Generator, lm: Path) -> None:
    decoder, vectors = generator.decoder, generator.encode(TEXTS)[:3]
    prompts = [prompt_ids(template, lm, xrag_token_id=32001) for template in PARAPHRASE_PROMPTS]
    with torch.inference_mode():
        inputs = decoder._prompt(vectors, prompts)
        width = inputs.shape[1]
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        tokens = decoder.lm.generate(
            inputs_embeds=inputs,
            attention_mask=mask,
            max_new_tokens=decoder.max_new_tokens,
            do_sample=False,
            suppress_tokens=[32000, 32001],
            pad_token_id=2,
        ).tolist()
    rows = [row[: row.index(2)] if 2 in row else row for row in tokens]
    whole = decoder.sample(vectors, seeds=range(3), temperature=0, prompts=prompts)
    assert whole == [decoder.text(row) for row in rows]
    assert len(set(whole)) == 3


def test_load_generator_reads_mixtral(tmp_path: Path, encoder: Path) -> None:
    lm = write_lm(tmp_path / "moe", mixtral=True)
    published = read_shards(lm)
    w1 = published["model.layers.1.block_sparse_moe.experts.2.w1.weight"]
    write_published(tmp_path / "own", "xrag-moe", encoder=str(encoder), lm=str(lm))
    generator = quick(load_generator(str(tmp_path / "own")))
    experts = generator.decoder.lm.model.layers[1].mlp.experts
    assert torch.equal(experts.gate_up_proj[2][: len(w1)], w1.float())
    assert generator.name == "xrag-moe"
    vectors = generator.encode(TEXTS)
    assert len(set(generator.decoder.sample(vectors, seeds=range(4)))) == 4


def test_published_manifest_options_are_in_the_fingerprint(encoder: Path, lm: Path) -> None:
    places: dict[str, Any] = {"encoder": str(encoder), "lm": str(lm)}
    manifests = [
        published_manifest("xrag-7b", **places),
        published_manifest("xrag-7b", **places, template=PARAPHRASE_PROMPTS[2]),
        published_manifest("xrag-7b", **places, quantization="4bit"),
        published_manifest("xrag-moe", **places),
    ]
    assert len({manifest_fingerprint(manifest) for manifest in manifests}) == 4
    assert published_manifest("xrag-7b", **places) == manifests[0]
    with pytest.raises(ValueError, match="quantization is 8bit, 4bit or none, got '3bit'"):
        published_manifest("xrag-7b", **places, quantization="3bit")  # type: ignore[arg-type]


def test_load_generator_quantized_needs_bitsandbytes(
    encoder: Path, lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_published(tmp_path, "xrag-7b", encoder=str(encoder), lm=str(lm), quantization="4bit")
    monkeypatch.setattr("smotext_core.xrag.loading.find_spec", lambda package: None)
    with pytest.raises(ImportError, match="4bit needs bitsandbytes: pip install bitsandbytes acc"):
        load_generator(str(tmp_path))


@pytest.fixture
def cache(encoder: Path, lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache with both models, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    write_cache(tmp_path / "hub", *SFR, encoder)
    write_cache(tmp_path / "hub", *XRAG, lm)
    return tmp_path / "hub"


def test_load_generator_by_name_from_the_cache(cache: Path, generator: Generator) -> None:
    loaded = quick(load_generator("xrag-7b"))
    manifest = loaded.manifest
    assert (manifest["encoder"]["name"], manifest["encoder"]["revision"]) == SFR
    assert (manifest["lm"]["name"], manifest["lm"]["revision"]) == XRAG
    # The same files are the same encoder, wherever they lie.
    assert loaded.embedder.fingerprint == generator.embedder.fingerprint
    assert loaded.decode(loaded.encode(TEXTS)) == generator.decode(generator.encode(TEXTS))


def test_read_manifest_of_a_pair_needs_no_torch(cache: Path) -> None:
    code = (
        "import sys\n"
        "from smotext_core.xrag import manifest_fingerprint, read_manifest\n"
        "print(manifest_fingerprint(read_manifest('xrag-7b')))\n"
        "assert not {'torch', 'transformers', 'tokenizers', 'dagster'} & set(sys.modules)\n"
    )
    # The hash of weights is their name in the cache: they are not read, here they are not whole.
    blob = next(cache.glob("*xrag-7b/snapshots/*/pytorch_model-00002-of-00003.bin")).resolve()
    expected = manifest_fingerprint(read_manifest("xrag-7b"))
    blob.write_bytes(b"cut short")
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"},
    )
    assert done.stdout.strip() == expected
    with pytest.raises(ValueError, match=r"pytorch_model-00002-of-00003\.bin should have the sha2"):
        load_generator("xrag-7b")


def test_load_generator_tells_what_to_download(cache: Path) -> None:
    shutil.rmtree(next(cache.glob("*xrag-7b")))
    message = (
        r"xrag-7b needs Salesforce/SFR-Embedding-Mistral \(14\.2 GB\) and Hannibal046/xrag-7b "
        r"\(14\.6 GB; encoder .*CC-BY-NC-4.0, .*\): Hannibal046/xrag-7b is not in the Hugging "
        r"Face cache .*"
        rf"hf download Hannibal046/xrag-7b --revision {XRAG[1]}; or give a folder"
    )
    for read in (read_manifest, load_generator):
        with pytest.raises(ValueError, match=message):
            read("xrag-7b")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bfloat16_on_a_gpu_is_near_float64(folder: Path) -> None:
    exact = load_generator(str(folder), dtype="float64")
    near = load_generator(str(folder), device="cuda")
    assert near.decoder.lm.dtype == near.embedder.model.dtype == torch.bfloat16
    expected, got = exact.encode(TEXTS), near.encode(TEXTS)
    cosine = (expected * got).sum(1)
    cosine /= np.linalg.norm(expected, axis=1) * np.linalg.norm(got, axis=1)
    assert cosine.min() > 0.99
    logits = []
    for decoder in (exact.decoder, near.decoder):
        with torch.inference_mode():
            prompt = decoder._prompt(expected, [decoder.prompt_ids] * 4)
            last = decoder.lm(inputs_embeds=prompt).logits[:, -1]
            logits.append(last.double().cpu().flatten())
    assert torch.corrcoef(torch.stack(logits))[0, 1] > 0.99
    first = near.decoder.sample(expected, seeds=range(4))
    assert near.decoder.sample(expected, seeds=range(4)) == first


def test_config_of_the_tiny_pair_is_the_published_one(lm: Path) -> None:
    config = read_json(lm / "config.json")
    assert config["architectures"] == ["XMistralForCausalLM"]
    assert (config["model_type"], config["vocab_size"]) == ("mistral", 32002)
    assert len(read_json(lm / "pytorch_model.bin.index.json")["weight_map"]) == 25


def test_pair_without_a_commit_of_its_own_is_taken_at_the_one_given(cache: Path) -> None:
    with pytest.raises(ValueError, match=r"Hannibal046/xrag-moe on .*, xrag-moe@COMMIT, 40 hex"):
        read_manifest("xrag-moe")
    with pytest.raises(ValueError, match="is taken at a commit, 40 hex digits, got 'main'"):
        read_manifest("xrag-moe@main")
    commit = "89abcdef" * 5
    (snapshot,) = cache.glob("*xrag-7b/snapshots/*")
    write_cache(cache, "Hannibal046/xrag-moe", commit, snapshot)
    manifest = read_manifest(f"xrag-moe@{commit}")
    assert manifest["name"] == "xrag-moe"
    assert manifest["lm"]["revision"] == commit
    with pytest.raises(ValueError, match=rf"xrag-7b --revision {commit}"):
        read_manifest(f"xrag-7b@{commit}")
