"""Croissant metadata of an exported folder: its files, their columns and where each comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl


def croissant(
    *,
    run: str,
    made_at: str,
    schema: pl.Schema,
    files: Mapping[str, tuple[str, int]],
    descriptions: Mapping[str, str],
    sources: Mapping[str, Sequence[str]],
    verdict: Sequence[str],
    licence: str,
    language: str,
    generator: Mapping[str, str],
) -> bytes:
    """croissant.json of Parquet files of the same columns, validated by `mlcroissant`.

    Args:
        made_at: when the run was frozen, ISO 8601.
        files: by split, sha256 and bytes of `data/SPLIT.parquet`.
        descriptions: what each column holds.
        sources: the columns that each is made from, as `asset.column`.
        verdict: what the evidence says, a sentence each.

    Raises:
        ImportError: mlcroissant is not installed.
        mlcroissant.ValidationError: what was made does not conform.
    """
    try:
        import mlcroissant as mlc
    except ImportError as error:
        raise ImportError(
            "Croissant needs the package mlcroissant: pip install 'smotext[export]'"
        ) from error
    types = {
        pl.String(): mlc.DataType.TEXT,
        pl.Int32(): mlc.DataType.INT32,
        pl.Float32(): mlc.DataType.FLOAT32,
        pl.Float64(): mlc.DataType.FLOAT64,
    }

    def field(split: str, name: str, dtype: pl.DataType) -> Any:
        listed = isinstance(dtype, pl.List)
        made_of = ", ".join(sources.get(name, ()))
        told = descriptions.get(name, name)
        return mlc.Field(
            id=f"{split}/{name}",
            name=name,
            description=f"{told} Made from: {made_of}." if made_of else told,
            data_types=[types[dtype.inner if isinstance(dtype, pl.List) else dtype]],  # type: ignore[index]
            is_array=True if listed else None,
            array_shape="-1" if listed else None,
            source=mlc.Source(file_object=f"{split}.parquet", extract=mlc.Extract(column=name)),
        )

    metadata = mlc.Metadata(
        name=f"synthetic-texts-{run}",
        description="Texts made by SMOTExT, SMOTE for text: points between the vectors of real "
        "texts of one label, decoded by a language model. Every row names its parents.",
        conforms_to=["http://mlcommons.org/croissant/1.1"],
        date_published=datetime.fromisoformat(made_at),
        license=[licence],
        in_language=[language],
        keywords=["synthetic", "smote", "data-augmentation", "text-classification"],
        version="1.0.0",
        url="./README.md",
        cite_as=f"Synthetic texts, run {run}, made by smotext.",
        creators=[mlc.Organization(name="smotext")],
        data_collection=f"Decoded by the generator {generator['name']} "
        f"({generator['fingerprint']}), licence {generator['licence']}.",
        data_limitations=[*verdict],
        distribution=[
            mlc.FileObject(
                id=f"{split}.parquet",
                name=f"{split}.parquet",
                content_url=f"data/{split}.parquet",
                content_size=f"{size} B",
                encoding_formats=["application/x-parquet"],
                sha256=sha256,
            )
            for split, (sha256, size) in files.items()
        ],
        record_sets=[
            mlc.RecordSet(
                id=split,
                name=split,
                fields=[field(split, name, dtype) for name, dtype in schema.items()],
            )
            for split in files
        ],
    )
    found = json.dumps(metadata.to_json(), indent=1, ensure_ascii=False, default=str)
    mlc.Dataset(jsonld=json.loads(found))  # raises where it does not conform
    return found.encode()
