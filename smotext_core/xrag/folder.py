"""A generator's folder: its manifest and the files that it names.

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
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smotext_core.xrag.adapter import ADAPTER_FILES
from smotext_core.xrag.attention import grouped_attention
from smotext_core.xrag.checkpoints import (
    check_cached,
    checkpoint_fingerprint,
    file_sha256,
    model_folder,
)
from smotext_core.xrag.loading import load_causal_lm
from smotext_core.xrag.published import (
    PUBLISHED,
    published_manifest,
)
from smotext_core.xrag.smollm2 import (
    INSTALL,
    SHA256,
    SMOLLM2,
    load_smollm2,
    smollm2_file,
    smollm2_installed,
)

if TYPE_CHECKING:
    pass

SMALL_FOLDER = Path(__file__).parent / "xrag_small"
MINI_FOLDER = Path(__file__).parent / "xrag_mini"
MODEL_FILES = ("config.json", "model.safetensors", "projector.safetensors", "tokenizer.json")
WORDS_FILE = "words.txt"
_KEYS = ("name", "licence", "encoder", "prompt", "sha256")


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
        manifest = {**manifest, "lm": {**named, "fingerprint": lm_fingerprint(named)}}
    else:
        # A copy: the caller may go on training his.
        copy.deepcopy(lm).to(torch.float16).save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        names = list(MODEL_FILES)
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
        (folder / WORDS_FILE).write_text("".join(f"{w}\n" for w in sorted(words)), encoding="utf-8")
        names.append(WORDS_FILE)
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
    path = generator_folder(generator) / "generator.json"
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


def generator_folder(generator: str) -> Path:
    return {"small": SMALL_FOLDER, "mini": MINI_FOLDER}.get(generator) or Path(generator)


def named_lm(named: dict[str, Any], *, device: str, dtype: str = "float32") -> Any:
    """The language model that a manifest names under "lm"; raises as `load_generator`."""
    if named["name"] == SMOLLM2:
        lm = load_smollm2(dtype=dtype).to(device)
        return grouped_attention(lm) if device == "cpu" else lm
    folder = lm_folder(named)
    check_cached(folder)
    quantization = named.get("quantization")
    return load_causal_lm(folder, device=device, dtype=dtype, quantization=quantization)


def lm_folder(named: dict[str, Any]) -> Path:
    if named["name"] == SMOLLM2:
        return smollm2_file().parent
    return model_folder(named["name"], named.get("revision"))


def lm_fingerprint(named: dict[str, Any]) -> str:
    """Of a language model that lies elsewhere."""
    if named["name"] == SMOLLM2:
        smollm2_file()  # whose sha256 is checked
        return SHA256[:16]
    return checkpoint_fingerprint(lm_folder(named))


def check_files(folder: Path, manifest: dict[str, Any], *, required: Sequence[str]) -> None:
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
