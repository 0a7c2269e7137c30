"""A corpus whose synthetic rows help, harm or do nothing, as planted."""

from __future__ import annotations

import numpy as np
import polars as pl

from smotext_core.efficacy.evaluation import (
    evaluate,
)

WORDS = {
    "rare": ["ulcer", "biopsy", "mucosa", "polyp", "antrum", "reflux", "gastric", "lesion"],
    "common": ["fracture", "cast", "femur", "tibia", "splint", "joint", "tendon", "screw"],
}
SHARED = ("patient", "was", "seen", "today", "plan", "return", "weeks", "other", "change", "no")
DIMENSION = 30


def make_rows(n_rare: int, n_common: int, *, prefix: str, seed: int) -> pl.DataFrame:
    """Texts with few telling words; what a row says is a function of its label and the seed."""
    rng = np.random.default_rng(seed)
    labels = ["rare"] * n_rare + ["common"] * n_common
    texts = [" ".join([*rng.choice(WORDS[label], 2), *rng.choice(SHARED, 8)]) for label in labels]
    ids = [f"{prefix}{i}" for i in range(len(labels))]
    return pl.DataFrame(
        {"text_id": ids, "document_id": ids, "text": texts, "label": labels, "slug": labels}
    )


def vectors_of(rows: pl.DataFrame, *, seed: int) -> np.ndarray:
    """(n, DIMENSION) float32: two clouds that a few examples do not tell apart, many do."""
    rng = np.random.default_rng(seed)
    side = np.where(rows["label"] == "rare", 0.3, -0.3)
    return (rng.normal(size=(rows.height, DIMENSION)) + side[:, None]).astype(np.float32)


def as_synthetic(rows: pl.DataFrame, train: pl.DataFrame, *, label: str) -> pl.DataFrame:
    """`rows` as if decoded under `label`, each from one text of that label, in turn."""
    parents = train.filter(pl.col("label") == label)["text_id"].to_list()
    return pl.DataFrame(
        {
            "text": rows["text"],
            "label": [label] * rows.height,
            "parent_ids": [[parents[i % len(parents)]] for i in range(rows.height)],
        },
        schema_overrides={"parent_ids": pl.List(pl.String)},
    )


def encode(texts):
    """(n, DIMENSION) float32: a text's side is that of the words it has more of."""
    out = np.empty((len(texts), DIMENSION), dtype=np.float32)
    for row, text in enumerate(texts):
        words = text.split()
        side = sum((word in WORDS["rare"]) - (word in WORDS["common"]) for word in words)
        noise = np.random.default_rng([len(text), *text.encode()]).normal(size=DIMENSION)
        out[row] = noise + 0.3 * np.sign(side)
    return out


def run_with(corpus, synthetic, synthetic_embeddings, **options):
    return evaluate(
        corpus["train"], corpus["train_embeddings"], corpus["test"], corpus["test_embeddings"],
        synthetic, synthetic_embeddings,
        run="r1", **{"n_seeds": 3, "encode": encode, **options},
    )  # fmt: skip


def verdict(evaluation: pl.DataFrame, head: str, arm: str, metric: str, label: str | None) -> str:
    row = evaluation.filter(
        pl.col("head") == head, pl.col("arm") == arm, pl.col("metric") == metric,
        pl.col("label").eq_missing(pl.lit(label)),
    )  # fmt: skip
    return row["verdict"].item()
