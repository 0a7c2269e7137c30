"""The fake generator's contract, on which other tests lean."""

import numpy as np
import pytest

from tests.fakes import FakeGenerator, fake_corpus

TEXTS, _ = fake_corpus({"astronomy": 40, "cooking": 8, "medicine": 15})


@pytest.mark.parametrize("normalized", [True, False])
def test_fake_generator_encodes(normalized: bool) -> None:
    generator = FakeGenerator(normalized=normalized)
    vectors = generator.encode([*TEXTS, ""])
    assert vectors.shape == (64, 32)
    assert vectors.dtype == np.float32
    norms = np.linalg.norm(vectors, axis=1)
    assert np.allclose(norms, 1) == normalized
    assert norms.min() > 0
    assert generator.encode(TEXTS[5:6]).tobytes() == vectors[5:6].tobytes()
    assert generator.fingerprint != FakeGenerator(normalized=not normalized).fingerprint
    assert generator.fingerprint != FakeGenerator(24, normalized=normalized).fingerprint


def test_fake_generator_rows_depend_on_vector_and_seed_alone() -> None:
    generator = FakeGenerator()
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 32)).astype(np.float32)
    seeds = list(range(300))
    whole = generator.decode_candidates(vectors, seeds=seeds, n_candidates=4)
    for chosen in ([7], [299, 3, 100], list(range(200, 290))):
        some = generator.decode_candidates(
            vectors[chosen], seeds=[seeds[row] for row in chosen], n_candidates=4
        )
        assert some.texts == [whole.texts[row] for row in chosen]
        assert some.cosines.tobytes() == whole.cosines[chosen].tobytes()
        assert some.embeddings.tobytes() == whole.embeddings[chosen].tobytes()
    other = generator.decode_candidates(vectors[:1], seeds=[1], n_candidates=4)
    assert other.texts[0] != whole.texts[0]


def test_fake_generator_candidates_are_best_first_with_true_cosines() -> None:
    generator = FakeGenerator()
    vectors = generator.encode(TEXTS[:20])
    done: list[int] = []
    found = generator.decode_candidates(
        vectors, seeds=range(20), n_candidates=5, progress=done.append
    )
    assert sum(done) == 20
    assert found.cosines.dtype == found.embeddings.dtype == np.float32
    for vector, row, cosines, embeddings in zip(vectors, *found[:3], strict=True):
        assert cosines.tolist() == sorted(cosines, reverse=True)
        assert all(8 <= len(text.split()) <= 20 for text in row)
        assert embeddings.tobytes() == generator.encode(row).tobytes()
        assert np.allclose(embeddings @ vector, cosines, atol=1e-5)
    assert len(generator.decode(vectors, seed=1)) == 20
    with pytest.raises(ValueError, match=r"shape \(n, 32\), got \(2, 8\)"):
        generator.decode(np.ones((2, 8), dtype=np.float32))
