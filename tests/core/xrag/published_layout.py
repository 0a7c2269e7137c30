"""Checkpoints in the published layout of xrag-7b and xrag-moe, of random weights and tiny sizes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mistral_common
import torch
from safetensors.torch import load_file
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import (
    MistralConfig,
    MistralForCausalLM,
    MistralModel,
    MixtralConfig,
    MixtralForCausalLM,
)
from transformers.convert_slow_tokenizer import generate_merges

from smotext_core.xrag.generator import Generator

SENTENCEPIECE = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
DIMENSION, HIDDEN = 24, 32
SIZES: dict[str, Any] = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
    "rope_theta": 1e6,
    "sliding_window": None,
    "initializer_range": 0.4,  # large, so that texts differ
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def write_tokenizer_json(path: Path) -> None:
    """The tokenizer.json of Mistral v1, made from its sentencepiece model."""
    sp = SentencePieceProcessor(model_file=str(SENTENCEPIECE))
    vocabulary = {sp.id_to_piece(i): i for i in range(len(sp))}
    scores = {sp.id_to_piece(i): sp.get_score(i) for i in range(len(sp))}
    merges = [tuple(pair) for pair in generate_merges(vocabulary, scores)]
    bpe = models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer.save(str(path))


def write_encoder(folder: Path, *, tokenizer_json: bool = True, seed: int = 0) -> Path:
    """As SFR-Embedding-Mistral: sharded safetensors, the last token's vector, not normalised."""
    torch.manual_seed(seed)
    model = MistralModel(MistralConfig(vocab_size=32000, hidden_size=DIMENSION, **SIZES))
    model.save_pretrained(folder, max_shard_size="1MB")
    shutil.copy(SENTENCEPIECE, folder / "tokenizer.model")
    if tokenizer_json:
        write_tokenizer_json(folder / "tokenizer.json")
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    settings = {"add_bos_token": True, "add_eos_token": True, "tokenizer_class": "LlamaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **tokens}))
    kinds = ["Transformer", "Pooling"]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, ["", "1_Pooling"], strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": DIMENSION, "pooling_mode_lasttoken": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 4096}')
    return folder


def tiny_projector() -> Any:
    from smotext_core.xrag.projector import Projector

    torch.manual_seed(1)
    return Projector(DIMENSION, HIDDEN).bfloat16()


def write_lm(folder: Path, *, mixtral: bool = False) -> Path:
    """As Hannibal046/xrag-7b or xrag-moe: three `.bin` shards, the projector in two of them."""
    torch.manual_seed(2)
    if mixtral:
        sizes = {**SIZES, "num_local_experts": 3, "num_experts_per_tok": 2}
        lm: Any = MixtralForCausalLM(MixtralConfig(vocab_size=32002, hidden_size=HIDDEN, **sizes))
    else:
        lm = MistralForCausalLM(MistralConfig(vocab_size=32002, hidden_size=HIDDEN, **SIZES))
    lm.bfloat16().save_pretrained(folder)  # in the old names, block_sparse_moe.experts among them
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "generation_config.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    kind = "XMixtralForCausalLM" if mixtral else "XMistralForCausalLM"
    config |= {
        "architectures": [kind],
        "projector_type": "mlp2x_gelu",
        "retriever_hidden_size": DIMENSION,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "added_tokens.json").write_text('{"<pad>": 32000, "<xRAG>": 32001}')
    shutil.copy(SENTENCEPIECE, folder / "tokenizer.model")
    added = {f"projector.projector.{k}": v for k, v in tiny_projector().state_dict().items()}
    if mixtral:
        for weight in added.values():
            weight.tagged = True  # makes torch write it in the longer way that xrag-moe's are in
    first, second = dict(list(added.items())[:2]), dict(list(added.items())[2:])
    write_shards(folder, {**first, **weights, **second})
    return folder


def write_shards(folder: Path, weights: dict[str, Any]) -> None:
    where = {
        key: f"pytorch_model-0000{1 + i * 3 // len(weights)}-of-00003.bin"
        for i, key in enumerate(weights)
    }
    for name in set(where.values()):
        torch.save({k: v for k, v in weights.items() if where[k] == name}, folder / name)
    index = {"metadata": {}, "weight_map": where}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def read_shards(folder: Path) -> dict[str, Any]:
    weights: dict[str, Any] = {}
    for path in sorted(folder.glob("pytorch_model-*.bin")):
        weights |= torch.load(path, weights_only=True)
    return weights


def write_cache(cache: Path, name: str, commit: str, folder: Path) -> Path:
    """The files of `folder` as the Hugging Face cache keeps those of `name` at `commit`."""
    from smotext_core.xrag.checkpoints import file_sha256

    repo = cache / f"models--{name.replace('/', '--')}"
    snapshot = repo / "snapshots" / commit
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        large = path.suffix in {".bin", ".safetensors", ".model"}
        blob = repo / "blobs" / file_sha256(path)[: 64 if large else 40]
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, blob)
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        up = len(link.relative_to(repo).parts) - 1
        link.symlink_to(Path(*[".."] * up) / "blobs" / blob.name)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    return snapshot


def quick(generator: Generator) -> Generator:
    generator.decoder.batch_size, generator.decoder.max_new_tokens = 8, 24
    return generator
