"""The training loop: from shards of texts beside their vectors to weights, stopped at any time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from smotext_core.training.objectives import examples

Batch = tuple[Any, list[list[int]]]  # vectors (n, d) float32, token ids of the n texts


def linear_rate(step: int, *, steps: int, peak: float) -> float:
    """xRAG's schedule: warm-up over 3 % of the steps, then straight down to nothing."""
    warm = max(1, round(0.03 * steps))
    return peak * min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm)))


def train(
    model: Any,
    optimizer: Any,
    loss: Callable[[Any, list[list[int]]], Any],
    batches: Callable[[int], Iterator[Batch]],
    out: Path,
    *,
    steps: int,
    rate: Callable[[int], float],
    evaluate: Callable[[], Mapping[str, float]],
    checkpoint_every: int = 250,
    batch_tokens: int = 8192,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
    report: Callable[[Mapping[str, float]], None] | None = None,
) -> dict[str, float]:
    """Take `model` to `steps`, from the checkpoint in `out` where there is one.

    A run that is stopped anywhere and started again ends with the weights of one that was not:
    the checkpoint holds the place in the data, and nothing else is drawn. With other `steps` it
    goes on too, on the schedule of those.

    Args:
        model: holds the parameters that are trained, and no others.
        loss: of vectors and ids, summed over tokens.
        batches: the batches of a pass, by its number: the same number gives the same batches.
        out: gets checkpoint.pt, and log.jsonl with a line at the start and a checkpoint: step,
            tokens, seconds, train_nll (a running mean per token), and what `evaluate` returns.
        rate: the learning rate of a step.
        batch_tokens: a batch of more tokens is worked on in parts.
        progress: called with the number of steps just done, at first with those done before.
        report: called with every line of the log.

    Returns:
        the last line of the log.
    """
    import torch

    out.mkdir(parents=True, exist_ok=True)
    state: dict[str, float] = dict.fromkeys(("step", "tokens", "pass", "batch"), 0)
    state |= {"seconds": 0.0, "train_nll": 0.0}
    checkpoint, log = out / "checkpoint.pt", out / "log.jsonl"
    done = -1
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=device)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        state |= saved["state"]
        done = int(state["step"])
    # A line beyond the checkpoint is of a run that was stopped between the two.
    lines = [line for line in _lines(log) if line["step"] <= done]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def note() -> None:
        shown = {k: v for k, v in state.items() if k not in ("pass", "batch")}
        line = {k: round(float(v), 5) for k, v in {**shown, **evaluate()}.items()}
        lines.append(line)
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if report is not None:
            report(line)

    if not lines:
        note()
    if progress is not None:
        progress(min(int(state["step"]), steps))
    began = time.monotonic() - state["seconds"]
    stream = _from(batches, state)
    while state["step"] < steps:
        vectors, ids = next(stream)
        for group in optimizer.param_groups:
            group["lr"] = rate(int(state["step"]))
        n_tokens = sum(map(len, ids))
        total = 0.0
        part = max(1, batch_tokens // max(map(len, ids)))
        for at in range(0, len(ids), part):
            given = torch.from_numpy(vectors[at : at + part]).to(device)
            mean = loss(given, ids[at : at + part]) / n_tokens
            mean.backward()
            total += mean.item()
        if not np.isfinite(total):
            raise ValueError(
                f"the loss is {total} at step {int(state['step'])}: lower the learning rate and "
                f"start again in another folder than {out}"
            )
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        first = state["step"] == 0
        state["train_nll"] = total if first else 0.98 * state["train_nll"] + 0.02 * total
        state["step"] += 1
        state["tokens"] += n_tokens
        state["seconds"] = time.monotonic() - began
        if progress is not None:
            progress(1)
        if state["step"] % checkpoint_every == 0 or state["step"] == steps:
            note()
            saved = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "state": dict(state),
            }
            _save(saved, checkpoint)
    return lines[-1]


def _lines(log: Path) -> list[dict[str, float]]:
    found = []
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:  # half a line: it was stopped while writing
            break
    return found


def _save(saved: dict[str, Any], path: Path) -> None:
    import torch

    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(saved, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _from(batches: Callable[[int], Iterator[Batch]], state: dict[str, float]) -> Iterator[Batch]:
    """The batches from the place that `state` names; it is kept up to date."""
    while True:
        for batch in islice(batches(int(state["pass"])), int(state["batch"]), None):
            state["batch"] += 1
            yield batch
        state["pass"], state["batch"] = state["pass"] + 1, 0


def shard_batches(
    data: Path,
    tokenizer: Any,
    *,
    prompt: Mapping[str, Any],
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """The batches of one pass over the shards in `data`, each of texts of similar length.

    It takes as many passages of each source as the smallest source has, so that a small domain
    keeps its weight; it reads the folder anew, so that shards made meanwhile are used.
    """
    frame = pl.concat([pl.read_parquet(path) for path in sorted(data.glob("shard-*.parquet"))])
    if frame.is_empty():
        raise ValueError(f"there is no text to train on in {data}")
    parts = frame.partition_by("source", maintain_order=True)
    size = min(part.height for part in parts)
    chosen = [
        part[np.sort(rng.choice(part.height, size, replace=False)).tolist()] for part in parts
    ]
    vectors, ids = examples(pl.concat(chosen), tokenizer, prompt)
    order = rng.permutation(len(ids))
    for at in range(0, len(order), batch_size * 32):
        rows = sorted(order[at : at + batch_size * 32].tolist(), key=lambda row: len(ids[row]))
        batches = [rows[b : b + batch_size] for b in range(0, len(rows), batch_size)]
        for b in rng.permutation(len(batches)):
            yield vectors[batches[b]], [ids[row] for row in batches[b]]


def settle(out: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings of a training in `out/settings.json`, or check that they are those kept.

    Raises:
        ValueError: the training in `out` was begun with others.
    """
    path = out / "settings.json"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
        partial.replace(path)
        return
    kept = json.loads(path.read_text())
    differs = "; ".join(
        f"{name} was {kept.get(name)!r}, is {value!r}"
        for name, value in settings.items()
        if kept.get(name) != value
    )
    if differs:
        raise ValueError(
            f"the training in {out} was begun otherwise: {differs}. Give what it was begun with, "
            "or another folder"
        )
