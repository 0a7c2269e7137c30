from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, f1_score

from smotext_core.efficacy.advice import best_with_rows, verdicts
from smotext_core.efficacy.arms import designs, edited_rows, subsample
from smotext_core.efficacy.evaluation import (
    ARMS,
    CHEAP,
    FEW_ROWS,
    METRICS,
    WITH_ROWS,
    evaluate,
    predict,
    scores,
)
from smotext_core.efficacy.word_edits import edit_texts
from smotext_core.schemas import EVALUATION
from smotext_core.xrag.encoder import read_embedder
from tests.tiny import write_encoder

WORDS = {
    "rare": ["ulcer", "biopsy", "mucosa", "polyp", "antrum", "reflux", "gastric", "lesion"],
    "common": ["fracture", "cast", "femur", "tibia", "splint", "joint", "tendon", "screw"],
}
SHARED = ("patient", "was", "seen", "today", "plan", "return", "weeks", "other", "change", "no")
DIMENSION = 30


def make_rows(n_rare: int, n_common: int, *, prefix: str, seed: int) -> pl.DataFrame:
    """Texts with few telling words; what a row says is a function of its label and the seed."""
    rng = np.random.default_rng(seed)
    labels = ["rare"] * n_rare + ["common"] * n_common
    texts = [" ".join([*rng.choice(WORDS[label], 2), *rng.choice(SHARED, 8)]) for label in labels]
    ids = [f"{prefix}{i}" for i in range(len(labels))]
    return pl.DataFrame(
        {"text_id": ids, "document_id": ids, "text": texts, "label": labels, "slug": labels}
    )


def vectors_of(rows: pl.DataFrame, *, seed: int) -> np.ndarray:
    """(n, DIMENSION) float32: two clouds that a few examples do not tell apart, many do."""
    rng = np.random.default_rng(seed)
    side = np.where(rows["label"] == "rare", 0.3, -0.3)
    return (rng.normal(size=(rows.height, DIMENSION)) + side[:, None]).astype(np.float32)


def as_synthetic(rows: pl.DataFrame, train: pl.DataFrame, *, label: str) -> pl.DataFrame:
    """`rows` as if decoded under `label`, each from one text of that label, in turn."""
    parents = train.filter(pl.col("label") == label)["text_id"].to_list()
    return pl.DataFrame(
        {
            "text": rows["text"],
            "label": [label] * rows.height,
            "parent_ids": [[parents[i % len(parents)]] for i in range(rows.height)],
        },
        schema_overrides={"parent_ids": pl.List(pl.String)},
    )


@pytest.fixture(scope="module")
def corpus() -> dict[str, pl.DataFrame | np.ndarray]:
    train = make_rows(6, 60, prefix="train", seed=1)
    test = make_rows(40, 60, prefix="test", seed=2)
    return {
        "train": train,
        "train_embeddings": vectors_of(train, seed=3),
        "test": test,
        "test_embeddings": vectors_of(test, seed=4),
    }


def encode(texts):
    """(n, DIMENSION) float32: a text's side is that of the words it has more of."""
    out = np.empty((len(texts), DIMENSION), dtype=np.float32)
    for row, text in enumerate(texts):
        words = text.split()
        side = sum((word in WORDS["rare"]) - (word in WORDS["common"]) for word in words)
        noise = np.random.default_rng([len(text), *text.encode()]).normal(size=DIMENSION)
        out[row] = noise + 0.3 * np.sign(side)
    return out


def run_with(corpus, synthetic, synthetic_embeddings, **options):
    return evaluate(
        corpus["train"], corpus["train_embeddings"], corpus["test"], corpus["test_embeddings"],
        synthetic, synthetic_embeddings,
        run="r1", **{"n_seeds": 3, "encode": encode, **options},
    )  # fmt: skip


@pytest.fixture(scope="module")
def helped(corpus):
    """The synthetic rows are new draws of the rare class itself: the best there could be."""
    fresh = make_rows(60, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    return run_with(corpus, synthetic, vectors_of(fresh, seed=6))


def verdict(evaluation: pl.DataFrame, head: str, arm: str, metric: str, label: str | None) -> str:
    row = evaluation.filter(
        pl.col("head") == head, pl.col("arm") == arm, pl.col("metric") == metric,
        pl.col("label").eq_missing(pl.lit(label)),
    )  # fmt: skip
    return row["verdict"].item()


def test_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, 50), rng.integers(0, 4, 50)
    weights = rng.integers(0, 4, (5, 50)).astype(np.float64)
    weights[0] = 1
    found = scores(truth, predicted, weights, n_labels=4)
    for row, sample_weight in zip(found, weights, strict=True):
        f1 = [
            f1_score(
                truth, predicted, labels=[0, 1, 2], average=average, sample_weight=sample_weight
            )
            for average in ("macro", "weighted", None)
        ]
        accuracy = accuracy_score(truth, predicted, sample_weight=sample_weight)
        np.testing.assert_allclose(row[:3], [accuracy, f1[0], f1[1]], rtol=1e-12)
        np.testing.assert_allclose(row[3:6], f1[2], rtol=1e-12)
        assert np.isnan(row[6])  # label 3 is never true


def test_scores_golden_values():
    # two of label 0 (one found), two of label 1 (both found, one too many)
    found = scores(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.ones((1, 4)), n_labels=2)
    np.testing.assert_allclose(found, [[0.75, (2 / 3 + 0.8) / 2, (2 / 3 + 0.8) / 2, 2 / 3, 0.8]])


def test_evaluate_finds_planted_help(helped):
    for head in ("embedding", "tfidf"):
        assert verdict(helped, head, "smotext", "f1", "rare") == "helps"
        assert verdict(helped, head, "smotext", "macro_f1", None) != "hurts"


def test_evaluate_finds_planted_harm(corpus):
    # rows of the common class under the rare label, enough to outnumber it
    fresh = make_rows(0, 200, prefix="new", seed=7)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    found = run_with(corpus, synthetic, vectors_of(fresh, seed=8))
    for head in ("embedding", "tfidf"):
        assert verdict(found, head, "smotext", "f1", "common") == "hurts"


def test_evaluate_gives_copies_no_more_than_duplicates(corpus):
    rare = corpus["train"]["label"] == "rare"
    originals = corpus["train"].filter(rare)
    synthetic = as_synthetic(pl.concat([originals] * 9), corpus["train"], label="rare")
    copies = np.tile(corpus["train_embeddings"][rare.to_numpy()], (9, 1))
    found = run_with(corpus, synthetic, copies)
    value = {
        (row["head"], row["arm"]): row["value"]
        for row in found.filter(pl.col("metric") == "accuracy").iter_rows(named=True)
    }
    for head in ("embedding", "tfidf"):
        assert verdict(found, head, "smotext", "accuracy", None) != "hurts"
        assert abs(value[head, "smotext"] - value[head, "oversample"]) < 0.05


def test_evaluate_is_a_table_of_every_head_arm_and_metric(helped):
    assert helped.schema == EVALUATION
    assert set(zip(helped["head"], helped["arm"], strict=True)) == {
        *(("embedding", arm) for arm in ARMS),
        *(("tfidf", arm) for arm in ARMS if arm not in ("smote", "mixup")),
    }
    keys = helped.select("head", "arm", "metric", "label")
    assert keys.is_unique().all()
    assert set(helped["metric"]) == {*METRICS, "f1"}
    assert helped["value"].is_between(0, 1).all()
    real = helped.filter(pl.col("arm") == "real")
    assert real.select("difference", "low", "high", "verdict").null_count().row(0) == (10,) * 4
    others = helped.filter(pl.col("arm") != "real")
    assert (others["low"] <= others["difference"] + 1e-12).all()
    assert (others["high"] >= others["difference"] - 1e-12).all()


def test_evaluate_pairs_differences_with_real(helped):
    values = helped.pivot("arm", index=["head", "metric", "label"], values="value")
    rows = helped.filter(pl.col("arm") == "smotext").join(
        values, on=["head", "metric", "label"], nulls_equal=True
    )
    np.testing.assert_allclose(rows["difference"], rows["smotext"] - rows["real"], atol=1e-12)


def test_evaluate_repeats_itself_and_follows_the_seed(corpus, helped):
    fresh = make_rows(60, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    again = run_with(corpus, synthetic, vectors_of(fresh, seed=6))
    assert again.equals(helped)
    assert not run_with(corpus, synthetic, vectors_of(fresh, seed=6), seed=1).equals(helped)


def test_evaluate_drops_rows_whose_parents_the_subsample_left_out(corpus):
    # Every synthetic row needs all six rare texts, of which a subsample keeps four: none remains.
    fresh = make_rows(60, 0, prefix="new", seed=5)
    everyone = corpus["train"].filter(pl.col("label") == "rare")["text_id"].to_list()
    synthetic = as_synthetic(fresh, corpus["train"], label="rare").with_columns(
        parent_ids=pl.Series([everyone] * 60)
    )
    found = run_with(corpus, synthetic, vectors_of(fresh, seed=6))
    differences = found.filter(
        pl.col("arm").is_in(("oversample", "smote", "word_edits", "smotext", "smotext_alone"))
    )
    assert (differences["difference"] == 0).all()
    assert set(differences["verdict"]) == {"no evidence"}


def test_evaluate_without_synthetic_rows_has_no_arm_smotext(corpus):
    none = as_synthetic(make_rows(0, 0, prefix="new", seed=0), corpus["train"], label="rare")
    found = run_with(corpus, none, np.empty((0, DIMENSION), dtype=np.float32), n_seeds=1)
    assert set(found["arm"]) == {"real", "class_weight", "oversample", "smote", "mixup"}
    assert verdicts(found).is_empty()


def test_evaluate_leaves_out_f1_of_a_label_without_test_rows(corpus):
    only_common = corpus["test"]["label"] == "common"
    part = {
        **corpus,
        "test": corpus["test"].filter(only_common),
        "test_embeddings": corpus["test_embeddings"][only_common.to_numpy()],
    }
    none = as_synthetic(make_rows(0, 0, prefix="new", seed=0), corpus["train"], label="rare")
    found = run_with(part, none, np.empty((0, DIMENSION), dtype=np.float32), n_seeds=1)
    assert set(found.filter(pl.col("metric") == "f1")["label"]) == {"common"}
    wide = found.filter(pl.col("arm") == "real", pl.col("head") == "tfidf")
    macro = wide.filter(pl.col("metric") == "macro_f1")["value"].item()
    assert macro == wide.filter(pl.col("metric") == "f1")["value"].item()


def test_evaluate_never_judges_a_label_on_few_test_documents(corpus):
    keep = (corpus["test"]["label"] == "common") | corpus["test"]["text_id"].is_in(
        ["test0", "test1"]
    )
    part = {
        **corpus,
        "test": corpus["test"].filter(keep),
        "test_embeddings": corpus["test_embeddings"][keep.to_numpy()],
    }
    fresh = make_rows(60, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    found = run_with(part, synthetic, vectors_of(fresh, seed=6))
    rare = found.filter(pl.col("label") == "rare", pl.col("arm") != "real")
    assert set(rare["verdict"]) == {"no evidence"}


def test_evaluate_survives_labels_of_one_document_and_texts_without_words():
    rows = make_rows(1, 1, prefix="a", seed=1).with_columns(text=pl.Series(["!!! ???", "…"]))
    test = make_rows(1, 1, prefix="b", seed=2)
    synthetic = as_synthetic(make_rows(3, 0, prefix="c", seed=3), rows, label="rare")
    found = evaluate(
        rows, vectors_of(rows, seed=1), test, vectors_of(test, seed=2),
        synthetic, np.ones((3, DIMENSION), dtype=np.float32), run="r", n_seeds=1,
    )  # fmt: skip
    assert not found["value"].is_nan().any()


def test_evaluate_refuses_leaks_and_misfits(corpus):
    none = as_synthetic(make_rows(0, 0, prefix="new", seed=0), corpus["train"], label="rare")
    no_vectors = np.empty((0, DIMENSION), dtype=np.float32)
    stranger = pl.DataFrame({"text": ["x"], "label": ["rare"], "parent_ids": [["test0"]]})
    with pytest.raises(ValueError, match="parents are not among them, such as 'test0'"):
        run_with(corpus, stranger, np.ones((1, DIMENSION), dtype=np.float32))
    with pytest.raises(ValueError, match=r"synthetic needs one vector a row: 1 rows"):
        run_with(corpus, stranger.with_columns(parent_ids=pl.Series([["train0"]])), no_vectors)
    leaky = {**corpus, "test": corpus["train"], "test_embeddings": corpus["train_embeddings"]}
    with pytest.raises(ValueError, match="must not share documents; 66 are in both"):
        run_with(leaky, none, no_vectors)
    with pytest.raises(ValueError, match="needs two labels in train, got"):
        run_with(
            {**corpus, "train": corpus["train"].with_columns(label=pl.lit("rare"))},
            none,
            no_vectors,
        )
    with pytest.raises(ValueError, match="no test rows"):
        run_with({**corpus, "test": corpus["test"].clear()}, none, no_vectors)
    broken = np.full_like(corpus["train_embeddings"], np.nan)
    with pytest.raises(ValueError, match="NaN or infinity"):
        run_with({**corpus, "train_embeddings": broken}, none, no_vectors)
    with pytest.raises(ValueError, match="n_seeds must be at least 1, got 0"):
        run_with(corpus, none, no_vectors, n_seeds=0)


def planned(corpus, n_made: int):
    """What each arm trains on: (seed, head, arm) → rows of features, codes, weights."""
    fresh = make_rows(n_made, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    edited = edited_rows(corpus["train"], synthetic, seed=0)
    texts = [*corpus["train"]["text"], *fresh["text"], *edited["text"], *corpus["test"]["text"]]
    # A row's only feature that is not zero is its number, so a fit shows which rows it had.
    pool = np.arange(1, len(texts) + 1, dtype=np.float32)[:, None] * np.ones(2, dtype=np.float32)
    found = {
        (number, arm): (np.rint(fitted[0][:, 0]).astype(int) - 1, fitted[1], fitted[2])
        for number, head, arm, fitted, *_ in designs(
            corpus["train"], corpus["test"], synthetic, edited, {}, {"embedding": pool},
            labels=["common", "rare"], run="r", n_seeds=2, seed=0,
        )
        if head == "embedding"
    }  # fmt: skip
    return found, synthetic, edited


def test_designs_add_as_many_rows_a_label_in_every_arm(corpus):
    found, synthetic, _ = planned(corpus, 60)
    for number in range(2):
        counts = {}
        for arm in ARMS:
            _, y, weights = found[number, arm]
            counts[arm] = np.bincount(y, weights=weights, minlength=2).tolist()
        real = np.bincount(found[number, "real"][1], minlength=2)
        added = counts["smotext"][1] - real[1]
        assert 0 < added < synthetic.height  # those whose parent is in the subsample
        for arm in ("oversample", "smote", "word_edits", "smotext"):
            assert counts[arm] == [real[0], real[1] + added]
        assert counts["smotext_word_edits"] == [real[0], real[1] + 2 * added]
        assert counts["smotext_alone"] == [real[0], added]
        for arm in ("class_weight", "smotext_class_weight"):
            np.testing.assert_allclose(counts[arm], sum(counts[arm]) / 2)
        rows = max(real.sum(), added)  # of mixup, each of them with the two codes' shares
        assert sum(counts["mixup"]) == pytest.approx(real.sum() + rows)


def test_designs_alone_have_no_real_row_of_the_augmented_labels(corpus):
    found, _, _ = planned(corpus, 60)
    n_train = corpus["train"].height
    for number in range(2):
        rows, y, _ = found[number, "smotext_alone"]
        assert (rows[y == 1] >= n_train).all()
        assert set(rows[y == 0]) == {r for r in found[number, "real"][0] if r >= 6}


def test_designs_edit_texts_of_the_subsample_alone(corpus):
    found, synthetic, edited = planned(corpus, 60)
    begin = corpus["train"].height + synthetic.height
    ids = corpus["train"]["text_id"].to_list()
    for number in range(2):
        real = {ids[int(row)] for row in found[number, "real"][0]}
        chosen = [int(row) - begin for row in found[number, "word_edits"][0] if row >= begin]
        assert chosen
        assert {edited["source"][row] for row in chosen} <= real


def test_edit_texts_repeats_itself_and_keeps_the_words_of_its_texts():
    texts = ["one two three four five six", "seven eight nine ten", "alone"]
    edited, sources = edit_texts(texts, 30, label="a", seed=1)
    assert (edited, sources) == edit_texts(texts, 30, label="a", seed=1)
    assert edited != edit_texts(texts, 30, label="a", seed=2)[0]
    assert edited[:10] == edit_texts(texts, 10, label="a", seed=1)[0]
    assert sources == [0, 1, 2] * 10
    known = {word for text in texts for word in text.split()}
    assert all(set(text.split()) <= known for text in edited)
    assert all(text == "alone" for text in edited[2::3])
    lengths = {len(text.split()) for text in edited[::3]}
    assert lengths == {5, 6, 7}  # deletion, swap, insertion
    assert edit_texts([], 3, label="a", seed=0) == ([], [])


def test_evaluate_with_another_encoder_has_its_head(corpus, tmp_path):
    other = read_embedder(str(write_encoder(tmp_path / "encoder")))
    fresh = make_rows(20, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    found = run_with(
        corpus, synthetic, vectors_of(fresh, seed=6), n_seeds=1, other_encode=other.encode
    )
    assert set(found.filter(pl.col("head") == "other_encoder")["arm"]) == set(ARMS)
    assert verdicts(found).columns == ["label", "embedding", "tfidf", "other_encoder", "advice"]


def test_evaluate_without_encode_has_no_word_edits(corpus):
    fresh = make_rows(20, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")
    found = run_with(corpus, synthetic, vectors_of(fresh, seed=6), n_seeds=1, encode=None)
    assert set(found["arm"]) == set(ARMS) - {"word_edits", "smotext_word_edits"}


def test_evaluate_gives_other_rows_arms_of_their_own(corpus):
    fresh = make_rows(60, 0, prefix="new", seed=5)
    found = as_synthetic(fresh, corpus["train"], label="rare")
    noise = as_synthetic(make_rows(0, 60, prefix="x", seed=7), corpus["train"], label="rare")
    table = run_with(
        corpus, noise, vectors_of(make_rows(0, 60, prefix="x", seed=7), seed=8),
        others={"found": (found, vectors_of(fresh, seed=6))},
    )  # fmt: skip
    assert verdict(table, "embedding", "smotext", "macro_f1", None) != "helps"
    assert verdict(table, "embedding", "found", "macro_f1", None) == "helps"
    assert set(table["arm"]) == {*ARMS, "found", "smotext_found"}
    stranger = found.with_columns(parent_ids=pl.Series([["nobody"]] * 60))
    with pytest.raises(ValueError, match="such as 'nobody'"):
        run_with(corpus, noise, vectors_of(fresh, seed=6),
                 others={"found": (stranger, vectors_of(fresh, seed=6))})  # fmt: skip


def test_evaluate_compares_made_rows_with_the_best_arm_that_costs_nothing(helped):
    macro = helped.filter(pl.col("metric") == "macro_f1")
    for head in ("embedding", "tfidf"):
        value = dict(macro.filter(pl.col("head") == head).select("arm", "value").iter_rows())
        best = max((arm for arm in CHEAP if arm in value), key=value.__getitem__)
        own = macro.filter(pl.col("head") == head, pl.col("arm").is_in(WITH_ROWS))
        assert set(own["cheap_arm"]) == {best}
        for arm, over in own.select("arm", "over_cheap").iter_rows():
            assert over == pytest.approx(value[arm] - value[best], abs=1e-12)
        arm = best_with_rows(helped).filter(pl.col("head") == head)["arm"].unique().item()
        assert value[arm] == max(value[arm] for arm in WITH_ROWS)
    assert helped.filter(pl.col("arm").is_in(("real", *CHEAP)))["over_cheap"].is_null().all()


def test_verdicts_advise_per_label(helped):
    found = verdicts(helped)
    assert found.columns == ["label", "embedding", "tfidf", "advice"]
    assert found["label"].to_list() == [None, "common", "rare"]
    assert found.row(2) == ("rare", "helps", "helps", "augment")


def test_verdicts_advise_what_costs_nothing_where_it_does_as_well():
    # of two heads: the rows over the best cheap arm, the rows alone, that arm alone; the advice
    none = "no evidence"
    cases = {
        "a": (("helps", none), ("helps", none), ("helps", none), "augment"),
        "b": (("helps", "hurts"), ("helps", none), (none, none), "do not augment"),
        "c": ((none, none), ("helps", none), ("helps", none), "use class weights"),
        "d": ((none, none), (none, none), (none, "helps"), "use word edits"),
        "e": ((none, none), ("helps", none), (none, none), "augment"),
        "f": (("hurts", none), ("helps", none), (none, none), "do not augment"),
        "g": ((none, none), (none, none), (none, none), "do not augment"),
    }
    cheap = {"embedding": "class_weight", "tfidf": "word_edits"}
    rows: list[dict[str, object]] = []
    for head, i in (("embedding", 0), ("tfidf", 1)):
        base = {"head": head, "cheap_arm": None, "over_verdict": None, "value": 0.5}
        own = base | {"arm": "smotext", "cheap_arm": cheap[head]}
        rows.append(own | {"metric": "macro_f1", "label": None, "verdict": none})
        rows[-1]["over_verdict"] = none
        for label, (over, gain, free, _) in cases.items():
            f1 = {"metric": "f1", "label": label}
            rows.append(own | f1 | {"verdict": gain[i], "over_verdict": over[i]})
            rows.append(base | f1 | {"arm": cheap[head], "verdict": free[i]})
    frame = pl.DataFrame(rows, infer_schema_length=None)
    advice = dict(verdicts(frame).drop_nulls("label").select("label", "advice").iter_rows())
    assert advice == {label: case[-1] for label, case in cases.items()}


def test_evaluation_imports_no_heavy_library():
    source = Path(evaluate.__code__.co_filename).read_text(encoding="utf-8")
    top = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert not [line for line in top if "sklearn" in line or "matplotlib" in line]


def test_predict_of_many_rows_agrees_with_that_of_few(corpus, monkeypatch):
    """Both solvers fit one model: what differs is where scikit-learn stops too early."""
    fresh = make_rows(60, 0, prefix="new", seed=5)
    synthetic = as_synthetic(fresh, corpus["train"], label="rare")

    def found(few_rows):
        monkeypatch.setattr("smotext_core.efficacy.evaluation.FEW_ROWS", few_rows)
        return predict(
            corpus["train"], corpus["train_embeddings"], corpus["test"], corpus["test_embeddings"],
            synthetic, vectors_of(fresh, seed=6),
            labels=["common", "rare"], run="r1", n_seeds=4, seed=0, encode=encode,
        )  # fmt: skip

    few, many = found(10_000), found(10)
    assert few.keys() == many.keys()
    agree = [np.mean(np.stack(few[key]) == np.stack(many[key])) for key in few]
    assert min(agree) > 0.9
    assert np.mean(agree) > 0.97
    again = found(10)
    assert all(np.array_equal(many[key], again[key]) for key in many)


def test_predict_leaves_few_rows_to_scikit_learn(corpus, monkeypatch):
    """The published figures are of fewer rows than FEW_ROWS and must come out the same."""

    def refuse(*_, **__):
        raise AssertionError("a corpus this small is scikit-learn's")

    monkeypatch.setattr("smotext_core.efficacy.evaluation.fit_softmax", refuse)
    assert corpus["train"].height <= FEW_ROWS
    empty = as_synthetic(make_rows(0, 0, prefix="new", seed=5), corpus["train"], label="rare")
    run_with(corpus, empty, np.zeros((0, DIMENSION), dtype=np.float32))
    monkeypatch.setattr("smotext_core.efficacy.evaluation.FEW_ROWS", corpus["train"].height - 1)
    with pytest.raises(AssertionError, match="scikit-learn's"):
        run_with(corpus, empty, np.zeros((0, DIMENSION), dtype=np.float32))


def test_subsample_keeps_or_leaves_a_document_with_all_its_labels():
    # of 30 documents all are of a, two in three also of b, the first of c alone beside
    of = {"a": range(30), "b": range(10, 30), "c": [0]}
    rows = [(str(n), label) for label, documents in of.items() for n in documents]
    train = pl.DataFrame(rows, schema=["document_id", "label"], orient="row")
    for number in range(20):
        kept = train.filter(subsample(train, list(of), seed=0, number=number))
        left = train.filter(~subsample(train, list(of), seed=0, number=number))
        assert not set(kept["document_id"]) & set(left["document_id"])
        assert set(kept["label"]) == set(of)
        assert (kept["label"] == "a").sum() in (24, 25)  # 80 %, and what c cannot do without
