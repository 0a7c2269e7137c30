"""Published checkpoints that do not fit, lack a part or hold code: an error names what is wrong."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from smotext_core.xrag.folder import read_manifest
from smotext_core.xrag.generator import Generator, load_generator
from smotext_core.xrag.published import published_projector, write_published
from tests.core.xrag.published_layout import (
    DIMENSION,
    HIDDEN,
    read_shards,
    write_encoder,
    write_shards,
)


def load_with(tmp_path: Path, encoder: Path, lm: Path) -> Generator:
    write_published(tmp_path / "made", "xrag-7b", encoder=str(encoder), lm=str(lm))
    return load_generator(str(tmp_path / "made"))


def missing(weights: dict[str, Any]) -> None:
    del weights["projector.projector.2.bias"]


def extra(weights: dict[str, Any]) -> None:
    weights["projector.projector.4.weight"] = torch.zeros(2, 2)


def foreign(weights: dict[str, Any]) -> None:
    weights["projector.layers.0.weight"] = weights.pop("projector.projector.0.weight")


def mis_shaped(weights: dict[str, Any]) -> None:
    weights["projector.projector.2.weight"] = torch.zeros(HIDDEN, HIDDEN - 1)


def another_width(weights: dict[str, Any]) -> None:
    weights["projector.projector.0.weight"] = torch.zeros(HIDDEN, DIMENSION + 1)


@pytest.mark.parametrize(
    ("change", "came"),
    [
        (missing, r"it holds \{(?!.*'2\.bias')"),
        (extra, r"it holds .*'4\.weight': \(2, 2\)"),
        (foreign, r"it holds .*'projector\.layers\.0\.weight'"),
        (mis_shaped, r"it holds .*'2\.weight': \(32, 31\)"),
        (another_width, r"it holds .*'0\.weight': \(32, 25\)"),
    ],
)
def test_load_generator_refuses_another_projector(
    change: Callable[[dict[str, Any]], None], came: str, copied: Path, encoder: Path, tmp_path: Path
) -> None:
    weights = read_shards(copied)
    change(weights)
    write_shards(copied, weights)
    expected = r"should hold the weights \{'0\.weight': \(32, 24\).*'2\.bias': \(32,\)\}, "
    with pytest.raises(ValueError, match=expected + came):
        load_with(tmp_path, encoder, copied)


def test_load_generator_refuses_a_foreign_encoder(
    folder: Path, lm: Path, encoder: Path, tmp_path: Path
) -> None:
    other = write_encoder(tmp_path / "other", seed=9)
    manifest = read_manifest(str(folder))
    manifest["encoder"]["name"] = str(other)
    (tmp_path / "generator.json").write_text(json.dumps(manifest))
    fingerprint = manifest["encoder"]["fingerprint"]
    with pytest.raises(
        ValueError, match=rf"vectors of the encoder {fingerprint} .* the encoder here is \w+"
    ):
        load_generator(str(tmp_path))


def test_load_generator_refuses_another_language_model(
    folder: Path, copied: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(str(folder))
    manifest["lm"]["name"] = str(copied)
    (tmp_path / "generator.json").write_text(json.dumps(manifest))
    assert load_generator(str(tmp_path)).decoder.dimension == DIMENSION  # the same files
    weights = read_shards(copied)
    weights["lm_head.weight"][7, 7] += 1
    write_shards(copied, weights)
    with pytest.raises(ValueError, match=r"with the language model \w{16} .* the one here is \w"):
        load_generator(str(tmp_path))


class Code:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("key", ["projector.projector.0.weight", "model.norm.weight"])
def test_load_generator_runs_no_code_of_a_pickle(
    key: str, copied: Path, encoder: Path, tmp_path: Path
) -> None:
    weights = read_shards(copied)
    weights[key] = Code(tmp_path / "marker")
    write_shards(copied, weights)
    with pytest.raises(ValueError, match="holds a pickle of more than weights, which was not run"):
        load_with(tmp_path, encoder, copied)
    assert not (tmp_path / "marker").exists()
    torch.load(next(copied.glob("*-00001-*" if "proj" in key else "*-00003-*")), weights_only=False)
    assert (tmp_path / "marker").exists()  # what would have happened


def test_load_generator_refuses_incomplete_weights(
    copied: Path, encoder: Path, tmp_path: Path
) -> None:
    weights = read_shards(copied)
    norm = weights.pop("model.norm.weight")
    write_shards(copied, weights)
    with pytest.raises(ValueError, match=r"lacks 1 weights of its model, model\.norm"):
        load_with(tmp_path, encoder, copied)
    write_shards(copied, {**weights, "model.norm.weight": norm})
    shard = copied / "pytorch_model-00001-of-00003.bin"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="holds no whole model of this kind"):
        load_with(tmp_path, encoder, copied)
    with pytest.raises(
        ValueError, match=r"pytorch_model-00001-of-00003\.bin is cut short or damag"
    ):
        published_projector(copied)
    shard.unlink()
    with pytest.raises(ValueError, match=r"\['pytorch_model-00001-of-00003.bin'\] are missing in"):
        load_with(tmp_path, encoder, copied)
