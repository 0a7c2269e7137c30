"""Reading a corpus from a bucket; what the models compute in."""

import io
import uuid
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from smotext_assets.graph.resources import GeneratorResource, StoreResource
from smotext_core.texts.corpora import read_corpus
from tests.conftest import S3_BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_corpus_is_read_from_a_bucket(
    ending: str, s3_client: "S3Client", s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    frame = pl.DataFrame({"note": ["a cough, at night", "two moles"], "clinic": ["lung", "skin"]})
    buffer = io.BytesIO()
    writers = {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}
    writers[ending](buffer)
    key = f"{uuid.uuid4().hex}/notes of today.{ending}"
    s3_client.put_object(Bucket=S3_BUCKET, Key=key, Body=buffer.getvalue())
    store = StoreResource(root="unused", endpoint_url=s3_endpoint, region_name="us-east-1")
    found, rejected = read_corpus(
        f"s3://{S3_BUCKET}/{key}", text="note", label="clinic", open_bytes=store.open_bytes
    )
    assert found["text"].to_list() == frame["note"].to_list()
    assert found["label"].to_list() == ["lung", "skin"]
    assert rejected.is_empty()


def test_generator_computes_in_the_dtype_asked_for() -> None:
    loaded = GeneratorResource(generator="mini", dtype="bfloat16").load()
    weights = [next(m.parameters()).dtype for m in (loaded.embedder.model, loaded.decoder.lm)]
    assert [str(dtype) for dtype in weights] == ["torch.bfloat16"] * 2
    vectors = loaded.encode(["The knee was swollen and painful.", "She sleeps badly."])
    assert np.isfinite(vectors).all()
    seeds = [3, 4]
    together = loaded.decode_candidates(vectors, seeds=seeds, n_candidates=4).texts
    alone = [
        loaded.decode_candidates(vectors[row : row + 1], seeds=[seed], n_candidates=4).texts[0]
        for row, seed in enumerate(seeds)
    ]
    assert together == alone
    assert all(text for row in together for text in row)
