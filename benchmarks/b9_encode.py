"""B9: encoding, against SentenceTransformer.encode with the same weights, in turns.

Ours in float32, and in bfloat16 where the processor multiplies that (torch says so): a line each.

Posts of 20 Newsgroups (stripped) if the folder SMOTEXT_TEST_DATA or ../shared/data has them, else
the notes that come with smotext. The ratios are of medians, theirs / ours. `highest_ratio` is what
they would be if ours did nothing but the matrix products of the encoder's layers, without padding,
at the rate of a large one on this machine: no exact float32 encoder
gets there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from smotext_core.texts import read_corpus, strip_newsgroup
from smotext_core.xrag import Embedder, minilm_folder

RESULTS = Path(__file__).with_name("results.jsonl")
DATA = Path(os.environ.get("SMOTEXT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def texts(rows: int) -> tuple[str, list[str]]:
    path = DATA / "20newsgroups" / "data.parquet"
    if not path.exists():
        return "clinic_notes", read_corpus("clinic_notes")[0]["text"].to_list()[:rows]
    posts = pl.read_parquet(path)["text"].head(2 * rows)
    stripped = [strip_newsgroup(post).strip() for post in posts]
    return "20newsgroups", [text for text in stripped if text][:rows]


def product_seconds(embedder: Embedder, rows: list[str]) -> float:
    """CPU seconds of the products with the layers' weights for every token of the texts, once."""
    import torch

    tokens = sum(len(encoding.ids) for encoding in embedder.tokenizer.encode_batch(rows))
    layers = [m for m in embedder.model.encoder.modules() if isinstance(m, torch.nn.Linear)]
    inputs = {layer.in_features: torch.randn(2048, layer.in_features) for layer in layers}
    with torch.inference_mode():
        began = time.process_time()
        for _ in range(4):
            for layer in layers:
                layer(inputs[layer.in_features])
    return (time.process_time() - began) / (4 * 2048) * tokens


def main() -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500, help="2000 for the full run")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    name, rows = texts(given.rows)
    theirs = SentenceTransformer(str(minilm_folder()), device="cpu")
    dtypes = ["float32"]
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        dtypes.append("bfloat16")
    ours = {dtype: Embedder(minilm_folder(), dtype=dtype) for dtype in dtypes}
    vectors: dict[str, NDArray[np.float32]] = {}
    sides: dict[str, Callable[[], NDArray[np.float32]]] = {
        "theirs": lambda: np.asarray(theirs.encode(rows, normalize_embeddings=True)),
        **{dtype: partial(ours[dtype].encode, rows) for dtype in dtypes},
    }
    wall: dict[str, list[float]] = {side: [] for side in sides}
    cpu: dict[str, list[float]] = {side: [] for side in sides}
    products: list[float] = []
    for _ in range(given.repeat):
        for side, encode in sides.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            vectors[side] = encode()
            wall[side].append(time.perf_counter() - began)
            cpu[side].append(time.process_time() - began_cpu)
        products.append(product_seconds(ours["float32"], rows))
    theirs_s, theirs_cpu_s = (statistics.median(of["theirs"]) for of in (wall, cpu))
    for dtype in dtypes:
        line = {
            "id": "B9",
            "case": f"{len(rows)} texts of {name}, {dtype}",
            "ratio": theirs_s / statistics.median(wall[dtype]),
            "cpu_ratio": theirs_cpu_s / statistics.median(cpu[dtype]),
            "ours_s": statistics.median(wall[dtype]),
            "theirs_s": theirs_s,
            "least_cosine": float((vectors[dtype] * vectors["theirs"]).sum(axis=1).min()),
            "threads": torch.get_num_threads(),
            "date": datetime.now(UTC).date().isoformat(),
        }
        if dtype == "float32":
            line["highest_ratio"] = theirs_cpu_s / statistics.median(products)
        print(line)
        with RESULTS.open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
