"""The nearest texts of an unlabelled corpus in place of decoded ones."""

from __future__ import annotations

import numpy as np
import pytest

from smotext_core.neighbors import unit
from smotext_core.sampler import SMOTExT
from smotext_core.xrag import NearestTexts
from tests.fakes import FakeGenerator, fake_corpus


def test_decode_candidates_are_the_nearest_by_brute_force() -> None:
    generator = FakeGenerator()
    texts, _ = fake_corpus({"medicine": 30, "cooking": 30})
    nearest = NearestTexts(generator, texts)
    vectors = np.random.default_rng(0).normal(size=(7, generator.encode(texts).shape[1]))
    found = nearest.decode_candidates(vectors.astype(np.float32), seeds=range(7), n_candidates=5)
    cosines = unit(vectors) @ unit(generator.encode(nearest.texts)).T
    for row in range(7):
        best = np.sort(cosines[row])[::-1][:5]
        np.testing.assert_allclose(found.cosines[row], best, atol=1e-6)
        own = [cosines[row, nearest.texts.index(text)] for text in found.texts[row]]
        np.testing.assert_allclose(own, best, atol=1e-6)
    np.testing.assert_allclose(
        found.embeddings[2], unit(generator.encode(found.texts[2])), atol=1e-6
    )


def test_decode_candidates_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = FakeGenerator()
    texts, _ = fake_corpus({"medicine": 20})
    nearest = NearestTexts(generator, [*texts, texts[0], "  "])
    assert len(nearest.texts) == len(set(texts))
    vectors = generator.encode(texts[:9])
    whole = nearest.decode_candidates(vectors, seeds=range(9), n_candidates=99)
    monkeypatch.setattr("smotext_core.xrag.nearest_texts.BLOCK", 2)
    parts = nearest.decode_candidates(vectors, seeds=range(9), n_candidates=99)
    assert whole.texts == parts.texts
    assert np.array_equal(whole.cosines, parts.cosines)
    assert [row[0] for row in whole.texts] == texts[:9]  # each is its own nearest


def test_sampler_finds_rows_of_a_class_among_unlabelled_texts() -> None:
    generator = FakeGenerator()
    texts, _ = fake_corpus({"medicine": 60, "cooking": 60})
    rare, common = texts[:8], texts[60:90]
    unlabelled = [*texts[8:60], *texts[90:]]
    sampler = SMOTExT(
        {"medicine": 20}, generator=NearestTexts(generator, [*unlabelled, *rare]), n_candidates=40
    )
    new, _ = sampler.fit_resample([*rare, *common], ["medicine"] * 8 + ["cooking"] * 30)
    made = new[38:]
    assert len(made) == len(set(made)) == 12
    assert set(made) <= set(unlabelled)  # never a text that is there already
    assert np.mean([text in texts[:60] for text in made]) > 0.9


def test_nearest_texts_refuses_nothing_and_misfits() -> None:
    generator = FakeGenerator()
    with pytest.raises(ValueError, match="a text that is not blank, got 1 texts"):
        NearestTexts(generator, [" "])
    with pytest.raises(ValueError, match="got 1 vectors for 2 texts"):
        NearestTexts(generator, ["a b", "c d"], np.ones((1, 3), dtype=np.float32))
