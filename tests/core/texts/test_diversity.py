from __future__ import annotations

import numpy as np
import pytest

from smotext_core.texts.diversity import Alike, diversity, rouge_l


def longest_common(a: list[str], b: list[str]) -> int:
    """The table of the definition."""
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            more = max(table[i, j + 1], table[i + 1, j])
            table[i + 1, j + 1] = table[i, j] + 1 if one == other else more
    return int(table[-1, -1])


def test_rouge_l_golden_values() -> None:
    # Lin 2004: "police killed the gunman" against these two: 3 of 4 words in order, then 2
    reference = ["police", "killed", "the", "gunman"]
    assert rouge_l(reference, ["police", "kill", "the", "gunman"]) == pytest.approx(0.75)
    assert rouge_l(reference, ["the", "gunman", "kill", "police"]) == pytest.approx(0.5)
    assert rouge_l(reference, reference) == 1.0
    assert rouge_l(reference, ["dog"]) == 0.0


def test_rouge_l_is_the_definition_on_random_texts() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = ([*map(str, rng.integers(0, 6, rng.integers(1, 90)))] for _ in range(2))
        assert rouge_l(a, b) == pytest.approx(2 * longest_common(a, b) / (len(a) + len(b)))


@pytest.mark.parametrize("threshold", [0.3, 0.7, 1.0])
def test_alike_finds_what_comparing_all_finds(threshold: float) -> None:
    rng = np.random.default_rng(1)
    texts: list[str] = []
    for number in range(120):
        if number % 3 and texts:  # an earlier text with some words changed, dropped or moved
            row = texts[rng.integers(len(texts))].split()
            for _ in range(rng.integers(0, 6)):
                row[rng.integers(len(row))] = f"w{rng.integers(40)}"
            row = row[: rng.integers(len(row) // 2, len(row)) + 1]
        else:
            row = [f"w{word}" for word in rng.integers(0, 40, rng.integers(3, 25))]
        texts.append(" ".join(row))
    alike = Alike(texts, threshold=threshold)
    kept: list[list[str]] = []
    for number, text in enumerate(texts):
        row = text.split()
        expected = any(
            2 * longest_common(row, other) / (len(row) + len(other)) >= threshold - 1e-9
            for other in kept
        )
        assert alike.repeats(number) is expected
        if not expected:
            kept.append(row)
            alike.add(number)
    assert 0 < len(kept) < len(texts)


def test_alike_refuses_a_threshold_outside_its_range() -> None:
    with pytest.raises(ValueError, match=r"lie in \(0, 1\], got 0"):
        Alike(["a b"], threshold=0)


def test_diversity_by_hand() -> None:
    # pairs: a b, b c | a b, b d: three different of four; common "a b" of three words each
    assert diversity(["a b c", "a b d"]) == (pytest.approx(3 / 4), pytest.approx(2 / 3))
    assert diversity(["a b", "c d"]) == (1.0, 0.0)
    assert diversity(["same words here"] * 5) == (pytest.approx(1 / 5), 1.0)
    assert diversity(["one", "a b c"]) is None
    assert diversity([]) is None
