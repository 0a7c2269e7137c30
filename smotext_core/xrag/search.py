"""Search in a decoder's output space: draw texts, embed them again, keep those near the target."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smotext_core.xrag.beams import Hypothesis

    Floats = NDArray[np.float32]


class Candidates(NamedTuple):
    """Texts decoded for n vectors, c a vector, the closest first."""

    texts: list[list[str]]
    cosines: Floats  # (n, c), of the re-embedded texts to their vectors
    embeddings: Floats  # (n, c, d), the re-embedded texts
    log_probabilities: Floats | None = None  # (n, c), of the texts; None: they were sampled


class TokenSampler(Protocol):
    """What the search needs of `decoding.Decoder`."""

    @property
    def batch_size(self) -> int: ...

    def sample_tokens(
        self,
        vectors: Floats,
        *,
        seeds: Sequence[int],
        temperature: Sequence[float],
        prefixes: Sequence[Sequence[int]],
    ) -> list[list[int]]: ...

    def likeliest(self, vectors: Floats, *, n: int) -> list[list[Hypothesis]]: ...

    def text(self, tokens: Sequence[int]) -> str: ...


def search(
    decoder: TokenSampler,
    encode: Callable[[Sequence[str]], Floats],
    vectors: Floats,
    *,
    seeds: Sequence[int],
    n_candidates: int,
    temperature: float = 0.5,
    rounds: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Candidates:
    """`n_candidates` texts for each of the vectors (n, d), by their cosine to it when re-embedded.

    At a temperature of 0 they are the likeliest texts of each vector, found by as many beams, and
    `seeds` do nothing. Above, they are drawn in `rounds` parts of equal size. The first part begins
    with the likeliest text. Every later one starts from the closest text so far: each of its
    candidates keeps that text's tokens up to a place drawn from its own stream and samples the
    rest, so that a row's texts depend on its vector and seed alone.

    Raises:
        ValueError: as many seeds as vectors are missing, there is no candidate for each round, or
            more than one round at a temperature of 0.
    """
    if n_candidates < 1:
        raise ValueError(f"n_candidates must be at least 1, got {n_candidates}")
    if not 1 <= rounds <= n_candidates:
        raise ValueError(
            f"rounds must lie between 1 and n_candidates, {n_candidates}; got {rounds}"
        )
    if temperature == 0 and rounds > 1:
        raise ValueError(f"the likeliest texts are found in one round, got {rounds}: set 1")
    if len(seeds) != len(vectors):
        raise ValueError(f"{len(vectors)} vectors need as many seeds, got {len(seeds)}")
    parts = [part.tolist() for part in np.array_split(np.arange(n_candidates), rounds)]
    texts: list[list[str]] = []
    dimension = vectors.shape[1]
    cosines = np.empty((len(vectors), n_candidates), dtype=np.float32)
    embeddings = np.empty((len(vectors), n_candidates, dimension), dtype=np.float32)
    scores = np.empty((len(vectors), n_candidates), dtype=np.float32)
    block = max(1, decoder.batch_size // len(parts[0]))
    for at in range(0, len(vectors), block):
        rows = slice(at, at + block)
        chunk = vectors[rows]
        target = chunk / np.linalg.norm(chunk, axis=1, keepdims=True)
        drawn: list[list[list[int]]] = [[] for _ in chunk]  # tokens of each candidate of each row
        written: list[list[str]] = [[] for _ in chunk]
        encoded = np.empty((len(chunk), 0, dimension), dtype=np.float32)
        cosine = np.empty((len(chunk), 0), dtype=np.float64)
        for part in parts:
            if temperature == 0:
                likeliest = [
                    text for texts in decoder.likeliest(chunk, n=n_candidates) for text in texts
                ]
                found = [text.tokens for text in likeliest]
                scores[rows] = np.reshape([text.score for text in likeliest], (-1, n_candidates))
            else:
                streams = [candidate_seed(seed, c) for seed in seeds[rows] for c in part]
                closest = [
                    tokens[best] if tokens else []
                    for tokens, best in zip(drawn, _closest(cosine), strict=True)
                ]
                prefixes = [
                    kept_prefix(closest[number // len(part)], stream)
                    for number, stream in enumerate(streams)
                ]
                heat = [0.0 if c == 0 else temperature for c in part] * len(chunk)
                found = decoder.sample_tokens(
                    np.repeat(chunk, len(part), axis=0),
                    seeds=streams,
                    temperature=heat,
                    prefixes=prefixes,
                )
            new = [decoder.text(tokens) for tokens in found]
            for row in range(len(chunk)):
                own = slice(row * len(part), (row + 1) * len(part))
                drawn[row] += found[own]
                written[row] += new[own]
            vectors_of_new = encode(new).reshape(len(chunk), len(part), dimension)
            encoded = np.concatenate([encoded, vectors_of_new], axis=1)
            unit = encoded / np.linalg.norm(encoded, axis=2, keepdims=True)
            cosine = (unit.astype(np.float64) * target[:, None]).sum(axis=2)  # (rows, c)
        order = np.argsort(-cosine, axis=1, kind="stable")
        cosines[rows] = np.take_along_axis(cosine, order, axis=1)
        embeddings[rows] = np.take_along_axis(encoded, order[:, :, None], axis=1)
        scores[rows] = np.take_along_axis(scores[rows], order, axis=1)
        texts += [[row[c] for c in places] for row, places in zip(written, order, strict=True)]
        if progress is not None:
            progress(len(chunk))
    return Candidates(texts, cosines, embeddings, None if temperature else scores)


def _closest(cosine: NDArray[np.float64]) -> list[int]:
    places: list[int] = cosine.argmax(axis=1).tolist() if cosine.size else [0] * len(cosine)
    return places


def kept_prefix(tokens: Sequence[int], stream: int) -> Sequence[int]:
    """The tokens before a place drawn from `stream`; all places are equally likely."""
    return tokens[: candidate_seed(stream, 0) % len(tokens)] if tokens else tokens


def candidate_seed(seed: int, candidate: int) -> int:
    """The stream of one candidate of the sample whose seed is `seed`."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{candidate}".encode()).digest()[:8], "big")
