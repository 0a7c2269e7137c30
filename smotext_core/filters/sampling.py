"""Decode samples of a label until as many texts as wanted pass the filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from smotext_core.filters.acceptance import FOUND, accept
from smotext_core.filters.calibration import calibrate_labels, threshold_of
from smotext_core.filters.label_classifier import fit_label_classifier
from smotext_core.filters.prose import least_words
from smotext_core.neighbors import UnitVectors
from smotext_core.schemas import DECODED_TEXTS, REJECTED_TEXTS
from smotext_core.streams import sample_seeds
from smotext_core.texts import KnownTexts, content
from smotext_core.xrag import TextGenerator

Floats = npt.NDArray[np.float32]
BATCH = 64  # samples decoded at a time
SPARE = 2  # samples tried for a text that is still missing


class Origin(NamedTuple):
    """Who gives the texts of a sample: a decoder, or texts that are there already."""

    name: str
    generator: TextGenerator
    n_candidates: int
    temperature: float | None = None  # None: the generator's own


class Sample(NamedTuple):
    """A text that was made, with the row of CLASS_PAIRS it comes from."""

    pair: dict[str, Any]
    text: str
    cosine: float  # to the pair's vector
    embedding: Floats  # (d,)
    origin: str


class Acceptance:
    """The graph's filters, with what they know of the real texts, for one label after another.

    Args:
        texts: real texts by label, of all labels.
        embeddings: their vectors (n, d), by label.
        documents: the document of each text, by label; None: every text is one.
        unlabelled: texts of which a decoded one may be no copy either.

    Attributes:
        calibration: CALIBRATION of the labels, see `calibrate_labels`.

    Raises:
        ValueError: fewer than two labels.
    """

    def __init__(
        self,
        texts: Mapping[str, Sequence[str]],
        embeddings: Mapping[str, Floats],
        *,
        documents: Mapping[str, Sequence[str]] | None = None,
        unlabelled: Sequence[str] = (),
    ) -> None:
        self._unlabelled = KnownTexts(unlabelled) if len(unlabelled) else ()
        self._labels = list(texts)
        self._texts = {label: list(texts[label]) for label in texts}
        self._every = KnownTexts([text for label in texts for text in texts[label]])
        self._embeddings = np.concatenate([embeddings[label] for label in texts])
        labels = [label for label in texts for _ in texts[label]]
        self._known_vectors = UnitVectors(self._embeddings)
        self._classifier = fit_label_classifier(self._embeddings, labels)
        of = [str(row) for row in range(len(labels))]
        if documents is not None:
            of = [document for label in texts for document in documents[label]]
        self.calibration = calibrate_labels(self._embeddings, labels, of)

    def sample(
        self,
        pairs: pl.DataFrame,
        mixed: Floats,
        origins: Sequence[Origin],
        taken: set[str],
        *,
        label: str,
        seed: int,
        n_wanted: int,
        max_rounds: int,
        parents: Mapping[str, Floats],
        advance: Callable[[int], None],
    ) -> tuple[list[Sample], pl.DataFrame]:
        """At most `n_wanted` texts, each of a sample of its own, by number; REJECTED_TEXTS.

        The first round decodes `n_wanted` samples, each later one twice as many as texts are
        missing; origins before the last have one round. The candidates of all rounds are judged
        together by `accept`.

        Args:
            pairs: CLASS_PAIRS, `most_samples` of them.
            mixed: their vectors (n, d).
            origins: asked in turn; samples that an earlier one gave a text are not asked again.
            taken: `content` of texts, which that of the accepted ones joins; none is repeated.
            parents: vector of every parent by its text_id.
            advance: called with the number of texts just found.
        """
        made: list[Sample] = []
        names = pairs["sample_id"]
        refused = [REJECTED_TEXTS.to_frame()]
        for origin in origins:
            served = {sample.pair["sample_id"] for sample in made}
            missing = n_wanted - len(made)
            if not missing:
                break
            n_before, upto = 0, n_wanted
            frame = DECODED_TEXTS.to_frame()
            vectors: list[Floats] = []
            for _ in range(max_rounds if origin is origins[-1] else 1):
                asked = [n for n in range(n_before, upto) if names[n] not in served]
                more, found = _decoded(origin, pairs, mixed, asked, taken, label=label, seed=seed)
                frame, vectors = pl.concat([frame, more]), [*vectors, *found]
                accepted, rejected = self._judge(
                    frame, vectors, pairs, parents, label, missing, origin
                )
                if accepted.height == missing:
                    break
                n_before, upto = upto, upto + SPARE * (missing - accepted.height)
            place = {key: row for row, key in enumerate(frame.select("sample_id", "text").rows())}
            own = pairs.filter(names.is_in(accepted["sample_id"].to_list()))
            pair_of = {pair["sample_id"]: pair for pair in own.iter_rows(named=True)}
            made += [
                Sample(
                    pair_of[row["sample_id"]],
                    row["text"],
                    row["round_trip_cosine"],
                    vectors[place[row["sample_id"], row["text"]]],
                    origin.name,
                )
                for row in accepted.iter_rows(named=True)
            ]
            advance(accepted.height)
            refused.append(rejected)
            taken |= {content(text) for text in accepted["text"]}
        return sorted(made, key=lambda sample: sample.pair["number"]), pl.concat(refused)

    def _judge(
        self,
        frame: pl.DataFrame,
        vectors: list[Floats],
        pairs: pl.DataFrame,
        parents: Mapping[str, Floats],
        label: str,
        n_wanted: int,
        origin: Origin,
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        return accept(
            frame,
            np.array(vectors, dtype=np.float32).reshape(frame.height, self._embeddings.shape[1]),
            label=label,
            run="",
            generator="",
            pairs=pairs,
            parent_embeddings=parents,
            real_texts=self._every,
            real_embeddings=self._known_vectors,
            classifier=self._classifier,
            min_label_confidence=threshold_of(self.calibration, label),
            min_words=least_words(self._texts[label]),
            n_wanted=n_wanted,
            unlabelled=() if origin.name == FOUND else self._unlabelled,
        )


def most_samples(n_wanted: int, max_rounds: int) -> int:
    """As many samples as `Acceptance.sample` may ask for: those wanted, and spare ones a round."""
    return n_wanted * (1 + SPARE * (max_rounds - 1))


def _decoded(
    origin: Origin,
    pairs: pl.DataFrame,
    mixed: Floats,
    numbers: Sequence[int],
    taken: set[str],
    *,
    label: str,
    seed: int,
) -> tuple[pl.DataFrame, list[Floats]]:
    """DECODED_TEXTS of these samples and their vectors, without texts that are taken."""
    rows, vectors = [], []
    temperature = {} if origin.temperature is None else {"temperature": origin.temperature}
    unknown: Callable[[str], list[str]] = getattr(
        origin.generator, "unknown_words", lambda text: []
    )
    for start in range(0, len(numbers), BATCH):
        part = list(numbers[start : start + BATCH])
        decoded = origin.generator.decode_candidates(
            mixed[part],
            seeds=sample_seeds(part, seed=seed, label=label).tolist(),
            n_candidates=origin.n_candidates,
            **temperature,
        )
        likelihoods = decoded.log_probabilities
        for row, (number, texts, cosines, embeddings) in enumerate(
            zip(part, decoded.texts, decoded.cosines, decoded.embeddings, strict=True)
        ):
            for place, text in enumerate(texts):
                if content(text) not in taken:
                    cosine = float(cosines[place])
                    sample_id = pairs["sample_id"][number]
                    likelihood = None if likelihoods is None else float(likelihoods[row, place])
                    rows.append((sample_id, place, text, cosine, unknown(text), likelihood))
                    vectors.append(embeddings[place])
    return pl.DataFrame(rows, schema=DECODED_TEXTS, orient="row"), vectors
