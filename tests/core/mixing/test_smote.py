from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from smotext_core.mixing.interpolation import interpolate
from smotext_core.mixing.pairs import make_pairs
from smotext_core.neighbors.exact import nearest_neighbors
from smotext_core.schemas import CLASS_PAIRS
from smotext_core.streams import sample_uniforms


def random_vectors(n: int, d: int = 16, *, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) * rng.uniform(0.5, 3, size=(n, 1))).astype(np.float32)


def pairs_of(n: int, **options: object) -> pl.DataFrame:
    arguments = {"run": "r", "label": "a", "slug": "s", "n_samples": 200, **options}
    ids = [f"t{i:03d}" for i in range(n)]
    return make_pairs(ids, random_vectors(n), **arguments)[0]  # type: ignore[arg-type]


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
    lam = pairs_of(30, lam="0.2-0.4")["weights"].list.get(1)
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
    mixed = interpolate(pairs, ["x"], vectors, mixing="linear-norm")
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
    assert interpolate(pairs, ids, random_vectors(n), mixing="linear-norm").shape == (0, 16)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"k_neighbors": 0}, "k_neighbors=0"),
        ({"n_samples": -1}, "n_samples=-1"),
        ({"m_neighbors": 0}, "m_neighbors=0"),
        ({"n_parents": 1}, "n_parents=1"),
        ({"n_parents": 4, "k_neighbors": 2}, "takes 3 neighbours of a text, k_neighbors is 2"),
        ({"n_parents": 3, "lam": 0.5}, "3 parents take lam='uniform' or 'beta:A'"),
        ({"lam": (0.8, 0.2)}, r"got \(0.8, 0.2\)"),
        ({"lam": 1.5}, "lam must be 'uniform', a number in"),
        ({"strategy": "SMOTE"}, r"strategy must be one of \('smote', .* got 'SMOTE'"),
        ({"others": np.ones((3, 15))}, r"shape \(m, 16\) as the class has, got \(3, 15\)"),
        ({"others": np.full((3, 16), np.nan)}, "other classes: .* NaN or infinite"),
        ({"neighbors": np.ones((8, 5))}, "whole numbers .* got float64"),
        ({"neighbors": np.ones((8, 4), dtype=int)}, r"\(8, ≥ 5\), got shape \(8, 4\)"),
        ({"neighbors": np.full((8, 5), 8)}, "rows of the class, 0 to 7, .* row 0 has"),
        ({"neighbors": np.full((8, 5), 2)}, r"row 2 has \[2, 2, 2, 2, 2\]"),
    ],
)
def test_make_pairs_refuses_options(options: dict[str, object], match: str) -> None:
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


# documents


def documents_of(n: int, *, size: int) -> list[str]:
    return [f"d{row // size}" for row in range(n)]


def test_make_pairs_groups_golden() -> None:
    angles = np.deg2rad([0, 1, 2, 10, 20, 40])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)])
    pairs, note = make_pairs(
        list("abcdef"),
        vectors,
        run="r",
        label="l",
        slug="s",
        n_samples=400,
        k_neighbors=2,
        groups=["x", "x", "x", "y", "z", "z"],
    )
    assert note is None
    partners: dict[str, set[str]] = {}
    for base, neighbor in pairs["parent_ids"].to_list():
        partners.setdefault(base, set()).add(neighbor)
    assert {base: "".join(sorted(found)) for base, found in sorted(partners.items())} == {
        "a": "de", "b": "de", "c": "de", "d": "bc", "e": "cd", "f": "cd",
    }  # fmt: skip


@pytest.mark.parametrize("strategy", ["smote", "random", "borderline-1", "adasyn", "kmeans", "svm"])
def test_make_pairs_groups_are_apart(strategy: str) -> None:
    groups = documents_of(60, size=12)  # more of a document than are searched for at first
    options = {"strategy": strategy, "others": random_vectors(40, seed=1), "k_neighbors": 3}
    pairs = pairs_of(60, groups=groups, n_parents=3, **options)
    document = dict(zip([f"t{i:03d}" for i in range(60)], groups, strict=True))
    for base, *neighbors in pairs["parent_ids"].to_list():
        assert document[base] not in {document[neighbor] for neighbor in neighbors}
        assert len(set(neighbors)) == 2
    free = pairs_of(60, n_parents=3, **options)
    assert any(document[a] == document[b] for a, b, _ in free["parent_ids"].to_list())


def test_make_pairs_groups_of_known_neighbors_are_those_searched_for() -> None:
    groups, vectors = documents_of(40, size=8), random_vectors(40)
    for k in (3, 9, 39):  # too few for most rows, for some, for none
        known = nearest_neighbors(vectors, k=k)
        options = {"groups": groups, "k_neighbors": 3}
        assert pairs_of(40, neighbors=known, **options).equals(pairs_of(40, **options))


def test_make_pairs_groups_of_one_text_each_change_nothing() -> None:
    for strategy in ("smote", "random"):
        alone = pairs_of(30, strategy=strategy, groups=documents_of(30, size=1))
        assert alone.equals(pairs_of(30, strategy=strategy))


def test_make_pairs_groups_every_outsider_is_drawn_by_random() -> None:
    groups = ["y", "x", "y", "x", "z"]
    pairs = pairs_of(5, strategy="random", groups=groups, n_samples=600)
    found = {tuple(int(parent[1:]) for parent in parents) for parents in pairs["parent_ids"]}
    assert found == {(a, b) for a in range(5) for b in range(5) if groups[a] != groups[b]}


def test_make_pairs_groups_do_not_depend_on_the_order() -> None:
    groups, vectors = documents_of(40, size=8), random_vectors(40)
    ids = np.array([f"t{i:03d}" for i in range(40)])
    shuffled = np.random.default_rng(0).permutation(40)
    again, _ = make_pairs(
        ids[shuffled].tolist(),
        vectors[shuffled],
        run="r",
        label="a",
        slug="s",
        n_samples=200,
        groups=[groups[row] for row in shuffled],
    )
    assert again.equals(pairs_of(40, groups=groups))


@pytest.mark.parametrize(
    ("groups", "note"),
    [
        (["d"] * 6, "all 6 texts are of one document: its passages are mixed with each other"),
        (
            ["d"] * 4 + ["e", "f"],
            "only 2 of 6 texts are not of the largest document: k_neighbors 2 instead of 5; "
            "only 2 of 6 texts are not of the largest document: n_parents 3 instead of 4",
        ),
    ],
)
def test_make_pairs_groups_fall_back(groups: list[str], note: str) -> None:
    _, found = make_pairs(
        list("abcdef"),
        random_vectors(6),
        run="r",
        label="l",
        slug="s",
        n_samples=9,
        n_parents=3 if len(set(groups)) == 1 else 4,
        groups=groups,
    )
    assert found == note


def test_make_pairs_refuses_groups() -> None:
    with pytest.raises(ValueError, match="name a document for each of 8 texts, got 2"):
        pairs_of(8, groups=["a", "b"])
