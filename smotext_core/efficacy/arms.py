"""What each arm of the efficacy comparison trains on: rows, features, weights.

`evaluation` describes the protocol; this module knows nothing of scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from smotext_core.efficacy.word_edits import edit_texts
from smotext_core.neighbors import unit

SUBSAMPLE = 0.8
MAX_TERMS = 20_000
MAX_SPAN = 1000  # rows up to which a fit moves to the span of its rows
MIXUP_ALPHA = 0.2  # of the Beta that mixup's shares are drawn from (Zhang et al. 2018, section 3.1)


def designs(
    train: pl.DataFrame,
    test: pl.DataFrame,
    synthetic: pl.DataFrame,
    edited: pl.DataFrame,
    others: Mapping[str, pl.DataFrame],
    pools: dict[str, NDArray[np.float32]],
    *,
    labels: list[str],
    run: str,
    n_seeds: int,
    seed: int,
    in_span: bool = True,
) -> Iterator[tuple[int, str, str, tuple[Any, ...], tuple[Any, ...], Any]]:
    """Seed, head, arm, features with codes and weights to fit, the left-out rows, the test rows.

    Each of `pools`, by head, is the vectors of train, synthetic, edited, each of `others`, test; an
    arm is row numbers of them and their weights. `edited` is as `edited_rows` gives it, `others` as
    `evaluation.evaluate` takes them. With `in_span` few rows come in coordinates of their span.
    """
    frames = [train, synthetic, edited, *others.values()]
    starts = np.cumsum([0, *(frame.height for frame in frames)])
    y = np.concatenate([codes(frame["label"], labels) for frame in frames])
    counts = _word_counts([text for frame in (*frames, test) for text in frame["text"]])
    test_rows = np.arange(len(y), len(y) + test.height)
    row_of = {text_id: row for row, text_id in enumerate(train["text_id"])}
    source = codes(edited["source"], train["text_id"].to_list())
    made = {"smotext": (synthetic, starts[1])} if synthetic.height else {}
    made |= {name: (others[name], at) for name, at in zip(others, starts[3:], strict=False)}
    own = set(synthetic.select("label", "text").iter_rows())
    part_of = {
        name
        for name, frame in others.items()
        if own.issuperset(frame.select("label", "text").iter_rows())
    }
    parents = {
        name: [[row_of[parent] for parent in ids] for ids in frame["parent_ids"]]
        for name, (frame, _) in made.items()
    }

    shorter = _in_span if in_span else lambda *blocks: blocks

    for number in range(n_seeds):
        rng = np.random.default_rng([seed, 0, number])
        kept = subsample(train, labels, seed=seed, number=number, rng=rng)
        real, out = np.flatnonzero(kept), np.flatnonzero(~kept)
        usable = {
            name: at + np.flatnonzero([kept[rows].all() for rows in parents[name]])
            for name, (_, at) in made.items()
        }
        present = np.bincount(y[real], minlength=len(labels))
        if synthetic.is_empty():
            added = np.where(present > 0, present.max() - present, 0)
        else:
            added = np.bincount(y[usable["smotext"]], minlength=len(labels))

        ones = np.ones(len(real))
        members = [np.flatnonzero(y[real] == code) for code in range(len(labels))]
        duplicates = [rng.choice(rows, n) for rows, n in zip(members, added, strict=True) if n]
        # to logistic regression, a row of weight 3 is that row three times
        often = ones + np.bincount(_join(duplicates), minlength=len(real))
        arms: dict[str, tuple[NDArray[Any], Any]] = {
            "real": (real, ones),
            "class_weight": (real, _balanced(y[real])),
            "oversample": (real, often),
        }
        if edited.height:
            own = starts[2] + np.flatnonzero(_knows(kept, train, edited, source))
            chosen = _join([_repeated(own[y[own] == code], n) for code, n in enumerate(added)])
            arms["word_edits"] = _join([real, chosen]), None
        for name, rows in usable.items():
            arms[name] = _join([real, rows]), None
            if name not in ("smotext", *part_of) and synthetic.height:
                arms[f"smotext_{name}"] = _join([real, usable["smotext"], rows]), None
        if synthetic.height:
            both, _ = arms["smotext"]
            arms["smotext_class_weight"] = both, _balanced(y[both])
            if edited.height:
                arms["smotext_word_edits"] = _join([both, chosen]), None
            alone = real[added[y[real]] == 0]
            arms["smotext_alone"] = _join([alone, usable["smotext"]]), None

        for head in (*pools, "tfidf"):
            shared: dict[int, list[Any]] = {}  # some arms differ in their weights alone
            for arm, (rows, weights) in arms.items():
                if id(rows) not in shared:
                    shared[id(rows)] = shorter(
                        *(
                            _tfidf(counts, rows, out, test_rows)
                            if head == "tfidf"
                            else [pools[head][part] for part in (rows, out, test_rows)]
                        )
                    )
                own_rows, left, tested = shared[id(rows)]
                yield number, head, arm, (own_rows, y[rows], weights), (left, y[out]), tested
        for head, pool in pools.items():
            smote = _smote(train[real], pool[real], labels, added, run=run, seed=seed + number)
            mixup = _mixup(pool[real], y[real], max(len(real), int(added.sum())), rng=rng)
            for arm, (vectors, own_codes, weights) in {"smote": smote, "mixup": mixup}.items():
                parts = np.vstack([pool[real], vectors]), pool[out], pool[test_rows]
                own_rows, left, tested = shorter(*parts)
                every = None if weights is None else np.concatenate([ones, weights])
                fitted = own_rows, np.concatenate([y[real], own_codes]), every
                yield number, head, arm, fitted, (left, y[out]), tested


def edited_rows(train: pl.DataFrame, synthetic: pl.DataFrame, *, seed: int) -> pl.DataFrame:
    """Edited texts of the labels with synthetic rows: text, label, source, inserted.

    `source` is a text_id of `train`, `inserted` the words of its label that an edit put in. Made
    once for all subsamples, which use those whose source they hold, and whose words: as many as a
    label has synthetic rows, and at least two a train text, so that few have to repeat one.
    """
    text, several = pl.String(), pl.List(pl.String())
    schema = pl.Schema({"text": text, "label": text, "source": text, "inserted": several})
    frames = [pl.DataFrame(schema=schema)]
    for label in sorted(set(synthetic["label"])):
        own = train.filter(pl.col("label") == label)
        wanted = int((synthetic["label"] == label).sum())
        if own.is_empty():
            continue
        made = edit_texts(
            own["text"].to_list(), max(wanted, 2 * own.height), label=label, seed=seed
        )
        columns = [made.texts, [label] * len(made.texts), own["text_id"][made.sources]]
        frames.append(
            pl.DataFrame(dict(zip(schema, [*columns, made.inserted], strict=True)), schema=schema)
        )
    return pl.concat(frames)


def _knows(
    kept: NDArray[np.bool_], train: pl.DataFrame, edited: pl.DataFrame, source: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """The edited texts whose source and inserted words are of the train rows that are `kept`."""
    words: dict[str, set[str]] = {}
    for label, text in train.filter(kept).select("label", "text").iter_rows():
        words.setdefault(label, set()).update(text.split())
    told = zip(edited["label"], edited["inserted"], strict=True)
    return kept[source] & [words.get(label, set()).issuperset(more) for label, more in told]


def _repeated(rows: NDArray[Any], n: int) -> NDArray[Any]:
    """The first `n` of `rows`, from the front again where they are fewer; none of none."""
    return np.resize(rows, n) if len(rows) else rows[:0]


def _smote(
    rows: pl.DataFrame,
    embeddings: NDArray[np.float32],
    labels: list[str],
    added: NDArray[Any],
    *,
    run: str,
    seed: int,
) -> tuple[NDArray[Any], NDArray[Any], None]:
    """Points between vectors of each label, their codes; all of weight 1."""
    from smotext_core.mixing import interpolate, make_pairs

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
    return np.vstack(vectors), np.concatenate(made), None


def _mixup(
    vectors: NDArray[Any], own: NDArray[np.int64], n: int, *, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """`n` points between any two rows, each as two rows: of either code, weighted by its share.

    To cross-entropy that is one row with the soft label (Zhang et al. 2018, equation 2).
    """
    first, second = rng.integers(len(vectors), size=(2, n))
    share = rng.beta(MIXUP_ALPHA, MIXUP_ALPHA, size=n)
    mixed = (share[:, None] * vectors[first] + (1 - share[:, None]) * vectors[second]).astype(
        vectors.dtype
    )
    both = np.vstack([mixed, mixed])
    return both, np.concatenate([own[first], own[second]]), np.concatenate([share, 1 - share])


def _balanced(own: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights under which every code counts the same: n / (codes · rows of the code)."""
    times = np.bincount(own)
    return np.asarray(len(own) / ((times > 0).sum() * times[own]), dtype=np.float64)


def subsample(
    train: pl.DataFrame,
    labels: list[str],
    *,
    seed: int,
    number: int,
    rng: np.random.Generator | None = None,
) -> NDArray[np.bool_]:
    """A mask of the rows that seed `number` trains on: 80 % of the documents of each label.

    At least one document a label stays. One of several labels stays with all of them, or goes.
    """
    rng = np.random.default_rng([seed, 0, number]) if rng is None else rng
    y, documents = codes(train["label"], labels), train["document_id"].to_list()
    stays: dict[str, bool] = {}
    for code in np.unique(y):
        names = sorted({documents[row] for row in np.flatnonzero(y == code)})
        free = [name for name in names if name not in stays]
        wanted = max(1, int(SUBSAMPLE * len(names))) - sum(stays.get(name, False) for name in names)
        chosen = {free[i] for i in rng.permutation(len(free))[: max(0, wanted)]}
        stays |= {name: name in chosen for name in free}
        if not any(stays[name] for name in names):
            stays[names[0]] = True
    return np.array([stays[name] for name in documents], dtype=bool)


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


def checked_vectors(
    name: str, frame: pl.DataFrame, vectors: NDArray[np.floating[Any]]
) -> NDArray[Any]:
    """`vectors` (n, d), if they are finite and one a row of `frame`; else ValueError."""
    if vectors.ndim != 2 or len(vectors) != frame.height:
        raise ValueError(
            f"{name} needs one vector a row: {frame.height} rows, but an array of shape "
            f"{vectors.shape}"
        )
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name} has vectors with NaN or infinity; embed those texts again")
    return vectors


def check_rows(train: pl.DataFrame, test: pl.DataFrame, synthetic: pl.DataFrame) -> None:
    """Raises ValueError where the rows cannot be compared; see `evaluation.evaluate`."""
    if train["label"].n_unique() < 2:
        raise ValueError(
            f"a classifier needs two labels in train, got {train['label'].unique().to_list()}"
        )
    if test.is_empty():
        raise ValueError("no test rows: split the corpus with a test share before evaluating")
    shared = sorted({*train["document_id"]} & {*test["document_id"]})
    if shared:
        raise ValueError(
            f"train and test must not share documents; {len(shared)} are in both, such as "
            f"{shared[0]!r}"
        )
    strangers = sorted({p for ids in synthetic["parent_ids"] for p in ids} - {*train["text_id"]})
    if strangers:
        raise ValueError(
            f"synthetic rows may only descend from train rows; {len(strangers)} parents are not "
            f"among them, such as {strangers[0]!r}: scores on test would be inflated"
        )


def codes(labels: pl.Series, names: list[str]) -> NDArray[np.int64]:
    """The place of each label in `names`, (n,)."""
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[name] for name in labels], dtype=np.int64)


def _join(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
