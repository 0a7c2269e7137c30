"""A generator without weights that honours the real one's contract, and a corpus that suits it.

Texts are sums of word vectors of small integers. Integer sums are exact in any order, so a row's
result does not depend on its batch to the last bit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from smotext_core.xrag.search import Candidates

TOPICS = {
    "astronomy": "orbit comet telescope galaxy planet lunar rocket nebula asteroid eclipse "
    "satellite crater meteor solar starlight gravity spectrum observatory cosmic launch probe "
    "module astronaut mars saturn jupiter venus supernova quasar parallax",
    "cooking": "butter garlic onion simmer oven flour sauce pepper dough recipe whisk roast spice "
    "basil tomato cheese broth skillet vinegar sugar bake cream parsley lemon noodle stew "
    "dessert yeast saffron marinade",
    "medicine": "patient fever dosage surgeon clinic nurse symptom therapy tablet infection "
    "diagnosis vaccine blood pressure lung cardiac biopsy fracture wound allergy insulin kidney "
    "scan chronic acute relapse suture antibiotic anemia tumor",
    "football": "goal striker penalty keeper midfield coach league stadium referee offside tackle "
    "derby corner header fixture squad trophy winger defender transfer whistle supporters pitch "
    "halftime substitute equaliser captain relegation dribble volley",
    "banking": "account card transfer balance loan mortgage deposit interest cheque branch teller "
    "overdraft statement currency refund payment fraud credit debit savings invoice ledger fee "
    "pension broker dividend bond collateral audit wire",
}
COMMON_WORDS = (
    "the a of and to in with for on from this that was is after before near more less very new "
    "old small large first last again often never quite while under over between during without"
)
COMMON = COMMON_WORDS.split()
VOCABULARY = sorted({*COMMON, *(word for words in TOPICS.values() for word in words.split())})
TOPIC_OF = {word: topic for topic, words in TOPICS.items() for word in words.split()}


@cache
def _signs(name: str, dimension: int) -> NDArray[np.int64]:
    bits = np.frombuffer(hashlib.sha256(name.encode()).digest(), dtype=np.uint8)
    return np.resize(np.unpackbits(bits), dimension).astype(np.int64) * 2 - 1


@cache
def _word_vector(word: str, dimension: int) -> NDArray[np.int64]:
    """Hashed, plus its topic's direction: words of one topic lie together, as if trained."""
    if word in COMMON:
        return _signs(word, dimension)
    topic = TOPIC_OF.get(word)
    own = 2 * _signs(word, dimension)
    return own if topic is None else own + 2 * _signs(f"topic {topic}", dimension)


class FakeGenerator:
    """Encodes to a bag of hashed words; decodes to the vocabulary's words nearest to the vector."""

    def __init__(self, dimension: int = 32, *, normalized: bool = True) -> None:
        self.dimension = dimension
        self.normalized = normalized
        name = f"fake {dimension} {normalized} {' '.join(VOCABULARY)}"
        self.fingerprint = hashlib.sha256(name.encode()).hexdigest()
        self._vectors = np.stack([_word_vector(word, dimension) for word in VOCABULARY])

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """(n, d) float32; a text without words has a vector of its own, as a real encoder's."""
        sums = np.zeros((len(texts), self.dimension), dtype=np.int64)
        for row, text in zip(sums, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                row += _word_vector(word, self.dimension)
            if not row.any():
                row += _signs("no words", self.dimension)
        if progress is not None:
            progress(len(texts))
        return self._scaled(sums)

    def unknown_words(self, text: str) -> list[str]:
        """None: it takes its words from a list."""
        return []

    def decode(self, vectors: NDArray[np.float32], seed: int = 0) -> list[str]:
        """The best of 8 candidates of each of n vectors."""
        seeds = [seed * 1_000_003 + row for row in range(len(vectors))]
        found = self.decode_candidates(vectors, seeds=seeds, n_candidates=8)
        return [texts[0] for texts in found.texts]

    def decode_candidates(
        self,
        vectors: NDArray[np.float32],
        *,
        seeds: Sequence[int],
        n_candidates: int,
        temperature: float = 0.5,
        progress: Callable[[int], None] | None = None,
    ) -> Candidates:
        """The closest candidate first; a row depends on its vector and seed.

        A candidate is the 8 to 20 words whose vectors have the highest dot product with the
        target plus noise in proportion to the temperature.
        """
        vectors = np.asarray(vectors)
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise ValueError(f"vectors must have shape (n, {self.dimension}), got {vectors.shape}")
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise ValueError("vectors must be finite and not zero")
        if len(vectors) != len(seeds):
            raise ValueError(f"{len(vectors)} vectors need as many seeds, got {len(seeds)}")
        texts: list[list[str]] = []
        for start in range(0, len(vectors), 256):
            block = slice(start, start + 256)
            texts += self._block(vectors[block], seeds[block], n_candidates, temperature)
            if progress is not None:
                progress(len(vectors[block]))
        flat = [text for row in texts for text in row]
        encoded = self.encode(flat).reshape(len(vectors), n_candidates, self.dimension)
        unit = encoded / np.linalg.norm(encoded, axis=2, keepdims=True)
        target = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines = (unit.astype(np.float64) * target[:, None]).sum(axis=2)
        order = np.argsort(-cosines, axis=1, kind="stable")
        return Candidates(
            [[row[place] for place in places] for row, places in zip(texts, order, strict=True)],
            np.take_along_axis(cosines, order, axis=1).astype(np.float32),
            np.take_along_axis(encoded, order[:, :, None], axis=1),
        )

    def _block(
        self,
        vectors: NDArray[np.float32],
        seeds: Sequence[int],
        n_candidates: int,
        temperature: float,
    ) -> list[list[str]]:
        words = self._vectors.astype(np.float64)  # (v, d), integers
        norms = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        targets = np.rint(vectors / norms * 2**20)  # (n, d), integers: products add up exactly
        fit = targets @ words.T  # (n, v)
        rngs = [np.random.Generator(np.random.Philox(key=int(seed))) for seed in seeds]
        noise = np.stack([rng.random((n_candidates, len(words))) for rng in rngs])
        lengths = np.stack([rng.integers(8, 21, n_candidates) for rng in rngs])
        scores = fit[:, None] + 0.5 * temperature * fit.max(axis=1)[:, None, None] * noise
        order = np.argsort(-scores, axis=2, kind="stable")[:, :, :20]  # (n, c, 20)
        return [
            [
                " ".join([VOCABULARY[word] for word in candidate[:length]])
                for candidate, length in zip(*row, strict=True)
            ]
            for row in zip(order.tolist(), lengths.tolist(), strict=True)
        ]

    def _scaled(self, sums: NDArray[np.int64]) -> NDArray[np.float32]:
        scale = np.sqrt((sums * sums).sum(axis=1, keepdims=True)) if self.normalized else 8.0
        return (sums / scale).astype(np.float32)


def fake_corpus(counts: Mapping[str, int], *, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts of 8 to 20 words, half of their label's topic, and the labels (keys of TOPICS)."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for label, count in counts.items():
        topical = TOPICS[label].split()
        for length in rng.integers(8, 21, count):
            words = np.where(
                rng.random(length) < 0.5, rng.choice(topical, length), rng.choice(COMMON, length)
            )
            texts.append(" ".join(words.tolist()))
            labels.append(label)
    return texts, labels
