"""A folder that `datasets.load_dataset` reads: Parquet by split, a README with its front matter.

The README says in words what the card found. Unlike the card it quotes no text, real or synthetic.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import polars as pl
import yaml

from smotext_core.card import markdown_rows, markdown_text, size_category
from smotext_core.schemas import LABELLED_TEXTS, SYNTHETIC_TEXTS

_REAL = ("text_id", "document_id")  # what only a real text has


def with_real(synthetic: pl.DataFrame, labelled: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """`synthetic`, `train` and `test`, of the same columns, as the splits of a data set must be.

    Real rows keep id, text and label as they are and have no scores; the holdout stays at home.

    Args:
        synthetic: SYNTHETIC_TEXTS. labelled: LABELLED_TEXTS.
    """
    schema = pl.Schema([*SYNTHETIC_TEXTS.items(), *((n, LABELLED_TEXTS[n]) for n in _REAL)])
    frames = {"synthetic": synthetic, **{s: labelled.filter(split=s) for s in ("train", "test")}}
    return {
        split: pl.concat(
            [schema.to_frame(), frame.select(n for n in schema if n in frame.columns)],
            how="diagonal",
        )
        for split, frame in frames.items()
    }


def parquet(frame: pl.DataFrame) -> bytes:
    """The file of a split; the same frame gives the same bytes."""
    file = io.BytesIO()
    frame.write_parquet(file, compression="zstd", statistics=False)
    return file.getvalue()


def readme(
    *,
    run: str,
    splits: Mapping[str, int],
    counts: Sequence[tuple[str, int, int]],
    verdict: Sequence[str],
    columns: Mapping[str, str],
    generator: Mapping[str, str],
    left_out: Sequence[str],
    found: int = 0,
    licence: str = "other",
    language: str = "en",
) -> str:
    """The README of the folder: YAML that `datasets` and the hub read, then the findings in words.

    Args:
        splits: rows by split; its Parquet is `data/SPLIT.parquet`.
        counts: label, real train texts, synthetic texts.
        verdict: what the evidence says, a sentence each.
        columns: what each holds, by name.
        generator: name, licence, fingerprint.
        left_out: what did not leave and why, a sentence each.
        found: of the rows so many are real texts that nobody had labelled.
        licence, language: of the data set, as the hub writes them.
    """
    files = [{"split": split, "path": f"data/{split}.parquet"} for split in splits]
    header = {
        "pretty_name": f"Synthetic texts, run {run}",
        "language": [language],
        "license": licence,
        "task_categories": ["text-classification"],
        "tags": ["synthetic", "smote", "data-augmentation"],
        "size_categories": [size_category(sum(splits.values()))],
        "configs": [{"config_name": "default", "default": True, "data_files": files}],
        "generator": dict(generator),
    }
    told = {
        "What this is": [
            "Texts made by SMOTExT, SMOTE for text: points between the vectors of real texts of "
            "one label, decoded by a language model. Nobody wrote them: they can be wrong or "
            "garbled. They are meant as extra training rows, not as facts and not as test data.",
            *(
                [
                    f"But for {found:,} of them, whose `origin` is `found`: these are real texts "
                    "that somebody wrote and nobody had labelled. Their label is SMOTE's word."
                ]
                if found
                else []
            ),
            f"The generator is {markdown_text(generator['name'])} "
            f"({markdown_text(generator['fingerprint'])}); its licence, "
            f"{markdown_text(generator['licence'])}, binds what is made with it.",
        ],
        "What was found": [_items(verdict)],
        "Rows": [markdown_rows(("split", "rows"), [*splits.items()], max_characters=80)],
        "Rows per label": [
            markdown_rows(("label", "real train texts", "synthetic"), counts, max_characters=80)
        ],
        "What was left out": [_items(left_out or ["Nothing."])],
        "Columns": [markdown_rows(("column", "holds"), [*columns.items()], max_characters=300)],
    }
    body = "\n\n".join(
        "\n\n".join([f"## {title}", *paragraphs]) for title, paragraphs in told.items()
    )
    front = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n# Synthetic texts, run {markdown_text(run)}\n\n{body}\n"


def _items(lines: Sequence[str]) -> str:
    return "\n".join(f"- {markdown_text(line, max_characters=600)}" for line in lines)
