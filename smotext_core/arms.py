"""What each arm of the efficacy comparison trains on: rows, features, weights.

`evaluation` describes the protocol; this module knows nothing of scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from smotext_core.neighbors import unit

SUBSAMPLE = 0.8
MAX_TERMS = 20_000
MAX_SPAN = 1000  # rows up to which a fit moves to the span of its rows


def designs(
    train: pl.DataFrame,
    test: pl.DataFrame,
    synthetic: pl.DataFrame,
    pool: NDArray[np.float32],
    *,
    labels: list[str],
    run: str,
    n_seeds: int,
    seed: int,
) -> Iterator[tuple[int, str, str, tuple[Any, ...], tuple[Any, ...], Any]]:
    """Seed, head, arm, features with codes and weights to fit, the left-out rows, the test rows.

    `pool` is train, synthetic, test; an arm is row numbers of it and their weights.
    """
    n_train = train.height
    y = np.concatenate([codes(train["label"], labels), codes(synthetic["label"], labels)])
    counts = _word_counts([*train["text"], *synthetic["text"], *test["text"]])
    test_rows = np.arange(len(y), len(pool))
    row_of = {text_id: row for row, text_id in enumerate(train["text_id"])}
    parents = [[row_of[parent] for parent in ids] for ids in synthetic["parent_ids"]]

    for number in range(n_seeds):
        rng = np.random.default_rng([seed, 0, number])
        kept = _subsample(y[:n_train], train["document_id"].to_list(), rng=rng)
        real, out = np.flatnonzero(kept), np.flatnonzero(~kept)
        usable = [n_train + row for row, rows in enumerate(parents) if kept[rows].all()]
        present = np.bincount(y[real], minlength=len(labels))
        if synthetic.is_empty():
            added = np.where(present > 0, present.max() - present, 0)
        else:
            added = np.bincount(y[usable], minlength=len(labels))

        ones = np.ones(len(real))
        members = [np.flatnonzero(y[real] == code) for code in range(len(labels))]
        duplicates = [rng.choice(rows, n) for rows, n in zip(members, added, strict=True) if n]
        weights = {
            "real": ones,
            "class_weight": len(real) / ((present > 0).sum() * present[y[real]]),
            # to logistic regression, a row of weight 3 is that row three times
            "oversample": ones + np.bincount(_join(duplicates), minlength=len(real)),
        }
        vectors, words = (
            (pool[real], pool[out], pool[test_rows]),
            _tfidf(counts, real, out, test_rows),
        )
        for head, features in (("embedding", vectors), ("tfidf", words)):
            own, left, tested = _in_span(*features)
            for arm, weight in weights.items():
                yield number, head, arm, (own, y[real], weight), (left, y[out]), tested

        made, made_codes = _smote(
            train[real], pool[real], labels, added, run=run, seed=seed + number
        )
        own, left, tested = _in_span(np.vstack([pool[real], made]), pool[out], pool[test_rows])
        fitted = own, np.concatenate([y[real], made_codes]), None
        yield number, "embedding", "smote", fitted, (left, y[out]), tested
        if synthetic.is_empty():
            continue
        both = _join([real, np.array(usable, dtype=np.int64)])
        vectors, words = (
            (pool[both], pool[out], pool[test_rows]),
            _tfidf(counts, both, out, test_rows),
        )
        for head, features in (("embedding", vectors), ("tfidf", words)):
            own, left, tested = _in_span(*features)
            yield number, head, "smotext", (own, y[both], None), (left, y[out]), tested


def _smote(
    rows: pl.DataFrame,
    embeddings: NDArray[np.float32],
    labels: list[str],
    added: NDArray[Any],
    *,
    run: str,
    seed: int,
) -> tuple[NDArray[Any], NDArray[Any]]:
    from smotext_core.mixing import interpolate
    from smotext_core.smote import make_pairs

    vectors = [np.empty((0, embeddings.shape[1]), dtype=np.float32)]
    made = [np.empty(0, dtype=np.int64)]
    for code, label in enumerate(labels):
        if not added[code]:
            continue
        members = (rows["label"] == label).to_numpy()
        ids = rows["text_id"].filter(members).to_list()
        slug = rows["slug"].filter(members)[0]
        own = embeddings[members]
        pairs, _ = make_pairs(
            ids, own, run=run, label=label, slug=slug, n_samples=int(added[code]), seed=seed
        )
        vectors.append(unit(interpolate(pairs, ids, own, mixing="linear")))
        made.append(np.full(pairs.height, code))
    return np.vstack(vectors), np.concatenate(made)


def _subsample(y: NDArray[Any], documents: list[str], *, rng: np.random.Generator) -> NDArray[Any]:
    """A mask of the rows of 80 % of each label's documents; at least one document a label stays."""
    kept = np.zeros(len(y), dtype=bool)
    for code in np.unique(y):
        rows = np.flatnonzero(y == code)
        names = sorted({documents[row] for row in rows})
        chosen = rng.permutation(len(names))[: max(1, int(SUBSAMPLE * len(names)))]
        stay = {names[i] for i in chosen}
        kept[[row for row in rows if documents[row] in stay]] = True
    return kept


def _word_counts(texts: list[str]) -> Any:
    """Counts of words and word pairs, (n, terms) sparse; which terms count is decided per arm."""
    from sklearn.feature_extraction.text import CountVectorizer

    # Texts without one word (only signs) leave an empty vocabulary, which scikit-learn refuses.
    return CountVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b|\S").fit_transform(texts)


def _tfidf(counts: Any, fit_rows: NDArray[Any], *other_rows: NDArray[Any]) -> list[Any]:
    """TF-IDF of `fit_rows`, then of each of `other_rows`; terms and idf are those of `fit_rows`."""
    from sklearn.feature_extraction.text import TfidfTransformer

    fitted = counts[fit_rows]
    frequency = np.bincount(fitted.indices, minlength=counts.shape[1])
    # documents with the term: twice at least, unless nothing is; the most frequent terms of many
    wanted = min(2, frequency.max())
    terms = np.argsort(-frequency, kind="stable")[: min(MAX_TERMS, (frequency >= wanted).sum())]
    terms.sort()
    transformer = TfidfTransformer(sublinear_tf=True).fit(fitted[:, terms])
    blocks = (counts[rows][:, terms] for rows in (fit_rows, *other_rows))
    return [transformer.transform(block) if block.shape[0] else block for block in blocks]


def _in_span(fitted: Any, *others: Any) -> list[Any]:
    """The same rows in coordinates of the span of `fitted`, where that is the smaller space.

    A ridge penalty depends on inner products only, so the fit is the same, and many times faster.
    """
    n, d = fitted.shape
    if n > MAX_SPAN or n >= d:
        return [fitted, *others]
    gram = fitted @ fitted.T
    values, basis = np.linalg.eigh(
        np.asarray(gram if isinstance(gram, np.ndarray) else gram.todense())
    )
    large = values > 1e-6 * values[-1]
    turn = fitted.T @ (basis[:, large] / np.sqrt(values[large]))  # (d, rank)
    return [block @ turn for block in (fitted, *others)]


def codes(labels: pl.Series, names: list[str]) -> NDArray[np.int64]:
    """The place of each label in `names`, (n,)."""
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[name] for name in labels], dtype=np.int64)


def _join(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
