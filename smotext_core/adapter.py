"""LoRA adapters (Hu et al. 2021) in peft's format, merged into the language model they adapt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smotext_core.checkpoints import read_json
from smotext_core.loading import read_weights

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_PREFIX = "base_model.model."


def merge_adapter(lm: Any, folder: Path) -> None:
    """Add the adapter in `folder` to the weights of `lm`: W + alpha / r · B · A.

    A merged model is as fast as the one it was made of, and needs no peft.

    Raises:
        ValueError: the files are missing or damaged, hold something else than LoRA, or are of
            another language model.
    """
    import torch

    config = read_json(folder / ADAPTER_FILES[0])
    path = folder / ADAPTER_FILES[1]
    if config.get("peft_type") != "LORA" or config.get("use_rslora") or config.get("use_dora"):
        raise ValueError(
            f"{folder / ADAPTER_FILES[0]} should describe a plain LoRA adapter, it describes "
            f"{config.get('peft_type')}"
        )
    weights = read_weights(path)
    scale = config["lora_alpha"] / config["r"]
    layers = dict(lm.named_modules())
    names = sorted({key.rpartition(".lora_")[0] for key in weights})
    with torch.no_grad():
        for name in names:
            layer = layers.get(name.removeprefix(_PREFIX))
            a = weights.get(f"{name}.lora_A.weight")
            b = weights.get(f"{name}.lora_B.weight")
            shape = None if layer is None else tuple(layer.weight.shape)
            if a is None or b is None or shape != (b.shape[0], a.shape[1]):
                raise ValueError(
                    f"{path} does not fit the language model: its layer "
                    f"{name.removeprefix(_PREFIX)} is "
                    + ("missing" if shape is None else f"{shape}, the adapter is of another shape")
                    + ". Give the language model that the adapter was trained on"
                )
            delta = scale * (b.to(layer.weight.dtype) @ a.to(layer.weight.dtype))
            layer.weight += delta.to(layer.weight.device)
    if not names:
        raise ValueError(f"{path} holds no LoRA weights: copy the generator again")
