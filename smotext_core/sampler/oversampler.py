"""`SMOTExT`, an over-sampler of texts in the shape of imbalanced-learn."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import InputTags, Tags
from sklearn.utils._metadata_requests import RequestMethod

from smotext_core.filters import (
    DECODED,
    FOUND,
    Acceptance,
    Origin,
    Sample,
    most_samples,
)
from smotext_core.mixing import (
    WITHIN_CLASS,
    Cleaning,
    Lam,
    Mixing,
    Strategy,
    clean,
    default_mixing,
    interpolate,
    make_pairs,
    sampling_targets,
)
from smotext_core.sampler.arguments import (
    check_arguments,
    lineage_of,
    n_neighbors_of,
    progress_bar,
    seed_of,
    too_few,
)
from smotext_core.schemas import REJECTED_TEXTS
from smotext_core.texts import checked_groups, checked_labels, checked_texts, content, resampled
from smotext_core.xrag import NearestTexts, TextGenerator, decode_new

N_NEAREST = 40  # unlabelled texts looked at for a sample


class SMOTExT(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Oversample texts by decoding points between embeddings of one class.

    SMOTExT (Bystroński et al. 2025): z = (1 - lam)·a + lam·b for a text and one of its nearest
    neighbours, decoded to text. Of a sample's candidates, best round trip first, the first that
    passes the filters is kept. What is decoded for a sample depends on (random_state, label, its
    number) alone. Of the same train texts in the order of their ids and the same seed, the asset
    graph decodes the same texts. Fits an imbalanced-learn pipeline.

    Args:
        sampling_strategy: as imbalanced-learn's over-samplers, see `targets.sampling_targets`.
        k_neighbors: neighbours to pair with; classes of fewer texts use those they have. As in
            imbalanced-learn it may be an object with `n_neighbors`, which counts the text itself;
            its metric is not used, neighbours are those by cosine.
        random_state: integer, None, a `numpy.random.RandomState` or `numpy.random.Generator`.
        generator: None for the embedded one, "small" or "mini"; a name or a folder that
            `load_generator` takes; or a `TextGenerator`.
        n_candidates: decoded for each sample.
        verbose: show a progress bar for each class.
        strategy: member of the SMOTE family, see `strategies.plan_pairs`.
        m_neighbors: nearest texts of all classes that tell borderline and svm what is in danger.
        n_parents: texts mixed in a sample.
        lam: the neighbour's share, see `mixing.parse_lam`.
        mixing: see `mixing.interpolate`; None: "linear-norm" with an encoder of unit vectors, else
            "linear".
        cleaning: after oversampling drop rows that lie among another class, given ones too, as
            imbalanced-learn's SMOTETomek ("tomek") and SMOTEENN ("enn"); None drops none.
        max_attempts: rounds of decoding, of more samples where texts are still missing.
        filters: "default": the graph's filters, see `filters.accept`: a round trip of .3, of the
            labels the given one likeliest (or its calibrated confidence), no copy, near duplicate
            or broken text. None: a text may only not repeat another one.
        temperature: of decoding; 0 takes the likeliest texts of each sample, which hold most often
            and repeat each other where samples are near. None: the generator's own, .5 of ours.
        unlabelled: texts of the same kind that nobody labelled. A sample takes the nearest of them
            that passes the filters, and the decoder writes what is missing. Such rows are real
            texts with SMOTE's word for their label: `lineage_` says which.

    Attributes:
        lineage_: polars frame, a row for each text made and returned, in their order: sample_id,
            label, text, parent_index (positions in `X`), weights, round_trip_cosine, origin.
        rejected_: polars frame, the refused candidates as REJECTED_TEXTS; empty without filters.
        sample_indices_: positions of the given texts that are returned; all but for `cleaning`.
        sampling_strategy_: number of texts wanted for each class.

    Example:
        >>> texts, labels = SMOTExT().fit_resample(texts, labels)  # doctest: +SKIP
    """

    lineage_: pl.DataFrame
    rejected_: pl.DataFrame
    sample_indices_: NDArray[np.int64]

    def __init__(
        self,
        sampling_strategy: str | float | Mapping[Any, int] | Callable[..., Any] = "auto",
        k_neighbors: Any = 5,
        random_state: Any = 0,
        generator: str | TextGenerator | None = None,
        n_candidates: int = 6,
        verbose: bool = False,
        *,
        strategy: Strategy = "smote",
        m_neighbors: int = 10,
        n_parents: int = 2,
        lam: Lam = "uniform",
        mixing: Mixing | None = None,
        cleaning: Cleaning | None = None,
        max_attempts: int = 3,
        filters: str | None = "default",
        temperature: float | None = None,
        unlabelled: Sequence[str] | None = None,
    ) -> None:
        self.sampling_strategy = sampling_strategy
        self.k_neighbors = k_neighbors
        self.random_state = random_state
        self.generator = generator
        self.n_candidates = n_candidates
        self.verbose = verbose
        self.strategy = strategy
        self.m_neighbors = m_neighbors
        self.n_parents = n_parents
        self.lam = lam
        self.mixing = mixing
        self.cleaning = cleaning
        self.max_attempts = max_attempts
        self.filters = filters
        self.temperature = temperature
        self.unlabelled = unlabelled

    # Of its keywords a pipeline hands on those that were asked for. imbalanced-learn makes this
    # method for classes that are made after its import alone.
    set_fit_resample_request = RequestMethod("fit_resample", ["groups"])
    _estimator_type = "sampler"

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "sampler"
        tags.target_tags.required = True
        # two_d_array: a table of one column
        tags.input_tags = InputTags(one_d_array=True, two_d_array=True, string=True)
        return tags

    def fit(self, X: Any, y: Any) -> SMOTExT:
        """Check the input and set `sampling_strategy_`; raises what `fit_resample` does."""
        classes = checked_labels(y, n_texts=len(checked_texts(X)))
        check_arguments(**self.get_params(deep=False))
        self.sampling_strategy_ = sampling_targets(Counter(classes), self.sampling_strategy)
        return self

    def fit_resample(self, X: Any, y: Any, groups: Any = None) -> tuple[Any, Any]:
        """The texts and labels with new ones appended, originals first, in the kinds given.

        Args:
            X: the texts: list, tuple, numpy array, polars or pandas series of n strings; or an
                array or frame of one column, which comes back as one. Blank ones and repetitions
                are returned but are no parents.
            y: n labels, of any of those kinds.
            groups: n names, of the document that each text is a passage of, if they are: no two
                passages of one document are mixed, where the class has two documents. In a
                pipeline with metadata routing: `set_fit_resample_request(groups=True)`.

        Returns:
            texts and labels. Fewer than wanted, with a warning, where candidates repeat texts.

        Raises:
            ValueError: lengths differ, missing or non-string texts, missing or unhashable labels,
                fewer than two classes, an impossible option.
        """
        given = checked_texts(X)
        classes = checked_labels(y, n_texts=len(given))
        documents = None if groups is None else checked_groups(groups, n_texts=len(given))
        check_arguments(**self.get_params(deep=False))
        targets = sampling_targets(Counter(classes), self.sampling_strategy)
        names = {label: str(label) for label in targets}
        if len(set(names.values())) < len(names):
            raise ValueError(
                f"labels must differ as text, got {sorted(map(repr, names))}: use one type of label"
            )
        self.sampling_strategy_ = targets
        order = sorted(targets, key=names.__getitem__)
        # first row of each text: a repetition would pair with itself
        rows_of: dict[Any, dict[str, int]] = {label: {} for label in order}
        for row, (text, label) in enumerate(zip(given, classes, strict=True)):
            if text.strip():
                rows_of[label].setdefault(text, row)
        # The filters tell a class from others, so two need texts.
        all_needed = bool(self.filters) and sum(map(bool, rows_of.values())) < 2
        for label in order:
            if not rows_of[label] and (targets[label] or all_needed):
                raise ValueError(
                    f"class {names[label]!r} has no texts: every one of its rows is blank"
                )
        wanted = [label for label in order if targets[label]]
        looks_around = self.strategy not in WITHIN_CLASS
        encoded = order if looks_around or self.cleaning or self.filters else wanted
        vectors, made = {}, []
        if wanted or self.cleaning:
            generator = self._generator()
            vectors = {
                label: np.asarray(generator.encode(list(rows_of[label])))
                for label in encoded
                if rows_of[label]
            }
        seed, taken = seed_of(self.random_state), {content(text) for text in given}
        origins = self._origins(generator) if wanted else []
        judge = None
        if wanted and self.filters:
            judge = Acceptance(
                {names[label]: list(rows_of[label]) for label in vectors},
                {names[label]: vectors[label] for label in vectors},
                documents=None
                if documents is None
                else {
                    names[label]: [documents[row] for row in rows_of[label].values()]
                    for label in vectors
                },
                unlabelled=self.unlabelled or (),
            )
        refused = [REJECTED_TEXTS.to_frame()]
        with progress_bar(shown=self.verbose) as bar:
            for label in wanted:
                rows = list(rows_of[label].values())
                ids = [f"{row:012d}" for row in rows]
                others = [vectors[other] for other in vectors if other != label]
                n_wanted = targets[label]
                pairs, mixed = self._mixed(
                    ids,
                    vectors[label],
                    most_samples(n_wanted, self.max_attempts) if judge else n_wanted,
                    others=np.concatenate(others) if looks_around and others else None,
                    groups=None if documents is None else [documents[row] for row in rows],
                    label=names[label],
                    slug=str(order.index(label)),
                    seed=seed,
                    normalized=generator.normalized,
                )
                # labels are data: brackets in them are not markup
                task = bar.add_task(names[label].replace("[", r"\["), total=targets[label])
                advance = partial(bar.advance, task)
                if judge is None:
                    found = decode_new(
                        mixed, generator, taken,
                        label=names[label], seed=seed, advance=advance,
                        n_candidates=self.n_candidates, max_attempts=self.max_attempts,
                        temperature=self.temperature,
                    )  # fmt: skip
                    every = pairs.to_dicts()
                    own = [Sample(every[n], *found[n], DECODED) for n in sorted(found)]
                else:
                    own, rejected = judge.sample(
                        pairs, mixed, origins, taken,
                        label=names[label], seed=seed, advance=advance, n_wanted=n_wanted,
                        max_rounds=self.max_attempts,
                        parents=dict(zip(ids, vectors[label], strict=True)),
                    )  # fmt: skip
                    refused.append(rejected)
                made += [(label, sample) for sample in own]
                if len(own) < n_wanted:
                    told = too_few(
                        names[label], len(own), n_wanted, refused[-1],
                        n_candidates=self.n_candidates, max_attempts=self.max_attempts,
                    )  # fmt: skip
                    warnings.warn(told, stacklevel=2)
        self.rejected_ = pl.concat(refused)
        kept = np.ones(len(given) + len(made), dtype=np.bool_)
        if self.cleaning:
            place = {
                (label, text): vector
                for label in vectors
                for text, vector in zip(rows_of[label], vectors[label], strict=True)
            }
            real = [place.get(key) for key in zip(classes, given, strict=True)]  # None: blank
            kept = clean(
                self.cleaning,
                [*real, *(sample.embedding for _, sample in made)],
                [*classes, *(label for label, _ in made)],
            )
        self.sample_indices_ = np.flatnonzero(kept[: len(given)])
        made = [s for s, keep in zip(made, kept[len(given) :], strict=True) if keep]
        self.lineage_ = lineage_of(made, names)
        return (
            resampled(X, self.sample_indices_.tolist(), [sample.text for _, sample in made]),
            resampled(y, self.sample_indices_.tolist(), [label for label, _ in made]),
        )

    def _origins(self, generator: TextGenerator) -> list[Origin]:
        decoder = Origin(DECODED, generator, self.n_candidates, self.temperature)
        if not self.unlabelled:
            return [decoder]
        return [Origin(FOUND, NearestTexts(generator, self.unlabelled), N_NEAREST), decoder]

    def _mixed(
        self,
        text_ids: Sequence[str],
        embeddings: NDArray[np.float32],
        n_samples: int,
        *,
        others: NDArray[np.float32] | None,
        groups: Sequence[str] | None,
        label: str,
        slug: str,
        seed: int,
        normalized: bool,
    ) -> tuple[pl.DataFrame, NDArray[np.float32]]:
        """CLASS_PAIRS of one class and their vectors."""
        pairs, fallback = make_pairs(
            text_ids,
            embeddings,
            run="smotext",
            label=label,
            slug=slug,
            n_samples=n_samples,
            strategy=self.strategy,
            k_neighbors=n_neighbors_of(self.k_neighbors),
            m_neighbors=self.m_neighbors,
            n_parents=self.n_parents,
            seed=seed,
            lam=self.lam,
            others=others,
            groups=groups,
        )
        if fallback:
            warnings.warn(f"class {label!r}: {fallback}", stacklevel=3)
        mixing = self.mixing or default_mixing(normalized=normalized)
        return pairs, interpolate(pairs, text_ids, embeddings, mixing=mixing)

    def _generator(self) -> TextGenerator:
        if self.generator is not None and not isinstance(self.generator, str):
            return self.generator
        from smotext_core.xrag import load_generator

        return load_generator(self.generator)
