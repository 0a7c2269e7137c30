from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM

from smotext_core.training.loop import Batch, linear_rate, settle, shard_batches, train
from smotext_core.training.objectives import (
    distillation_loss,
    examples,
    held_out_nll,
    mean_cosine,
    reconstruction_loss,
)
from smotext_core.xrag.projector import Projector
from tests.tiny import SENTENCES, word_tokenizer, write_lm

TOKENIZER = word_tokenizer()
PROMPT = {
    "ids": [5, 1, 6, 7],
    "xrag_token_id": 1,
    "eos_token_id": 0,
    "suppress_tokens": [1],
    "max_new_tokens": 12,
}


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_lm(tmp_path_factory.mktemp("lm"), hidden=32)
    return AutoModelForCausalLM.from_pretrained(folder).requires_grad_(False).eval()


def projector(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return Projector(8, 32)


def frame(texts: list[str], *, source: str = "people") -> pl.DataFrame:
    vectors = np.random.default_rng(0).standard_normal((len(texts), 8)).astype(np.float32)
    return pl.DataFrame({"source": source, "text": texts}).with_columns(
        pl.Series("embedding", vectors, dtype=pl.Array(pl.Float32, 8))
    )


IDS = [[*TOKENIZER.encode(text).ids, 0] for text in SENTENCES[:3]]
IDS[1] = IDS[1][-3:]  # of different lengths
VECTORS = torch.from_numpy(frame(SENTENCES[:3])["embedding"].to_numpy().copy())


def row_logits(lm: Any, inputs: Any, length: int) -> Any:
    """Of the last `length` tokens of one row alone, given embeddings (1, w, hidden)."""
    return lm(inputs_embeds=inputs).logits[0, -length:].log_softmax(-1)


def student_and_teacher(lm: Any, mlp: Any) -> Iterator[tuple[Any, Any, list[int]]]:
    embed = lm.get_input_embeddings()
    for vector, row in zip(VECTORS, IDS, strict=True):
        before, after = embed(torch.tensor([[5]])), embed(torch.tensor([[6, 7, *row[:-1]]]))
        text = embed(torch.tensor([row[:-1]]))
        student = torch.cat([before, mlp(vector[None]), after], dim=1)
        teacher = torch.cat([before, text, after], dim=1)
        yield row_logits(lm, student, len(row)), row_logits(lm, teacher, len(row)), row


def test_reconstruction_loss_is_the_likelihood_of_each_row(lm: Any) -> None:
    mlp = projector()
    with torch.no_grad():
        expected = -sum(s[range(len(row)), row].sum() for s, _, row in student_and_teacher(lm, mlp))
        got = reconstruction_loss(lm, mlp, VECTORS, IDS, prompt=PROMPT)
    assert np.isclose(got.item(), expected.item(), rtol=1e-5)


def test_distillation_loss_adds_the_divergence_from_the_text_itself(lm: Any) -> None:
    mlp = projector()
    with torch.no_grad():
        rows = list(student_and_teacher(lm, mlp))
        nll = -sum(s[range(len(row)), row].sum() for s, _, row in rows)
        kl = sum((t.exp() * (t - s)).sum() for s, t, _ in rows)
    got = distillation_loss(lm, mlp, VECTORS, IDS, prompt=PROMPT)
    assert kl > 1
    assert np.isclose(got.item(), (nll + 2 * kl).item(), rtol=1e-5)
    got.backward()
    assert mlp[0].weight.grad.abs().sum() > 0
    assert lm.get_input_embeddings().weight.grad is None


def test_linear_rate_warms_up_and_goes_down_to_nothing() -> None:
    rates = [linear_rate(step, steps=100, peak=2.0) for step in range(101)]
    assert rates[:3] == pytest.approx([2 / 3, 4 / 3, 2.0])  # 3 % of the steps
    assert rates[100] == 0
    assert all(a > b for a, b in pairwise(rates[3:]))
    assert linear_rate(0, steps=1, peak=2.0) == 2.0


def run(lm: Any, data: Path, out: Path, *, steps: int, stop_at: int | None = None, **options: Any):  # type: ignore[no-untyped-def]  # weights and log
    """Train a projector; `stop_at` kills it in that step."""
    mlp = projector()
    model = torch.nn.ModuleDict({"projector": mlp})
    calls = 0

    def loss(vectors: Any, ids: list[list[int]]) -> Any:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise KeyboardInterrupt
        return reconstruction_loss(lm, mlp, vectors, ids, prompt=PROMPT)

    def batches(number: int) -> Iterator[Batch]:
        rng = np.random.default_rng([3, number])
        return shard_batches(data, TOKENIZER, prompt=PROMPT, batch_size=16, rng=rng)

    held_out = frame(SENTENCES[60:80])
    train(
        model,
        torch.optim.AdamW(model.parameters()),
        loss,
        batches,
        out,
        steps=steps,
        rate=lambda step: linear_rate(step, steps=14, peak=1e-2),
        evaluate=lambda: {"nll": held_out_nll(lm, mlp, TOKENIZER, held_out, prompt=PROMPT)},
        checkpoint_every=4,
        **options,
    )
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return mlp.state_dict(), log


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    frame(SENTENCES[:60]).write_parquet(folder / "shard-000.parquet")  # 4 batches a pass
    return folder


def test_train_stopped_anywhere_ends_with_the_same_weights(
    lm: Any, data: Path, tmp_path: Path
) -> None:
    whole, log = run(lm, data, tmp_path / "whole", steps=14)
    assert [line["step"] for line in log] == [0, 4, 8, 12, 14]
    assert log[-1]["nll"] < log[0]["nll"]
    assert log[0]["train_nll"] == 0 < log[1]["train_nll"]
    for calls in (3, 6):  # before the first checkpoint, between two, in another pass
        with pytest.raises(KeyboardInterrupt):
            run(lm, data, tmp_path / "stopped", steps=14, stop_at=calls)
    seen: list[Any] = []
    stopped, again = run(
        lm, data, tmp_path / "stopped", steps=14, progress=seen.append, report=seen.append
    )
    assert all(torch.equal(stopped[name], weight) for name, weight in whole.items())
    timed = {"seconds"}
    assert [{k: v for k, v in line.items() if k not in timed} for line in again] == [
        {k: v for k, v in line.items() if k not in timed} for line in log
    ]
    assert sum(n for n in seen if isinstance(n, int)) == 14
    assert seen[0] == 4  # done before
    assert seen[-1] == again[-1]


def test_train_stopped_between_log_and_checkpoint_says_nothing_twice(
    lm: Any, data: Path, tmp_path: Path
) -> None:
    run(lm, data, tmp_path / "out", steps=8)
    written = (tmp_path / "out" / "checkpoint.pt").read_bytes()
    expected, log = run(lm, data, tmp_path / "out", steps=12)
    (tmp_path / "out" / "checkpoint.pt").write_bytes(written)
    with (tmp_path / "out" / "log.jsonl").open("a") as file:
        file.write('{"step": 14, "to')
    got, again = run(lm, data, tmp_path / "out", steps=12)
    assert [line["step"] for line in again] == [line["step"] for line in log] == [0, 4, 8, 12]
    assert all(torch.equal(got[name], weight) for name, weight in expected.items())


def test_train_that_is_done_does_nothing(lm: Any, data: Path, tmp_path: Path) -> None:
    run(lm, data, tmp_path / "out", steps=4)
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.pt")}
    run(lm, data, tmp_path / "out", steps=4, stop_at=1)
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.pt")} == before


def test_train_in_parts_is_the_same_training(lm: Any, data: Path, tmp_path: Path) -> None:
    whole, _ = run(lm, data, tmp_path / "whole", steps=6)
    parts, _ = run(lm, data, tmp_path / "parts", steps=6, batch_tokens=40)
    for name, weight in whole.items():
        assert torch.allclose(parts[name], weight, atol=1e-5), name


def test_train_refuses_a_loss_that_is_not_finite(lm: Any, tmp_path: Path) -> None:
    broken = frame(SENTENCES[:20]).with_columns(
        pl.Series("embedding", np.full((20, 8), np.inf), dtype=pl.Array(pl.Float32, 8))
    )
    broken.write_parquet(tmp_path / "shard-000.parquet")
    with pytest.raises(ValueError, match="the loss is nan at step 0: lower the learning rate"):
        run(lm, tmp_path, tmp_path / "out", steps=2)


def test_train_refuses_an_empty_corpus(lm: Any, tmp_path: Path) -> None:
    frame([]).write_parquet(tmp_path / "shard-000.parquet")
    with pytest.raises(ValueError, match="no text to train on"):
        run(lm, tmp_path, tmp_path / "out", steps=2)


def test_shard_batches_take_sources_alike_and_lengths_together(tmp_path: Path) -> None:
    few = [" ".join(SENTENCES[n].split()[: 1 + n % 5]) for n in range(40)]
    frame(few, source="few").write_parquet(tmp_path / "shard-000.parquet")
    frame(SENTENCES[40:200], source="many").write_parquet(tmp_path / "shard-001.parquet")

    def one_pass(number: int) -> list[Batch]:
        rng = np.random.default_rng([0, number])
        return list(shard_batches(tmp_path, TOKENIZER, prompt=PROMPT, batch_size=8, rng=rng))

    first = one_pass(0)
    assert [len(ids) for _, ids in first] == [8] * 10
    lengths = [sorted(map(len, ids)) for _, ids in first]
    assert sum(row[-1] - row[0] for row in lengths) <= 8
    assert sum(len(row) < 7 for _, ids in first for row in ids) >= 30  # the few, every one
    assert [i for _, i in one_pass(0)] == [i for _, i in first]
    assert [i for _, i in one_pass(1)] != [i for _, i in first]
    assert {vectors.shape for vectors, _ in first} == {(8, 8)}


def test_examples_are_cut_and_end(lm: Any) -> None:
    vectors, ids = examples(frame(["The nurse sold the old telescope. " * 5]), TOKENIZER, PROMPT)
    assert vectors.dtype == np.float32
    assert len(ids[0]) == 12
    assert ids[0][-1] == 0


def test_mean_cosine_counts_a_row_without_direction_as_nothing() -> None:
    a = np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32)
    b = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    assert mean_cosine(a, b) == pytest.approx(0.3)


def test_settle_refuses_other_settings(tmp_path: Path) -> None:
    settle(tmp_path, {"corpus": "abc", "seed": 1})
    settle(tmp_path, {"corpus": "abc", "seed": 1})
    with pytest.raises(ValueError, match="begun otherwise: corpus was 'abc', is 'x'"):
        settle(tmp_path, {"corpus": "x", "seed": 1})
