from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from smotext_core.xrag.decoder import Decoder
from tests.core.xrag.test_decoding import EOS, PAD, SEEDS, VECTORS, WORDS, XRAG, tiny_decoder

KINDS = pytest.mark.parametrize("kind", ["bert", "llama"])
OPEN = [token for token in range(len(WORDS)) if token not in (EOS, PAD, XRAG)]


def likeliest(decoder: Decoder, vectors: NDArray[np.float32], n: int) -> list[list[list[int]]]:
    found = decoder.likeliest(vectors, n=n)
    return [[text.tokens for text in texts] for texts in found]


def scores(decoder: Decoder, row: int, texts: list[list[int]]) -> list[float]:
    """Summed log-probabilities of texts of one length, by a full pass over each."""
    embed = decoder.lm.get_input_embeddings()
    places = [i for i, token in enumerate(decoder.prompt_ids) if token == XRAG]
    with torch.no_grad():
        inputs = embed(torch.tensor([[*decoder.prompt_ids, *text] for text in texts]))
        inputs[:, places] = decoder.projector(torch.from_numpy(VECTORS[[row]]))[0]
        logits = decoder.lm(inputs_embeds=inputs, use_cache=False).logits.double()
    logits[:, :, decoder.suppress_tokens] = -torch.inf
    first = len(decoder.prompt_ids) - 1
    logp = logits[:, first : first + len(texts[0])].log_softmax(-1)
    found: list[float] = logp.gather(2, torch.tensor(texts)[:, :, None]).sum((1, 2)).tolist()
    return found


@KINDS
def test_beams_find_the_likeliest_of_all_texts(kind: str) -> None:
    # Three tokens at most, and more beams than there are texts of two.
    decoder = tiny_decoder(kind, max_new_tokens=3, suppress_tokens=[PAD, XRAG, *OPEN[8:]])
    few, wide = OPEN[:8], 100
    found = likeliest(decoder, VECTORS[:3], n=wide)
    for row, texts in enumerate(found):
        every: list[tuple[float, list[int]]] = []
        for length in range(3):
            given = [[*text, EOS] for text in product(few, repeat=length)]
            every += zip(scores(decoder, row, given), [t[:-1] for t in given], strict=True)
        given = [list(text) for text in product(few, repeat=3)]
        every += zip(scores(decoder, row, given), given, strict=True)
        every.sort(key=lambda one: -one[0])
        assert texts == [tokens for _, tokens in every[:wide]]


@KINDS
def test_one_beam_is_the_greedy_text(kind: str) -> None:
    decoder = tiny_decoder(kind)
    greedy = decoder.sample_tokens(VECTORS, seeds=SEEDS, temperature=0)
    assert [texts[0] for texts in likeliest(decoder, VECTORS, n=1)] == greedy


@KINDS
def test_beams_are_distinct_whole_texts_the_likeliest_first(kind: str) -> None:
    decoder = tiny_decoder(kind)
    for row, texts in enumerate(likeliest(decoder, VECTORS[:8], n=6)):
        assert len({tuple(tokens) for tokens in texts}) == 6
        assert not {EOS, PAD, XRAG} & {token for tokens in texts for token in tokens}
        ended = [t if len(t) == decoder.max_new_tokens else [*t, EOS] for t in texts]
        found = [scores(decoder, row, [tokens])[0] for tokens in ended]
        assert found == sorted(found, reverse=True)
        told = [text.score for text in decoder.likeliest(VECTORS[[row]], n=6)[0]]
        assert told == pytest.approx(found, abs=1e-3)


@KINDS
def test_more_beams_find_likelier_texts(kind: str) -> None:
    decoder = tiny_decoder(kind)
    few, many = (likeliest(decoder, VECTORS, n=n) for n in (1, 12))
    best = [[_score(decoder, row, texts[0]) for row, texts in enumerate(all_)]
            for all_ in (few, many)]  # fmt: skip
    assert np.mean(best[1]) > np.mean(best[0]) + 0.1
    assert (np.array(best[1]) >= np.array(best[0]) - 1e-4).mean() > 0.9


def _score(decoder: Decoder, row: int, tokens: list[int]) -> float:
    whole = tokens if len(tokens) == decoder.max_new_tokens else [*tokens, EOS]
    return scores(decoder, row, [whole])[0]


@KINDS
def test_beams_of_a_vector_depend_on_it_alone(kind: str) -> None:
    decoder = tiny_decoder(kind)
    whole = likeliest(decoder, VECTORS, n=5)
    assert likeliest(decoder, VECTORS[::-1], n=5)[::-1] == whole
    assert likeliest(decoder, VECTORS[[3, 38, 17]], n=5) == [whole[r] for r in (3, 38, 17)]
    assert likeliest(decoder, VECTORS[[39]], n=5) == whole[39:]
    # More beams than a batch has rows: one vector at a time.
    assert likeliest(tiny_decoder(kind, batch_size=4), VECTORS, n=5) == whole
    assert likeliest(decoder, VECTORS[:0], n=5) == []


def test_beams_refuse_bad_input() -> None:
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        likeliest(tiny_decoder(), VECTORS, n=0)
    with pytest.raises(ValueError, match=r"shape \(n, 12\) are required, these have \(40, 6\)"):
        likeliest(tiny_decoder(), VECTORS[:, :6], n=2)


def test_beams_take_fewer_vectors_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = tiny_decoder()
    expected = likeliest(decoder, VECTORS, n=4)
    forward, room = decoder.lm.forward, 9

    def hungry(inputs_embeds: Any, **options: Any) -> Any:
        if len(inputs_embeds) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(inputs_embeds=inputs_embeds, **options)

    monkeypatch.setattr(decoder.lm, "forward", hungry)
    with pytest.warns(UserWarning, match="no memory left to decode 32 rows at once: going on with"):
        assert likeliest(decoder, VECTORS, n=4) == expected
    room = 0
    with (
        pytest.warns(UserWarning, match="going on with 4"),
        pytest.raises(MemoryError, match="left to decode one row"),
    ):
        likeliest(decoder, VECTORS, n=4)


def test_beams_are_as_many_as_there_are_texts_or_refused() -> None:
    # Two tokens, one of them the end: "", "a", "a a".
    few = tiny_decoder(max_new_tokens=2, suppress_tokens=[PAD, XRAG, *OPEN[1:]])
    found = likeliest(few, VECTORS[:2], n=3)
    assert [sorted(texts) for texts in found] == [[[], [OPEN[0]], [OPEN[0]] * 2]] * 2
    with pytest.raises(ValueError, match="4 texts a vector are wanted, the model can write 3: ask"):
        few.likeliest(VECTORS[:2], n=4)
