from __future__ import annotations

import sys

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE
from numpy.typing import NDArray

from smotext_core.mixing.pairs import make_pairs
from smotext_core.neighbors.exact import nearest_neighbors
from smotext_core.neighbors.index import find_neighbors
from smotext_core.neighbors.table import neighbor_rows, neighbor_table
from smotext_core.schemas import NEIGHBORS


def random_vectors(n: int, d: int = 16, *, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) * rng.uniform(0.5, 3, size=(n, 1))).astype(np.float32)


def topics(n: int, d: int = 48) -> NDArray[np.float32]:
    """Vectors in 60 clusters."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, d))
    return (centres[rng.integers(60, size=n)] + 1.5 * rng.normal(size=(n, d))).astype(np.float32)


# exact


def test_nearest_neighbors_golden() -> None:
    angles = np.deg2rad([0, 10, 25, 90])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]) * [[1], [5], [0.1], [2]]
    assert nearest_neighbors(vectors, k=2).tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]


@pytest.mark.parametrize(("n", "k"), [(7, 6), (40, 5), (700, 5), (700, 40)])
def test_nearest_neighbors_equal_float64_search(
    n: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smotext_core.neighbors.exact.SIMILARITY_BYTES", 300_000)  # several blocks
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


@pytest.mark.parametrize(("n", "k"), [(2, 1), (131, 130), (132, 5), (400, 60)])
def test_nearest_neighbors_do_not_depend_on_the_tiles(
    n: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = random_vectors(n, 24)
    whole = nearest_neighbors(vectors, k=k)
    monkeypatch.setattr("smotext_core.neighbors.exact.SIMILARITY_BYTES", 4 * 66**2)
    assert np.array_equal(nearest_neighbors(vectors, k=k), whole)


def test_nearest_neighbors_of_a_flood_among_others() -> None:
    # 400 copies of one vector between 300 others: more ties than candidates are kept
    vectors = np.concatenate([random_vectors(300, 24), np.tile(random_vectors(1, 24), (400, 1))])
    neighbors = nearest_neighbors(vectors, k=3)
    assert neighbors[300:303].tolist() == [[0, 301, 302], [0, 300, 302], [0, 300, 301]]
    assert neighbors[699].tolist() == [0, 300, 301]  # row 0 is the vector that was copied
    among = nearest_neighbors(vectors[:300], k=3)
    same = (neighbors[1:300] == among[1:300]).all(axis=1)
    copies = (among[1:300] == 0).any(axis=1)
    assert same[~copies].all()
    assert copies.any()


# approximate


def test_find_neighbors_is_exact_up_to_its_threshold() -> None:
    vectors = topics(600)
    found, recall = find_neighbors(vectors, k=5, exact_up_to=600)
    assert recall == 1
    assert np.array_equal(found, nearest_neighbors(vectors, k=5))


@pytest.mark.parametrize("d", [48, 50])  # 50: parts of 4 dimensions need zeros
@pytest.mark.parametrize("least", [0.7, 0.99])
def test_find_neighbors_tells_the_recall_of_the_index(
    d: int, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smotext_core.neighbors.index.RECALL", least)
    vectors = topics(3000, d)
    found, recall = find_neighbors(vectors, k=5, exact_up_to=2000)
    exact = nearest_neighbors(vectors, k=5)
    hits = (found[:, :, None] == exact[:, None, :]).any(axis=2)
    assert least <= recall
    assert abs(hits.mean() - recall) < 0.02
    assert least == 0.99 or not hits.all()
    whole = hits.all(axis=1)
    assert np.array_equal(found[whole], exact[whole])  # the order is exact
    assert (found != np.arange(3000)[:, None]).all()


def test_find_neighbors_without_faiss_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)  # its import fails
    vectors = topics(1500)
    found, recall = find_neighbors(vectors, k=5, exact_up_to=1000)
    assert recall == 1
    assert np.array_equal(found, nearest_neighbors(vectors, k=5))


def test_find_neighbors_again_gives_the_same() -> None:
    vectors = topics(3000)
    found = find_neighbors(vectors, k=5, exact_up_to=2000)
    again = find_neighbors(vectors, k=5, exact_up_to=2000)
    assert np.array_equal(found[0], again[0])
    assert found[1] == again[1]


def test_find_neighbors_falls_back_where_the_index_finds_too_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("smotext_core.neighbors.index.RECALL", 1.1)
    vectors = random_vectors(1500)
    found, recall = find_neighbors(vectors, k=5, exact_up_to=1000)
    assert recall == 1
    assert np.array_equal(found, nearest_neighbors(vectors, k=5))


def test_find_neighbors_of_many_copies_finds_as_near_ones() -> None:
    vectors = np.tile(topics(10), (200, 1))
    found, recall = find_neighbors(vectors, k=5, exact_up_to=1000)
    assert recall == 1
    assert (found % 10 == (np.arange(2000) % 10)[:, None]).all()
    assert (np.sort(found, axis=1)[:, 1:] != np.sort(found, axis=1)[:, :-1]).all()


# the table


def test_neighbor_table_golden() -> None:
    angles = np.deg2rad([90, 25, 10, 0])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    table, recall = neighbor_table(["d", "c", "b", "a"], vectors, k=2)
    assert recall == 1
    assert table.schema == NEIGHBORS
    assert table["text_id"].to_list() == ["a", "b", "c", "d"]
    assert table["neighbor_ids"].to_list() == [["b", "c"], ["a", "c"], ["b", "a"], ["c", "b"]]
    assert np.allclose(table["cosines"][0].to_list(), np.cos(np.deg2rad([10, 25])))


def test_neighbor_table_ignores_row_order() -> None:
    ids, vectors = [f"t{i:02d}" for i in range(40)], random_vectors(40)
    order = np.random.default_rng(1).permutation(40)
    table, _ = neighbor_table(ids, vectors, k=5)
    other, _ = neighbor_table([ids[i] for i in order], vectors[order], k=5)
    assert other.equals(table)


@pytest.mark.parametrize(("n", "k"), [(1, 0), (2, 1), (30, 7)])
def test_neighbor_rows_are_what_the_search_finds(n: int, k: int) -> None:
    ids, vectors = [f"t{i:02d}" for i in range(n)][::-1], random_vectors(n)
    table, _ = neighbor_table(ids, vectors, k=7)
    rows = neighbor_rows(table, ids)
    assert rows.shape == (n, k)
    if n > 1:
        assert np.array_equal(rows, nearest_neighbors(vectors, k=k))


def test_neighbor_rows_give_make_pairs_what_it_would_search() -> None:
    ids, vectors = [f"t{i:02d}" for i in range(60)][::-1], random_vectors(60)
    table, _ = neighbor_table(ids, vectors, k=20)
    options = {"run": "r", "label": "a", "slug": "a", "n_samples": 100, "seed": 3}
    searched, _ = make_pairs(ids, vectors, **options)  # type: ignore[arg-type]
    found, _ = make_pairs(ids, vectors, neighbors=neighbor_rows(table, ids), **options)  # type: ignore[arg-type]
    assert found.equals(searched)


@pytest.mark.parametrize("ids", [["a", "b"], ["a", "b", "c", "x"], ["a", "b", "c", "d", "e"]])
def test_neighbor_rows_refuse_other_texts(ids: list[str]) -> None:
    table, _ = neighbor_table(["a", "b", "c", "d"], random_vectors(4), k=2)
    with pytest.raises(ValueError, match="the table of neighbours is of other texts: it has 4"):
        neighbor_rows(table, ids)


@pytest.mark.parametrize("ids", [["a", "a", "b"], ["a", "b"]])
def test_neighbor_table_refuses_ids(ids: list[str]) -> None:
    with pytest.raises(ValueError, match="one vector for each unique text id, got 3 vectors"):
        neighbor_table(ids, random_vectors(3), k=2)
