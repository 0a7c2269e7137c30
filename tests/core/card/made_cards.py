"""Cards and pictures with hostile text in every place, and how a card is read back."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
from markdown_it import MarkdownIt

from smotext_core.card.card import dataset_card
from smotext_core.card.class_map import class_map
from smotext_core.card.evidence_charts import efficacy_chart, funnel, leakage_chart
from smotext_core.efficacy import WITH_ROWS
from smotext_core.schemas import EVALUATION, PRIVACY_AUDIT

HOSTILE = (
    "<script>alert(1)</script>",
    "a | b",
    "`code` ``` fence",
    "[x](javascript:alert(1))",
    "![i](https://example.org/i.png)",
    '=cmd()|" /C calc"!A0',
    "# head\n\n- item\n1. one\n---\n> quote",
    "<https://example.org> https://example.org www.example.org a@example.org",
    "*b* _i_ **s** ~~x~~ $m$ \\| &lt;b&gt; &amp;",
    "</td></table><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "\u202eevil\u2066 \x00\x1b[31m {css} {0}",
    "+ plus",
    "1) one",
)
TAGS_OF_OURS = re.compile(
    "html|head|meta|title|style|body|header|p|h1|ul|li|b|main|section|h2|div|table|thead|tbody|tr|"
    "th|td|article|span|figure|figcaption|i|img|pre|code"
)


def evaluation_of(*labels: str) -> pl.DataFrame:
    rows = []
    for head in ("embedding", "tfidf"):
        for arm in ("real", "smotext"):
            for metric, label in [("macro_f1", None), *(("f1", label) for label in labels)]:
                gain = None if arm == "real" else 0.1 if head == "embedding" else -0.01
                rows.append(
                    {
                        "run": "r",
                        "head": head,
                        "arm": arm,
                        "metric": metric,
                        "label": label,
                        "value": 0.5,
                        "n_seeds": 10,
                        "difference": gain,
                        "low": None if gain is None else gain - 0.05,
                        "high": None if gain is None else gain + 0.05,
                        "verdict": None if gain is None else "helps" if gain > 0 else "no evidence",
                    }
                    | (over_class_weight(gain) if gain is not None and arm in WITH_ROWS else {})
                )
    return pl.DataFrame(rows, schema=EVALUATION)


def over_class_weight(gain: float) -> dict[str, object]:
    """As if class weights gave nothing."""
    verdict = "helps" if gain > 0.05 else "no evidence"
    return {
        "cheap_arm": "class_weight", "over_cheap": gain, "over_low": gain - 0.05,
        "over_high": gain + 0.05, "over_verdict": verdict,
    }  # fmt: skip


def card_of(
    texts: tuple[str, ...], labels: tuple[str, ...], *, n_test: int = 5, **changes
) -> tuple[str, str]:
    n = len(texts)
    labelled = pl.DataFrame(
        {
            "text_id": [f"t{i}" for i in range(n)],
            "text": texts,
            "label": [labels[i % len(labels)] for i in range(n)],
            "split": ["train"] * n,
            "document_id": [f"d{i}" for i in range(n)],
        }
    )
    held_out = pl.DataFrame(
        [
            (f"test{i}", "held out", label, "test", f"test{i}")
            for i, label in enumerate(label for label in labels for _ in range(n_test))
        ],
        schema=labelled.schema,
        orient="row",
    )
    labelled = pl.concat([labelled, held_out])
    synthetic = pl.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(n)],
            "label": labelled["label"].head(n),
            "text": texts,
            "round_trip_cosine": [0.5] * n,
            "parent_ids": [[f"t{i}", f"t{(i + 1) % n}"] for i in range(n)],
            "weights": [[0.75, 0.25]] * n,
        }
    )
    counts = pl.DataFrame(
        {"label": labels, "real": 3, "wanted": 9, "made": 1, "main_reason": [*labels]}
    )
    audit = pl.DataFrame(
        [
            ("r", None, "identical_share", 0.0, 0.0, 0.0, True, None, None),
            ("r", labels[0], "membership_auc", 0.9, 0.5, 0.6, False, None, None),
            ("r", None, labels[0], 0.5, None, None, None, None, None),
        ],
        schema=PRIVACY_AUDIT,
        orient="row",
    )
    arguments = {
        "run": "20261122T0300",
        "config": {"seed": 7, "labels": list(labels), "text": texts[0]},
        "counts": counts,
        "synthetic": synthetic,
        "labelled": labelled,
        "rejected": pl.DataFrame({"reason": ["too short", labels[0]], "count": [3, 2]}),
        "evaluation": evaluation_of(*labels),
        "privacy_audit": audit,
        "pictures": dict.fromkeys(labels, b"png"),
        "generator": {"name": "mini", "licence": "Apache-2.0", "fingerprint": "ab12"},
        **changes,
    }
    return dataset_card(**arguments)


def tokens_of(markdown: str) -> list:
    """Every token of a GitHub-flavoured reading, inline ones too, links looked for."""
    found = []
    for token in (
        MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown)
    ):
        found += [token, *(token.children or [])]
    return found


def plain(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\u202a-\u202e\u2066-\u2069]", " ", text).split())


def audit_of(*rows: tuple) -> pl.DataFrame:
    given = [("r", None, *row, None, None) for row in rows]
    return pl.DataFrame(given, schema=PRIVACY_AUDIT, orient="row")


def picture_of(name: str, label: str) -> bytes:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 8))
    pairs = [(0, 1), (2, 3), (4,)]
    if name == "class_map":
        return class_map(real, (real[:-1] + real[1:]) / 2, parents=pairs, title=label)
    if name == "funnel":
        return funnel({"too short": 10, label: 5, "none": 0}, accepted=20)
    if name == "leakage_chart":
        return leakage_chart(audit_of((label, 0.9, 0.5, 0.6, False), ("x", 0.1, 0.5, None, None)))
    return efficacy_chart(evaluation_of("plain", label))
