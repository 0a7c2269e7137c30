"""Columns and dtypes of every table, in one place.

A schema is a polars `Schema`. Tables with vectors carry the generator's dimension d, so theirs are
functions of d. `conform` is the one way a frame becomes a table: it orders and casts, or says what
is missing.
"""

from __future__ import annotations

import polars as pl

SPLITS = ("train", "test", "holdout")

RAW_CORPUS = pl.Schema(
    {
        # the user's id column, or the row's number in the file; the rows of a text of several
        # labels share it
        "document_id": pl.String(),
        "text": pl.String(),  # as ingested
        "label": pl.String(),
    }
)

REJECTED_CORPUS = pl.Schema(
    {
        "row": pl.Int64(),  # position in the source, from 0
        "document_id": pl.String(),
        "text": pl.String(),
        "label": pl.String(),
        "reason": pl.String(),
    }
)

LABELLED_TEXTS = pl.Schema(
    {
        # document_id, or document_id#number where its text became passages or has several labels
        "text_id": pl.String(),
        "document_id": pl.String(),
        "passage": pl.Int32(),  # from 0
        "text": pl.String(),
        "content_hash": pl.String(),  # sha256 of the text, hex
        "label": pl.String(),
        "slug": pl.String(),  # the label as a partition key, [A-Za-z0-9_-]+
        "split": pl.String(),  # one of SPLITS; all passages of a document share it
    }
)

NEIGHBORS = pl.Schema(
    {
        "text_id": pl.String(),  # a train text; the table is of one label
        "neighbor_ids": pl.List(pl.String()),  # of the same label, nearest first, without itself
        "cosines": pl.List(pl.Float32()),
    }
)

UNLABELLED_TEXTS = pl.Schema(
    {
        "text_id": pl.String(),  # document_id, or document_id#passage
        "document_id": pl.String(),  # "unlabelled:" and the corpus's own id
        "text": pl.String(),
        "content_hash": pl.String(),
    }
)

CLASS_PAIRS = pl.Schema(
    {
        "sample_id": pl.String(),  # run.slug.number
        "number": pl.Int64(),  # from 0; (run seed, label, number) is the sample's random stream
        "parent_ids": pl.List(pl.String()),  # text_ids, the base first
        "weights": pl.List(pl.Float64()),  # one a parent, they sum to 1; (1 - lam, lam) for a pair
    }
)

DECODED_TEXTS = pl.Schema(
    {
        "sample_id": pl.String(),
        "candidate": pl.Int32(),  # from 0
        "text": pl.String(),
        "round_trip_cosine": pl.Float32(),  # of the re-embedded text to the interpolated vector
        "unknown_words": pl.List(pl.String()),  # that the decoder's training text does not have
        "log_probability": pl.Float32(),  # nats, of its tokens given the vector; null: sampled
    }
)

SYNTHETIC_TEXTS = pl.Schema(
    {
        "sample_id": pl.String(),
        "run": pl.String(),
        "label": pl.String(),
        "text": pl.String(),
        "round_trip_cosine": pl.Float32(),
        "parent_cosine": pl.Float32(),  # to the nearest of its parents
        "label_confidence": pl.Float32(),  # probability of its label, by a classifier of real texts
        "copied_words": pl.Int32(),  # longest run of words shared with any real text
        "parent_ids": pl.List(pl.String()),
        "weights": pl.List(pl.Float64()),
        "generator": pl.String(),  # fingerprint
        "origin": pl.String(),  # "decoded", or "found" among the unlabelled texts
        "found_id": pl.String(),  # of a found row: the text_id in UNLABELLED_TEXTS; else null
    }
)
# Rows of an older version lack them: null there, all decoded, by sampling; exports were done.
LATER = ("origin", "found_id", "log_probability", "done")

REJECTED_TEXTS = pl.Schema(
    [
        *SYNTHETIC_TEXTS.items(),
        ("candidate", pl.Int32()),
        ("reason", pl.String()),  # the first filter that refused it
    ]
)

CALIBRATION = pl.Schema(
    {
        "measure": pl.String(),  # a score of SYNTHETIC_TEXTS, or "competence"
        "label": pl.String(),  # null: of all labels together
        "threshold": pl.Float64(),  # null: too few rows to tell
        "own_passing": pl.Float64(),  # share of held-out real texts that reach it, as they should
        "others_passing": pl.Float64(),  # share that reach it with another text's vector or label
        "n_own": pl.Int64(),
        "n_others": pl.Int64(),
    }
)

LINEAGE = pl.Schema({"sample_id": pl.String(), "parent_id": pl.String(), "weight": pl.Float64()})

RUNS = pl.Schema(
    {
        "run": pl.String(),
        "seed": pl.Int64(),
        "sampling_strategy": pl.String(),
        "k_neighbors": pl.Int32(),
        "generator": pl.String(),  # as configured: "small", "xrag-7b" or a folder's name
        "generator_fingerprint": pl.String(),
        "corpus_sha256": pl.String(),
        "created_at": pl.String(),  # ISO 8601, UTC
        "config": pl.String(),  # JSON
    }
)

GENERATOR = pl.Schema(
    {
        "name": pl.String(),  # as configured
        "fingerprint": pl.String(),  # of the one that decodes: the adapted one, where there is one
        "licence": pl.String(),
        "encoder": pl.String(),
        "lm": pl.String(),
        "adapt_steps": pl.Int64(),  # 0: as configured; the columns below are null then
        "nll_before": pl.Float64(),  # per token of test and holdout texts given their vectors
        "nll_after": pl.Float64(),
        "cosine_before": pl.Float64(),  # round trip of test and holdout texts, likeliest text
        "cosine_after": pl.Float64(),
        "memorised_before": pl.Float64(),  # share of texts decoded from train texts' vectors that
        "memorised_after": pl.Float64(),  # repeat nine words in a row of a train text
        "memorised_mixed_before": pl.Float64(),  # the same from the middle of two train texts
        "memorised_mixed_after": pl.Float64(),
    }
)

EVALUATION = pl.Schema(
    {
        "run": pl.String(),
        "head": pl.String(),  # classifier: one of evaluation.HEADS
        "arm": pl.String(),  # training rows: one of evaluation.ARMS, or of other rows
        "metric": pl.String(),  # "macro_f1", "accuracy", "f1"
        "label": pl.String(),  # of a per-class metric, else null
        "value": pl.Float64(),  # mean over seeds
        "difference": pl.Float64(),  # to the arm "real", paired by seed
        "low": pl.Float64(),  # 95 % paired bootstrap interval of the difference
        "high": pl.Float64(),
        "verdict": pl.String(),  # "helps", "no evidence", "hurts"
        "cheap_arm": pl.String(),  # of arms with made rows: the best that needs no generator
        "over_cheap": pl.Float64(),  # the difference to that one
        "over_low": pl.Float64(),
        "over_high": pl.Float64(),
        "over_verdict": pl.String(),
        "n_seeds": pl.Int32(),
    }
)

PRIVACY_AUDIT = pl.Schema(
    {
        "run": pl.String(),
        "label": pl.String(),  # null for the whole run
        "measure": pl.String(),
        "value": pl.Float64(),
        "reference": pl.Float64(),  # what the holdout, which no synthetic row saw, scores
        "threshold": pl.Float64(),
        "passed": pl.Boolean(),
        "low": pl.Float64(),  # 95 % interval of the value, null where none is computed
        "high": pl.Float64(),
    }
)


GATES = pl.Schema(
    {
        "run": pl.String(),
        "label": pl.String(),
        "gate": pl.String(),  # a measure of PRIVACY_AUDIT, "accepted_share", "competence", …
        "value": pl.Float64(),
        "limit": pl.Float64(),
        "passed": pl.Boolean(),  # null: not judged, which does not hold back
        "published_anyway": pl.String(),  # the reason, where somebody decided so
    }
)

REVIEWS = pl.Schema(
    {
        "run": pl.String(),
        "label": pl.String(),  # that the row was made for
        "sample_id": pl.String(),
        "content_hash": pl.String(),  # sha256 of the text that was read
        "verdict": pl.String(),  # "keep", "drop", "relabel", "undecided"
        "corrected_label": pl.String(),  # of "relabel", else null
        "reviewer": pl.String(),
        "reviewed_at": pl.String(),  # ISO 8601, UTC
        "sampled": pl.Boolean(),  # drawn at random; else chosen for being doubtful
        "round_trip_cosine": pl.Float32(),  # as read; thresholds are calibrated on them
        "label_confidence": pl.Float32(),
    }
)

ACCEPTANCE = pl.Schema(
    {
        "label": pl.String(),
        "read": pl.Int64(),
        "sampled": pl.Int64(),  # of these drawn at random
        "accepted": pl.Int64(),  # of those kept as they are
        "share": pl.Float64(),  # of the sampled; null: none was
        "low": pl.Float64(),  # 95 % interval
        "high": pl.Float64(),
    }
)

READER_CALIBRATION = pl.Schema(
    {
        "label": pl.String(),
        "asked": pl.Float64(),  # the share of texts that readers are to accept
        "outcome": pl.String(),  # "raised", "reached", "not reached", "too few verdicts"
        "held_out_round_trip": pl.Float64(),  # minima that held-out real texts gave
        "held_out_label_confidence": pl.Float64(),  # null: the likeliest label counts
        "min_round_trip": pl.Float64(),
        "min_label_confidence": pl.Float64(),
        "read": pl.Int64(),  # texts drawn at random that reach the minima
        "accepted": pl.Int64(),  # of those kept as they are
        "share": pl.Float64(),  # null: none was read
        "low": pl.Float64(),  # 95 % interval
        "high": pl.Float64(),
    }
)

EXPORTS = pl.Schema(
    {
        "run": pl.String(),
        "format": pl.String(),  # "huggingface", "croissant", "csv", "delta"
        "place": pl.String(),  # the file or table, a path or s3://…
        "rows": pl.Int64(),
        "sha256": pl.String(),  # of the file; of a Delta table null
        # false: an export began that did not finish, all, some or none of it is there; null: of an
        # older version, which told of finished ones alone
        "done": pl.Boolean(),
    }
)


def embeddings_schema(dimension: int) -> pl.Schema:
    """Vectors of texts, float32, on the scale the generator's projector was trained on."""
    return pl.Schema(
        {
            "text_id": pl.String(),
            "content_hash": pl.String(),
            "embedding": pl.Array(pl.Float32(), dimension),
        }
    )


def unlabelled_schema(dimension: int) -> pl.Schema:
    """Unlabelled passages with their vectors, float32."""
    return pl.Schema([*UNLABELLED_TEXTS.items(), ("embedding", pl.Array(pl.Float32(), dimension))])


def interpolated_schema(dimension: int) -> pl.Schema:
    """One mixed vector, float32, a sample."""
    return pl.Schema({"sample_id": pl.String(), "vector": pl.Array(pl.Float32(), dimension)})


def decoded_schema(dimension: int) -> pl.Schema:
    """Candidates with the vectors of their texts, which the filters compare."""
    return pl.Schema([*DECODED_TEXTS.items(), ("embedding", pl.Array(pl.Float32(), dimension))])


def found_schema(dimension: int) -> pl.Schema:
    """Unlabelled texts as candidates, with what they are and their vectors."""
    columns = decoded_schema(dimension)
    return pl.Schema([*columns.items(), ("found_id", pl.String())])


def conform(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Order and cast the columns of `frame` to `schema`; extra columns are dropped.

    Columns of `LATER` that `frame` lacks are null.

    Raises:
        ValueError: another column is missing.
    """
    frame = with_later(frame, schema)
    missing = [name for name in schema if name not in frame.columns]
    if missing:
        raise ValueError(
            f"the table needs the columns {list(schema)}; {missing} are missing "
            f"from {frame.columns}"
        )
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def with_later(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """`frame`, and null in each column of `LATER` that `schema` has and it lacks."""
    lacking = [name for name in LATER if name in schema and name not in frame.columns]
    return frame.with_columns(pl.lit(None, schema[name]).alias(name) for name in lacking)
