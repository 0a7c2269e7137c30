"""Efficacy: does a classifier get better with the synthetic rows, and how sure is that?

Protocol. Per seed, a subsample of 80 % of the train documents of every label; of the synthetic rows
only those all of whose parents are in it, so that no arm knows a text the others do not. The test
rows stay fixed. Every arm is fitted on that same subsample, so all differences are paired:

- "real": the real rows alone;
- "class_weight": the real rows, weighted n / (labels · rows of the label);
- "oversample": plus random duplicates;
- "smote": plus SMOTE points between embeddings, never decoded (not on TF-IDF);
- "mixup": plus points between any two embeddings, with both labels (not on TF-IDF);
- "word_edits": plus real texts with words swapped, inserted or deleted (`word_edits`), whose
  inserted words, too, are of the subsample;
- "smotext": plus the synthetic rows;
- "smotext_class_weight", "smotext_word_edits": these two together;
- "smotext_alone": of a label with usable synthetic rows those alone, of any other its real rows;
- of every other set of rows given, its name: plus those; "smotext_" and its name: plus both, but
  where they are some of the synthetic rows.

"oversample", "smote" and "word_edits" add as many rows per label as "smotext" does in that seed,
"mixup" as many as there are real rows, or as those added where these are more.

Nobody has to choose between the rows and what costs nothing, and nothing is no rival. So the
verdict on a run compares the best of `WITH_ROWS` with the best of `CHEAP`, each by its macro-F1 on
that head. Both are chosen on the test rows, among five and among three: that favours the cheap arm.
Heads are a logistic regression on the encoder's vectors (unit norm), one on TF-IDF of words and
word pairs, which never saw the generator's encoder, and one on another encoder's vectors where
there is one. C is tuned per head and arm, "real" included, for macro-F1 on the train documents that
the first subsamples left out. Up to `FEW_ROWS` train texts scikit-learn fits, above them `softmax`,
in less time and closer to the minimum.

The interval is a percentile bootstrap over seeds × test documents. The subsamples overlap, so it
says what another draw of these documents would give, not what another corpus would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from smotext_core.efficacy.arms import check_rows, checked_vectors, codes, designs, edited_rows
from smotext_core.efficacy.label_sample import sampled_labels
from smotext_core.efficacy.softmax import Softmax, fit_softmax, principal_axes
from smotext_core.neighbors import unit
from smotext_core.schemas import EVALUATION, conform

CHEAP = ("class_weight", "oversample", "smote", "mixup", "word_edits")  # need no generator
WITH_ROWS = ("smotext", "smotext_class_weight", "smotext_word_edits")
ARMS = ("real", *CHEAP, *WITH_ROWS, "smotext_alone")
HEADS = ("embedding", "tfidf", "other_encoder")  # the last only where there is one
Encode = Callable[[Sequence[str]], NDArray[np.float32]]
Rows = tuple[pl.DataFrame, NDArray[Any]]  # as `synthetic`, and (n, d) vectors
Predicted = dict[tuple[str, str], list[NDArray[np.int64]]]  # (head, arm) → (test rows,) a seed
PROTOCOL = 4  # one up where the same rows give other figures: recorded ones are then made anew
GAIN = ("difference", "low", "high", "verdict")  # columns: over the real rows alone
OVER = ("over_cheap", "over_low", "over_high", "over_verdict")  # over the best of CHEAP
METRICS = ("accuracy", "macro_f1", "weighted_f1")
C_GRID = (1.0, 10.0, 100.0)
TUNING_SEEDS = 3
# Up to here a fit takes milliseconds, whoever makes it. All arms of an evaluation have one solver.
FEW_ROWS = 2000
N_RESAMPLES = 1000
FEW_LABELS = 50  # of more, a product with all of them is nearly all zeros
# A label judged on fewer test documents than this is never said to gain or lose: a bootstrap
# of one or two documents has no width to speak of.
MIN_TEST_DOCUMENTS = 5


def evaluate(
    train: pl.DataFrame,
    train_embeddings: NDArray[Any],
    test: pl.DataFrame,
    test_embeddings: NDArray[Any],
    synthetic: pl.DataFrame,
    synthetic_embeddings: NDArray[Any],
    *,
    run: str,
    n_seeds: int = 10,
    seed: int = 0,
    encode: Encode | None = None,
    other_encode: Encode | None = None,
    others: Mapping[str, Rows] | None = None,
) -> pl.DataFrame:
    """Scores of every arm under all heads, each with its difference to "real" and an interval.

    `train` and `test` are LABELLED_TEXTS rows, `synthetic` SYNTHETIC_TEXTS rows; row i of each
    (n, d) array is the embedding of row i. Without synthetic rows there is no arm "word_edits" and
    none that begins with "smotext", and "oversample" and "smote" fill every label up to the
    largest. A label without test rows has no row "f1" and no part in macro-F1. For the arm "real"
    difference, interval and verdict are null. Of more than 200 labels 200 are looked at, see
    `sampled_labels`, and synthetic rows of theirs alone, all of whose parents are of theirs.

    Args:
        encode: the encoder of the vectors, for the edited texts; None: no arm "word_edits".
        other_encode: another encoder, which makes the head "other_encoder".
        others: other rows that descend from `train`, by the name of their arm.

    Returns:
        An EVALUATION frame, ordered by head, arm, metric, label.

    Raises:
        ValueError: rows and vectors differ in number, fewer than two labels in `train`, no test
            rows, a document in both splits, a synthetic row with a parent outside `train`.
    """
    tested_labels = {*test["label"]}
    every = {*train["label"], *tested_labels}
    labels = sampled_labels(every, tested=tested_labels, with_rows={*synthetic["label"]}, seed=seed)
    real, tested = (train, train_embeddings), (test, test_embeddings)
    made = synthetic, synthetic_embeddings
    if len(labels) < len(every):
        for frame in (synthetic, *(frame for frame, _ in (others or {}).values())):
            check_rows(train, test, frame)  # as `predict` does, before rows are left out
        real, tested = _of_labels("train", real, labels), _of_labels("test", tested, labels)
        parents = real[0]["text_id"].to_list()
        made = _of_labels("synthetic", made, labels, parents=parents)
        others = {
            name: _of_labels(name, rows, labels, parents=parents)
            for name, rows in (others or {}).items()
        }
    predicted = predict(
        *real, *tested, *made, labels=labels, run=run, n_seeds=n_seeds, seed=seed,
        encode=encode, other_encode=other_encode, others=others,
    )  # fmt: skip
    return compare(tested[0], predicted, labels=labels, run=run, seed=seed)


def _of_labels(
    name: str, rows: Rows, labels: list[str], *, parents: list[str] | None = None
) -> Rows:
    """Those of `labels`, with parents among `parents` alone where they are given."""
    frame, embeddings = rows[0], checked_vectors(name, *rows)
    kept = frame["label"].is_in(labels)
    if parents is not None:
        known = set(parents)
        kept &= pl.Series([known.issuperset(ids) for ids in frame["parent_ids"]], dtype=pl.Boolean)
    return frame.filter(kept), embeddings[kept.to_numpy()]


def predict(
    train: pl.DataFrame,
    train_embeddings: NDArray[Any],
    test: pl.DataFrame,
    test_embeddings: NDArray[Any],
    synthetic: pl.DataFrame,
    synthetic_embeddings: NDArray[Any],
    *,
    labels: list[str],
    run: str,
    n_seeds: int,
    seed: int,
    encode: Encode | None = None,
    other_encode: Encode | None = None,
    others: Mapping[str, Rows] | None = None,
) -> Predicted:
    """What every arm says of the test rows, as places in `labels`; see `evaluate`."""
    if n_seeds < 1:
        raise ValueError(f"n_seeds must be at least 1, got {n_seeds}")
    more = {name: frame for name, (frame, _) in (others or {}).items() if frame.height}
    for frame in (synthetic, *more.values()):
        check_rows(train, test, frame)
    real, made, tested = (
        checked_vectors("train", train, train_embeddings),
        checked_vectors("synthetic", synthetic, synthetic_embeddings),
        checked_vectors("test", test, test_embeddings),
    )
    edited = edited_rows(train, synthetic if encode else synthetic.clear(), seed=seed)
    own = encode(edited["text"].to_list()) if encode and edited.height else real[:0]
    blocks = [real, made, checked_vectors("edited", edited, own)]
    blocks += [checked_vectors(name, more[name], (others or {})[name][1]) for name in more]
    pools = {"embedding": unit(np.vstack([*blocks, tested]))}
    if other_encode:
        frames = (train, synthetic, edited, *more.values(), test)
        texts = [text for frame in frames for text in frame["text"]]
        pools["other_encoder"] = unit(other_encode(texts))
    few = train.height <= FEW_ROWS
    if not few:
        pools = {head: pool @ principal_axes(pool[: len(real)]) for head, pool in pools.items()}

    predicted: Predicted = {}
    trials: dict[tuple[str, str], list[list[tuple[float, NDArray[np.int64]]]]] = {}
    chosen: dict[tuple[str, str], int] = {}
    n_tuning = min(TUNING_SEEDS, n_seeds)
    for number, *key, fitted, left_out, test_features in designs(
        train, test, synthetic, edited, more, pools,
        labels=labels, run=run, n_seeds=n_seeds, seed=seed, in_span=few,
    ):  # fmt: skip
        arm = (key[0], key[1])
        if number >= n_tuning:
            model = _fit(*fitted, c=C_GRID[chosen[arm]], few=few)
            predicted[arm].append(model.predict(test_features))
            continue
        trial, model = [], None
        for c in C_GRID:
            model = _fit(*fitted, c=c, few=few, start=model)
            score = _macro_f1(model, *left_out, n_labels=len(labels))
            trial.append((score, model.predict(test_features)))
        trials.setdefault(arm, []).append(trial)
        if number == n_tuning - 1:
            means = np.mean([[score for score, _ in trial] for trial in trials[arm]], axis=0)
            chosen[arm] = int(means.argmax())  # the smallest C where equal
            predicted[arm] = [trial[chosen[arm]][1] for trial in trials[arm]]
    return predicted


def scores(
    truth: NDArray[Any], predicted: NDArray[Any], weights: NDArray[Any], *, n_labels: int
) -> NDArray[Any]:
    """Accuracy, macro-F1, weighted F1 and the F1 of each label, under B weightings of the rows.

    Codes 0 … n_labels - 1 in `truth` and `predicted`, both (n,); `weights` is (B, n). A label
    without weight among the true rows scores NaN and is left out of the averages.

    Returns:
        (B, 3 + n_labels) float64: METRICS, then the labels.
    """

    def per_label(labels: NDArray[Any], counted: NDArray[Any]) -> NDArray[Any]:  # → (B, n_labels)
        one_hot: Any
        if n_labels > FEW_LABELS:
            from scipy.sparse import csr_array

            places = (np.arange(len(labels)), labels)
            one_hot = csr_array((np.ones_like(weights[0]), places), shape=(len(labels), n_labels))
        else:
            one_hot = np.eye(n_labels, dtype=weights.dtype)[labels]
        return np.ascontiguousarray((weights * counted) @ one_hot, dtype=np.float64)

    everything = np.ones(len(truth), dtype=weights.dtype)
    hits = per_label(truth, (truth == predicted).astype(weights.dtype))
    support = per_label(truth, everything)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(support > 0, 2 * hits / (support + per_label(predicted, everything)), np.nan)
        total = support.sum(axis=1)
        accuracy = hits.sum(axis=1) / total
        macro = np.nansum(f1, axis=1) / (support > 0).sum(axis=1)
        weighted = np.nansum(f1 * support, axis=1) / total
    return np.column_stack([accuracy, macro, weighted, f1])


def compare(
    test: pl.DataFrame, predicted: Predicted, *, labels: list[str], run: str, seed: int
) -> pl.DataFrame:
    """The EVALUATION frame of predictions of `test`; seeds may come of several training sets."""
    truth, documents = codes(test["label"], labels), test["document_id"]
    n_seeds = len(next(iter(predicted.values())))
    n_labels = len(labels)
    names = documents.unique().sort().to_list()
    document = codes(documents, names)  # passages of a document are drawn together
    rng = np.random.default_rng([seed, 1])
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=N_RESAMPLES)
    # row 0 is the test set as it is, the others are resamples
    weights = np.vstack([np.ones(len(truth)), drawn[:, document]]).astype(np.float32)
    drawn = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=N_RESAMPLES)
    seed_weights = np.vstack([np.ones(n_seeds), drawn]) / n_seeds
    n_documents = {
        label: len(set(document[truth == code].tolist())) for code, label in enumerate(labels)
    }

    def scored(rows: list[NDArray[np.int64]]) -> NDArray[Any]:  # (seeds, 1 + resamples, metrics)
        return np.stack([scores(truth, p, weights, n_labels=n_labels) for p in rows])

    def macro_f1(key: tuple[str, str]) -> float:
        at = METRICS.index("macro_f1")
        rows = predicted[key]
        return float(
            np.mean([scores(truth, p, weights[:1], n_labels=n_labels)[0, at] for p in rows])
        )

    columns: list[tuple[str, str | None]] = [(metric, None) for metric in METRICS]
    columns += [("f1", label) for label in labels]
    table: list[dict[str, Any]] = []
    for head in sorted({head for head, _ in predicted}, key=HEADS.index):
        arms = sorted((arm for of, arm in predicted if of == head), key=_arm_place)
        rival_arm = max(
            (arm for arm in arms if arm in CHEAP), key=lambda arm: macro_f1((head, arm))
        )
        # Of many labels an arm's resamples are a gigabyte: no more than three arms' are held.
        real, rival = (scored(predicted[head, arm]) for arm in ("real", rival_arm))
        for arm in arms:
            values = {"real": real, rival_arm: rival}.get(arm)
            values = scored(predicted[head, arm]) if values is None else values
            gained = np.einsum("bs,sbm->bm", seed_weights, values - real)
            over = np.einsum("bs,sbm->bm", seed_weights, values - rival)
            for column, (metric, label) in enumerate(columns):
                if label is not None and not n_documents[label]:
                    continue
                row: dict[str, Any] = {"run": run, "head": head, "arm": arm, "metric": metric}
                row |= {"label": label, "value": values[:, 0, column].mean(), "n_seeds": n_seeds}
                few = label is not None and n_documents[label] < MIN_TEST_DOCUMENTS
                if arm != "real":
                    row |= dict(zip(GAIN, _interval(gained[:, column], few=few), strict=True))
                if arm not in ("real", *CHEAP):
                    row["cheap_arm"] = rival_arm
                    row |= dict(zip(OVER, _interval(over[:, column], few=few), strict=True))
                table.append(row)
    return conform(pl.DataFrame(table, schema=EVALUATION), EVALUATION)


def _interval(drawn: NDArray[Any], *, few: bool) -> tuple[float, float, float, str]:
    """Difference, low, high, verdict, of a difference (1 + resamples,)."""
    low, high = np.nanquantile(drawn[1:], (0.025, 0.975))
    verdict = "helps" if low > 0 else "hurts" if high < 0 else "no evidence"
    return drawn[0], low, high, "no evidence" if few else verdict


def _arm_place(arm: str) -> tuple[int, str]:
    """Where an arm stands in the table: those of others come last."""
    return ARMS.index(arm) if arm in ARMS else len(ARMS), arm


def _fit(
    features: Any,
    truth: NDArray[np.int64],
    weights: Any,
    *,
    c: float,
    few: bool,
    start: Softmax | None = None,
) -> Any:
    if not few:
        return fit_softmax(features, truth, weights, c=c, start=start)
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=c, max_iter=500, tol=1e-3)
    return model.fit(features, truth, sample_weight=weights)


def _macro_f1(model: Any, features: Any, truth: NDArray[np.int64], *, n_labels: int) -> float:
    if not len(truth):  # every label has one document only: nothing to tune on
        return 0.0
    weights = np.ones((1, len(truth)))
    return float(scores(truth, model.predict(features), weights, n_labels=n_labels)[0, 1])
