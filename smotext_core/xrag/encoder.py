"""Texts to vectors: an encoder, read from a folder, frozen."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from smotext_core.xrag.checkpoints import (
    check_cached,
    model_folder,
    read_json,
    read_tokenizer,
    snapshot_commit,
    stored_sha256,
    token_ids,
    tokenizer_file,
    weight_files,
)
from smotext_core.xrag.loading import load_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Tokens a batch: a CPU gains nothing from more, an H200 went from .18 to .47 of its matrix rate.
CPU_TOKENS, GPU_TOKENS = 2048, 32_768
Pooling = Literal["mean", "cls", "last"]
# sentence-transformers' names of them, old and new
_POOLINGS: dict[str, Pooling] = {
    "mean": "mean",
    "cls": "cls",
    "lasttoken": "last",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}


def encoder_spec(folder: Path) -> dict[str, Any]:
    """`pooling`, `normalized` and `max_tokens` as a sentence-transformers folder states them.

    A folder without modules.json is a plain transformers checkpoint: mean, not normalised, 256.

    Raises:
        ValueError: it does more than pool and normalise, or pools in another way.
    """
    spec: dict[str, Any] = {"pooling": "mean", "normalized": False, "max_tokens": 256}
    if not (folder / "modules.json").is_file():
        return spec
    modules = json.loads((folder / "modules.json").read_text())
    kinds = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
    if not set(kinds) <= {"Transformer", "Pooling", "Normalize"}:
        raise ValueError(
            f"an encoder's modules are Transformer, Pooling and Normalize; {folder} has "
            f"{list(kinds)}"
        )
    spec["normalized"] = "Normalize" in kinds
    pooling = read_json(folder / kinds.get("Pooling", "1_Pooling") / "config.json")
    mode = pooling.get("pooling_mode")
    modes = [
        name for name, on in pooling.items() if name.startswith("pooling_mode_") and on is True
    ]
    if mode is not None:
        modes = [mode] if isinstance(mode, str) else list(mode)
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise ValueError(f"an encoder pools by mean, cls or last token; {folder} pools by {modes}")
    spec["pooling"] = _POOLINGS[modes[0]]
    if (folder / "sentence_bert_config.json").is_file():
        longest = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
        spec["max_tokens"] = longest or spec["max_tokens"]
    return spec


def encoder_entry(
    name: str, revision: str | None = None, *, download: bool = True, **spec: Any
) -> dict[str, Any]:
    """What a generator's manifest says of its encoder; needs no torch.

    Args:
        name, revision: as `model_folder` takes them.
        spec: pooling, normalized, max_tokens, where they are not the folder's own.
    """
    folder = model_folder(name, revision, download=download)
    chosen = {**encoder_spec(folder), **spec}
    config = read_json(folder / "config.json")
    widths = [config[key] for key in ("hidden_size", "dim", "d_model", "n_embd") if key in config]
    if not widths:
        raise ValueError(f"{folder}/config.json does not state a hidden_size")
    return {
        "name": name,
        "revision": snapshot_commit(folder),
        "fingerprint": encoder_fingerprint(folder, **chosen),
        "dimension": widths[0],
        **chosen,
    }


def encoder_fingerprint(
    folder: Path, *, pooling: Pooling, normalized: bool, max_tokens: int
) -> str:
    """16 hex characters: the same for the same weights, tokenizer and settings, wherever kept."""
    weights = {path.name: stored_sha256(path) for path in weight_files(folder)}
    identity: dict[str, Any] = {
        "weights": weights.get("model.safetensors", weights),
        "tokenizer": stored_sha256(tokenizer_file(folder)),
        "pooling": pooling,
        "normalized": normalized,
        "max_tokens": max_tokens,
    }
    if pooling == "last":  # they tell which token is the last
        settings = [folder / "config.json", folder / "tokenizer_config.json"]
        identity["settings"] = [stored_sha256(path) for path in settings if path.is_file()]
    canonical = json.dumps(identity, sort_keys=True).encode()
    return hashlib.sha256(canonical).hexdigest()[:16]


class Embedder:
    """A sentence encoder.

    Args:
        folder: a transformers checkpoint: config.json, tokenizer.json or tokenizer.model, weights.
        max_tokens: longer texts are cut there, special tokens included.
        pooling: the mean of the tokens, the first of them, or the last, which is then the end
            token whatever the text's length.
        normalized: whether vectors are brought to unit length.
        device: a torch device.
        dtype: what the model computes in.

    Raises:
        ValueError: weights are missing or damaged, or no encoder of this kind.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_tokens: int = 256,
        pooling: Pooling = "mean",
        normalized: bool = True,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        from transformers import AutoModel

        if pooling not in ("mean", "cls", "last"):
            raise ValueError(f"pooling is mean, cls or last, got {pooling!r}")
        check_cached(folder)
        self.pooling, self.normalized = pooling, normalized
        self.max_tokens, self.device = max_tokens, device
        self.fingerprint = encoder_fingerprint(
            folder, pooling=pooling, normalized=normalized, max_tokens=max_tokens
        )
        model = load_model(AutoModel, folder, dtype=dtype)
        if model.config.is_encoder_decoder:
            raise ValueError(f"{folder} is an encoder-decoder, an encoder or a decoder is required")
        self.model: Any = model.to(device).eval()
        self.dimension: int = self.model.config.hidden_size
        self.tokenizer = read_tokenizer(folder)
        self._start, self._end = _ends(folder, self.tokenizer, pooling)
        self._room = max_tokens - len(self._start) - len(self._end)
        if self._room < 1:
            raise ValueError(f"max_tokens leaves no room for a text, got {max_tokens}")
        if hasattr(self.tokenizer, "enable_truncation"):
            self.tokenizer.enable_truncation(max_tokens)

    def encode(
        self,
        texts: Sequence[str],
        *,
        batch_tokens: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Vectors of `texts`, (n, d) float32, in their order; no text gives no row.

        Texts are sorted by length and batched by tokens, so that little is spent on padding:
        `batch_tokens`, by default 2,048 on a CPU and 32,768 elsewhere. Where memory runs out,
        batches are halved. A text without a token, such as the empty one where
        the tokenizer adds none, is read as the end token alone.
        `progress` is called with the number of texts just done.

        Raises:
            ValueError: the model gave vectors that are not finite.
            MemoryError: one text alone does not fit.
        """
        import torch

        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        ids = self._token_ids(texts)
        room = batch_tokens or (CPU_TOKENS if self.device == "cpu" else GPU_TOKENS)
        pending = length_batches([len(i) for i in ids], batch_tokens=room)[::-1]
        while pending:
            rows = pending.pop()
            try:
                with torch.inference_mode():
                    found = self._vectors([ids[row] for row in rows])
            except torch.OutOfMemoryError as error:
                pending = [half for batch in [*pending, rows] for half in _halves(batch)]
                told = f"no memory left for {len(rows)} texts of {len(ids[rows[-1]])} tokens"
                if len(rows) == 1:
                    raise MemoryError(f"{told}: another device or a smaller encoder") from error
                warnings.warn(f"{told} at once: batches are halved", stacklevel=2)
                continue
            if not np.isfinite(found).all():
                raise ValueError(
                    "the encoder gave vectors that are not finite: its weights are damaged, or "
                    "numbers overflow, which float32 or bfloat16 avoid"
                )
            out[rows] = found
            if progress is not None:
                progress(len(rows))
        return out

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        contents = token_ids(self.tokenizer, texts)
        end = _eos(self.model.config.to_dict()) or 0
        return [[*self._start, *ids[: self._room], *self._end] or [end] for ids in contents]

    def _vectors(self, ids: list[list[int]]) -> NDArray[np.float32]:
        """Of one batch; padded on the right, where a decoder does not look either."""
        import torch

        width = max(map(len, ids))
        tokens = np.full((len(ids), width), self.model.config.pad_token_id or 0, dtype=np.int64)
        mask = np.zeros((len(ids), width), dtype=np.int64)
        for row, known in enumerate(ids):
            tokens[row, : len(known)] = known
            mask[row, : len(known)] = 1
        attention = torch.from_numpy(mask).to(self.device)
        hidden = self.model(
            input_ids=torch.from_numpy(tokens).to(self.device), attention_mask=attention
        ).last_hidden_state  # (batch, width, d)
        if self.pooling == "mean":
            weight = attention.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weight).sum(1) / weight.sum(1)
        elif self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            pooled = hidden[torch.arange(len(ids), device=self.device), attention.sum(1) - 1]
        if self.normalized:
            pooled = torch.nn.functional.normalize(pooled.float(), dim=-1)
        vectors: NDArray[np.float32] = pooled.float().cpu().numpy()
        return vectors


def read_embedder(name: str, revision: str | None = None, *, device: str = "cpu") -> Embedder:
    """The encoder of a folder, or of a name on the hub at a commit, with its stated settings."""
    folder = model_folder(name, revision)
    return Embedder(folder, device=device, **encoder_spec(folder))


def _ends(folder: Path, tokenizer: Any, pooling: Pooling) -> tuple[list[int], list[int]]:
    """The special tokens before and after a text."""
    start, end = list[int](), list[int]()
    if hasattr(tokenizer, "bos_id"):  # sentencepiece knows no rule of its own
        start = [tokenizer.bos_id()]
    else:
        whole, bare = tokenizer.encode("a").ids, token_ids(tokenizer, ["a"])[0]
        at = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        start, end = whole[:at], whole[at + len(bare) :]
    if pooling != "last":
        return start, end
    # The vector is that of the end token, so it must be there, whatever the tokenizer adds.
    model = read_json(folder / "config.json")
    path = folder / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    llama = "Llama" in (settings.get("tokenizer_class") or "Llama")
    if not start and settings.get("add_bos_token", llama) and model.get("bos_token_id") is not None:
        start = [model["bos_token_id"]]
    if not end:
        eos = _eos(model)
        if eos is None:
            raise ValueError(
                f"pooling the last token needs an eos_token_id in {folder}/config.json"
            )
        end = [eos]
    return start, end


def _eos(config: dict[str, Any]) -> int | None:
    found = config.get("eos_token_id")
    return found[0] if isinstance(found, list) else found


def _halves(rows: list[int]) -> list[list[int]]:
    middle = len(rows) // 2
    return [half for half in (rows[middle:], rows[:middle]) if half]


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
