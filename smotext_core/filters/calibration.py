"""Thresholds of the filters, chosen on real texts that the judged part did not see.

A fixed number means something else for each generator and corpus. Here real texts say what passes:
a threshold lets through all but a small share of those that belong, and its table says how many
of those that do not belong would pass as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from smotext_core.filters.label_classifier import SCORES_AT_ONCE, Floats, fit_label_classifier
from smotext_core.neighbors import unit
from smotext_core.schemas import CALIBRATION
from smotext_core.xrag import Candidates

# One up where the same texts give other figures: recorded ones are then made anew.
ROUND_TRIP_RULE, LABEL_RULE = 2, 3
ROUND_TRIP_REFUSED = 0.05  # share of held-out texts whose closest decoding is refused
LABEL_REFUSED = 0.10  # share of a label's own texts; a rare label's rows tell no finer
OTHERS_PASSING = 0.05  # share of the texts of other labels that may pass for the label
MIN_ROUND_TRIP_ROWS = 20  # fewer do not tell a 5 % quantile
# Share of held-out texts whose decoding is nearer to them than another label's text. Tickets in the
# generator's language reach 1, program code .9; German .3 and Chinese .05 with an English one.
COMPETENCE, LEAST_COMPETENCE = "competence", 0.5
MIN_LABEL_ROWS = 10  # fewer do not tell a 10 % quantile
FOLDS = 5


def calibration_texts(texts: pl.DataFrame, *, n: int) -> pl.DataFrame:
    """At most `n` held-out rows of LABELLED_TEXTS, labels in turn, so that rare ones count too.

    Within a label they are taken by content hash, which is as good as at random and does not
    depend on the order of the corpus. A text of several labels is taken once, for one of them; the
    column `labels`, a list, has all.
    """
    return (
        texts.filter(pl.col("split") != "train")
        .sort("content_hash", "text_id")
        .with_columns(pl.col("label").over("document_id", mapping_strategy="join").alias("labels"))
        .unique("content_hash", keep="first", maintain_order=True)
        .with_columns(pl.int_range(pl.len()).over("label").alias("turn"))
        .sort("turn", "label")
        .drop("turn")
        .head(n)
    )


def calibrate_round_trip(
    found: Candidates,
    vectors: Floats,
    documents: Sequence[str],
    labels: Sequence[Collection[str]],
) -> pl.DataFrame:
    """The least round-trip cosine, from real texts decoded from their own vectors (λ of 0 or 1),
    and whether the generator can write such texts at all.

    The threshold is the 5 % quantile of the closest candidate's cosine. Others are the same
    candidates against the vectors of texts with other labels alone; texts of one document do not
    count.

    Competence is the share of the texts whose closest candidate is nearer to their vector than the
    nearest of the other labels' texts: below a half, what is decoded tells less of a text than a
    text about something else does.

    Args:
        found: candidates of n held-out texts.
        vectors: (n, d), those texts' own.
        labels: of each text one or several.

    Returns:
        A row of CALIBRATION, without a threshold where n < MIN_ROUND_TRIP_ROWS; else, where there
        are two labels, a second one, of competence: the least share and the share.

    Raises:
        ValueError: the rows do not line up.
    """
    n = len(found.cosines)
    if not n == len(vectors) == len(documents) == len(labels):
        raise ValueError(
            f"one vector, document and label a decoded text are needed; got {n} texts, "
            f"{len(vectors)} vectors, {len(documents)} documents, {len(labels)} labels"
        )
    if n < MIN_ROUND_TRIP_ROWS:
        return _row("round_trip_cosine", None, None, np.zeros(n), np.zeros(0))
    own = found.cosines[:, 0].astype(np.float64)
    across = (unit(found.embeddings[:, 0]) @ unit(vectors).T).astype(np.float64)
    strangers = _differ(documents) & _share_none(labels)
    least = _down(np.quantile(own, ROUND_TRIP_REFUSED))
    row = _row("round_trip_cosine", None, least, own, across[strangers])
    if not (judged := strangers.any(axis=1)).any():
        return row
    among = unit(vectors)
    nearest = np.where(strangers, among @ among.T, -1.0).max(axis=1)
    competent = float((own > nearest)[judged].mean())
    told = (COMPETENCE, None, LEAST_COMPETENCE, competent, None, int(judged.sum()), 0)
    return pl.concat([row, pl.DataFrame([told], schema=CALIBRATION, orient="row")])


def calibrate_labels(
    embeddings: Floats, labels: Sequence[str], documents: Sequence[str]
) -> pl.DataFrame:
    """The least confidence of each label, from real train texts the classifier did not see.

    Five-fold cross-validation by document. A label's threshold is the highest of the 10 % quantile
    of its own texts, the 95 % quantile of the others' (of documents without the label) and the
    share of one label among all: nine in ten of its texts pass, unless more than one in twenty of
    the others would, or a classifier that knows nothing would be surer. Of a rare label among
    thousands of texts both quantiles are near zero; texts that are plainly of another label must
    not pass for it.

    Args:
        embeddings: (n, d), of train texts of every label.

    Returns:
        CALIBRATION, a row a label in sorted order; without a threshold where a label has fewer
        than MIN_LABEL_ROWS rows or FOLDS documents, or the others have so few.

    Raises:
        ValueError: the lengths differ, or there are fewer than two labels.
    """
    if not len(embeddings) == len(labels) == len(documents):
        raise ValueError(
            f"one label and document a row are needed; got {len(embeddings)} rows, "
            f"{len(labels)} labels, {len(documents)} documents"
        )
    names = np.asarray(labels, dtype=np.str_)
    folds = _folds(labels, documents)
    known = sorted(set(labels))
    codes = np.searchsorted(known, names)
    of = np.unique(np.asarray(documents, dtype=np.str_), return_inverse=True)[1]
    has_label = np.zeros(len(of), dtype=np.bool_)
    rows = []
    for column, scores in _unseen(embeddings, names, folds, known):
        judged = ~np.isnan(scores)
        mine = codes == column
        has_label[of[mine]] = True
        own, others = scores[mine & judged], scores[~has_label[of] & judged]
        has_label[:] = False
        few = min(len(own), len(others)) < MIN_LABEL_ROWS
        if few or len(np.unique(of[mine])) < FOLDS:
            rows.append(_row("label_confidence", known[column], None, own, others))
            continue
        threshold = max(
            np.quantile(own, LABEL_REFUSED),
            np.quantile(others, 1 - OTHERS_PASSING),
            1 / len(known),
        )
        rows.append(_row("label_confidence", known[column], _down(threshold), own, others))
    return pl.concat(rows)


def _unseen(
    embeddings: Floats,
    names: npt.NDArray[np.str_],
    folds: npt.NDArray[np.int64],
    known: Sequence[str],
) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    """The number of each label, and what the classifiers of the other folds give it, (n,).

    NaN where a row is in no fold or its classifier does not know the label. Labels are taken in
    blocks: rows × labels is more than memory holds of a hundred thousand and ten thousand.
    """
    fitted = []
    for fold in range(FOLDS):
        judged = np.flatnonzero(folds == fold)
        rest = names[folds != fold]
        if len(judged) and len(set(rest)) >= 2:
            classifier = fit_label_classifier(
                embeddings[folds != fold], rest.tolist(), n_labels=len(known)
            )
            places, rows = np.searchsorted(known, classifier.labels), embeddings[judged]
            fitted.append((judged, rows, classifier, places, classifier.log_sums(rows)))
    size = max(1, SCORES_AT_ONCE // len(names))
    for start in range(0, len(known), size):
        end = min(start + size, len(known))
        block = np.full((end - start, len(names)), np.nan, dtype=np.float32)
        for judged, rows, classifier, places, log_sums in fitted:
            among = np.flatnonzero((places >= start) & (places < end))
            found = classifier.probabilities(rows, log_sums, among)
            block[np.ix_(places[among] - start, judged)] = found.T
        for column in range(start, end):
            yield column, block[column - start].astype(np.float64)


def threshold_of(calibration: pl.DataFrame, label: str | None = None) -> float | None:
    """The threshold for `label`, or the one of all labels; None where there is none."""
    found = calibration.filter(
        pl.col("label").eq_missing(pl.lit(label, dtype=pl.String)),
        pl.col("measure") != COMPETENCE,
    )
    threshold: float | None = found["threshold"][0] if found.height else None
    return threshold


def competence_of(calibration: pl.DataFrame) -> float | None:
    """The share of `calibrate_round_trip`'s second row; None where it was not measured."""
    found = calibration.filter(pl.col("measure") == COMPETENCE)
    share: float | None = found["own_passing"][0] if found.height else None
    return share


def _folds(labels: Sequence[str], documents: Sequence[str]) -> npt.NDArray[np.int64]:
    """Each row's fold, (n,): a label's documents in turn; -1 where a label has one document.

    A document of several labels has the lowest of their folds, so that it is in one.
    """
    turn = (pl.col("document").rank("dense").over("label").cast(pl.Int64) - 1) % FOLDS
    lone = pl.col("document").n_unique().over("label") == 1
    ranked = pl.DataFrame({"label": labels, "document": documents}).with_columns(
        pl.when(lone).then(-1).otherwise(turn).alias("fold")
    )
    return ranked.select(pl.col("fold").min().over("document"))["fold"].to_numpy()


def _differ(names: Sequence[str]) -> npt.NDArray[np.bool_]:
    of = np.asarray(names, dtype=np.str_)
    return np.asarray(of[:, None] != of[None, :])


def _share_none(labels: Sequence[Collection[str]]) -> npt.NDArray[np.bool_]:
    known = sorted(set().union(*labels))
    has = np.array([[label in own for label in known] for own in labels], dtype=np.int64)
    return np.asarray(has @ has.T == 0)


def _down(threshold: float) -> float:
    """To three digits, so that the last bits of another processor do not move it."""
    return float(np.floor(threshold * 1000) / 1000)


def _row(
    measure: str,
    label: str | None,
    threshold: float | None,
    own: npt.NDArray[np.float64],
    others: npt.NDArray[np.float64],
) -> pl.DataFrame:
    def share(scores: npt.NDArray[np.float64]) -> float | None:
        if threshold is None or not len(scores):
            return None
        return float((scores >= threshold).mean())

    row = (measure, label, threshold, share(own), share(others), len(own), len(others))
    return pl.DataFrame([row], schema=CALIBRATION, orient="row")
