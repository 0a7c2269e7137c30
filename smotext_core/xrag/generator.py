"""A generator: the encoder and the decoder that belong together, in one folder.

    generator.json         what it is, and the sha256 of every other file
    config.json, model.safetensors    the language model, as transformers saves it
    adapter_config.json, adapter_model.safetensors    of one that lies elsewhere: its LoRA adapter
    projector.safetensors  from the encoder's dimension to k token embeddings of the model
    tokenizer.json         of a language model that lies here
    words.txt              words of its training text, one a line, where its maker kept them

Two come with smotext: `small`, projector and adapter of a SmolLM2 that a package carries, and
`mini`, whole. Where the manifest names a language model under "lm", that model's files lie
elsewhere. The published pairs (`published.py`) are a manifest alone. The projector reads the
vectors of one encoder only (xRAG issue 10), so the manifest names it and another one is refused.
No code of a model is run: weights are safetensors, or `.bin` files that hold nothing but weights.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from smotext_core.texts import unknown_words
from smotext_core.xrag.adapter import ADAPTER_FILES, merge_adapter
from smotext_core.xrag.checkpoints import (
    check_cached,
    checkpoint_fingerprint,
    file_sha256,
    model_folder,
    read_tokenizer,
)
from smotext_core.xrag.decoder import Decoder, checked_vectors
from smotext_core.xrag.encoder import Embedder
from smotext_core.xrag.loading import load_causal_lm, multiplies_bfloat16, read_weights
from smotext_core.xrag.published import (
    PUBLISHED,
    prompt_ids,
    prompt_tokenizer,
    published_manifest,
    published_projector,
)
from smotext_core.xrag.search import Candidates, search
from smotext_core.xrag.smollm2 import (
    INSTALL,
    SHA256,
    SMOLLM2,
    load_smollm2,
    smollm2_file,
    smollm2_installed,
    smollm2_tokenizer,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL_FOLDER = Path(__file__).parent / "xrag_small"
MINI_FOLDER = Path(__file__).parent / "xrag_mini"
_FILES = ("config.json", "model.safetensors", "projector.safetensors", "tokenizer.json")
_WORDS = "words.txt"
_KEYS = ("name", "licence", "encoder", "prompt", "sha256")


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
        parts of which the later ones vary the closest text so far (see `search.search`). A row's
        texts depend on its vector and seed alone. `progress` is called with vectors just done.

        Raises:
            ValueError: vectors of another width, not finite or zero; as many seeds as vectors
                or a candidate are missing.
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


def manifest_fingerprint(manifest: dict[str, Any]) -> str:
    """16 hex characters of the sha256 of the manifest, which holds the sha256 of every file."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def write_generator(
    folder: Path,
    *,
    lm: Any | None,
    projector: Any,
    tokenizer: Any,
    manifest: dict[str, Any],
    words: Iterable[str] | None = None,
    adapter: Path | None = None,
) -> None:
    """Write a generator folder, weights in half precision, the manifest last.

    Args:
        lm: the language model to write, or None where `manifest` names one under "lm".
        tokenizer: None where that of the language model elsewhere is read.
        adapter: folder of a LoRA adapter of the language model named, in peft's format.
        words: of its training text, lower-cased, to tell those that it makes up.
    """
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    names = ["projector.safetensors", *(["tokenizer.json"] if tokenizer is not None else [])]
    if lm is None:
        named = manifest["lm"]
        manifest = {**manifest, "lm": {**named, "fingerprint": _lm_fingerprint(named)}}
    else:
        # A copy: the caller may go on training his.
        copy.deepcopy(lm).to(torch.float16).save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        names = list(_FILES)
    if adapter is not None:
        for name in ADAPTER_FILES:
            if adapter.resolve() != folder.resolve():
                shutil.copyfile(adapter / name, folder / name)
        names += ADAPTER_FILES
    weights = {k: v.to(torch.float16).contiguous() for k, v in projector.state_dict().items()}
    save_file(weights, folder / "projector.safetensors")
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    if words is not None:
        (folder / _WORDS).write_text("".join(f"{w}\n" for w in sorted(words)), encoding="utf-8")
        names.append(_WORDS)
    hashes = {name: file_sha256(folder / name) for name in names}
    text = json.dumps({**manifest, "sha256": hashes}, indent=2) + "\n"
    (folder / "generator.json").write_text(text)


def read_manifest(generator: str, *, download: bool = False) -> dict[str, Any]:
    """The manifest of `small`, `mini`, a published pair or a generator folder; needs no torch.

    Args:
        download: fetch the weights of a published pair where they are not cached.

    Raises:
        ValueError: there is no such generator, its manifest is damaged, or the weights of a
            published pair are not cached.
    """
    if generator.partition("@")[0] in PUBLISHED:
        return published_manifest(generator, download=download)
    path = _folder(generator) / "generator.json"
    if not path.is_file():
        raise ValueError(
            f"a generator is 'small', 'mini', {', '.join(map(repr, PUBLISHED))} or a folder with a "
            f"generator.json; {generator!r} is none of them"
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        missing = [key for key in _KEYS if key not in manifest]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a JSON object: copy the generator again") from error
    if missing:
        raise ValueError(f"{path} needs the keys {list(_KEYS)}; {missing} are missing")
    return manifest


def embedded_generator() -> str:
    """The generator of who names none: "small", or "mini" where its language model is missing."""
    return "small" if smollm2_installed() else "mini"


def described(generator: str) -> str:
    """`generator`'s name, with a word to who could have a better one."""
    if generator == "mini" and not smollm2_installed():
        return f"mini (small writes better sentences; it needs: {INSTALL})"
    return generator


def _folder(generator: str) -> Path:
    return {"small": SMALL_FOLDER, "mini": MINI_FOLDER}.get(generator) or Path(generator)


def named_lm(named: dict[str, Any], *, device: str, dtype: str = "float32") -> Any:
    """The language model that a manifest names under "lm"; raises as `load_generator`."""
    if named["name"] == SMOLLM2:
        return load_smollm2(dtype=dtype).to(device)
    folder = _lm_folder(named)
    check_cached(folder)
    quantization = named.get("quantization")
    return load_causal_lm(folder, device=device, dtype=dtype, quantization=quantization)


def _lm_folder(named: dict[str, Any]) -> Path:
    if named["name"] == SMOLLM2:
        return smollm2_file().parent
    return model_folder(named["name"], named.get("revision"))


def _lm_fingerprint(named: dict[str, Any]) -> str:
    """Of a language model that lies elsewhere."""
    if named["name"] == SMOLLM2:
        smollm2_file()  # whose sha256 is checked
        return SHA256[:16]
    return checkpoint_fingerprint(_lm_folder(named))


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
    folder, named, prompt = _folder(generator), manifest.get("lm"), manifest["prompt"]
    _check_files(folder, manifest, required=() if named else _FILES)
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
    lm_folder = folder
    if named:
        found = _lm_fingerprint(named)
        if found != named.get("fingerprint", found):
            raise ValueError(
                f"the generator {generator} was made with the language model "
                f"{named['fingerprint']} ({named['name']}); the one here is {found}"
            )
    if named:
        lm, lm_folder = named_lm(named, device=device, dtype=lm_dtype), _lm_folder(named)
    else:
        lm = load_causal_lm(folder, device=device, dtype=lm_dtype)
    if ADAPTER_FILES[1] in manifest["sha256"]:
        merge_adapter(lm, folder)
    if "projector.safetensors" in manifest["sha256"]:
        source, weights = folder, read_weights(folder / "projector.safetensors")
    else:
        source, weights = lm_folder, published_projector(lm_folder)
    projector = load_projector(
        weights,
        dimension=embedder.dimension,
        hidden=lm.get_input_embeddings().embedding_dim,
        n_tokens=prompt.get("ids", []).count(prompt["xrag_token_id"]) or 1,
        source=source,
    )
    if "template" in prompt:
        xrag = prompt["xrag_token_id"]
        ids = prompt_ids(prompt["template"], lm_folder, xrag_token_id=xrag)
        tokenizer = prompt_tokenizer(lm_folder)
    else:
        ids = prompt["ids"]
        if "tokenizer.json" in manifest["sha256"]:
            tokenizer = read_tokenizer(folder)
        elif named and named["name"] == SMOLLM2:
            tokenizer = smollm2_tokenizer()
        else:
            tokenizer = read_tokenizer(lm_folder)
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
    if _WORDS in manifest["sha256"]:
        words = frozenset((folder / _WORDS).read_text(encoding="utf-8").split())
    return Generator(manifest, embedder, decoder, words=words, folder=folder)


def _check_files(folder: Path, manifest: dict[str, Any], *, required: Sequence[str]) -> None:
    for name in sorted({*required, *manifest["sha256"]}):
        if Path(name).name != name:
            raise ValueError(f"a generator's files lie in its folder, {name!r} does not")
        found = file_sha256(folder / name) if (folder / name).is_file() else "no file"
        expected = manifest["sha256"].get(name)
        if found != expected:
            raise ValueError(
                f"{folder / name} should have the sha256 {expected}, "
                f"it has {found}: the generator is damaged or half written, copy it again"
            )


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
