"""Decoding, against plain `generate` of transformers row by row, with the same weights, in turns.

Both sides draw one text a vector at the same temperature, top-k and longest length; theirs gets
the projected vector as its prompt. Their random streams differ, so lengths differ by chance: the
ratio is of medians of seconds per token, theirs / ours, and the one per text stands beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from smotext_core.texts import read_corpus
from smotext_core.xrag import embedded_generator, load_generator

RESULTS = Path(__file__).with_name("results.jsonl")
TEMPERATURE, TOP_K = 0.5, 40


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=128, help="vectors decoded a time")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side, interleaved")
    parser.add_argument("--generator", default=embedded_generator())
    given = parser.parse_args()
    generator = load_generator(given.generator)
    decoder = generator.decoder
    notes = read_corpus("clinic_notes")[0]["text"].head(given.rows).to_list()
    vectors = generator.encode(notes)

    def ours(seed: int) -> int:
        seeds = range(seed, seed + len(vectors))
        drawn = decoder.sample_tokens(vectors, seeds=seeds, temperature=TEMPERATURE, top_k=TOP_K)
        for tokens in drawn:
            decoder.text(tokens)
        return sum(map(len, drawn))

    def theirs(seed: int) -> int:
        torch.manual_seed(seed)
        place = decoder.prompt_ids.index(decoder.xrag_token_id)
        count = 0
        for vector in vectors:
            with torch.inference_mode():
                ids = torch.tensor([decoder.prompt_ids], device=decoder.device)
                prompt = decoder.lm.get_input_embeddings()(ids)
                row = torch.from_numpy(vector[None]).to(decoder.device)
                weight = next(decoder.projector.parameters())
                tokens_of = decoder.projector(row.to(weight.dtype)).to(prompt.dtype)
                prompt[:, place : place + tokens_of.shape[1]] = tokens_of
                drawn = decoder.lm.generate(
                    inputs_embeds=prompt,
                    attention_mask=torch.ones_like(ids),
                    do_sample=True,
                    temperature=TEMPERATURE,
                    top_k=TOP_K,
                    top_p=1.0,
                    max_new_tokens=decoder.max_new_tokens,
                    suppress_tokens=decoder.suppress_tokens,
                    eos_token_id=decoder.eos_token_id,
                    pad_token_id=decoder.eos_token_id,
                )
            tokens = [token for token in drawn[0].tolist() if token != decoder.eos_token_id]
            decoder.text(tokens)
            count += len(tokens)
        return count

    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    cpu: dict[str, list[float]] = {"ours": [], "theirs": []}
    tokens: dict[str, list[int]] = {"ours": [], "theirs": []}
    for turn in range(given.repeat):
        for side, work in (("ours", ours), ("theirs", theirs)):
            began, began_cpu = time.perf_counter(), time.process_time()
            tokens[side].append(work(turn * given.rows))
            seconds[side].append(time.perf_counter() - began)
            cpu[side].append(time.process_time() - began_cpu)

    def ratio(times: dict[str, list[float]], *, per_token: bool) -> float:
        mine, other = (
            statistics.median(np.divide(times[side], tokens[side]) if per_token else times[side])
            for side in ("ours", "theirs")
        )
        return float(other / mine)

    line = {
        "id": "decode",
        "case": f"{len(vectors)} vectors, temperature {TEMPERATURE}, top-k {TOP_K}",
        "ratio": ratio(seconds, per_token=True),
        "ratio_per_text": ratio(seconds, per_token=False),
        "cpu_ratio": ratio(cpu, per_token=True),
        "ours_s": statistics.median(seconds["ours"]),
        "theirs_s": statistics.median(seconds["theirs"]),
        "tokens_ours": statistics.median(tokens["ours"]),
        "tokens_theirs": statistics.median(tokens["theirs"]),
        "generator": generator.fingerprint,
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    print(line)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
