"""Does a judge know which texts make sense? Judges against 262 texts that were read by eye.

`sense.jsonl` beside this script has the yardstick: texts that `small` decoded, each with its corpus
and whether a person could have written all of it about its subject, by one reader. A judge is worth
keeping as a filter where it tells texts that it never saw with an AUC of .8, within a corpus too:
some corpora hold more often than others, and to know the corpus is not to know sense.

Judged here are the surprise of a text to the generator, given the text's own vector, and a logistic
regression on verdicts, of the mean state of a layer or of the encoder's vector, in ten folds, over
`--repeats` ways of folding. A judge of your own is another row of `features`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smotext_core.xrag import Generator, load_generator

TEXTS = Path(__file__).with_name("sense.jsonl")
LAYERS = (12, 18, 24, 30)
Floats = NDArray[np.float64]


def features(generator: Generator, texts: list[str]) -> dict[str, Floats]:
    """By judge, (n, d)."""
    vectors = generator.encode(texts)
    decoder = generator.decoder
    surprise, states = [], {layer: list[Floats]() for layer in LAYERS}
    for text, vector in zip(texts, vectors, strict=True):
        ids = torch.tensor([decoder.tokenizer.encode(text).ids])
        prompt = decoder._prompt(torch.from_numpy(vector)[None], [decoder.prompt_ids])
        own = decoder.lm.get_input_embeddings()(ids)
        found = decoder.lm(inputs_embeds=torch.cat([prompt, own], 1), output_hidden_states=True)
        logits = torch.log_softmax(found.logits[0, prompt.shape[1] - 1 : -1].float(), -1)
        nats = np.sort(-logits.gather(1, ids[0][:, None])[:, 0].numpy())
        told = (nats.mean(), nats[-1], nats[-3:].mean(), nats.std(), len(text) / 100)
        surprise.append(np.array(told, dtype=np.float64))
        for layer in LAYERS:
            state = found.hidden_states[layer][0, prompt.shape[1] :].mean(0)
            states[layer].append(state.double().numpy())
    return {
        "surprise": np.array(surprise),
        "encoder's vector": vectors.astype(np.float64),
        **{f"mean state, layer {layer}": np.array(states[layer]) for layer in LAYERS},
    }


def auc(told: Floats, holds: NDArray[np.bool_], *, repeats: int) -> float:
    """Of a logistic regression in ten folds, the mean over ways of folding."""
    judge = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=500))
    found = [
        roc_auc_score(
            holds,
            cross_val_predict(
                judge, told, holds, method="decision_function",
                cv=StratifiedKFold(10, shuffle=True, random_state=seed),
            ),
        )
        for seed in range(repeats)
    ]  # fmt: skip
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--generator", default="small")
    parser.add_argument("--repeats", type=int, default=4)
    given = parser.parse_args()
    rows = [json.loads(line) for line in TEXTS.read_text(encoding="utf-8").splitlines()]
    holds = np.array([row["holds"] for row in rows])
    clinical = np.array([row["corpus"] == "clinic_notes" for row in rows])
    print(
        f"{len(rows)} texts, {holds.sum()} hold; clinical {clinical.sum()}, {holds[clinical].sum()}"
    )
    with torch.inference_mode():
        told = features(load_generator(given.generator, dtype="float32"), [r["text"] for r in rows])
    print(f"{'judge':24}{'clinical':>10}{'all':>8}")
    for name, columns in told.items():
        within = auc(columns[clinical], holds[clinical], repeats=given.repeats)
        print(f"{name:24}{within:10.2f}{auc(columns, holds, repeats=given.repeats):8.2f}")


if __name__ == "__main__":
    main()
