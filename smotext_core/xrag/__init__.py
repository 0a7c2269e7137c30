"""Vectors and texts: the encoder, the decoder that reads a vector as tokens (xRAG), their files.

A generator is both, and what is tried to come near a vector. How one is trained is in `training`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smotext_core.xrag.adapter import (
    ADAPTER_FILES,
    adapter_parameters,
    load_adapter,
    new_adapter,
    save_adapter,
)
from smotext_core.xrag.checkpoints import (
    file_sha256,
    minilm_folder,
    model_folder,
    read_tokenizer,
    snapshot_commit,
)
from smotext_core.xrag.decoder import Decoder
from smotext_core.xrag.encoder import Embedder, read_embedder
from smotext_core.xrag.folder import (
    described,
    embedded_generator,
    manifest_fingerprint,
    named_lm,
    read_manifest,
    write_generator,
)
from smotext_core.xrag.generator import Generator, load_generator
from smotext_core.xrag.loading import load_causal_lm
from smotext_core.xrag.nearest_texts import NearestTexts, found_candidates
from smotext_core.xrag.novelty import TextGenerator, decode_new
from smotext_core.xrag.search import Candidates
from smotext_core.xrag.smollm2 import SMOLLM2, load_smollm2, smollm2_tokenizer

if TYPE_CHECKING:
    from smotext_core.xrag.projector import Projector

__all__ = [
    "ADAPTER_FILES",
    "SMOLLM2",
    "Candidates",
    "Decoder",
    "Embedder",
    "Generator",
    "NearestTexts",
    "Projector",
    "TextGenerator",
    "adapter_parameters",
    "decode_new",
    "described",
    "embedded_generator",
    "file_sha256",
    "found_candidates",
    "load_adapter",
    "load_causal_lm",
    "load_generator",
    "load_smollm2",
    "manifest_fingerprint",
    "minilm_folder",
    "model_folder",
    "named_lm",
    "new_adapter",
    "read_embedder",
    "read_manifest",
    "read_tokenizer",
    "save_adapter",
    "smollm2_tokenizer",
    "snapshot_commit",
    "write_generator",
]


def __getattr__(name: str) -> Any:
    # it needs torch, which loading the asset graph does not wait for
    if name == "Projector":
        from smotext_core.xrag.projector import Projector

        return Projector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
