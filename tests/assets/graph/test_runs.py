"""A run's frozen configuration."""

import json
from pathlib import Path

import polars as pl
import pytest

from smotext_assets.graph.frozen_runs import DEFAULTS, frozen_run, run_config
from smotext_assets.graph.table_io import Table
from smotext_assets.store.tables import Store
from smotext_core.schemas import LABELLED_TEXTS, conform
from tests.assets.conftest import FakeGeneratorResource

NOTHING = dict.fromkeys(DEFAULTS)


def labelled(store: Store, counts: dict[str, int]) -> Table:
    slugs = [slug for slug, n in counts.items() for _ in range(n)]
    ids = [str(n) for n in range(len(slugs))]
    frame = pl.DataFrame(
        {
            "text_id": ids,
            "document_id": ids,
            "passage": [0] * len(ids),
            "text": [f"text {n}" for n in ids],
            "content_hash": ids,
            "label": slugs,
            "slug": slugs,
            "split": ["train"] * len(ids),
        }
    )
    store.write("labelled_texts", conform(frame, LABELLED_TEXTS))
    return Table(store, "labelled_texts")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def freeze(store: Store, texts: Table, *, run: str = "r1", dimension: int = 32, **asked: object):  # type: ignore[no-untyped-def]  # what frozen_run returns
    generator = FakeGeneratorResource(generator="somewhere/fake", dimension=dimension)
    return frozen_run(
        store, run, labelled_texts=texts, generator=generator, asked={**NOTHING, **asked}
    )


def test_frozen_run_first_caller_decides(store: Store) -> None:
    texts = labelled(store, {"big": 9, "small": 2})
    frozen = freeze(store, texts, seed=3, k_neighbors=2)
    assert frozen["wanted"] == {"big": 0, "small": 7}
    assert (frozen["seed"], frozen["k_neighbors"], frozen["oversample"]) == (3, 2, 1.5)
    assert frozen["generator"] == "fake"  # of a folder its name: no paths in the warehouse
    assert frozen["generator_licence"] == "CC0-1.0"
    before = store.read("runs", {"run": "r1"})
    assert freeze(store, texts) == frozen
    assert freeze(store, texts, seed=3) == frozen
    assert run_config(store, "r1") == frozen
    assert store.read("runs", {"run": "r1"}).equals(before)  # created_at too


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seed": 4}, "the run r1 is frozen and seed was 3, is 4: start a run with another key"),
        ({"k_neighbors": 1}, "k_neighbors was 5, is 1"),
        ({"sampling_strategy": "all"}, "sampling_strategy was 'auto', is 'all'"),
        ({"sampling_strategy": {"small": 5}}, "sampling_strategy was 'auto', is {'small': 5}"),
        ({"dimension": 16}, "generator_fingerprint was"),
    ],
)
def test_frozen_run_refuses_other_options(store: Store, asked: object, message: str) -> None:
    texts = labelled(store, {"big": 9, "small": 2})
    freeze(store, texts, seed=3)
    with pytest.raises(ValueError, match=message):
        freeze(store, texts, **asked)  # type: ignore[arg-type]


def test_frozen_run_refuses_another_corpus(store: Store) -> None:
    freeze(store, labelled(store, {"big": 9, "small": 2}))
    with pytest.raises(ValueError, match="corpus_sha256 was"):
        freeze(store, labelled(store, {"big": 9, "small": 3}))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"k_neighbors": 0}, "k_neighbors must be at least 1"),
        ({"oversample": 0.0}, "oversample must be above 0"),
        ({"oversample": float("nan")}, "oversample must be above 0"),
        ({"oversample": float("inf")}, "oversample must be above 0"),
        ({"sampling_strategy": "more"}, "sampling_strategy must be one of"),
        ({"sampling_strategy": {"absent": 9}}, "names the classes .'absent'."),
        ({"sampling_strategy": {"small": 1}}, "has 2 already"),
    ],
)
def test_frozen_run_freezes_nothing_that_cannot_be(
    store: Store, asked: object, message: str
) -> None:
    texts = labelled(store, {"big": 9, "small": 2})
    with pytest.raises(ValueError, match=message):
        freeze(store, texts, **asked)  # type: ignore[arg-type]
    assert store.partitions("runs") == []


def test_frozen_run_totals_are_told_as_json(store: Store) -> None:
    texts = labelled(store, {"big": 9, "small": 2})
    frozen = freeze(store, texts, sampling_strategy={"small": 5})
    assert frozen["wanted"] == {"big": 0, "small": 3}
    row = store.read("runs", {"run": "r1"}).row(0, named=True)
    assert json.loads(row["sampling_strategy"]) == {"small": 5}
    assert freeze(store, texts, sampling_strategy={"small": 5}) == frozen


def test_frozen_run_runs_are_apart(store: Store) -> None:
    texts = labelled(store, {"big": 9, "small": 2})
    freeze(store, texts, run="r1", seed=1)
    assert freeze(store, texts, run="r2", seed=2)["seed"] == 2
    assert run_config(store, "r1")["seed"] == 1
