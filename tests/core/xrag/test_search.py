from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from smotext_core.xrag.search import candidate_seed, kept_prefix, search
from tests.core.xrag.test_decoding import SEEDS, VECTORS, tiny_decoder

D = 12


class LetterDecoder:
    """Writes six letters, each drawn from the row's stream; temperature 0 writes six of the first.

    A prefix is written as it is. Rows are drawn one by one, so that batches cannot matter.
    """

    batch_size = 8

    def __init__(self) -> None:
        self.calls: list[list[tuple[int, float, tuple[int, ...]]]] = []

    def sample_tokens(
        self,
        vectors: NDArray[np.float32],
        *,
        seeds: Sequence[int],
        temperature: Sequence[float],
        prefixes: Sequence[Sequence[int]],
    ) -> list[list[int]]:
        assert len(vectors) == len(seeds) == len(temperature) == len(prefixes)
        self.calls.append(
            [(s, t, tuple(p)) for s, t, p in zip(seeds, temperature, prefixes, strict=True)]
        )
        found = []
        for seed, heat, prefix in zip(seeds, temperature, prefixes, strict=True):
            drawn = np.random.Generator(np.random.Philox(key=seed)).integers(0, D, 6)
            tokens = drawn.tolist() if heat else [0] * 6
            found.append([*prefix, *tokens[len(prefix) :]])
        return found

    def text(self, tokens: Sequence[int]) -> str:
        return "".join(chr(97 + token) for token in tokens)


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """Twice the counts of the letters."""
    return np.array([[2 * text.count(chr(97 + d)) for d in range(D)] for text in texts], "float32")


TARGETS = np.random.default_rng(1).random((5, D)).astype(np.float32)


def find(
    rows: Sequence[int] = range(5), *, n_candidates: int, rounds: int = 1
) -> tuple[LetterDecoder, list[list[str]]]:
    decoder = LetterDecoder()
    found = search(
        decoder,
        encode,
        TARGETS[list(rows)],
        seeds=[10 + row for row in rows],
        n_candidates=n_candidates,
        rounds=rounds,
    )
    for row, texts, cosines, embeddings in zip(rows, *found[:3], strict=True):
        assert np.array_equal(embeddings, encode(texts))
        own = embeddings @ TARGETS[row] / np.linalg.norm(embeddings, axis=1)
        assert np.allclose(cosines, own / np.linalg.norm(TARGETS[row]), atol=1e-6)
        assert cosines.tolist() == sorted(cosines, reverse=True)
    return decoder, found.texts


def test_search_one_round_draws_each_candidate_from_its_stream() -> None:
    decoder, texts = find(n_candidates=4)
    drawn = [row for call in decoder.calls for row in call]
    assert [seed for seed, _, _ in drawn] == [
        candidate_seed(seed, c) for seed in range(10, 15) for c in range(4)
    ]
    assert [heat for _, heat, _ in drawn] == [0.0, 0.5, 0.5, 0.5] * 5
    assert {prefix for _, _, prefix in drawn} == {()}
    assert [len(call) for call in decoder.calls] == [8, 8, 4]
    assert all("aaaaaa" in row and len(row) == 4 for row in texts)


def test_search_later_rounds_vary_the_closest_text() -> None:
    decoder, texts = find([0], n_candidates=9, rounds=3)
    assert [len(call) for call in decoder.calls] == [3, 3, 3]
    assert [heat for call in decoder.calls for _, heat, _ in call] == [0.0, *[0.5] * 8]
    before: list[str] = []
    for number, call in enumerate(decoder.calls):
        for c, (stream, _, prefix) in enumerate(call):
            assert stream == candidate_seed(10, 3 * number + c)
            best = max(before, key=lambda text: cosine(text, 0), default="")
            assert decoder.text(prefix) == best[: candidate_seed(stream, 0) % 6 if best else 0]
        replay = LetterDecoder().sample_tokens(
            TARGETS[[0] * 3],
            seeds=[stream for stream, _, _ in call],
            temperature=[heat for _, heat, _ in call],
            prefixes=[prefix for _, _, prefix in call],
        )
        before += [decoder.text(tokens) for tokens in replay]
    assert sorted(before) == sorted(texts[0])
    assert max(before[3:], key=lambda text: cosine(text, 0)) == texts[0][0]


def cosine(text: str, row: int) -> float:
    vector = encode([text])[0]
    return float(vector @ TARGETS[row] / np.linalg.norm(vector))


def test_search_splits_unequal_parts() -> None:
    decoder, texts = find(n_candidates=7, rounds=3)
    assert {len(row) for row in texts} == {7}
    assert [len(call) for call in decoder.calls[:3]] == [6, 4, 4]  # 3, 2, 2 of two rows


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_search_row_depends_on_its_vector_and_seed_alone(rounds: int) -> None:
    _, whole = find(n_candidates=4, rounds=rounds)
    assert find([3, 1], n_candidates=4, rounds=rounds)[1] == [whole[3], whole[1]]
    assert find([2], n_candidates=4, rounds=rounds)[1] == [whole[2]]


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_search_row_of_a_language_model_depends_on_its_vector_and_seed_alone(kind: str) -> None:
    decoder = tiny_decoder(kind)

    def count(texts: Sequence[str]) -> NDArray[np.float32]:
        weights = np.array([[ord(c) % 13 + 1 for c in text.ljust(D, "x")[:D]] for text in texts])
        return weights.astype(np.float32)

    def candidates(rows: list[int]) -> list[list[str]]:
        seeds = [SEEDS[row] for row in rows]
        return search(
            decoder, count, VECTORS[rows], seeds=seeds, n_candidates=6, temperature=1.2, rounds=2
        ).texts

    whole = candidates(list(range(9)))
    assert candidates([7, 2]) == [whole[7], whole[2]]
    assert sum(len(set(row)) > 3 for row in whole) > 6


def test_search_more_rounds_come_closer() -> None:
    rows = np.random.default_rng(2).random((200, D)).astype(np.float32)
    best = {
        rounds: search(
            LetterDecoder(), encode, rows, seeds=range(200), n_candidates=32, rounds=rounds
        ).cosines[:, 0]
        for rounds in (1, 4)
    }
    assert best[4].mean() > best[1].mean() + 0.02


def test_search_reports_progress() -> None:
    done: list[int] = []
    search(LetterDecoder(), encode, TARGETS, seeds=range(5), n_candidates=4, progress=done.append)
    assert done == [2, 2, 1]


def test_search_no_vectors() -> None:
    found = search(LetterDecoder(), encode, TARGETS[:0], seeds=[], n_candidates=3)
    assert found.texts == []
    assert found.cosines.shape == (0, 3)
    assert found.embeddings.shape == (0, 3, D)


def test_search_refuses() -> None:
    with pytest.raises(ValueError, match="5 vectors need as many seeds, got 4"):
        search(LetterDecoder(), encode, TARGETS, seeds=range(4), n_candidates=2)
    with pytest.raises(ValueError, match="n_candidates must be at least 1, got 0"):
        find(n_candidates=0)
    for rounds in (0, 5):
        with pytest.raises(ValueError, match=f"between 1 and n_candidates, 4; got {rounds}"):
            find(n_candidates=4, rounds=rounds)


def test_kept_prefix_all_places_are_equally_likely() -> None:
    lengths = np.bincount([len(kept_prefix(range(5), stream)) for stream in range(5000)])
    assert len(lengths) == 5  # the last token is never kept
    assert ((lengths - 1000) ** 2 / 1000).sum() < 18.5  # the 99.9 % point of 4 degrees of freedom
    assert kept_prefix([7, 8, 9], 3) == [7, 8, 9][: candidate_seed(3, 0) % 3]
    assert kept_prefix([], 3) == []


def test_candidate_seed_golden() -> None:
    # the first 8 bytes of `printf 7:0 | sha256sum`
    assert candidate_seed(7, 0) == 0xF5FF61D7B533CD73
    assert len({candidate_seed(seed, c) for seed in range(20) for c in range(20)}) == 400
    assert candidate_seed(np.int64(7), 0) == candidate_seed(7, 0)


def test_search_at_temperature_zero_takes_the_likeliest_texts() -> None:
    decoder = tiny_decoder("llama")

    def lengths(texts: Sequence[str]) -> NDArray[np.float32]:
        found = np.full((len(texts), VECTORS.shape[1]), 0.1, np.float32)
        found[:, 0] = [len(text) % 7 for text in texts]
        return found

    found = search(decoder, lengths, VECTORS, seeds=SEEDS, n_candidates=5, temperature=0)
    assert found.log_probabilities is not None
    likeliest = decoder.likeliest(VECTORS, n=5)
    for texts, cosines, scores, expected in zip(
        found.texts, found.cosines, found.log_probabilities, likeliest, strict=True
    ):
        assert cosines.tolist() == sorted(cosines, reverse=True)
        told = dict(zip(texts, scores.tolist(), strict=True))
        assert told == pytest.approx({decoder.text(one.tokens): one.score for one in expected})
    other = search(decoder, lengths, VECTORS, seeds=range(40), n_candidates=5, temperature=0)
    assert other.texts == found.texts
    sampled = search(decoder, lengths, VECTORS, seeds=SEEDS, n_candidates=2)
    assert sampled.log_probabilities is None
    with pytest.raises(ValueError, match="the likeliest texts are found in one round, got 2"):
        search(decoder, lengths, VECTORS, seeds=SEEDS, n_candidates=4, temperature=0, rounds=2)
