from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertLMHeadModel, LlamaConfig, LlamaForCausalLM

from smotext_core.xrag.decoder import Decoder
from smotext_core.xrag.kv_cache import cache_in_place
from smotext_core.xrag.projector import Projector
from smotext_core.xrag.sampling import _pick

EOS, PAD, XRAG = 0, 1, 2
ENDS = ["stop.", "who?", 'no."', "(yes!)"]
WORDS = ["<eos>", "<pad>", "<xRAG>", *ENDS, "3.5", *(f"w{i}" for i in range(32))]
D, MAX_NEW = 12, 24
VECTORS: NDArray[np.float32] = np.random.default_rng(0).normal(size=(40, D)).astype(
    np.float32
) / np.sqrt(D).astype(np.float32)
SEEDS = list(range(100, 140))


def tiny_lm(kind: str) -> Any:
    torch.manual_seed(0)
    sizes = {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "initializer_range": 0.4,  # large, so that texts differ
        "bos_token_id": None,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
    }
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, **sizes))
    dropout = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    return BertLMHeadModel(BertConfig(is_decoder=True, **dropout, **sizes))


def tiny_decoder(kind: str = "bert", **options: Any) -> Decoder:
    lm = tiny_lm(kind)
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(WORDS[:3])
    # One vector is one token of bert's prompt, three in a row of llama's.
    projector = Projector(D, 32, n_tokens=1 if kind == "bert" else 3, skip=kind != "bert")
    return Decoder(
        lm,
        projector,
        tokenizer,
        **{
            "prompt_ids": [XRAG] if kind == "bert" else [9, 10, XRAG, XRAG, XRAG, 11],
            "xrag_token_id": XRAG,
            "eos_token_id": EOS,
            "suppress_tokens": [PAD, XRAG],
            "max_new_tokens": MAX_NEW,
            "batch_size": 32,
            **options,
        },
    )


def plain_text(
    decoder: Decoder, vector: NDArray[np.float32], *, seed: int, temperature: float, top_k: int
) -> str:
    """One row, a full forward pass a token, nothing shared with the decoder but its models."""
    draws = np.random.Generator(np.random.Philox(key=seed)).random(MAX_NEW)
    embed, tokens = decoder.lm.get_input_embeddings(), list[int]()
    while len(tokens) < MAX_NEW:
        with torch.no_grad():
            inputs = embed(torch.tensor([[*decoder.prompt_ids, *tokens]]))
            places = [i for i, token in enumerate(decoder.prompt_ids) if token == XRAG]
            inputs[0, places] = decoder.projector(torch.from_numpy(vector)[None])[0]
            logits = decoder.lm(inputs_embeds=inputs, use_cache=False).logits[0, -1].double()
        logits[[PAD, XRAG]] = -np.inf
        order = np.argsort(-logits.numpy())[:top_k]
        if temperature == 0:
            token = int(order[0])
        else:
            weights = np.exp((logits.numpy()[order] - logits.max().item()) / temperature)
            cumulative = np.cumsum(weights) / weights.sum()
            token = int(order[np.searchsorted(cumulative, draws[len(tokens)], side="right")])
        if token == EOS:
            break
        tokens.append(token)
    words = [WORDS[token] for token in tokens]
    if len(words) == MAX_NEW and set(words) & set(ENDS):
        while words[-1] not in ENDS:
            words.pop()
    return " ".join(words)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_sample_greedy_equals_a_plain_loop(kind: str) -> None:
    decoder = tiny_decoder(kind)
    texts = decoder.sample(VECTORS[:12], seeds=SEEDS[:12], temperature=0)
    plain = [plain_text(decoder, v, seed=0, temperature=0, top_k=40) for v in VECTORS[:12]]
    assert texts == plain
    assert len(set(texts)) > 6


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_sample_equals_a_plain_loop(kind: str) -> None:
    decoder = tiny_decoder(kind)
    texts = decoder.sample(VECTORS, seeds=SEEDS, temperature=1.5, top_k=20)
    plain = [
        plain_text(decoder, vector, seed=seed, temperature=1.5, top_k=20)
        for vector, seed in zip(VECTORS, SEEDS, strict=True)
    ]
    assert texts == plain
    # The texts end early, late and by the limit, so that batches were halved on the way.
    lengths = sorted(len(text.split()) for text in texts)
    assert lengths[10] < 15
    assert lengths[-1] > 20


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("temperature", [0.0, 1.2])
def test_sample_row_depends_on_its_vector_and_seed_alone(kind: str, temperature: float) -> None:
    decoder = tiny_decoder(kind)
    whole = decoder.sample(VECTORS, seeds=SEEDS, temperature=temperature)
    assert len(whole) == 40 > decoder.batch_size
    backwards = decoder.sample(VECTORS[::-1], seeds=SEEDS[::-1], temperature=temperature)
    assert backwards[::-1] == whole
    some = [3, 38, 17]
    assert decoder.sample(
        VECTORS[some], seeds=[SEEDS[row] for row in some], temperature=temperature
    ) == [whole[row] for row in some]
    for row in (0, 39):
        alone = decoder.sample(VECTORS[[row]], seeds=[SEEDS[row]], temperature=temperature)
        assert alone == [whole[row]]
    other_size = tiny_decoder(kind, batch_size=10)
    assert other_size.sample(VECTORS, seeds=SEEDS, temperature=temperature) == whole


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_sample_tokens_begin_with_their_prefix(kind: str) -> None:
    decoder = tiny_decoder(kind)
    drawn = decoder.sample_tokens(VECTORS, seeds=SEEDS, temperature=1.5)
    assert [decoder.text(tokens) for tokens in drawn] == decoder.sample(
        VECTORS, seeds=SEEDS, temperature=1.5
    )
    # Each step has its own draw, so what a row wrote, given as its prefix, is gone on with alike.
    kept = [tokens[: row % 9] for row, tokens in enumerate(drawn)]
    assert decoder.sample_tokens(VECTORS, seeds=SEEDS, temperature=1.5, prefixes=kept) == drawn
    others = [seed + 1000 for seed in SEEDS]
    varied = decoder.sample_tokens(VECTORS, seeds=others, temperature=1.5, prefixes=kept)
    assert [tokens[: len(prefix)] for tokens, prefix in zip(varied, kept, strict=True)] == kept
    assert sum(a != b for a, b in zip(varied, drawn, strict=True)) > 30
    for row in (5, 26):
        alone = decoder.sample_tokens(
            VECTORS[[row]], seeds=[others[row]], temperature=1.5, prefixes=[kept[row]]
        )
        assert alone == [varied[row]]


def test_sample_tokens_refuses_bad_prefixes() -> None:
    decoder = tiny_decoder()
    with pytest.raises(ValueError, match="2 vectors need as many prefixes, got 1"):
        decoder.sample_tokens(VECTORS[:2], seeds=[1, 2], prefixes=[[]])
    long = [[5], [5] * MAX_NEW]
    with pytest.raises(ValueError, match="shorter than 24 tokens, that of row 1 has 24"):
        decoder.sample_tokens(VECTORS[:2], seeds=[1, 2], prefixes=long)


def test_sample_few_rows_take_a_small_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, sizes = tiny_decoder(), list[int]()
    forward = decoder.lm.forward

    def counted(*, inputs_embeds: Any, **options: Any) -> Any:
        sizes.append(len(inputs_embeds))
        return forward(inputs_embeds=inputs_embeds, **options)

    monkeypatch.setattr(decoder.lm, "forward", counted)
    for rows, size in ((1, 8), (9, 12), (13, 16), (17, 24), (25, 32), (32, 32)):
        sizes.clear()
        decoder.sample(VECTORS[:rows], seeds=SEEDS[:rows])
        assert max(sizes) == size


def test_sample_reads_a_vector_and_its_prompt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = tiny_decoder()
    one_by_one = [
        decoder.sample(VECTORS[:1], seeds=[seed], temperature=0.8)[0] for seed in range(20)
    ]
    shapes: list[tuple[int, ...]] = []
    forward = decoder.lm.forward

    def counted(*, inputs_embeds: Any, **options: Any) -> Any:
        shapes.append(tuple(inputs_embeds.shape))
        return forward(inputs_embeds=inputs_embeds, **options)

    monkeypatch.setattr(decoder.lm, "forward", counted)
    together = decoder.sample(np.repeat(VECTORS[:1], 20, axis=0), seeds=range(20), temperature=0.8)
    assert together == one_by_one
    assert shapes[0][0] == 8  # the prompt of one vector, in the smallest batch
    assert shapes[1][:2] == (24, 1)  # and then a token of each of the 20 rows


def test_sample_seeds() -> None:
    decoder = tiny_decoder()
    vectors = np.repeat(VECTORS[:1], 20, axis=0)
    same = decoder.sample(vectors, seeds=[7] * 20, temperature=1.2)
    assert len(set(same)) == 1
    assert len(set(decoder.sample(vectors, seeds=range(20), temperature=1.2))) > 15
    greedy = decoder.sample(vectors, seeds=range(20), temperature=0)
    assert len(set(greedy)) == 1
    large = decoder.sample(vectors[:2], seeds=[2**64 - 1, np.uint64(2**64 - 1)], temperature=1.2)
    assert large[0] == large[1]


def test_sample_temperature_of_each_row() -> None:
    decoder = tiny_decoder()
    with torch.no_grad():
        decoder.lm.cls.predictions.bias[EOS] = 4  # so that batches are halved
    mixed = decoder.sample(VECTORS, seeds=SEEDS, temperature=[0, 1.5] * 20)
    greedy = decoder.sample(VECTORS, seeds=SEEDS, temperature=0)
    warm = decoder.sample(VECTORS, seeds=SEEDS, temperature=1.5)
    assert mixed[::2] == greedy[::2]
    assert mixed[1::2] == warm[1::2]
    assert greedy != warm


def test_sample_never_writes_suppressed_tokens() -> None:
    suppressed = [PAD, XRAG, *range(20, len(WORDS))]
    decoder = tiny_decoder(suppress_tokens=suppressed)
    texts = decoder.sample(VECTORS, seeds=SEEDS, temperature=3.0, top_k=1000)
    assert {word for text in texts for word in text.split()} <= set(WORDS[3:20])
    free = tiny_decoder(suppress_tokens=[]).sample(VECTORS, seeds=SEEDS, temperature=3.0)
    assert {word for text in free for word in text.split()} & set(WORDS[20:])


def test_sample_ends_at_eos() -> None:
    decoder = tiny_decoder()
    with torch.no_grad():
        decoder.lm.cls.predictions.bias[EOS] = 1000
    assert decoder.sample(VECTORS, seeds=SEEDS) == [""] * 40
    with torch.no_grad():
        decoder.lm.cls.predictions.bias[EOS] = -1000
    unending = decoder.sample(VECTORS, seeds=SEEDS, temperature=2.0)
    whole = [text for text in unending if not set(text.split()) & set(ENDS)]
    assert {len(text.split()) for text in whole} == {MAX_NEW}


def test_sample_cuts_at_the_last_whole_sentence() -> None:
    decoder = tiny_decoder()
    with torch.no_grad():
        decoder.lm.cls.predictions.bias[EOS] = -1000
    texts = decoder.sample(VECTORS, seeds=SEEDS, temperature=2.0)
    cut = [text.split() for text in texts if set(text.split()) & set(ENDS)]
    assert len(cut) > 20
    assert {words[-1] for words in cut} == set(ENDS)
    assert any("3.5" in text for text in texts)
    assert min(map(len, cut)) < MAX_NEW


def test_sample_no_vectors() -> None:
    assert tiny_decoder().sample(np.empty((0, D), dtype=np.float32), seeds=[]) == []


def test_sample_reports_progress() -> None:
    done: list[int] = []
    tiny_decoder().sample(VECTORS, seeds=SEEDS, progress=done.append)
    assert done == [32, 8]


def test_sample_refuses_bad_vectors() -> None:
    decoder = tiny_decoder()
    bad = VECTORS[:4].copy()
    bad[2, 5] = np.nan
    with pytest.raises(ValueError, match=r"finite and not zero; 1 are not, the first in row 2"):
        decoder.sample(bad, seeds=range(4))
    bad[2, 5] = -np.inf
    with pytest.raises(ValueError, match=r"finite and not zero; 1 are not, the first in row 2"):
        decoder.sample(bad, seeds=range(4))
    bad[1] = 0
    with pytest.raises(ValueError, match=r"2 are not, the first in row 1"):
        decoder.sample(bad, seeds=range(4))
    with pytest.raises(ValueError, match=r"shape \(n, 12\) are required, these have \(4, 11\)"):
        decoder.sample(VECTORS[:4, :11], seeds=range(4))
    with pytest.raises(ValueError, match=r"these have \(12,\)"):
        decoder.sample(VECTORS[0], seeds=[1])
    with pytest.raises(ValueError, match="one seed a vector is required: 4 vectors, 3"):
        decoder.sample(VECTORS[:4], seeds=range(3))
    with pytest.raises(ValueError, match="temperature must be finite and at least 0"):
        decoder.sample(VECTORS[:4], seeds=range(4), temperature=[0, 1, -1, 1])


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_sample_with_prompts_of_its_own_for_each_row(kind: str) -> None:
    xrag = [XRAG] * (1 if kind == "bert" else 3)
    known = [xrag, [9, 10, *xrag, 11], [12, *xrag, 13, 14, 15, 16]]
    prompts = [known[row % 3] for row in range(40)]
    decoder = tiny_decoder(kind)
    mixed = decoder.sample(VECTORS, seeds=SEEDS, temperature=1.2, prompts=prompts)
    for start, prompt in enumerate(known):
        # no padding where all are of one length
        own = tiny_decoder(kind, prompt_ids=prompt)
        rows = range(start, 40, 3)
        seeds = [SEEDS[row] for row in rows]
        assert [mixed[row] for row in rows] == own.sample(
            VECTORS[rows], seeds=seeds, temperature=1.2
        )
    assert mixed != decoder.sample(VECTORS, seeds=SEEDS, temperature=1.2)
    with pytest.raises(ValueError, match="40 vectors need as many prompts, got 39"):
        decoder.sample(VECTORS, seeds=SEEDS, prompts=prompts[1:])
    with pytest.raises(ValueError, match=r"the xRAG token 2 (once|3 times in a row), it is \[9\]"):
        decoder.sample(VECTORS[:1], seeds=[1], prompts=[[9]])


def test_sample_halves_the_batch_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = tiny_decoder()
    expected, sizes, done = decoder.sample(VECTORS, seeds=SEEDS), list[int](), list[int]()
    forward, room = decoder.lm.forward, 9

    def hungry(inputs_embeds: Any, **options: Any) -> Any:
        sizes.append(len(inputs_embeds))
        if len(inputs_embeds) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(inputs_embeds=inputs_embeds, **options)

    monkeypatch.setattr(decoder.lm, "forward", hungry)
    with pytest.warns(UserWarning, match="no memory left to decode 32 rows at once: going on wi"):
        got = decoder.sample(VECTORS, seeds=SEEDS, progress=done.append)
    assert got == expected
    assert done == [8] * 5
    assert [size for size in sizes if size > 9] == [32, 16]  # it has learnt
    room = 0
    with (
        pytest.warns(UserWarning, match="going on with 1"),
        pytest.raises(MemoryError, match="no memory left to decode one row: another device, or a"),
    ):
        decoder.sample(VECTORS, seeds=SEEDS)


@pytest.mark.parametrize("prompt_ids", [[9, 10], [XRAG, XRAG]])
def test_decoder_needs_one_xrag_token(prompt_ids: list[int]) -> None:
    with pytest.raises(ValueError, match="must hold the xRAG token 2 once"):
        tiny_decoder(prompt_ids=prompt_ids)
    apart = [XRAG, XRAG, 10, XRAG, *prompt_ids]
    with pytest.raises(ValueError, match="must hold the xRAG token 2 3 times in a row"):
        tiny_decoder("llama", prompt_ids=apart)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_cache_in_place_gives_the_logits_of_a_full_pass(kind: str) -> None:
    lm = tiny_lm(kind).eval()
    inputs = torch.randn(6, 9, 32)
    cache, chosen = cache_in_place(9), torch.tensor([4, 0, 5])
    with torch.inference_mode():
        full = lm(inputs_embeds=inputs, use_cache=False).logits
        first = lm(inputs_embeds=inputs[:, :4], past_key_values=cache, use_cache=True).logits
        assert torch.allclose(first, full[:, :4], atol=1e-4)
        for at in range(4, 9):
            if at == 6:
                cache.batch_select_indices(chosen)
                inputs, full = inputs[chosen], full[chosen]
            step = lm(inputs_embeds=inputs[:, at : at + 1], past_key_values=cache, use_cache=True)
            assert torch.allclose(step.logits[:, 0], full[:, at], atol=1e-4)
    assert cache.get_seq_length() == 9


def test_pick_follows_the_softmax() -> None:
    n, logits = 20_000, torch.tensor([0.3, -1.0, 2.0, 0.0, 1.5, -0.5])
    uniform = torch.from_numpy(np.random.default_rng(0).random(n))
    for temperature, top_k in ((0.7, 6), (1.0, 100), (1.5, 3)):
        heat = torch.full((n,), temperature)
        ids = _pick(logits.expand(n, -1), heat, uniform, top_k=top_k).numpy()
        weights = np.exp(logits.double().numpy() / temperature)
        weights[np.argsort(-weights)[top_k:]] = 0
        expected = n * weights / weights.sum()
        counts = np.bincount(ids, minlength=6)
        assert counts[expected == 0].sum() == 0
        drawn = expected > 0
        chi_square = ((counts - expected)[drawn] ** 2 / expected[drawn]).sum()
        assert chi_square < 20.5  # the 99.9 % point of 5 degrees of freedom


def test_pick_golden() -> None:
    # Probabilities .5, .3, .2 in the order of likelihood: tokens 1, 0, 2.
    logits = torch.log(torch.tensor([0.3, 0.5, 0.2])).repeat(6, 1)
    uniform = torch.tensor([0.0, 0.499, 0.501, 0.799, 0.801, 1 - 2**-53], dtype=torch.float64)
    warm = torch.ones(6)
    assert _pick(logits, warm, uniform, top_k=3).tolist() == [1, 1, 0, 0, 2, 2]
    assert _pick(logits, warm, uniform, top_k=2).tolist() == [1, 1, 1, 0, 0, 0]
    assert _pick(logits, 0 * warm, uniform, top_k=3).tolist() == [1] * 6
