"""How sure a classifier of the real texts is of a text's label."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from smotext_core.neighbors import unit

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

# Logistic regression takes rows × labels in each of its iterations: hours of ten thousand labels.
# Of more labels than this a linear discriminant is fitted, in one step. On banking77 it names the
# label of an unseen text in 90 of 100 cases, the regression in 93.
MOST_REGRESSED = 200
SCORES_AT_ONCE = 2**25  # rows × labels: 128 MB in float32
LEAST_SPREAD = 1e-9  # of squared lengths of 1: less is rounding
HELD_BACK, MOST_JUDGED = 5, 2000  # one row in so many, of those so many tell a temperature


class LabelClassifier(NamedTuple):
    """A linear classifier of vectors, which are brought to unit length first."""

    labels: list[str]  # L, sorted
    weights: Floats  # (L, d)
    offsets: Floats  # (L,)

    def confidence(self, embeddings: Floats, label: str) -> Floats:
        """Probability of `label` for each row of (n, d), (n,).

        Raises:
            ValueError: the classifier was not fitted on that label.
        """
        column = self._column(label)
        if not len(embeddings):
            return np.zeros(0, dtype=np.float32)
        return self.probabilities(embeddings, self.log_sums(embeddings), [column])[:, 0]

    def agrees(self, embeddings: Floats, label: str) -> Mask:
        """Rows whose likeliest label is `label` (LAMBADA, Anaby-Tavor et al., AAAI 2020), (n,).

        Raises:
            ValueError: the classifier was not fitted on that label.
        """
        column = self._column(label)
        found = [scores.argmax(axis=1) == column for scores in self._scores(embeddings)]
        return np.concatenate([np.zeros(0, dtype=np.bool_), *found])

    def log_sums(self, embeddings: Floats) -> Floats:
        """Of each row of (n, d) the logarithm of the sum of exp(score) over all labels, (n,)."""
        parts = [np.zeros(0, dtype=np.float32)]
        for scores in self._scores(embeddings):
            highest = scores.max(axis=1)
            parts.append(highest + np.log(np.exp(scores - highest[:, None]).sum(axis=1)))
        return np.concatenate(parts)

    def probabilities(
        self, embeddings: Floats, log_sums: Floats, columns: Sequence[int] | Codes
    ) -> Floats:
        """Of the labels numbered `columns`, for each row of (n, d): (n, len(columns))."""
        scores = unit(embeddings) @ self.weights[columns].T + self.offsets[columns]
        # products of another shape round in another way
        return np.asarray(np.minimum(np.exp(scores - log_sums[:, None]), 1))

    def _column(self, label: str) -> int:
        column = bisect_left(self.labels, label)
        if label not in self.labels[column : column + 1]:
            told = ", ".join(map(repr, self.labels[:10])) + ", …" * (len(self.labels) > 10)
            raise ValueError(
                f"the classifier must know the label {label!r}; it was fitted on "
                f"{len(self.labels)} others: {told}. Fit it on texts of that label too"
            )
        return column

    def _scores(self, embeddings: Floats) -> Iterator[Floats]:
        """Of all labels, (rows, L), a block of rows at a time."""
        step = max(1, SCORES_AT_ONCE // len(self.labels))
        for start in range(0, len(embeddings), step):
            yield unit(embeddings[start : start + step]) @ self.weights.T + self.offsets


def fit_label_classifier(
    embeddings: Floats, labels: Sequence[str], *, n_labels: int | None = None
) -> LabelClassifier:
    """A classifier from real training vectors (n, d) of all labels, each label counting the same.

    Of up to MOST_REGRESSED labels logistic regression, C = 10; of more linear discriminant
    analysis with equal priors, the covariance within labels shrunk (Ledoit & Wolf 2004) and the
    probabilities tempered (Guo et al. 2017). Rows are scaled to unit length first, so that its
    strength does not hang on the encoder's scale.

    Args:
        n_labels: of the corpus of which the rows are a part, as it decides on the kind.

    Raises:
        ValueError: the lengths differ, or there are fewer than two labels.
    """
    if len(embeddings) != len(labels):
        raise ValueError(
            f"a label classifier needs one label a row; got {len(embeddings)} rows "
            f"and {len(labels)} labels"
        )
    known, codes = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    if len(known) < 2:
        raise ValueError(
            f"a label classifier needs rows of two classes or more; got {known.tolist()}: "
            "pass the vectors of every class, not only of the one that is augmented"
        )
    fit = _regression if (n_labels or len(known)) <= MOST_REGRESSED else _tempered_discriminant
    weights, offsets = fit(unit(embeddings), codes)
    return LabelClassifier(known.tolist(), weights.astype(np.float32), offsets.astype(np.float32))


def _regression(units: Floats, codes: Codes) -> tuple[Doubles, Doubles]:
    """Weights (L, d) and offsets (L,) from rows (n, d) of labels 0 … L - 1."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(class_weight="balanced", C=10.0, max_iter=1000)
    fitted.fit(units, codes)
    weights, offsets = fitted.coef_, fitted.intercept_
    if len(weights) == 1:  # of two labels the second alone has scores
        weights, offsets = np.vstack([0 * weights, weights]), np.append(0 * offsets, offsets)
    return weights, offsets


def _tempered_discriminant(units: Floats, codes: Codes) -> tuple[Doubles, Doubles]:
    """As `_regression`; of the temperatures the one that suits best the rows held back.

    A discriminant is too sure of itself: where labels lie apart it gives nearly all texts a
    probability of 1, and then no threshold can tell those that belong.
    """
    order = np.argsort(codes, kind="stable")
    within = np.arange(len(codes)) - np.searchsorted(codes[order], codes[order])
    held_back = np.zeros(len(codes), dtype=np.bool_)
    held_back[order[within % HELD_BACK == 1]] = True  # never a label's first
    share = 1.0
    if held_back.any():
        weights, offsets = _discriminant(units[~held_back], codes[~held_back])
        shares = 2.0 ** -np.arange(0, 8, 0.5)
        gained = np.zeros(len(shares))
        rows, step = np.flatnonzero(held_back), max(1, SCORES_AT_ONCE // len(weights))
        rows = rows[:: -(-len(rows) // MOST_JUDGED)]
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            scores = units[block] @ weights.T + offsets
            scores -= scores.max(axis=1, keepdims=True)
            own = scores[np.arange(len(block)), codes[block]]
            for i, tried in enumerate(shares):
                gained[i] += (tried * own - np.log(np.exp(tried * scores).sum(axis=1))).sum()
        share = float(shares[gained.argmax()])
    weights, offsets = _discriminant(units, codes)
    return share * weights, share * offsets


def _discriminant(units: Floats, codes: Codes) -> tuple[Doubles, Doubles]:
    """As `_regression`; offsets so that the mean of all labels scores 0."""
    from sklearn.covariance import ledoit_wolf

    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    order = np.argsort(codes, kind="stable")
    means = np.add.reduceat(units[order], starts, axis=0, dtype=np.float64) / counts[:, None]
    within = units - means.astype(np.float32)[codes]
    covariance, _ = ledoit_wolf(within, assume_centered=True)
    middle = means.mean(axis=0)
    means -= middle
    free = len(units) - len(counts)
    if free and covariance.trace() > LEAST_SPREAD:
        weights = np.linalg.solve(covariance * (len(units) / free), means.T).T
    else:  # one row a label, or the same one, tells nothing of how they spread: the nearest mean
        weights = means
    return weights, -(weights * (means / 2 + middle)).sum(axis=1)
