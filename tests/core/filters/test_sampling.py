from __future__ import annotations

import numpy as np

from smotext_core.filters import Acceptance, most_samples, threshold_of


def test_passages_of_few_documents_calibrate_no_label() -> None:
    rng = np.random.default_rng(0)
    texts = {label: [f"{label} text number {row}" for row in range(30)] for label in "ab"}
    vectors = {
        label: (rng.normal(size=(30, 8)) + 3 * np.eye(8)[side]).astype(np.float32)
        for side, label in enumerate("ab")
    }
    by_text = Acceptance(texts, vectors).calibration
    assert threshold_of(by_text, "a") is not None
    documents = {"a": [f"a{row % 4}" for row in range(30)], "b": [f"b{row}" for row in range(30)]}
    by_document = Acceptance(texts, vectors, documents=documents).calibration
    assert threshold_of(by_document, "a") is None  # four documents, five folds
    assert threshold_of(by_document, "b") is not None


def test_most_samples_are_those_wanted_and_two_a_missing_one_in_later_rounds() -> None:
    assert [most_samples(10, rounds) for rounds in (1, 2, 3)] == [10, 30, 50]
