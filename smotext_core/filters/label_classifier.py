"""How sure a classifier of the real texts is of a text's label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def fit_label_classifier(embeddings: Floats, labels: Sequence[str], *, seed: int) -> Pipeline:
    """Logistic regression on real training vectors (n, d) of all classes, classes balanced.

    Rows are scaled to unit length first, so that its strength does not hang on the encoder's scale.

    Raises:
        ValueError: the lengths differ, or there are fewer than two classes.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    if len(embeddings) != len(labels):
        raise ValueError(
            f"a label classifier needs one label a row; got {len(embeddings)} rows "
            f"and {len(labels)} labels"
        )
    if len(set(labels)) < 2:
        raise ValueError(
            f"a label classifier needs rows of two classes or more; got {sorted(set(labels))}: "
            "pass the vectors of every class, not only of the one that is augmented"
        )
    classifier = make_pipeline(
        Normalizer(),
        LogisticRegression(class_weight="balanced", C=10.0, max_iter=1000, random_state=seed),
    )
    return classifier.fit(np.asarray(embeddings), np.asarray(labels, dtype=np.str_))


def label_confidence(classifier: Pipeline, embeddings: Floats, label: str) -> Floats:
    """Probability of `label` for each row, (n,).

    Raises:
        ValueError: the classifier was not fitted on that label.
    """
    known = [str(name) for name in classifier.classes_]
    if label not in known:
        raise ValueError(f"the classifier must know the label {label!r}; it was fitted on {known}")
    if not len(embeddings):
        return np.zeros(0, dtype=np.float32)
    confidence = classifier.predict_proba(embeddings)[:, known.index(label)]
    return np.asarray(confidence, dtype=np.float32)


def label_agrees(classifier: Pipeline, embeddings: Floats, label: str) -> Mask:
    """Keep rows whose likeliest class is `label` (LAMBADA, Anaby-Tavor et al., AAAI 2020)."""
    if not len(embeddings):
        return np.zeros(0, dtype=np.bool_)
    return np.asarray(classifier.predict(embeddings) == label, dtype=np.bool_)
