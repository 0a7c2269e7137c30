"""The rivals of `rivals.py`: a fine-tuned head, the mixings inside its training, paraphrases.

The model is the encoder, the mean of its tokens' states, a linear layer. Its recipe was fixed
before any test row was looked at: AdamW with weight decay .01, the encoder's rate 5e-5 (the largest
that Devlin et al. 2019, appendix A.3, try), the linear layer's a hundred times that (as the authors
of MixText train theirs), a tenth of the updates to warm up, then down to 0, gradients of norm 1 at
most. Every arm makes the same number of updates (Zhang et al. 2021, arXiv 2006.05987: few rows need
many epochs), so that an arm of more rows is not one trained longer.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from smotext_core.filters import degenerate
from smotext_core.texts import content, copied_words, near_duplicates
from smotext_core.xrag import Embedder

UPDATES, BATCH = 120, 8
ENCODER_RATE, HEAD_RATE, WARM_UP = 5e-5, 5e-3, 0.1
MAX_TOKENS = 64  # of a text of 45 words
ALPHA = {"mixup": 0.2, "tmix": 2.0}  # as the vectors' mixup; as TMix' authors, ten rows a label
DEPTHS = (7 / 12, 9 / 12, 1.0)  # where TMix mixes: after layers 7, 9 or 12 of 12
SPAN = 0.1  # of a text's tokens that SSMix replaces: its λ₀
PLAIN = 0.5  # of the updates without SSMix: the saliency of an untrained head says nothing
NOTHING = 1e-30  # a token of this weight changes no float32 sum
# the model's own template; its training had rewriting asked for in such a system message
ASKED = (
    "<|im_start|>system\nYou're an AI assistant for text re-writing. Rewrite the input text in "
    "other words while preserving its core meaning.<|im_end|>\n<|im_start|>user\nRewrite this "
    'message in other words, with the same meaning:\n\n"{text}"<|im_end|>\n'
    "<|im_start|>assistant\n"
)
TEMPERATURE, TOP_P, ROUNDS = 0.7, 0.9, 6
MAX_COPIED, MAX_NEW_TOKENS = 9, 96  # as the graph's filter, as smotext's decoder
MAX_TIMES = 2  # as long as the longest text of its batch: what is longer rewrites nothing
SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
FORWARD = re.compile(r"^[^\n]{0,120}:\s*\n+")  # "Here is a rewritten version:"
RECIPE = [
    UPDATES, BATCH, ENCODER_RATE, HEAD_RATE, WARM_UP, MAX_TOKENS, ALPHA, DEPTHS, SPAN, PLAIN,
    ASKED, TEMPERATURE, TOP_P, ROUNDS, MAX_COPIED, MAX_NEW_TOKENS, MAX_TIMES,
]  # fmt: skip
Rewrite = Callable[[Sequence[str], int], list[str]]  # texts and a seed → one text for each


class Batch(NamedTuple):
    """Texts as tokens, padded on the right."""

    ids: Tensor  # (n, width) int64
    real: Tensor  # (n, width) float32: 1 of a token, 0 of padding
    inner: Tensor  # (n, width) bool: tokens of the text itself, not special ones


def batch_of(embedder: Embedder, texts: Sequence[str]) -> Batch:
    """`texts` by the encoder's own tokenizer, cut at MAX_TOKENS."""
    start, end = len(embedder._start), len(embedder._end)
    rows = embedder._token_ids(texts)
    rows = [row[: MAX_TOKENS - end] + row[len(row) - end :] if len(row) > MAX_TOKENS else row
            for row in rows]  # fmt: skip
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), embedder.model.config.pad_token_id or 0)
    real, inner = torch.zeros(len(rows), width), torch.zeros(len(rows), width, dtype=torch.bool)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        real[number, : len(row)] = 1
        inner[number, start : len(row) - end] = True
    return Batch(ids, real, inner)


class FineTuned(torch.nn.Module):
    """An encoder of BERT's layout with a linear layer on the mean of its states."""

    def __init__(self, embedder: Embedder, n_labels: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(embedder.model).float()
        self.linear = torch.nn.Linear(embedder.dimension, n_labels)

    def words(self, batch: Batch) -> Tensor:
        """The embeddings of the tokens, (n, width, d), which saliency is the gradient of."""
        return self.encoder.embeddings.word_embeddings(batch.ids)  # type: ignore[no-any-return]

    def forward(
        self,
        batch: Batch,
        *,
        words: Tensor | None = None,
        partner: Tensor | None = None,
        lam: float = 1.0,
        layer: int | None = None,
    ) -> Tensor:
        """Logits (n, labels), of each text or of its mix with the text `partner` names.

        With a `layer` it is TMix (Chen et al. 2020, equations 1 and 2): after that many layers
        h̃ = λ·h + (1 - λ)·h', and h̃ goes on through the others. Texts differ in length, which the
        paper leaves to padding; here a place counts, to attention and to the mean, by the share of
        the mix that has a token there, and where one text alone does, h̃ is its state. Without a
        `layer` it is mixup of the two means (Zhang et al. 2018). λ = 1 is the plain pass.
        """
        states = self.encoder.embeddings(
            inputs_embeds=self.words(batch) if words is None else words
        )
        weight, layers = batch.real, self.encoder.encoder.layer
        split = len(layers) if layer is None or partner is None else layer
        states = _through(layers[:split], states, weight)
        if layer is not None and partner is not None:
            own, other = lam * weight, (1 - lam) * weight[partner]
            weight = own + other
            mixed = own[..., None] * states + other[..., None] * states[partner]
            states = mixed / weight.clamp(min=NOTHING)[..., None]
            states = _through(layers[split:], states, weight)
        pooled = (states * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)
        if layer is None and partner is not None:
            pooled = lam * pooled + (1 - lam) * pooled[partner]
        logits: Tensor = self.linear(pooled)
        return logits

    def predict(self, embedder: Embedder, texts: Sequence[str]) -> NDArray[np.int64]:
        """The likeliest label's code of each text, (n,)."""
        self.eval()
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        found = np.empty(len(texts), dtype=np.int64)
        with torch.inference_mode():
            for at in range(0, len(order), 64):
                rows = order[at : at + 64]
                logits = self(batch_of(embedder, [texts[row] for row in rows]))
                found[rows] = logits.argmax(1).numpy()
        return found


def _through(layers: Any, states: Tensor, weight: Tensor) -> Tensor:
    """States after `layers`, where a place of weight w is attended to w times as much."""
    bias = weight.clamp(min=NOTHING).log()[:, None, None]  # (n, 1, 1, width), for all heads
    for layer in layers:
        states = layer(states, attention_mask=bias)
    return states


def splice(batch: Batch, saliency: Tensor, partner: Tensor) -> tuple[Batch, Tensor]:
    """SSMix (Yoon et al. 2021, section 3): inputs of the same lengths, and each one's own share λ.

    Of x and its partner x', the least salient span of x is replaced by the most salient span of
    x', both of l = max(min(⌊λ₀·|x|⌋, |x'|), 1) tokens; the partner's label counts l / |x|. Special
    tokens are in no span. `saliency` (n, width) is the norm of the loss' gradient at each token.
    """
    ids, lam = batch.ids.clone(), torch.ones(len(batch.ids))
    places = [row.nonzero()[:, 0] for row in batch.inner]
    for row, other in enumerate(partner.tolist()):
        own, theirs = places[row], places[other]
        if not len(own) or not len(theirs):
            continue
        length = max(min(int(SPAN * len(own)), len(theirs)), 1)
        at = int(_sums(saliency[row, own], length).argmin())
        source = int(_sums(saliency[other, theirs], length).argmax())
        ids[row, own[at : at + length]] = batch.ids[other, theirs[source : source + length]]
        lam[row] = 1 - length / len(own)
    return batch._replace(ids=ids), lam


def _sums(values: Tensor, length: int) -> Tensor:
    return values.unfold(0, length, 1).sum(1)


def fine_tune(
    embedder: Embedder,
    texts: Sequence[str],
    codes: NDArray[np.int64],
    *,
    n_labels: int,
    seed: int,
    weighted: bool = False,
    mixing: str | None = None,
    updates: int = UPDATES,
) -> FineTuned:
    """The model of `texts` and their `codes`.

    Args:
        weighted: a row's loss counts n / (labels · rows of its label).
        mixing: "mixup", "tmix" or "ssmix". The first two train on mixed rows alone, with one λ an
            update of Beta(α, α), TMix' being the larger of λ and 1 - λ; SSMix on the rows and on
            their mixes alike, once PLAIN of the updates are made.
    """
    torch.manual_seed(seed)  # of the linear layer and of dropout
    rng = np.random.default_rng([seed, 2])
    model = FineTuned(embedder, n_labels).train()
    layers = model.encoder.config.num_hidden_layers
    optimizer = torch.optim.AdamW(
        [
            {"params": model.encoder.parameters(), "lr": ENCODER_RATE},
            {"params": model.linear.parameters(), "lr": HEAD_RATE},
        ],
        weight_decay=0.01,
        fused=True,  # a tenth of the time: most weights are word embeddings
    )
    warm = max(1, int(WARM_UP * updates))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min((n + 1) / warm, (updates - n) / max(1, updates - warm))
    )
    times = np.bincount(codes, minlength=n_labels)
    balanced = len(codes) / ((times > 0).sum() * np.maximum(times, 1))
    each = torch.tensor(balanced if weighted else np.ones(n_labels), dtype=torch.float32)

    def loss(logits: Tensor, truth: Tensor) -> Tensor:  # (n,)
        return each[truth] * cross_entropy(logits, truth, reduction="none")

    rows_of = _batches(len(texts), rng)
    for update in range(updates):
        rows = next(rows_of)
        batch, truth = batch_of(embedder, [texts[row] for row in rows]), torch.tensor(codes[rows])
        partner = torch.tensor(rng.permutation(len(rows)))
        other = truth[partner]
        if mixing in ALPHA:
            lam, layer = rng.beta(ALPHA[mixing], ALPHA[mixing]), None
            if mixing == "tmix":
                lam, layer = max(lam, 1 - lam), int(np.ceil(rng.choice(DEPTHS) * layers))
            logits = model(batch, partner=partner, lam=lam, layer=layer)
            (lam * loss(logits, truth) + (1 - lam) * loss(logits, other)).mean().backward()
        elif mixing == "ssmix" and update >= PLAIN * updates:
            words = model.words(batch)
            words.retain_grad()
            (loss(model(batch, words=words), truth).mean() / 2).backward()
            spliced, shares = splice(batch, words.grad.norm(dim=-1), partner)
            logits = model(spliced)
            both = shares * loss(logits, truth) + (1 - shares) * loss(logits, other)
            (both.mean() / 2).backward()
        else:
            loss(model(batch), truth).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return model


def _batches(n: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Rows of one batch after another; each row comes once before any comes again."""
    waiting: list[int] = []
    while True:
        while len(waiting) < min(BATCH, n):
            waiting += rng.permutation(n).tolist()
        yield waiting[:BATCH]
        waiting = waiting[BATCH:]


class Paraphraser:
    """A chat model asked to rewrite; what a text becomes depends on those beside it and the seed.

    Args:
        lm: a causal language model of transformers.
        tokenizer: of the package `tokenizers`.
    """

    def __init__(self, lm: Any, tokenizer: Any) -> None:
        self.lm, self.tokenizer = lm, tokenizer

    def __call__(self, texts: Sequence[str], seed: int, *, batch_size: int = 32) -> list[str]:
        found: list[str] = []
        for at in range(0, len(texts), batch_size):
            torch.manual_seed(seed + at)
            found += self._batch(texts[at : at + batch_size])
        return found

    def _batch(self, texts: Sequence[str]) -> list[str]:
        # a text that says "<|im_end|>" ends nothing
        asked = [ASKED.format(text=text.replace("<|", "< |")) for text in texts]
        prompts = [self.tokenizer.encode(prompt).ids for prompt in asked]
        longest = max(len(self.tokenizer.encode(text).ids) for text in texts)
        width, end = max(map(len, prompts)), self.lm.config.eos_token_id
        given = torch.tensor([[end] * (width - len(ids)) + ids for ids in prompts])
        seen = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
        with torch.inference_mode():
            made = self.lm.generate(
                input_ids=given, attention_mask=seen, do_sample=True, temperature=TEMPERATURE,
                top_p=TOP_P, top_k=0, pad_token_id=end,
                max_new_tokens=min(MAX_NEW_TOKENS, MAX_TIMES * longest),
            )[:, width:].tolist()  # fmt: skip
        return [self._answer(ids, end) for ids in made]

    def _answer(self, ids: list[int], end: int) -> str:
        """A text without a sentence before it and quotation marks; one cut short ends whole."""
        whole = ids[: ids.index(end)] if end in ids else ids
        text = " ".join(FORWARD.sub("", self.tokenizer.decode(whole)).split())
        if end not in ids and (ends := [match.end() for match in SENTENCE_END.finditer(text)]):
            text = text[: ends[-1]]
        return text.strip('" ')


def paraphrases(
    parents: pl.DataFrame, wanted: Mapping[str, int], rewrite: Rewrite, *, seed: int
) -> pl.DataFrame:
    """Rewritten parents, at most as many as `wanted` of a label: text, label, parent_ids.

    Parents are taken in turn. The graph's rules of copies and degenerate texts hold; those that
    need a vector to compare with do not apply. What they refuse is asked for again, ROUNDS times.
    """
    real, taken = parents["text"].to_list(), {content(text) for text in parents["text"]}
    rows: list[tuple[str, str, list[str]]] = []
    for code, (label, n) in enumerate(sorted(wanted.items())):
        own = parents.filter(pl.col("label") == label)
        kept: list[str] = []
        asked = 0
        for number in range(ROUNDS):
            if len(kept) == n:
                break
            sources = [at % own.height for at in range(asked, asked + n - len(kept) + 4)]
            asked += len(sources)
            state = int(np.random.default_rng([seed, 3, code, number]).integers(2**31))
            texts = rewrite(own["text"].gather(sources).to_list(), state)
            copied = copied_words(texts, real) >= MAX_COPIED
            bad = copied | near_duplicates(texts, real)
            for source, text, refused, reason in zip(
                sources, texts, bad, degenerate(texts), strict=True
            ):
                repeats = content(text) in taken or bool(near_duplicates([text], kept)[0])
                if refused or reason or repeats or len(kept) == n:
                    continue
                taken.add(content(text))
                kept.append(text)
                rows.append((text, label, [own["text_id"][source]]))
    schema = {"text": pl.String, "label": pl.String, "parent_ids": pl.List(pl.String)}
    return pl.DataFrame(rows, schema=schema, orient="row")
