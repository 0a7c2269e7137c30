from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from imblearn.over_sampling import SMOTE
from imblearn.utils import check_sampling_strategy
from numpy.typing import NDArray

from smotext_core.neighbors import nearest_neighbors
from smotext_core.schemas import CLASS_PAIRS
from smotext_core.smote import (
    interpolate,
    make_pairs,
    sample_seeds,
    sample_uniforms,
    sampling_targets,
)

COUNTS = {"a": 50, "b": 20, "c": 5, "d": 50}


def random_vectors(n: int, d: int = 16, *, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) * rng.uniform(0.5, 3, size=(n, 1))).astype(np.float32)


def pairs_of(n: int, **options: object) -> pl.DataFrame:
    arguments = {"run": "r", "label": "a", "slug": "s", "n_samples": 200, **options}
    ids = [f"t{i:03d}" for i in range(n)]
    return make_pairs(ids, random_vectors(n), **arguments)[0]  # type: ignore[arg-type]


def frame_of(*samples: tuple[list[str], list[float]]) -> pl.DataFrame:
    rows = [(f"r.s.{i}", i, ids, weights) for i, (ids, weights) in enumerate(samples)]
    return pl.DataFrame(rows, schema=CLASS_PAIRS, orient="row")


# targets


@pytest.mark.parametrize(
    "strategy",
    [
        "auto",
        "not majority",
        "not minority",
        "minority",
        "all",
        {"c": 30, "b": 20},
        lambda counts: {"b": 33},
    ],
)
def test_sampling_targets_equal_imbalanced_learn(strategy: object) -> None:
    labels = [label for label, count in COUNTS.items() for _ in range(count)]
    expected = check_sampling_strategy(strategy, np.array(labels), "over-sampling")
    expected = {str(label): int(n) for label, n in expected.items()}
    ours = sampling_targets(COUNTS, strategy)  # type: ignore[arg-type]
    assert list(ours) == list(COUNTS)
    assert ours == {label: expected.get(label, 0) for label in COUNTS}


@pytest.mark.parametrize("ratio", [0.5, 0.77, 1.0])
def test_sampling_targets_ratio_equals_imbalanced_learn(ratio: float) -> None:
    labels = np.array(["no"] * 91 + ["yes"] * 13)
    expected = check_sampling_strategy(ratio, labels, "over-sampling")
    assert sampling_targets({"yes": 13, "no": 91}, ratio) == {"yes": expected["yes"], "no": 0}


def test_sampling_targets_ties_ignore_order() -> None:
    backward = sampling_targets({"c": 5, "b": 5, "a": 9}, "minority")
    assert backward == sampling_targets({"a": 9, "b": 5, "c": 5}, "minority")
    assert backward == {"a": 0, "b": 4, "c": 0}


@pytest.mark.parametrize(
    ("strategy", "match"),
    [
        ("majority", "must be one of"),
        (None, "must be one of"),
        (True, "must be one of"),
        (0.5, "needs exactly 2 classes, got 4"),
        ({"a": 49}, "asks for 49 rows of class 'a', which has 50"),
        ({"z": 49}, r"names the classes \['z'\], which are not present"),
        ({"c": 7.5}, "whole number of rows, got 7.5"),
        (lambda counts: 3, "must return a dict"),
    ],
)
def test_sampling_targets_refuses(strategy: object, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        sampling_targets(COUNTS, strategy)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ratio", "match"), [(0.1, "increase the ratio"), (1.5, r"lie in \(0, 1\]"), (0, "lie in")]
)
def test_sampling_targets_refuses_ratio(ratio: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        sampling_targets({"yes": 10, "no": 20}, ratio)


def test_sampling_targets_refuses_one_class() -> None:
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        sampling_targets({"a": 3})


# streams


def test_sample_uniforms_golden() -> None:
    # by hand: Philox4x64-10, key the first 16 bytes of sha256("7\0chest pain"), little-endian,
    # counter (number + 1, 0, 0, 0)
    draws = sample_uniforms([0, 1, 999_999], 2, seed=7, label="chest pain")
    assert draws.tolist() == [
        [0.09754708481945062, 0.8798387890478935],
        [0.9934369604714751, 0.17835190314765603],
        [0.6664937222234686, 0.10455141921636968],
    ]


def test_sample_uniforms_depend_on_number_alone() -> None:
    whole = sample_uniforms(range(100), 9, seed=1, label="a")
    assert whole.shape == (100, 9)
    chosen = [99, 3, 4, 5, 3, 0, 50]
    assert np.array_equal(sample_uniforms(chosen, 9, seed=1, label="a"), whole[chosen])
    assert np.array_equal(sample_uniforms(range(40, 60), 3, seed=1, label="a"), whole[40:60, :3])
    assert np.unique(whole).size == whole.size
    assert sample_uniforms([], 3, seed=1, label="a").shape == (0, 3)


def test_sample_uniforms_differ_by_seed_and_label() -> None:
    streams = [
        sample_uniforms(range(50), 4, seed=seed, label=label)
        for seed, label in [(1, "a"), (2, "a"), (1, "b"), (1, "a\x00")]
    ]
    assert np.unique(np.concatenate(streams)).size == 4 * 200


def test_sample_uniforms_are_uniform() -> None:
    draws = sample_uniforms(range(20_000), 3, seed=0, label="a")
    assert draws.min() >= 0
    assert draws.max() < 1
    assert np.allclose(draws.mean(axis=0), 0.5, atol=0.01)
    assert np.allclose(draws.var(axis=0), 1 / 12, atol=0.003)
    assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.03


def test_sample_seeds_golden_and_independent() -> None:
    assert sample_seeds([0, 1], seed=7, label="chest pain").tolist() == [
        3710908895519672056,
        6605886258770078804,
    ]
    first = sample_seeds(range(1000), seed=7, label="a")
    again = sample_seeds(range(1000), seed=7, label="a", draw=1)
    assert np.unique(np.concatenate([first, again])).size == 2000
    assert min(first.min(), again.min()) >= 0
    assert np.array_equal(sample_seeds([10, 3], seed=7, label="a"), first[[10, 3]])


# neighbours


def test_nearest_neighbors_golden() -> None:
    angles = np.deg2rad([0, 10, 25, 90])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]) * [[1], [5], [0.1], [2]]
    assert nearest_neighbors(vectors, k=2).tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]


@pytest.mark.parametrize(("n", "k"), [(7, 6), (40, 5), (700, 5), (700, 40)])
def test_nearest_neighbors_equal_float64_search(
    n: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smotext_core.neighbors.SIMILARITY_BYTES", 300_000)  # several blocks
    vectors = random_vectors(n)
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    expected = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    assert np.array_equal(nearest_neighbors(vectors, k=k), expected)


def test_nearest_neighbors_are_those_of_imbalanced_learn() -> None:
    vectors = random_vectors(300, 32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    majority = random_vectors(400, 32, seed=1)
    smote = SMOTE(k_neighbors=5, random_state=0)
    smote.fit_resample(np.concatenate([unit, majority]), [1] * 300 + [0] * 400)
    theirs = smote.nn_k_.kneighbors(unit, return_distance=False)[:, 1:]
    assert np.array_equal(np.sort(nearest_neighbors(vectors, k=5)), np.sort(theirs))


@pytest.mark.parametrize("n", [60, 900])  # at 900 the ties flood the candidates
def test_nearest_neighbors_break_ties_by_index(n: int) -> None:
    vectors = np.tile(random_vectors(3, 33), (n // 3, 1)) * np.float32(0.3)
    neighbors = nearest_neighbors(vectors, k=4)
    for row in (0, 1, 4, n - 1):
        twins = [i for i in range(row % 3, n, 3) if i != row]
        assert neighbors[row].tolist() == twins[:4]


def test_nearest_neighbors_orders_what_float32_cannot() -> None:
    # 1 - cos is about 1e-9 and 4e-9, both below float32's resolution at 1
    vectors = np.array([[1, 0], [1, 9e-5], [1, 4.5e-5], [0, 1]])
    assert nearest_neighbors(vectors, k=2)[0].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.nan, "1 of 6 vectors are NaN or infinite, the first at row 2"),
        (np.inf, "NaN or infinite, the first at row 2"),
        (0.0, "1 of 6 vectors are zero, the first at row 2"),
    ],
)
def test_nearest_neighbors_refuses_vectors(value: float, match: str) -> None:
    vectors = random_vectors(6)
    vectors[2] = value
    with pytest.raises(ValueError, match=match):
        nearest_neighbors(vectors, k=2)


@pytest.mark.parametrize("k", [0, 6])
def test_nearest_neighbors_refuses_k(k: int) -> None:
    with pytest.raises(ValueError, match=rf"\[1, 5\] for 6 vectors, got {k}"):
        nearest_neighbors(random_vectors(6), k=k)


# pairs


def test_make_pairs_golden() -> None:
    ids, vectors = ["a", "b", "c", "d"], np.eye(4, dtype=np.float32) + np.float32(0.1)
    vectors[1] = vectors[0] * 2  # a and b are nearest to each other
    pairs, fallback = make_pairs(
        ids,
        vectors,
        run="20261122T0300",
        label="chest pain",
        slug="chest-pain",
        n_samples=2,
        k_neighbors=1,
        seed=7,
    )
    assert fallback is None
    assert pairs.schema == CLASS_PAIRS
    assert pairs["sample_id"].to_list() == [
        "20261122T0300.chest-pain.000000",
        "20261122T0300.chest-pain.000001",
    ]
    # the first draw of numbers 0 and 1 is .098 and .993: texts 0 and 3 of 4
    draws = sample_uniforms([0, 1], 3, seed=7, label="chest pain")
    assert pairs["parent_ids"].to_list() == [["a", "b"], ["d", "a"]]
    assert pairs["weights"].to_list() == [[1 - lam, lam] for lam in draws[:, 2].tolist()]


def test_make_pairs_statistics() -> None:
    n, k = 40, 5
    pairs = pairs_of(n, n_samples=8000, k_neighbors=k)
    ids = np.array([[int(i[1:]) for i in row] for row in pairs["parent_ids"].to_list()])
    lam = np.array(pairs["weights"].to_list())[:, 1]
    lists = nearest_neighbors(random_vectors(n), k=k)
    rank = (lists[ids[:, 0]] == ids[:, 1:]).argmax(axis=1)
    assert (lists[ids[:, 0]] == ids[:, 1:]).any(axis=1).all()
    assert abs(lam.mean() - 0.5) < 0.01
    assert abs(lam.var() - 1 / 12) < 0.003
    # chi-square of the 40 bases and of the 5 ranks, 6 deviations above their means
    for draw, cells in ((ids[:, 0], n), (rank, k)):
        expected = 8000 / cells
        statistic = ((np.bincount(draw, minlength=cells) - expected) ** 2 / expected).sum()
        assert statistic < cells + 6 * np.sqrt(2 * cells)


def test_make_pairs_ignores_row_order() -> None:
    vectors, ids = random_vectors(30), [f"t{i:03d}" for i in range(30)]
    shuffled = np.random.default_rng(3).permutation(30)
    other, _ = make_pairs(
        [ids[i] for i in shuffled], vectors[shuffled], run="r", label="a", slug="s", n_samples=200
    )
    assert other.equals(pairs_of(30))


def test_make_pairs_more_samples_keep_the_first() -> None:
    assert pairs_of(30, n_samples=500)[:200].equals(pairs_of(30, n_samples=200))


def test_make_pairs_of_equal_classes_differ() -> None:
    here, there = pairs_of(30, label="a"), pairs_of(30, label="b")
    same = sum(map(list.__eq__, here["parent_ids"].to_list(), there["parent_ids"].to_list()))
    assert same < 10  # chance: 200 / (30 · 5)
    assert not set(here["weights"].explode()) & set(there["weights"].explode())


def test_make_pairs_lam_range() -> None:
    lam = pairs_of(30, lam_low=0.2, lam_high=0.4)["weights"].list.get(1)
    assert 0.2 <= lam.min() < 0.21  # type: ignore[operator]
    assert 0.39 < lam.max() <= 0.4  # type: ignore[operator]


def test_make_pairs_reduces_k_for_small_classes() -> None:
    ids = ["a", "b", "c", "d"]
    pairs, fallback = make_pairs(
        ids, random_vectors(4), run="r", label="l", slug="s", n_samples=50, k_neighbors=5
    )
    assert fallback == "only 4 texts: k_neighbors 3 instead of 5"
    assert all(base != neighbor for base, neighbor in pairs["parent_ids"].to_list())


def test_make_pairs_of_one_text() -> None:
    vectors = random_vectors(1)
    pairs, fallback = make_pairs(["x"], vectors, run="r", label="l", slug="s", n_samples=3)
    assert fallback == "only one text: its own vector is decoded"
    assert pairs.schema == CLASS_PAIRS
    assert pairs["parent_ids"].to_list() == [["x"]] * 3
    assert pairs["weights"].to_list() == [[1.0]] * 3
    mixed = interpolate(pairs, ["x"], vectors, restore_norm=True)
    assert mixed.tobytes() == np.tile(vectors, (3, 1)).tobytes()


def test_make_pairs_says_that_vectors_are_identical() -> None:
    _, fallback = make_pairs(
        ["a", "b"], np.ones((2, 3), np.float32), run="r", label="l", slug="s", n_samples=3
    )
    assert fallback == (
        "only 2 texts: k_neighbors 1 instead of 5; "
        "all 2 texts have the same vector: every sample decodes that vector"
    )


@pytest.mark.parametrize("n", [1, 8])
def test_make_pairs_of_no_samples(n: int) -> None:
    pairs = pairs_of(n, n_samples=0)
    assert pairs.schema == CLASS_PAIRS
    ids = [f"t{i:03d}" for i in range(n)]
    assert interpolate(pairs, ids, random_vectors(n), restore_norm=True).shape == (0, 16)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"k_neighbors": 0}, "k_neighbors=0"),
        ({"n_samples": -1}, "n_samples=-1"),
        ({"lam_low": 0.8, "lam_high": 0.2}, "lam_low=0.8"),
        ({"lam_high": 1.5}, "lam_high=1.5"),
        ({"lam_low": float("nan")}, "lam_low=nan"),
    ],
)
def test_make_pairs_refuses_options(options: dict[str, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        pairs_of(8, **options)


@pytest.mark.parametrize(
    ("ids", "rows", "match"),
    [
        ([], 0, "class 'l' has no texts"),
        (["a", "b"], 3, "3 vectors for 2 ids"),
        (["a", "a"], 2, "1 of them unique"),
    ],
)
def test_make_pairs_refuses_ids(ids: list[str], rows: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make_pairs(ids, random_vectors(rows), run="r", label="l", slug="s", n_samples=3)


def test_make_pairs_of_one_text_refuses_zero_vector() -> None:
    with pytest.raises(ValueError, match="are zero"):
        make_pairs(["a"], np.zeros((1, 3)), run="r", label="l", slug="s", n_samples=3)


# interpolation

CORNERS = np.array([[2, 0], [0, 4], [-2, 0]], dtype=np.float32)


def test_interpolate_golden() -> None:
    pairs = frame_of((["p", "q"], [0.75, 0.25]), (["q", "p", "o"], [0.5, 0.25, 0.25]), (["o"], [1]))
    mixed = interpolate(pairs, ["p", "q", "o"], CORNERS, restore_norm=False)
    assert mixed.dtype == np.float32
    assert mixed.tolist() == [[1.5, 1.0], [0.0, 2.0], [-2.0, 0.0]]


def test_interpolate_restores_the_mean_norm() -> None:
    pairs = frame_of((["p", "q"], [0.75, 0.25]), (["q", "p", "o"], [0.5, 0.25, 0.25]), (["o"], [1]))
    mixed = interpolate(pairs, ["p", "q", "o"], CORNERS, restore_norm=True)
    # norms .75·2 + .25·4 and .5·4 + .25·2 + .25·2, directions those of the mix
    first = np.array([1.5, 1.0]) / np.sqrt(1.5**2 + 1) * 2.5
    assert np.allclose(mixed, [first, [0, 3], [-2, 0]], rtol=1e-7)


@pytest.mark.parametrize("restore_norm", [False, True])
def test_interpolate_at_lam_0_and_1_is_a_parent_to_the_bit(restore_norm: bool) -> None:
    vectors = random_vectors(9, 384)
    vectors[:, 0] = -0.0
    ids = [f"t{i:03d}" for i in range(9)]
    for lam in (0, 1):
        pairs, _ = make_pairs(
            ids, vectors, run="r", label="l", slug="s", n_samples=40, lam_low=lam, lam_high=lam
        )
        parents = [ids.index(row[lam]) for row in pairs["parent_ids"].to_list()]
        mixed = interpolate(pairs, ids, vectors, restore_norm=restore_norm)
        assert mixed.tobytes() == vectors[parents].tobytes()


def test_interpolate_is_the_line_between_parents() -> None:
    vectors, pairs = random_vectors(30), pairs_of(30)
    ids = [f"t{i:03d}" for i in range(30)]
    mixed = interpolate(pairs, ids, vectors, restore_norm=False)
    base, neighbor = (
        vectors[[ids.index(row[p]) for row in pairs["parent_ids"].to_list()]] for p in (0, 1)
    )
    lam = pairs["weights"].list.get(1).to_numpy()[:, None]
    assert np.allclose(mixed, base + lam * (neighbor - base), rtol=1e-5, atol=1e-6)


def test_interpolate_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    ids, vectors, pairs = [f"t{i:03d}" for i in range(30)], random_vectors(30), pairs_of(30)
    whole = interpolate(pairs, ids, vectors, restore_norm=True)
    parts = [interpolate(pairs[i : i + 7], ids, vectors, restore_norm=True) for i in (0, 7)]
    assert np.concatenate(parts).tobytes() == whole[:14].tobytes()
    monkeypatch.setattr("smotext_core.smote.ROWS_BYTES", 8 * 16 * 3)
    assert interpolate(pairs, ids, vectors, restore_norm=True).tobytes() == whole.tobytes()


@pytest.mark.parametrize(
    ("sample", "match"),
    [
        ((["p", "z"], [0.5, 0.5]), "first 'z': pairs and embeddings are of different corpora"),
        ((["p", "q"], [0.5, 0.6]), r"those of r\.s\.0 sum to 1\.1"),
        ((["p", "q"], [0.5, float("nan")]), "sum to nan"),
        ((["p", "q"], [1.0]), "one weight for each parent"),
        (([], []), "at least one parent"),
        ((["p", "o"], [0.5, 0.5]), r"parents of sample r\.s\.0 cancel out"),
    ],
)
def test_interpolate_refuses(sample: tuple[list[str], list[float]], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        interpolate(frame_of(sample), ["p", "q", "o"], CORNERS, restore_norm=True)
