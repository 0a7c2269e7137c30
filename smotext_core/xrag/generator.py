"""A generator: the encoder and the decoder that belong together (`folder.py`: their files)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from smotext_core.texts import unknown_words
from smotext_core.xrag.adapter import ADAPTER_FILES, merge_adapter
from smotext_core.xrag.checkpoints import (
    model_folder,
    read_tokenizer,
)
from smotext_core.xrag.decoder import Decoder, checked_vectors
from smotext_core.xrag.encoder import Embedder
from smotext_core.xrag.folder import (
    MODEL_FILES,
    WORDS_FILE,
    check_files,
    embedded_generator,
    generator_folder,
    lm_fingerprint,
    lm_folder,
    manifest_fingerprint,
    named_lm,
    read_manifest,
)
from smotext_core.xrag.loading import load_causal_lm, multiplies_bfloat16, read_weights
from smotext_core.xrag.published import (
    prompt_ids,
    prompt_tokenizer,
    published_projector,
)
from smotext_core.xrag.search import Candidates, search
from smotext_core.xrag.smollm2 import (
    SMOLLM2,
    smollm2_tokenizer,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Generator:
    """Encodes texts to vectors and decodes vectors to texts.

    Attributes:
        name, licence: as the manifest says.
        dimension: of the vectors.
        normalized: whether vectors have unit length.
        fingerprint: 16 hex characters, the same for the same files.
        folder: of its files; None of one that was not read from a folder.
        words: of its training text, lower-cased; None where they are not known.
    """

    def __init__(
        self,
        manifest: dict[str, Any],
        embedder: Embedder,
        decoder: Decoder,
        *,
        words: frozenset[str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.manifest = manifest
        self.folder = folder
        self.embedder = embedder
        self.decoder = decoder
        self.words = words
        self.name: str = manifest["name"]
        self.licence: str = manifest["licence"]
        self.dimension = embedder.dimension
        self.normalized = embedder.normalized
        self.fingerprint = manifest_fingerprint(manifest)

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Vectors (n, d) float32 of n texts."""
        return self.embedder.encode(texts, progress=progress)

    def unknown_words(self, text: str) -> list[str]:
        """Words of `text` that its training text does not have; none where that is not known."""
        return [] if self.words is None else unknown_words(text, self.words)

    def decode(self, vectors: NDArray[np.float32], seed: int = 0) -> list[str]:
        """One text a vector, the closest of eight candidates; row i uses the seed `seed + i`."""
        seeds = [seed + row for row in range(len(vectors))]
        found = self.decode_candidates(vectors, seeds=seeds, n_candidates=8)
        return [texts[0] for texts in found.texts]

    def decode_candidates(
        self,
        vectors: NDArray[np.float32],
        *,
        seeds: Sequence[int],
        n_candidates: int,
        temperature: float = 0.5,
        rounds: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> Candidates:
        """`n_candidates` texts a vector with their round-trip cosines, the closest first.

        One candidate is the likeliest text, the others are sampled at `temperature`, in `rounds`
        parts of which the later ones vary the closest text so far (see `search.search`). At a
        temperature of 0 all are the likeliest, and their log-probabilities are told. A row's texts
        depend on its vector and seed alone. `progress` is called with vectors just done.

        Raises:
            ValueError: vectors of another width, not finite or zero; as many seeds as vectors
                or a candidate are missing; more than one round at a temperature of 0.
        """
        return search(
            self.decoder,
            self.encode,
            checked_vectors(vectors, self.dimension),
            seeds=seeds,
            n_candidates=n_candidates,
            temperature=temperature,
            rounds=rounds,
            progress=progress,
        )


def load_generator(
    generator: str | None = None,
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    dtype: str | None = None,
) -> Generator:
    """Load `small` or `mini`, which come with smotext, a published pair, or a generator folder.

    A published pair that is not cached is downloaded.

    Args:
        generator: None takes `embedded_generator`.
        dtype: what the models compute in. None: float32; bfloat16 of a language model kept
            elsewhere and its encoder on a GPU, and of SmolLM2 on a processor that multiplies it.

    Raises:
        ValueError: no such generator, a file whose sha256 is not the manifest's, an encoder that
            is not the one the projector was trained on, projector or adapter weights of another
            shape.
        ImportError: the extra `models` or the package of `small` is not installed, or bitsandbytes
            is asked for and missing.
        MemoryError: there is not enough.
    """
    generator = embedded_generator() if generator is None else generator
    manifest = read_manifest(generator, download=True)
    folder, named, prompt = generator_folder(generator), manifest.get("lm"), manifest["prompt"]
    check_files(folder, manifest, required=() if named else MODEL_FILES)
    import torch
    from transformers.utils import logging as transformers_logging

    from smotext_core.xrag.projector import load_projector

    quiet: Any = transformers_logging.disable_progress_bar
    quiet()  # it would draw one for each of a dozen megabytes
    usual = "bfloat16" if named and device == "cuda" else "float32"
    # Vectors stay float32; a row of SmolLM2 is the same whatever its batch in both.
    fast = named and named["name"] == SMOLLM2 and multiplies_bfloat16(device)
    lm_dtype, dtype = dtype or ("bfloat16" if fast else usual), dtype or usual
    embedder = _encoder(generator, manifest["encoder"], device=device, dtype=dtype)
    lm_at = folder
    if named:
        found = lm_fingerprint(named)
        if found != named.get("fingerprint", found):
            raise ValueError(
                f"the generator {generator} was made with the language model "
                f"{named['fingerprint']} ({named['name']}); the one here is {found}"
            )
    if named:
        lm, lm_at = named_lm(named, device=device, dtype=lm_dtype), lm_folder(named)
    else:
        lm = load_causal_lm(folder, device=device, dtype=lm_dtype)
    if ADAPTER_FILES[1] in manifest["sha256"]:
        merge_adapter(lm, folder)
    if "projector.safetensors" in manifest["sha256"]:
        source, weights = folder, read_weights(folder / "projector.safetensors")
    else:
        source, weights = lm_at, published_projector(lm_at)
    projector = load_projector(
        weights,
        dimension=embedder.dimension,
        hidden=lm.get_input_embeddings().embedding_dim,
        n_tokens=prompt.get("ids", []).count(prompt["xrag_token_id"]) or 1,
        source=source,
    )
    if "template" in prompt:
        xrag = prompt["xrag_token_id"]
        ids = prompt_ids(prompt["template"], lm_at, xrag_token_id=xrag)
        tokenizer = prompt_tokenizer(lm_at)
    else:
        ids = prompt["ids"]
        if "tokenizer.json" in manifest["sha256"]:
            tokenizer = read_tokenizer(folder)
        elif named and named["name"] == SMOLLM2:
            tokenizer = smollm2_tokenizer()
        else:
            tokenizer = read_tokenizer(lm_at)
    decoder = Decoder(
        lm,
        projector.to(getattr(torch, lm_dtype)),
        tokenizer,
        prompt_ids=ids,
        xrag_token_id=prompt["xrag_token_id"],
        eos_token_id=prompt["eos_token_id"],
        suppress_tokens=prompt["suppress_tokens"],
        max_new_tokens=prompt["max_new_tokens"],
        device=device,
    )
    words = None
    if WORDS_FILE in manifest["sha256"]:
        words = frozenset((folder / WORDS_FILE).read_text(encoding="utf-8").split())
    return Generator(manifest, embedder, decoder, words=words, folder=folder)


def _encoder(generator: str, entry: dict[str, Any], *, device: str, dtype: str) -> Embedder:
    embedder = Embedder(
        model_folder(entry["name"], entry.get("revision")),
        max_tokens=entry["max_tokens"],
        pooling=entry.get("pooling", "mean"),
        normalized=entry["normalized"],
        device=device,
        dtype=dtype,
    )
    if embedder.fingerprint != entry["fingerprint"]:
        raise ValueError(
            f"the projector of {generator} reads vectors of the encoder {entry['fingerprint']} "
            f"({entry['name']}); the encoder here is {embedder.fingerprint}"
        )
    return embedder
