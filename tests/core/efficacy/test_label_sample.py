"""Of many labels an evaluation looks at some, those with synthetic rows before others."""

from functools import partial
from typing import Any

import polars as pl
import pytest

from smotext_core.efficacy import evaluation
from smotext_core.efficacy.label_sample import sampled_labels
from tests.core.efficacy.planted import as_synthetic, make_rows, run_with, vectors_of

LABELS = [f"label-{number}" for number in range(30)]


def sample(labels: list[str], with_rows: list[str], *, seed: int = 0, most: int = 6) -> list[str]:
    return sampled_labels(labels, tested=labels, with_rows=with_rows, seed=seed, most=most)


def test_few_labels_are_all_looked_at() -> None:
    assert sample(LABELS, [], most=30) == sorted(LABELS)


def test_labels_with_rows_come_first() -> None:
    found = sample(LABELS, LABELS[10:14])
    assert len(found) == 6
    assert set(LABELS[10:14]) < set(found)
    assert set(sample(LABELS, LABELS[:9])) < set(LABELS[:9])


def test_labels_that_cannot_be_judged_come_last() -> None:
    found = sampled_labels(LABELS, tested=LABELS[:5], with_rows=LABELS[3:20], seed=0, most=6)
    assert set(LABELS[:5]) < set(found)
    assert len(set(found) & set(LABELS[5:20])) == 1  # has rows


def test_a_hash_decides_and_not_the_order() -> None:
    found = sample(LABELS, [])
    assert found == sample(LABELS[::-1], []) == sorted(found)
    assert found != sample(LABELS, [], seed=1)
    assert len(set(found) - set(sample([*LABELS, "another"], []))) <= 1


@pytest.fixture
def corpus() -> dict[str, Any]:
    """Eight labels, of which "rare" has synthetic rows; one of these descends from another's."""
    parts = {}
    for split, n in (("train", 8), ("test", 6)):
        rows = [make_rows(n, n, prefix=split, seed=1)]
        for number in range(6):
            more = make_rows(0, n, prefix=f"{split}-{number}-", seed=number + 2)
            rows.append(more.with_columns(label=pl.lit(f"other-{number}")))
        parts[split] = pl.concat(rows)
        parts[f"{split}_embeddings"] = vectors_of(parts[split], seed=len(split))
    return parts


def only(corpus: dict[str, Any], labels: list[str]) -> dict[str, Any]:
    found = {}
    for split in ("train", "test"):
        kept = corpus[split]["label"].is_in(labels)
        found[split] = corpus[split].filter(kept)
        found[f"{split}_embeddings"] = corpus[f"{split}_embeddings"][kept.to_numpy()]
    return found


def test_evaluation_of_many_labels_is_that_of_the_sample(
    corpus: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = as_synthetic(make_rows(6, 0, prefix="new", seed=9), corpus["train"], label="rare")
    stranger = corpus["train"].filter(label="other-0")["text_id"][:1].to_list()
    foreign = rows.head(1).with_columns(parent_ids=pl.lit([stranger[0]]))
    made = pl.concat([rows, foreign])
    vectors = vectors_of(made, seed=5)
    everything = run_with(corpus, made, vectors)
    assert everything["label"].n_unique() == 9  # and macro-F1's null
    sampled = partial(sampled_labels, most=2)
    every = corpus["train"]["label"].unique().to_list()
    labels = sampled(every, tested=every, with_rows=["rare"], seed=0)
    assert labels[-1] == "rare"
    monkeypatch.setattr(evaluation, "sampled_labels", sampled)
    found = run_with(corpus, made, vectors)
    assert set(found["label"].drop_nulls()) == set(labels)
    if "other-0" not in labels:
        made, vectors = made.head(6), vectors[:6]
    assert found.equals(run_with(only(corpus, labels), made, vectors))
    with pytest.raises(ValueError, match="synthetic needs one vector a row"):
        run_with(corpus, rows, vectors[:2])
