from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from imblearn.over_sampling import ADASYN, SVMSMOTE, BorderlineSMOTE, KMeansSMOTE
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from smotext_core.mixing import strategies
from smotext_core.mixing.interpolation import interpolate
from smotext_core.mixing.pairs import make_pairs
from smotext_core.mixing.strategies import STRATEGIES, Strategy, foreign_neighbors, plan_pairs
from smotext_core.neighbors.exact import nearest_neighbors
from smotext_core.schemas import CLASS_PAIRS

Vectors = NDArray[np.float32]
N, M = 60, 180  # texts of the class and of the others


def unit_vectors(n: int, *, seed: int, centre: float, d: int = 6) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(n, d)) + centre * np.eye(d)[0]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def two_classes(centre: float = 1.5) -> tuple[Vectors, Vectors, Vectors, NDArray[np.int64]]:
    """Unit vectors of the class and the others; both in the order k-means and SVM see; labels."""
    own, others = unit_vectors(N, seed=0, centre=centre), unit_vectors(M, seed=1, centre=0)
    both = strategies._directions(own, others)
    return own, others, both, np.repeat([1, 0], [N, M])


def pairs_of(strategy: Strategy, **options: Any) -> pl.DataFrame:
    own, others, _, _ = two_classes()
    arguments = {"run": "r", "label": "a", "slug": "s", "n_samples": 300, "others": others}
    ids = [f"t{i:03d}" for i in range(len(own))]
    return make_pairs(ids, own, strategy=strategy, **arguments | options)[0]


def numbers_of(pairs: pl.DataFrame) -> NDArray[np.int64]:
    return np.array([[int(i[1:]) for i in row] for row in pairs["parent_ids"].to_list()])


# against imbalanced-learn


def test_plan_pairs_danger_is_imbalanced_learns() -> None:
    own, others, both, labels = two_classes()
    theirs = BorderlineSMOTE(random_state=0)
    theirs.fit_resample(both, labels)
    plan = plan_pairs("borderline-1", own, others=others)
    assert plan.note is None
    assert 5 < plan.weights.sum() < N - 5
    assert np.flatnonzero(plan.weights).tolist() == theirs.in_danger_indices[1].tolist()
    assert np.unique(plan.weights).tolist() == [0, 1]
    assert np.array_equal(plan.neighbors, nearest_neighbors(own, k=5))  # type: ignore[arg-type]


def test_plan_pairs_borderline_2_halves_as_many_as_are_foreign_there() -> None:
    own, others, both, labels = two_classes()
    theirs = BorderlineSMOTE(random_state=0, kind="borderline-2")
    theirs.fit_resample(both, labels)
    danger = theirs.in_danger_indices[1]
    near = theirs.nn_k_.kneighbors(both[danger], return_distance=False)[:, 1:]
    plan = plan_pairs("borderline-2", own, others=others)
    assert plan.reach is not None
    assert np.flatnonzero(plan.weights).tolist() == danger.tolist()
    assert np.array_equal((plan.reach[danger] == 0.5).sum(axis=1), (labels[near] == 0).sum(axis=1))
    assert (np.diff(plan.reach, axis=1) <= 0).all()  # the farthest ones


def test_plan_pairs_adasyn_ratios_are_imbalanced_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    own, others, both, labels = two_classes()
    counts, repeat = [], np.repeat

    def spy(values: Any, times: Any) -> Any:
        counts.append(times)
        return repeat(values, times)

    monkeypatch.setattr("imblearn.over_sampling._adasyn.np.repeat", spy)
    ADASYN(random_state=0, sampling_strategy={1: N + 5000}).fit_resample(both, labels)
    monkeypatch.undo()
    plan = plan_pairs("adasyn", own, others=others)
    ratio = plan.weights / plan.weights.sum()
    assert np.rint(ratio * 5000).tolist() == counts[0].tolist()
    assert np.unique(counts[0]).size > 3


def test_plan_pairs_svm_sides_are_imbalanced_learns() -> None:
    own, others, both, labels = two_classes()
    theirs = SVMSMOTE(random_state=0)
    theirs.fit_resample(both, labels)
    support = theirs.svm_estimator_.support_
    support = support[labels[support] == 1]
    noise, danger = (
        theirs._in_danger_noise(theirs.nn_m_, both[support], 1, labels, kind=kind)
        for kind in ("noise", "danger")
    )
    plan = plan_pairs("svm", own, others=others)
    assert plan.reach is not None
    assert np.flatnonzero(plan.weights).tolist() == support[~noise].tolist()
    assert 0 < noise.sum() < len(support)
    for side, reach in ((danger, 1.0), (~danger & ~noise, -0.5)):
        assert (plan.reach[support[side]] == reach).all()
        assert np.allclose(plan.weights[support[side]], 0.5 / side.sum())


def test_plan_pairs_cluster_weights_are_imbalanced_learns() -> None:
    own, others, both, labels = two_classes(centre=2.5)
    theirs = KMeansSMOTE(random_state=3, k_neighbors=2)
    made, _ = theirs.fit_resample(both, labels)
    cluster = theirs.kmeans_estimator_.labels_
    plan = plan_pairs("kmeans", own, others=others, k_neighbors=2, seed=3)
    assert plan.note is None
    sparsity = {}
    for c in range(8):
        rows = np.flatnonzero((cluster == c) & (labels == 1))
        if labels[cluster == c].mean() >= 0.5 and len(rows) > 2:
            sparsity[c] = theirs._find_cluster_sparsity(both[rows])
            near = NearestNeighbors(n_neighbors=3).fit(both[rows]).kneighbors()[1][:, :2]
            assert np.array_equal(plan.neighbors[rows], rows[near])  # type: ignore[index]
    assert len(sparsity) > 1
    assert set(cluster[:N][plan.weights > 0]) == set(sparsity)
    total = sum(sparsity.values())
    shares = {c: weight / total for c, weight in sparsity.items()}
    ours = plan.weights / plan.weights.sum()
    for c, share in shares.items():
        assert np.allclose(ours[cluster[:N] == c], share / (cluster[:N] == c).sum(), rtol=1e-5)
    assert len(made) - len(both) == sum(np.ceil((M - N) * share) for share in shares.values())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_make_pairs_draws_bases_by_weight(strategy: Strategy) -> None:
    own, others, _, _ = two_classes()
    pairs = pairs_of(strategy, n_samples=8000)
    parents, weights = numbers_of(pairs), np.array(pairs["weights"].to_list())
    plan = plan_pairs(strategy, own, others=others)
    expected = 8000 * plan.weights / plan.weights.sum()
    drawn = np.bincount(parents[:, 0], minlength=N)
    assert (drawn[expected == 0] == 0).all()
    cells = (expected > 0).sum()
    statistic = ((drawn - expected)[expected > 0] ** 2 / expected[expected > 0]).sum()
    assert statistic < cells + 6 * np.sqrt(2 * cells)
    lam = weights[:, 1]
    assert np.allclose(weights.sum(axis=1), 1, rtol=0, atol=1e-15)
    if plan.neighbors is None:
        assert (parents[:, 0] != parents[:, 1]).all()
        assert abs(parents[:, 1].mean() - (N - 1) / 2) < 1
    else:
        rank = (plan.neighbors[parents[:, 0]] == parents[:, 1:]).argmax(axis=1)
        assert np.array_equal(plan.neighbors[parents[:, 0], rank], parents[:, 1])
        assert np.allclose(np.bincount(rank) / 8000, 0.2, atol=0.03)
        if plan.reach is not None:
            lam = lam / plan.reach[parents[:, 0], rank]
    assert abs(lam.mean() - 0.5) < 0.02
    assert lam.min() >= 0
    assert lam.max() <= 1


# properties of all


@pytest.mark.parametrize("n_parents", [2, 4])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_make_pairs_of_any_strategy_ignores_order(strategy: Strategy, n_parents: int) -> None:
    own, others, _, _ = two_classes()
    ids, rng = [f"t{i:03d}" for i in range(N)], np.random.default_rng(3)
    order, other_order = rng.permutation(N), rng.permutation(M)
    shuffled, _ = make_pairs(
        [ids[i] for i in order],
        own[order],
        run="r",
        label="a",
        slug="s",
        n_samples=500,
        n_parents=n_parents,
        strategy=strategy,
        others=others[other_order],
        neighbors=nearest_neighbors(own[order], k=7),
    )
    assert shuffled.schema == CLASS_PAIRS
    assert shuffled[:300].equals(pairs_of(strategy, n_parents=n_parents))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_make_pairs_of_more_parents(strategy: Strategy) -> None:
    own, others, _, _ = two_classes()
    pairs = pairs_of(strategy, n_parents=4)
    parents, weights = numbers_of(pairs), np.array(pairs["weights"].to_list())
    assert parents.shape == weights.shape == (300, 4)
    assert all(len(set(row)) == 4 for row in parents.tolist())
    assert np.array_equal(parents[:, :2], numbers_of(pairs_of(strategy)))
    assert np.allclose(weights.sum(axis=1), 1, rtol=0, atol=1e-15)
    plan = plan_pairs(strategy, own, others=others)
    if plan.neighbors is not None:
        near = plan.neighbors[parents[:, 0]]
        assert (parents[:, 1:, None] == near[:, None, :]).any(axis=2).all()
    if strategy != "svm":  # convex: inside its parents
        assert weights.min() >= 0
        mixed = interpolate(pairs, [f"t{i:03d}" for i in range(N)], own, mixing="linear")
        assert (mixed <= own[parents].max(axis=1) + 1e-6).all()
        assert (mixed >= own[parents].min(axis=1) - 1e-6).all()


def test_make_pairs_svm_goes_beyond_safe_bases() -> None:
    own = two_classes()[0]
    pairs = pairs_of("svm", lam=1.0)
    weights = {tuple(row) for row in pairs["weights"].to_list()}
    assert weights == {(0.0, 1.0), (1.5, -0.5)}
    base, neighbor = own[numbers_of(pairs)].transpose(1, 0, 2)
    out = np.array(pairs["weights"].to_list())[:, 1] < 0
    mixed = interpolate(pairs, [f"t{i:03d}" for i in range(N)], own, mixing="linear")
    assert np.allclose(mixed[out], (base + 0.5 * (base - neighbor))[out], atol=1e-6)
    unmoved = pairs_of("svm", lam=0.0)["weights"].to_list()
    assert {str(weight) for row in unmoved for weight in row} == {"1.0", "0.0"}  # no -0.0


def test_foreign_neighbors_golden() -> None:
    own = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    others = np.array([[2.0, 0.0], [1.0, 0.1], [-1.0, 0.0]])
    # row 0: its other-class twin, then (1, .1), then (1, 1); a tie at row 1 with (±1, 0) none
    assert foreign_neighbors(own, others, k=3).tolist() == [
        [True, True, False],
        [False, True, False],
        [True, False, False],
    ]
    assert foreign_neighbors(own, others, k=9).shape == (3, 5)


# classes too small, or without what a strategy looks for


def note_of(strategy: Strategy, own: Vectors, others: Vectors | None, **options: Any) -> str | None:
    ids = [f"t{i:03d}" for i in range(len(own))]
    pairs, note = make_pairs(
        ids,
        own,
        run="r",
        label="a",
        slug="s",
        n_samples=20,
        strategy=strategy,
        others=others,
        **options,
    )
    assert pairs.height == 20
    assert np.isfinite(interpolate(pairs, ids, own, mixing="spherical")).all()
    return note


SMOTE_INSTEAD = "; as in SMOTE, every text may be a base"


@pytest.mark.parametrize("n_parents", [2, 3])
@pytest.mark.parametrize("n_others", [None, 0, 1, 40])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_make_pairs_of_tiny_classes(
    strategy: Strategy, n: int, n_others: int | None, n_parents: int
) -> None:
    own = unit_vectors(n, seed=0, centre=1)
    others = None if n_others is None else unit_vectors(n_others, seed=1, centre=0)
    note = note_of(strategy, own, others, n_parents=n_parents)
    if n == 1:
        assert note == "only one text: its own vector is decoded"
        return
    looks_around = strategy in ("borderline-1", "borderline-2", "adasyn", "svm")
    assert ("no text of another class was given" in (note or "")) == (looks_around and not n_others)
    assert (f"only {n} texts: k_neighbors" in (note or "")) == (strategy != "random")
    assert ("only 2 texts: n_parents 2 instead of 3" in (note or "")) == (n == 2 and n_parents == 3)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_make_pairs_of_identical_vectors(strategy: Strategy) -> None:
    own, others = (
        np.tile(unit_vectors(1, seed=0, centre=0), (12, 1)),
        -unit_vectors(30, seed=0, centre=0),
    )
    note = note_of(strategy, own, others)
    assert note is not None
    assert "all 12 texts have the same vector" in note


def test_make_pairs_says_what_the_strategy_lacks() -> None:
    near, far = unit_vectors(30, seed=0, centre=9), -unit_vectors(50, seed=1, centre=9)
    assert note_of("borderline-1", near, far) == (
        "borderline-1: no text is in danger" + SMOTE_INSTEAD
    )
    assert note_of("adasyn", near, far) == (
        "adasyn: no text has another class among its nearest" + SMOTE_INSTEAD
    )
    noise = np.vstack([near[:1], far[:1]])  # each lies among the other class
    others = np.vstack([near[1:], far[1:]])
    assert note_of("svm", noise, others, k_neighbors=1, m_neighbors=3) == (
        "svm: no support vector of this class but noise" + SMOTE_INSTEAD
    )
    scattered = unit_vectors(9, seed=2, centre=0)
    assert note_of("kmeans", scattered, others, k_neighbors=5) == (
        "kmeans: no cluster holds more than 5 texts of this class" + SMOTE_INSTEAD
    )
    assert note_of("borderline-1", near[:2], far[:2], k_neighbors=1) == (
        "only 4 texts in all: m_neighbors 3 instead of 10"
    )


def test_make_pairs_kmeans_takes_above_average_clusters() -> None:
    own, others = unit_vectors(60, seed=0, centre=0), unit_vectors(600, seed=1, centre=0)
    assert note_of("kmeans", own, others, k_neighbors=3) == (
        "kmeans: no cluster of more than 3 texts of this class is half of it; those with its "
        "overall share of 9.1% or more instead"
    )
    plan = plan_pairs("kmeans", own, others=others, k_neighbors=3)
    assert 0 < (plan.weights > 0).sum() < 60


def test_make_pairs_kmeans_needs_no_other_class() -> None:
    assert note_of("kmeans", unit_vectors(60, seed=0, centre=0), None, k_neighbors=2) is None
