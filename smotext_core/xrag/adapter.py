"""LoRA adapters (Hu et al. 2021) in peft's format: merged to decode, apart to be trained."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smotext_core.xrag.checkpoints import read_json
from smotext_core.xrag.loading import read_weights

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
    layers: dict[str, Any] = dict(lm.named_modules())
    names = sorted({key.rpartition(".lora_")[0] for key in weights})
    with torch.no_grad():
        for name in names:
            layer = layers.get(name.removeprefix(_PREFIX))
            a = weights.get(f"{name}.lora_A.weight")
            b = weights.get(f"{name}.lora_B.weight")
            shape = None if layer is None else tuple(layer.weight.shape)
            if layer is None or a is None or b is None or shape != (b.shape[0], a.shape[1]):
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


def new_adapter(lm: Any, *, rank: int) -> Any:
    """`lm` with an adapter of all its linear layers but the last; scale 2, adds nothing yet."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    with _without_deprecation():
        return get_peft_model(lm, config)


def load_adapter(lm: Any, folder: Path) -> Any:
    """`lm` with the adapter in `folder`, to be trained on."""
    from peft import PeftModel

    with _without_deprecation():
        return PeftModel.from_pretrained(lm, str(folder), is_trainable=True)


@contextmanager
def _without_deprecation() -> Iterator[None]:
    """Without a warning to users: peft reads a property that transformers has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")
        yield


def adapter_parameters(adapted: Any) -> Any:
    """The trained parameters of a model with an adapter, as a module that holds nothing else."""
    import torch

    return torch.nn.ParameterDict(
        {n.replace(".", "/"): p for n, p in adapted.named_parameters() if p.requires_grad}
    )


def save_adapter(adapted: Any, folder: Path) -> None:
    """Write the adapter of a model in bfloat16, in the files that `merge_adapter` reads."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    save_file(
        {name: weight.to(torch.bfloat16).contiguous() for name, weight in weights.items()},
        folder / ADAPTER_FILES[1],
    )
    config = adapted.peft_config["default"].to_dict()
    kept = ("peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "bias", "target_modules")
    described = {name: config[name] for name in kept}
    described["target_modules"] = sorted(described["target_modules"])
    text = json.dumps({**described, "inference_mode": True}, indent=1) + "\n"
    (folder / ADAPTER_FILES[0]).write_text(text)
