"""How sure a classifier of the real texts is of a text's label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from smotext_core.neighbors import unit

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

# The iterations of a logistic regression, each of rows × labels, take minutes of a thousand labels;
# above this a linear discriminant is fitted, in one step of rows + labels. On banking77 it finds
# the label of an unseen text in 90 of 100 cases, where the regression does in 93.
MOST_REGRESSED = 200
SCORES_AT_ONCE = 2**25  # 128 MB


class LabelClassifier(NamedTuple):
    """A linear classifier of vectors of unit length; vectors of any length may be asked."""

    labels: list[str]  # L, sorted
    weights: Floats  # (L, d)
    offsets: Floats  # (L,)

    def confidence(self, embeddings: Floats, label: str) -> Floats:
        """Probability of `label` for each row of (n, d), (n,).

        Raises:
            ValueError: the classifier was not fitted on that label.
        """
        if not len(embeddings):
            return np.zeros(0, dtype=np.float32)
        column = int(np.searchsorted(self.labels, label))
        if label not in self.labels[column : column + 1]:
            told = ", ".join(map(repr, self.labels[:10])) + ", …" * (len(self.labels) > 10)
            raise ValueError(
                f"the classifier must know the label {label!r}; it was fitted on "
                f"{len(self.labels)} others: {told}"
            )
        return self.probabilities(embeddings, self.normalizers(embeddings), [column])[:, 0]

    def agrees(self, embeddings: Floats, label: str) -> Mask:
        """Rows whose likeliest label is `label` (LAMBADA, Anaby-Tavor et al., AAAI 2020), (n,)."""
        if not len(embeddings):
            return np.zeros(0, dtype=np.bool_)
        found = [scores.argmax(axis=1) for scores in self._scores(embeddings)]
        return np.asarray(np.array(self.labels)[np.concatenate(found)] == label)

    def normalizers(self, embeddings: Floats) -> Floats:
        """Of each row of (n, d) the highest score and the sum over it, (n, 2)."""
        parts = [np.zeros((0, 2), dtype=np.float32)]
        for scores in self._scores(embeddings):
            highest = scores.max(axis=1, keepdims=True)
            total = np.exp(scores - highest).sum(axis=1, keepdims=True)
            parts.append(np.hstack([highest, total]))
        return np.concatenate(parts)

    def probabilities(
        self, embeddings: Floats, normalizers: Floats, columns: Sequence[int] | npt.NDArray[np.intp]
    ) -> Floats:
        """Of the labels numbered `columns`, for each row of (n, d): (n, len(columns))."""
        scores = unit(embeddings) @ self.weights[columns].T + self.offsets[columns]
        return np.asarray(np.exp(scores - normalizers[:, :1]) / normalizers[:, 1:])

    def _scores(self, embeddings: Floats) -> Iterator[Floats]:
        """Of all labels, a block of rows at a time."""
        step = max(1, SCORES_AT_ONCE // len(self.labels))
        for start in range(0, len(embeddings), step):
            yield unit(embeddings[start : start + step]) @ self.weights.T + self.offsets


def fit_label_classifier(embeddings: Floats, labels: Sequence[str]) -> LabelClassifier:
    """A classifier from real training vectors (n, d) of all labels, each label counting the same.

    Of up to MOST_REGRESSED labels logistic regression, C = 10; of more Fisher's linear
    discriminant, with the covariance within labels shrunk as Ledoit & Wolf (2004) say. Rows are
    scaled to unit length first, so that its strength does not hang on the encoder's scale.

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
    fit = _regression if len(known) <= MOST_REGRESSED else _discriminant
    weights, offsets = fit(unit(embeddings), codes)
    return LabelClassifier(known.tolist(), weights.astype(np.float32), offsets.astype(np.float32))


def _regression(
    units: Floats, codes: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(class_weight="balanced", C=10.0, max_iter=1000)
    fitted.fit(units, codes)
    weights, offsets = fitted.coef_, fitted.intercept_
    if len(weights) == 1:  # of two labels the second alone has scores
        weights, offsets = np.vstack([0 * weights, weights]), np.append(0 * offsets, offsets)
    return weights, offsets


def _discriminant(
    units: Floats, codes: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    from sklearn.covariance import ledoit_wolf

    counts = np.bincount(codes)
    means = np.zeros((len(counts), units.shape[1]))
    np.add.at(means, codes, units)
    means /= counts[:, None]
    within = units - means[codes].astype(np.float32)
    covariance, _ = ledoit_wolf(within, assume_centered=True)
    free = len(units) - len(counts)
    if free and covariance.trace() > 0:
        weights = np.linalg.solve(covariance * (len(units) / free), means.T).T
    else:  # one row a label, or the same one, tells nothing of how they spread: the nearest mean
        weights = means
    return weights, -(weights * means).sum(axis=1) / 2
