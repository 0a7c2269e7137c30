from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from smotext_core.neighbors import exact as neighbors
from smotext_core.privacy import attacks as privacy
from smotext_core.privacy import membership
from smotext_core.schemas import PRIVACY_AUDIT

STATISTICAL = ["dcr_train_share", "nndr_ratio", "membership_auc", "membership_tpr_at_1_fpr"]
ALL = [
    *("identical_share", "copied_run_share", *STATISTICAL),
    *("reconstruction_recall_vectors", "reconstruction_recall_texts", "canary_share"),
    *("replayed_identifiers", "replayed_names"),
]
NOT_JUDGED = {"reconstruction_recall_vectors": None, "canary_share": None}


def draw(n: int, seed: int, d: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def sentences(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in rng.integers(0, 5000, 20)) for _ in range(n)]


TRAIN, HOLDOUT, HONEST = draw(300, 1), draw(150, 2), draw(200, 3)
TEXTS = {"train": sentences(300, 1), "holdout": sentences(150, 2), "honest": sentences(200, 3)}


def audit(
    synthetic: np.ndarray = HONEST,
    synthetic_texts: list[str] = TEXTS["honest"],
    holdout_rows: int = 150,
    train_rows: int = 300,
) -> pl.DataFrame:
    return privacy.audit(
        run="r",
        synthetic_texts=synthetic_texts,
        train_texts=TEXTS["train"][:train_rows],
        holdout_texts=TEXTS["holdout"][:holdout_rows],
        synthetic=synthetic,
        train=TRAIN[:train_rows],
        holdout=HOLDOUT[:holdout_rows],
        seed=0,
    )


def verdicts(frame: pl.DataFrame) -> dict[str, bool | None]:
    return dict(frame.select("measure", "passed").iter_rows())


# -- texts


def test_identical_share_counts_equal_words() -> None:
    real = ["The patient slept.", "No change"]
    assert privacy.identical_share(["the patient, slept", "no", "NO CHANGE!", "x"], real) == 0.5
    assert privacy.identical_share(["something new"], real) == 0


def test_copied_run_share_gives_share_and_longest() -> None:
    real = ["one two three four five six seven eight nine ten"]
    texts = ["so " + real[0], "one two three four five six seven eight, not nine", "nothing"]
    assert privacy.copied_run_share(texts, real) == (1 / 3, 10)
    assert privacy.copied_run_share(texts, real, min_copied_words=8) == (2 / 3, 10)


def test_audit_refuses_no_rows() -> None:
    with pytest.raises(ValueError, match="an audit needs a synthetic text or more, got none"):
        leak(synthetic_texts=[], synthetic=np.zeros((0, 16)))


# -- distances


@pytest.mark.parametrize("n_records", [5, 63, 200, 1000])
def test_nearest_records_agrees_with_a_full_sort(n_records: int) -> None:
    queries, records = draw(300, 4), draw(n_records, 5)
    unit_queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    unit_records = records / np.linalg.norm(records, axis=1, keepdims=True)
    expected = 1 - unit_queries @ unit_records.T
    distances, found = neighbors.nearest_records(queries, records, k=5)
    np.testing.assert_array_equal(found, np.argsort(expected, axis=1)[:, :5])
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :5], atol=1e-5)


def test_nearest_records_distance_of_a_scaled_copy_is_zero() -> None:
    distances, found = neighbors.nearest_records(TRAIN[:10] * 3, TRAIN, k=1)
    assert found[:, 0].tolist() == list(range(10))
    assert (distances == 0).all()


def test_nearest_records_refuses_too_few_records() -> None:
    with pytest.raises(ValueError, match="number of records, 1; got 2"):
        neighbors.nearest_records(TRAIN, HOLDOUT[:1], k=2)


def test_dcr_golden_distances() -> None:
    to_train, to_holdout = membership.dcr([[1.0, 0.0]], [[1.0, 1.0]], [[0.0, 1.0]])
    np.testing.assert_allclose(to_train, [1 - 2**-0.5], rtol=1e-5)
    np.testing.assert_allclose(to_holdout, [1.0], rtol=1e-5)


def test_equal_numbers_of_documents_are_compared() -> None:
    # Ten times the records are nearer on average; equal numbers are not.
    many, few = draw(1500, 6), draw(150, 7)
    kept, kept_few = membership.equal_numbers(np.arange(1500) // 2, np.arange(150) // 2, seed=0)
    share = membership.dcr_train_share(*membership.dcr(HONEST, many[kept], few[kept_few]))
    unequal = membership.dcr_train_share(*membership.dcr(HONEST, many, few))
    assert kept_few.all()
    assert kept.sum() == 150
    assert (kept[0::2] == kept[1::2]).all()  # whole documents
    assert 0.4 < share < 0.6
    assert unequal > 0.8


def test_dcr_train_share_counts_ties_half() -> None:
    to_train, to_holdout = np.array([0.1, 0.2, 0.3, 0.0]), np.array([0.2, 0.1, 0.3, 0.0])
    assert membership.dcr_train_share(to_train, to_holdout) == 0.5


def test_nndr_golden_and_doubled_record() -> None:
    records = [[1.0, 1.0], [0.0, 1.0]]
    np.testing.assert_allclose(membership.nndr([[1.0, 0.0]], records), [1 - 2**-0.5], rtol=1e-5)
    assert membership.nndr([[1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]).tolist() == [0.0]


# -- membership


def attacked(
    synthetic: npt.ArrayLike, train: npt.ArrayLike, holdout: npt.ArrayLike
) -> tuple[float, float, float, float]:
    """AUC, its interval and the share of members found, every row a document."""
    score, member = membership.attack(synthetic, train, holdout)
    found = membership.counts(score, member)
    low, high = membership.auc_interval(score, member, np.arange(len(score)), seed=0, n_draws=200)
    return membership.auc(*found), low, high, membership.tpr_at_1_fpr(*found)


def test_membership_inference_finds_copied_rows() -> None:
    assert attacked(TRAIN, TRAIN, HOLDOUT) == (1.0, 1.0, 1.0, 1.0)


def test_membership_inference_guesses_on_an_honest_sample() -> None:
    auc, low, high, found = attacked(HONEST, TRAIN, HOLDOUT)
    assert low < 0.5 < high
    assert low < auc < high
    assert found < 0.06


def test_membership_inference_golden_auc() -> None:
    # Cosines to (1, 0): train .8 and 0, holdout .6 and -1: 3 of 4 pairs are in order.
    auc, _, _, found = attacked([[1.0, 0.0]], [[0.8, 0.6], [0.0, 1.0]], [[0.6, 0.8], [-1.0, 0.0]])
    assert auc == 0.75
    assert found == 0.5  # .8 is above every holdout row


def test_an_interval_of_documents_is_wider_than_one_of_their_passages() -> None:
    # Ten passages of a document with one score tell no more than one of them.
    score = np.repeat(np.random.default_rng(0).permutation(60), 10)
    member = np.arange(600) < 300
    low, high = membership.auc_interval(score, member, np.arange(600) // 10, seed=0)
    narrow_low, narrow_high = membership.auc_interval(score, member, np.arange(600), seed=0)
    assert high - low > 2 * (narrow_high - narrow_low)
    alone = membership.auc_interval(score[::10], member[::10], np.arange(60), seed=0)
    assert (low, high) == alone


# -- audit: each measure turns red on a planted leak and stays green on an honest sample


def test_audit_is_green_on_an_honest_sample() -> None:
    frame = audit()
    assert frame.schema == PRIVACY_AUDIT
    assert frame["measure"].to_list() == ALL
    assert verdicts(frame) == dict.fromkeys(ALL, True) | NOT_JUDGED
    guess = frame.row(by_predicate=pl.col("measure") == "membership_auc", named=True)
    assert guess["low"] < 0.5 < guess["high"]
    assert frame["low"].null_count() == len(ALL) - 1


def test_audit_is_red_on_copied_vectors_and_texts() -> None:
    frame = audit(TRAIN[:200], TEXTS["train"][:200])
    for measure in ("identical_share", "copied_run_share", *STATISTICAL):
        assert verdicts(frame)[measure] is False


def test_audit_is_red_on_one_copied_text() -> None:
    frame = audit(synthetic_texts=[TEXTS["train"][7], *TEXTS["honest"][1:]])
    assert verdicts(frame)["identical_share"] is False
    assert frame["value"][0] == 1 / 200


def test_audit_is_red_on_a_copied_run_in_a_new_text() -> None:
    borrowed = " ".join(TEXTS["train"][7].split()[:9])
    frame = audit(synthetic_texts=[f"{borrowed} and then", *TEXTS["honest"][1:]])
    assert verdicts(frame)["identical_share"] is True
    assert verdicts(frame)["copied_run_share"] is False


def test_audit_is_red_on_plain_smote_vectors() -> None:
    # What "SMOTE and Mirrors" says of interpolated vectors, seen by these measures.
    rng = np.random.default_rng(0)
    base = rng.integers(0, 300, 200)
    neighbour = neighbors.nearest_records(TRAIN, TRAIN, k=6)[1][base, rng.integers(1, 6, 200)]
    lam = rng.random((200, 1))
    frame = audit(((1 - lam) * TRAIN[base] + lam * TRAIN[neighbour]).astype(np.float32))
    assert [verdicts(frame)[measure] for measure in STATISTICAL] == [False] * 4


def test_audit_false_alarms_are_rare() -> None:
    alarms = 0
    for seed in range(10, 22):
        frame = audit(draw(200, seed), sentences(200, seed))
        alarms += sum(passed is False for passed in frame["passed"])
    assert alarms <= 3  # 48 statistical verdicts at 1 in 100


def test_passages_of_one_document_do_not_raise_false_alarms() -> None:
    # Documents of eight near passages each: what chance gives is a matter of the documents.
    n_documents, alarms = {"train": 60, "holdout": 25, "made": 25}, {"documents": 0, "rows": 0}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        sides = {}
        for side, n in n_documents.items():
            middle = np.repeat(rng.normal(size=(n, 16)), 8, axis=0)
            sides[side] = (middle + 0.3 * rng.normal(size=middle.shape)).astype(np.float32)
        for by, size in (("documents", 8), ("rows", 1)):
            frame = privacy.audit(
                run="r",
                synthetic_texts=sentences(200, 3),
                train_texts=sentences(480, 1),
                holdout_texts=sentences(200, 2),
                synthetic=sides["made"],
                train=sides["train"],
                holdout=sides["holdout"],
                train_documents=[str(row // size) for row in range(480)],
                holdout_documents=[str(row // size) for row in range(200)],
                seed=0,
            )
            judged = frame.filter(pl.col("measure").is_in(STATISTICAL))["passed"]
            assert judged.null_count() == 0
            alarms[by] += int((~judged).sum())
    assert alarms["documents"] == 0  # 16 verdicts at 1 in 100
    assert alarms["rows"] >= 2


@pytest.mark.parametrize("rows", [{"holdout_rows": 19}, {"train_rows": 19}])
def test_audit_does_not_judge_by_few_rows(rows: dict[str, int]) -> None:
    frame = audit(**rows)  # type: ignore[arg-type]
    few = frame.filter(pl.col("measure").is_in(STATISTICAL))
    assert few["value"].null_count() == 0
    assert few["threshold"].null_count() == few["passed"].null_count() == 4
    assert verdicts(frame)["identical_share"] is True


def test_audit_counts_documents_not_passages() -> None:
    names = {"train_documents": [str(row) for row in range(300)]}
    few = leak(**names, holdout_documents=[str(row % 19) for row in range(150)])
    enough = leak(**names, holdout_documents=[str(row % 20) for row in range(150)])
    assert few.filter(pl.col("measure").is_in(STATISTICAL))["passed"].null_count() == 4
    assert enough.filter(pl.col("measure").is_in(STATISTICAL))["passed"].null_count() == 0
    with pytest.raises(ValueError, match="holdout must name one document a text; got 150 texts"):
        leak(**names, holdout_documents=["one"])


def test_audit_without_holdout_has_no_value() -> None:
    frame = audit(holdout_rows=0)
    assert frame["value"].null_count() == 6  # STATISTICAL, canaries and mixed vectors
    assert frame["passed"].null_count() == 8  # and what only chance could judge
    assert audit(TRAIN[:200], TEXTS["train"][:200], 0)["passed"].to_list()[:2] == [False, False]


def test_audit_gives_the_same_rows_again() -> None:
    assert audit().equals(audit())


def test_audit_refuses_texts_and_vectors_that_differ_in_number() -> None:
    with pytest.raises(ValueError, match="synthetic must hold one vector a text; got 200 texts"):
        audit(HONEST[:10])


# -- the leaks that are planted for one measure each


def leak(**given: object) -> pl.DataFrame:
    arguments: dict[str, object] = {
        "run": "r",
        "synthetic_texts": TEXTS["honest"],
        "train_texts": TEXTS["train"],
        "holdout_texts": TEXTS["holdout"],
        "synthetic": HONEST,
        "train": TRAIN,
        "holdout": HOLDOUT,
        "seed": 0,
    }
    return privacy.audit(**(arguments | given))  # type: ignore[arg-type]


def test_reconstruction_is_red_on_texts_that_keep_the_lines_and_reported_for_vectors() -> None:
    train, holdout = draw(60, 8, d=64), draw(60, 9, d=64)
    rng = np.random.default_rng(0)
    base = rng.integers(0, 60, 200)
    neighbour = neighbors.nearest_records(train, train, k=6)[1][base, rng.integers(1, 6, 200)]
    lam = rng.random((200, 1))
    mixed = (1 - lam) * train[base] + lam * train[neighbour]
    texts = {"train_texts": TEXTS["train"][:60], "holdout_texts": TEXTS["holdout"][:60]}
    frame = leak(synthetic=mixed, vectors=mixed, train=train, holdout=holdout, **texts)
    rows = {row["measure"]: row for row in frame.iter_rows(named=True)}
    vectors = rows["reconstruction_recall_vectors"]
    assert vectors["value"] > 0.5
    assert vectors["reference"] == 0
    assert vectors["threshold"] is vectors["passed"] is None
    assert rows["reconstruction_recall_texts"]["passed"] is False
    honest = leak(synthetic=draw(200, 10, d=64), train=train, holdout=holdout, **texts)
    assert verdicts(honest)["reconstruction_recall_texts"] is True


def test_canary_share_is_red_on_one_planted_word() -> None:
    planted = "the zorbaline of the harbour sings at noon"
    train = [planted, *TEXTS["train"][1:]]
    clean = leak(train_texts=train, canaries=[planted])
    assert verdicts(clean)["canary_share"] is True
    made = ["he took Zorbaline", *TEXTS["honest"][1:]]
    found = leak(train_texts=train, canaries=[planted], synthetic_texts=made)
    assert verdicts(found)["canary_share"] is False


@pytest.mark.parametrize(
    "identifier", ["ada.q@example.org", "+44 20 7946 0018", "(555) 010-2233", "8841273"]
)
def test_replayed_identifiers_is_red_on_one_identifier(identifier: str) -> None:
    train = [f"ask under {identifier} today", *TEXTS["train"][1:]]
    made = [f"so {identifier} it was", *TEXTS["honest"][1:]]
    frame = leak(train_texts=train, synthetic_texts=made)
    assert verdicts(frame)["replayed_identifiers"] is False
    assert verdicts(leak(train_texts=train))["replayed_identifiers"] is True
    both = leak(train_texts=train, synthetic_texts=made, holdout_texts=[train[0]] * 150)
    assert verdicts(both)["replayed_identifiers"] is True  # a holdout text has it too


def test_replayed_names_is_red_on_train_names_and_green_on_names_of_both_sides() -> None:
    def named(prefix: str, n: int) -> list[str]:
        return [f"we saw {prefix}{chr(97 + i // 26)}{chr(97 + i % 26)} again" for i in range(n)]

    train, holdout = named("Aro", 300), named("Bel", 150)
    red = leak(train_texts=train, holdout_texts=holdout, synthetic_texts=named("Aro", 200))
    assert verdicts(red)["replayed_names"] is False
    mixed = named("Aro", 134)[:134] + named("Bel", 66)
    green = leak(train_texts=train, holdout_texts=holdout, synthetic_texts=mixed)
    assert verdicts(green)["replayed_names"] is True
