"""The published pairs xrag-7b and xrag-moe (Cheng et al. 2024, xRAG), in their own layout.

The encoder is Salesforce/SFR-Embedding-Mistral: the raw vector of the last token, of 180 at most.
The language model is Mistral or Mixtral with two tokens more, `<pad>` and `<xRAG>`; the projector
lies among its weights as `projector.projector.{0,2}.{weight,bias}`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from smotext_core.xrag.checkpoints import (
    checkpoint_fingerprint,
    model_folder,
    read_json,
    read_sentencepiece,
    read_tokenizer,
    snapshot_commit,
    token_ids,
    weight_files,
    weight_map,
)
from smotext_core.xrag.encoder import encoder_entry
from smotext_core.xrag.loading import read_weights

# Prompts it was trained on to say the same in other words.
PARAPHRASE_PROMPTS = (
    "Background: {xrag_token} means the same as",
    "Background: {xrag_token}, which also means:",
    "These two expressions are equivalent in essence:\n(1) {xrag_token}\n(2)",
)
PAD, XRAG, EOS = 32000, 32001, 2
_ENCODER = ("Salesforce/SFR-Embedding-Mistral", "2e059fe468df39a429eb2cdd56d55c038eb8eaf6")
_LMS: dict[str, tuple[str, str | None]] = {
    "xrag-7b": ("Hannibal046/xrag-7b", "3767571cc0d58b5babc8eac0f3ea0f269cfa27ec"),
    # nobody here has seen a commit of it: xrag-moe@COMMIT says which
    "xrag-moe": ("Hannibal046/xrag-moe", None),
}
PUBLISHED = tuple(_LMS)
_GIGABYTES = {"xrag-7b": 14.6, "xrag-moe": 93}


def published_manifest(
    name: str,
    *,
    encoder: str | None = None,
    lm: str | None = None,
    template: str = PARAPHRASE_PROMPTS[0],
    quantization: Literal["8bit", "4bit"] | None = None,
    download: bool = False,
) -> dict[str, Any]:
    """The manifest of a published pair; needs no torch.

    Args:
        name: "xrag-7b", or "xrag-moe@COMMIT"; a commit is that of the language model on the hub.
        encoder, lm: folders with the files, instead of the Hugging Face cache.
        template: the prompt, with {xrag_token} where the vector goes.
        quantization: of the language model, by bitsandbytes.
        download: fetch what is not cached.

    Raises:
        ValueError: the weights are not there; a template without its place.
    """
    name, _, commit = name.partition("@")
    if name not in PUBLISHED:
        raise ValueError(f"the published pairs are {', '.join(PUBLISHED)}, got {name!r}")
    _split(template)
    if quantization not in (None, "8bit", "4bit"):
        raise ValueError(f"quantization is 8bit, 4bit or none, got {quantization!r}")
    licence = (
        "encoder SFR-Embedding-Mistral: CC-BY-NC-4.0, not for commercial use; "
        f"decoder {name}: its authors state none"
    )
    # A folder's own commit counts, a name's is pinned.
    encoder_at = (encoder, None) if encoder else _ENCODER
    lm_name, lm_revision = (lm, None) if lm else (_LMS[name][0], commit or _LMS[name][1])
    if lm is None and lm_revision is None:
        raise ValueError(
            f"{name} has no commit of its own: give that of {lm_name} on the Hugging Face hub, "
            f"{name}@COMMIT, 40 hex digits"
        )
    try:
        entry = encoder_entry(
            *encoder_at, download=download, pooling="last", normalized=False, max_tokens=180
        )
        folder = model_folder(lm_name, lm_revision, download=download)
    except ValueError as error:
        raise ValueError(
            f"{name} needs {encoder_at[0]} (14.2 GB) and {lm_name} ({_GIGABYTES[name]} GB; "
            f"{licence}): {error}"
        ) from error
    chosen = {"quantization": quantization} if quantization else {}
    return {
        "name": name,
        "licence": licence,
        "encoder": entry,
        "lm": {
            "name": lm_name,
            "revision": snapshot_commit(folder),
            "fingerprint": checkpoint_fingerprint(folder),
            **chosen,
        },
        "prompt": {
            "template": template,
            "xrag_token_id": XRAG,
            "eos_token_id": EOS,
            "suppress_tokens": [PAD, XRAG],  # never trained
            "max_new_tokens": 256,
        },
        "sha256": {},
    }


def write_published(folder: Path, name: str, **options: Any) -> None:
    """Write a generator folder that refers to a published pair with options of one's own.

    Args:
        options: as `published_manifest` takes them.
    """
    manifest = published_manifest(name, **options)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "generator.json").write_text(json.dumps(manifest, indent=2) + "\n")


def _split(template: str) -> tuple[str, str]:
    before, found, after = template.strip().partition("{xrag_token}")
    if not found or "{xrag_token}" in after:
        raise ValueError(
            f"a prompt has {{xrag_token}} once, where the vector goes; got {template!r}"
        )
    return before, after


def prompt_ids(template: str, folder: Path, *, xrag_token_id: int) -> list[int]:
    """Token ids of `template` as the instruction of a user, in the tokens of training.

    It was trained with the slow tokenizer, which cuts the text at `<xRAG>` and encodes what is
    before and after as texts of their own; a fast one loses the space marks at the cut.

    Raises:
        ValueError: the folder has other ids for the added tokens, or the prompt ends in the end.
    """
    path = folder / "added_tokens.json"
    added = read_json(path) if path.is_file() else {"<xRAG>": xrag_token_id}
    if added.get("<xRAG>") != xrag_token_id:
        raise ValueError(f"{path} should give <xRAG> the id {xrag_token_id}, it holds {added}")
    before, after = _split(template)
    tokenizer = prompt_tokenizer(folder)
    pieces = token_ids(tokenizer, [f"[INST] {before}", f"{after} [/INST]"])
    ids = [read_json(folder / "config.json").get("bos_token_id", 1), *pieces[0]]
    ids += [xrag_token_id, *pieces[1]]
    if ids.count(xrag_token_id) != 1 or ids[-1] == EOS:
        raise ValueError(
            f"the prompt {template!r} became {ids}: <xRAG> once and no end is required"
        )
    return ids


def prompt_tokenizer(folder: Path) -> Any:
    """The sentencepiece of tokenizer.model, which training used, else what there is."""
    path = folder / "tokenizer.model"
    return read_sentencepiece(path) if path.is_file() else read_tokenizer(folder)


def published_projector(folder: Path) -> dict[str, Any]:
    """The projector's weights, `{0,2}.{weight,bias}`, from the shards that hold them.

    Raises:
        ValueError: a shard is damaged, or holds a pickle of more than weights, which is not run.
    """
    files = weight_files(folder)
    kind = "pytorch_model.bin" if files[0].suffix == ".bin" else "model.safetensors"
    if files != [folder / kind]:
        where = weight_map(folder / f"{kind}.index.json")
        names = {name for key, name in where.items() if key.startswith("projector.")}
        files = [folder / name for name in sorted(names)]
    weights: dict[str, Any] = {}
    for path in files:
        for key, weight in read_weights(path).items():
            if key.startswith("projector."):
                weights[key.removeprefix("projector.projector.")] = weight
    return weights
