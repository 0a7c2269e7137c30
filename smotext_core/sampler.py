"""`SMOTExT`: the method behind imbalanced-learn's `fit_resample`, without the asset graph."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from smotext_core.mixing import interpolate
from smotext_core.overlap import words
from smotext_core.search import Candidates
from smotext_core.smote import make_pairs
from smotext_core.streams import sample_seeds
from smotext_core.targets import sampling_targets

LINEAGE_SCHEMA = pl.Schema(
    {
        "sample_id": pl.String(),
        "label": pl.String(),
        "text": pl.String(),
        "parent_index": pl.List(pl.Int64),  # positions in the texts given, the base first
        "weights": pl.List(pl.Float64),
        "round_trip_cosine": pl.Float32(),
    }
)


class TextGenerator(Protocol):
    """What `SMOTExT` needs of a generator; `smotext_core.xrag.load_generator` gives one."""

    @property
    def normalized(self) -> bool: ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def decode_candidates(
        self, vectors: NDArray[np.float32], *, seeds: Sequence[int], n_candidates: int
    ) -> Candidates: ...


class SMOTExT(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Oversample texts by decoding points between embeddings of one class.

    SMOTExT (Bystroński et al. 2025): z = (1 - lam)·a + lam·b for a text and one of its nearest
    neighbours, decoded to text. Of a sample's candidates, best round trip first, the first that
    repeats no text is kept. A sample depends on (random_state, label, its number) alone, unless
    it collides with another one's text. Fits an imbalanced-learn pipeline.

    Args:
        sampling_strategy: as imbalanced-learn's over-samplers, see `targets.sampling_targets`.
        k_neighbors: neighbours to pair with; classes of fewer texts use those they have.
        random_state: integer, None or a `numpy.random.RandomState`.
        generator: "mini", another name or a folder that `load_generator` takes, or a
            `TextGenerator`.
        n_candidates: decoded for each sample.
        verbose: print a line for each class.

    Attributes:
        lineage_: polars frame, a row for each text made, in their order: sample_id, label, text,
            parent_index (positions in `texts`), weights, round_trip_cosine.
        sampling_strategy_: number of texts wanted for each class.

    Example:
        >>> texts, labels = SMOTExT().fit_resample(texts, labels)  # doctest: +SKIP
    """

    lineage_: pl.DataFrame

    def __init__(
        self,
        sampling_strategy: str | float | Mapping[Any, int] | Callable[..., Any] = "auto",
        k_neighbors: int = 5,
        random_state: Any = 0,
        generator: str | TextGenerator = "mini",
        n_candidates: int = 8,
        verbose: bool = False,
    ) -> None:
        self.sampling_strategy = sampling_strategy
        self.k_neighbors = k_neighbors
        self.random_state = random_state
        self.generator = generator
        self.n_candidates = n_candidates
        self.verbose = verbose

    def fit_resample(self, texts: Any, labels: Any) -> tuple[Any, Any]:
        """The texts and labels with new ones appended, originals first, in the kinds given.

        Args:
            texts: list, tuple, one-dimensional numpy array, polars or pandas series of n strings.
                Blank ones and repetitions are returned but are no parents.
            labels: n labels, of any of those kinds.

        Returns:
            texts and labels. Fewer than wanted, with a warning, where candidates repeat texts.

        Raises:
            ValueError: lengths differ, missing or non-string texts, missing or unhashable labels,
                fewer than two classes, an impossible sampling_strategy.
        """
        given = _checked_texts(texts)
        classes = _checked_labels(labels, n_texts=len(given))
        targets = sampling_targets(Counter(classes), self.sampling_strategy)
        names = {label: str(label) for label in targets}
        if len(set(names.values())) < len(names):
            raise ValueError(
                f"labels must differ as text, got {sorted(map(repr, names))}: use one type of label"
            )
        self.sampling_strategy_ = targets
        seed, generator = self._seed(), self._generator()
        taken = {_normalized(text) for text in given}
        frames, new_labels = [LINEAGE_SCHEMA.to_frame()], []
        for position, label in enumerate(sorted(targets, key=names.__getitem__)):
            if targets[label] == 0:
                continue
            # first row of each text: a repetition would pair with itself
            parents: dict[str, int] = {}
            for row, (text, of) in enumerate(zip(given, classes, strict=True)):
                if of == label and text.strip():
                    parents.setdefault(text, row)
            made = _new_texts(
                parents,
                taken,
                generator,
                label=names[label],
                slug=str(position),
                n_samples=targets[label],
                k_neighbors=self.k_neighbors,
                seed=seed,
                n_candidates=self.n_candidates,
            )
            if self.verbose:
                print(f"[SMOTExT] {names[label]}: {len(parents)} texts, {len(made)} made")
            frames.append(made)
            new_labels += [label] * len(made)
        self.lineage_ = pl.concat(frames)
        return _extended(texts, self.lineage_["text"].to_list()), _extended(labels, new_labels)

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        from sklearn.utils import check_random_state

        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _generator(self) -> TextGenerator:
        if not isinstance(self.generator, str):
            return self.generator
        from smotext_core.xrag import load_generator

        return load_generator(self.generator)


def _new_texts(
    parents: Mapping[str, int],
    taken: set[str],
    generator: TextGenerator,
    *,
    label: str,
    slug: str,
    n_samples: int,
    k_neighbors: int,
    seed: int,
    n_candidates: int,
) -> pl.DataFrame:
    """Lineage of up to n_samples texts of one class; their words are added to `taken`."""
    text_ids = [f"{row:012d}" for row in parents.values()]
    embeddings = np.asarray(generator.encode(list(parents))) if parents else np.empty((0, 1))
    pairs, fallback = make_pairs(
        text_ids,
        embeddings,
        run="smotext",
        label=label,
        slug=slug,
        n_samples=n_samples,
        k_neighbors=k_neighbors,
        seed=seed,
    )
    if fallback:
        warnings.warn(f"class {label!r}: {fallback}", stacklevel=3)
    vectors = interpolate(
        pairs,
        text_ids,
        embeddings,
        mixing="linear-norm" if generator.normalized else "linear",
    )
    seeds = sample_seeds(pairs["number"].to_numpy(), seed=seed, label=label).tolist()
    decoded = generator.decode_candidates(vectors, seeds=seeds, n_candidates=n_candidates)
    rows = []
    for pair, candidates, cosines in zip(
        pairs.iter_rows(named=True), decoded.texts, decoded.cosines.tolist(), strict=True
    ):
        for text, cosine in zip(candidates, cosines, strict=True):
            normalized = _normalized(text)
            if normalized and normalized not in taken:
                taken.add(normalized)
                parent_index = [int(parent) for parent in pair["parent_ids"]]
                rows.append((pair["sample_id"], label, text, parent_index, pair["weights"], cosine))
                break
    if len(rows) < n_samples:
        warnings.warn(
            f"class {label!r}: {len(rows)} of {n_samples} texts made; every candidate of the "
            f"others was empty or repeated a text; raise n_candidates (now {n_candidates})",
            stacklevel=3,
        )
    return pl.DataFrame(rows, schema=LINEAGE_SCHEMA, orient="row")


def _normalized(text: str) -> str:
    return " ".join(words(text))


def _is_missing(value: object) -> bool:
    if isinstance(value, float):
        return value != value
    return value is None or type(value).__name__ in ("NAType", "NaTType")  # pandas'


def _items(values: Any, *, name: str) -> list[Any]:
    # iterators would be spent, sets and mappings have no rows
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__getitem__"):
        raise ValueError(
            f"{name} must be a list, array or series with one item a row, "
            f"got a {type(values).__name__}"
        )
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {values.shape}")
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _checked_texts(texts: Any) -> list[str]:
    items = _items(texts, name="texts")
    for row, text in enumerate(items):
        if not isinstance(text, str):
            what = "missing" if _is_missing(text) else f"a {type(text).__name__}"
            raise ValueError(f"every text must be a string, texts[{row}] is {what}: drop or fix it")
    return items


def _checked_labels(labels: Any, *, n_texts: int) -> list[Any]:
    items = _items(labels, name="labels")
    if len(items) != n_texts:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"{n_texts} texts, {len(items)} labels"
        )
    for row, label in enumerate(items):
        if _is_missing(label):
            raise ValueError(f"labels must not be missing, labels[{row}] is {label}: drop that row")
        try:
            hash(label)
        except TypeError:
            raise ValueError(
                f"Unknown label type: labels[{row}] is a {type(label).__name__}; a label must be "
                "one value a row, such as a string or an integer"
            ) from None
    return items


def _extended(values: Any, new: list[Any]) -> Any:
    """`values` with `new` appended, in its kind and dtype."""
    if isinstance(values, np.ndarray):
        # a fixed-width string array widens where a new text is longer
        dtype = None if values.dtype.kind == "U" and new else values.dtype
        return np.concatenate([values, np.asarray(new, dtype=dtype)])
    if isinstance(values, pl.Series):
        return pl.concat([values, pl.Series(values.name, new, dtype=values.dtype)])
    if type(values).__module__.partition(".")[0] == "pandas":
        pd = sys.modules["pandas"]  # its series came in, so it is there
        added = pd.Series(new, dtype=values.dtype, name=values.name)
        return pd.concat([values, added], ignore_index=True)
    return (*values, *new) if isinstance(values, tuple) else [*values, *new]
