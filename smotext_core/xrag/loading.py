"""Language models and weights, read from files without running any code that comes with them."""

from __future__ import annotations

import pickle
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def multiplies_bfloat16(device: str) -> bool:
    """Whether `device` is twice as fast or more in bfloat16 as in float32."""
    import torch

    if device != "cpu":
        return True
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def load_causal_lm(
    folder: Path, *, device: str = "cpu", dtype: str = "float32", quantization: str | None = None
) -> Any:
    """The causal language model in `folder`.

    Args:
        quantization: "8bit" or "4bit", by bitsandbytes.

    Raises:
        ValueError: as `load_model`.
        ImportError: bitsandbytes is asked for and missing.
    """
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {}
    if quantization is not None:
        options = _quantized(quantization, device=device)
    model = load_model(AutoModelForCausalLM, folder, dtype=dtype, **options)
    return model if options else model.to(device)


def load_model(kind: Any, folder: Path, *, dtype: str, **options: Any) -> Any:
    """The model in `folder`, whole; weights that it does not know are left out.

    Args:
        kind: an Auto class of transformers.
        dtype: what it computes in.
        options: of `from_pretrained`.

    Raises:
        ValueError: files are damaged, hold more than weights, or lack some.
    """
    import torch
    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # a projector among the weights is expected
    try:
        model, loading = kind.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    except pickle.UnpicklingError as error:
        raise ValueError(_not_weights(folder)) from error
    except torch.OutOfMemoryError:
        raise
    except (OSError, RuntimeError, EOFError, SafetensorError) as error:
        raise ValueError(f"{folder} holds no whole model of this kind: {error}") from error
    finally:
        logging.set_verbosity(verbosity)
    # A pooler is on top of what is used, and often not there.
    if missing := sorted(key for key in loading["missing_keys"] if "pooler" not in key):
        raise ValueError(
            f"{folder} lacks {len(missing)} weights of its model, {missing[0]} the first: "
            "copy the model again"
        )
    return model


def _quantized(quantization: str, *, device: str) -> dict[str, Any]:
    import torch
    from transformers import BitsAndBytesConfig

    if quantization not in ("8bit", "4bit"):
        raise ValueError(f"quantization is 8bit, 4bit or none, got {quantization!r}")
    for package in ("bitsandbytes", "accelerate"):
        if find_spec(package) is None:
            raise ImportError(
                f"quantization {quantization} needs {package}: pip install bitsandbytes accelerate"
            )
    config: Any = BitsAndBytesConfig
    settings = {f"load_in_{quantization}": True, "bnb_4bit_compute_dtype": torch.bfloat16}
    return {"quantization_config": config(**settings), "device_map": {"": device}}


def read_weights(path: Path) -> dict[str, Any]:
    """The weights in a `.safetensors` or `.bin` file, by name.

    Raises:
        ValueError: it is damaged, or a pickle of more than weights, which is not run.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found: Any
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            mapped = zipfile.is_zipfile(path)
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise ValueError(_not_weights(path)) from error
    except (OSError, RuntimeError, EOFError, SafetensorError) as error:
        raise ValueError(f"{path} is cut short or damaged: copy the model again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} should map names to weights, it holds a {type(found).__name__}")
    return found


def _not_weights(path: Path) -> str:
    return f"{path} holds a pickle of more than weights, which was not run: get it from its authors"
