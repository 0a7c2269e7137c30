"""A generator: the encoder and the decoder that belong together, in one folder.

    generator.json         what it is, and the sha256 of every other file
    config.json, model.safetensors    the language model, as transformers saves it
    projector.safetensors  Linear, GELU, Linear from the encoder's dimension to the model's
    tokenizer.json

The projector reads the vectors of one encoder only (xRAG issue 10), so the manifest names it and
a folder whose encoder is not the one at hand is refused. Only safetensors are read.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from smotext_core.decoding import Candidates, Decoder, checked_vectors
from smotext_core.embedding import Embedder, file_sha256, minilm_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINI_FOLDER = Path(__file__).parent / "xrag_mini"
_FILES = ("config.json", "model.safetensors", "projector.safetensors", "tokenizer.json")
_KEYS = ("name", "licence", "encoder", "prompt", "sha256")


class Generator:
    """Encodes texts to vectors and decodes vectors to texts.

    Attributes:
        name, licence: as the manifest says.
        dimension: of the vectors.
        normalized: whether vectors have unit length.
        fingerprint: 16 hex characters, the same for the same files.
    """

    def __init__(self, manifest: dict[str, Any], embedder: Embedder, decoder: Decoder) -> None:
        self.manifest = manifest
        self.embedder = embedder
        self.decoder = decoder
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
        progress: Callable[[int], None] | None = None,
    ) -> Candidates:
        """`n_candidates` texts a vector with their round-trip cosines, the closest first.

        One candidate is the likeliest text, the others are sampled at `temperature`. A row's texts
        depend on its vector and seed alone. `progress` is called with vectors just done.

        Raises:
            ValueError: vectors of another width, not finite or zero; as many seeds as vectors
                or a candidate are missing.
        """
        vectors = checked_vectors(vectors, self.dimension)
        if n_candidates < 1:
            raise ValueError(f"n_candidates must be at least 1, got {n_candidates}")
        if len(seeds) != len(vectors):
            raise ValueError(f"{len(vectors)} vectors need as many seeds, got {len(seeds)}")
        texts: list[list[str]] = []
        cosines = np.empty((len(vectors), n_candidates), dtype=np.float32)
        embeddings = np.empty((len(vectors), n_candidates, self.dimension), dtype=np.float32)
        block = max(1, self.decoder.batch_size // n_candidates)
        for at in range(0, len(vectors), block):
            chunk = vectors[at : at + block]
            drawn = self.decoder.sample(
                np.repeat(chunk, n_candidates, axis=0),
                seeds=[
                    candidate_seed(seed, c)
                    for seed in seeds[at : at + block]
                    for c in range(n_candidates)
                ],
                temperature=[0.0, *[temperature] * (n_candidates - 1)] * len(chunk),
            )
            encoded = self.encode(drawn).reshape(len(chunk), n_candidates, -1)
            unit = encoded / np.linalg.norm(encoded, axis=2, keepdims=True)
            target = chunk / np.linalg.norm(chunk, axis=1, keepdims=True)
            cosine = (unit.astype(np.float64) * target[:, None]).sum(axis=2)  # (rows, c)
            order = np.argsort(-cosine, axis=1, kind="stable")
            rows = slice(at, at + len(chunk))
            cosines[rows] = np.take_along_axis(cosine, order, axis=1)
            embeddings[rows] = np.take_along_axis(encoded, order[:, :, None], axis=1)
            texts += [
                [drawn[row * n_candidates + c] for c in places]
                for row, places in enumerate(order.tolist())
            ]
            if progress is not None:
                progress(len(chunk))
        return Candidates(texts, cosines, embeddings)


def candidate_seed(seed: int, candidate: int) -> int:
    """The stream of one candidate of the sample whose seed is `seed`."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{candidate}".encode()).digest()[:8], "big")


def manifest_fingerprint(manifest: dict[str, Any]) -> str:
    """16 hex characters of the sha256 of the manifest, which holds the sha256 of every file."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def write_generator(
    folder: Path,
    *,
    lm: Any,
    projector: Any,
    tokenizer: Any,
    manifest: dict[str, Any],
) -> None:
    """Write a generator folder, weights in half precision, the manifest last."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    # A copy: the caller may go on training his.
    copy.deepcopy(lm).to(torch.float16).save_pretrained(folder)
    weights = {k: v.to(torch.float16).contiguous() for k, v in projector.state_dict().items()}
    save_file(weights, folder / "projector.safetensors")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "generation_config.json").unlink(missing_ok=True)
    hashes = {name: file_sha256(folder / name) for name in _FILES}
    text = json.dumps({**manifest, "sha256": hashes}, indent=2) + "\n"
    (folder / "generator.json").write_text(text)


def read_manifest(generator: str) -> dict[str, Any]:
    """The manifest of `mini` or of a generator folder; needs no torch.

    Raises:
        ValueError: there is no such generator, or its manifest is damaged.
    """
    folder = MINI_FOLDER if generator == "mini" else Path(generator)
    path = folder / "generator.json"
    if not path.is_file():
        raise ValueError(
            f"a generator is 'mini' or a folder with a generator.json; {generator!r} is neither"
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        missing = [key for key in _KEYS if key not in manifest]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a JSON object: copy the generator again") from error
    if missing:
        raise ValueError(f"{path} needs the keys {list(_KEYS)}; {missing} are missing")
    return manifest


def load_generator(generator: str = "mini", *, device: Literal["cpu", "cuda"] = "cpu") -> Generator:
    """Load `mini`, the embedded default, or a generator folder.

    Raises:
        ValueError: no such generator, a file whose sha256 is not the manifest's, an encoder that
            is not the one the projector was trained on, projector weights of another shape.
        ImportError: the extra `models` is not installed.
    """
    manifest = read_manifest(generator)
    folder = MINI_FOLDER if generator == "mini" else Path(generator)
    for name in _FILES:
        found = file_sha256(folder / name) if (folder / name).is_file() else "no file"
        expected = manifest["sha256"].get(name)
        if found != expected:
            raise ValueError(
                f"{folder / name} should have the sha256 {expected}, "
                f"it has {found}: the generator is damaged or half written, copy it again"
            )
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    quiet: Any = transformers_logging.disable_progress_bar
    quiet()  # it would draw one for each of a dozen megabytes
    embedder = Embedder(
        minilm_folder(), max_tokens=manifest["encoder"]["max_tokens"], device=device
    )
    expected = manifest["encoder"]["fingerprint"]
    if embedder.fingerprint != expected:
        raise ValueError(
            f"the projector of {folder} reads vectors of the encoder {expected} "
            f"({manifest['encoder']['name']}); the encoder here is {embedder.fingerprint}"
        )
    lm: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    projector = _projector(
        folder / "projector.safetensors",
        dimension=embedder.dimension,
        hidden=lm.config.hidden_size,
    )
    prompt = manifest["prompt"]
    decoder = Decoder(
        lm,
        projector,
        Tokenizer.from_file(str(folder / "tokenizer.json")),
        prompt_ids=prompt["ids"],
        xrag_token_id=prompt["xrag_token_id"],
        eos_token_id=prompt["eos_token_id"],
        suppress_tokens=prompt["suppress_tokens"],
        max_new_tokens=prompt["max_new_tokens"],
        device=device,
    )
    return Generator(manifest, embedder, decoder)


def _projector(path: Path, *, dimension: int, hidden: int) -> Any:
    import torch
    from safetensors.torch import load_file

    weights = load_file(path)
    expected = {
        "0.weight": (hidden, dimension),
        "0.bias": (hidden,),
        "2.weight": (hidden, hidden),
        "2.bias": (hidden,),
    }
    found = {name: tuple(weight.shape) for name, weight in weights.items()}
    if found != expected:
        raise ValueError(f"{path} should hold the weights {expected}, it holds {found}")
    projector = torch.nn.Sequential(
        torch.nn.Linear(dimension, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, hidden)
    )
    projector.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return projector
