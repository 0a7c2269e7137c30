"""The efficacy benchmark: what a cell is, that a draw repeats itself, and its page."""

from __future__ import annotations

import importlib
import re
import shutil
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from smotext_core.efficacy.evaluation import ARMS, compare
from smotext_core.texts import KnownTexts
from tests.fakes import FakeGenerator, fake_corpus

ROOT = Path(__file__).parents[2]


@pytest.fixture
def efficacy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("efficacy")


@pytest.fixture
def rows() -> pl.DataFrame:
    texts, labels = fake_corpus({"medicine": 40, "cooking": 40})
    ids = [f"d{i}" for i in range(len(texts))]
    return pl.DataFrame(
        {
            "document_id": ids, "text": texts, "label": labels,
            "split": ["test" if i % 4 == 0 else "train" for i in range(len(ids))],
            "text_id": ids, "slug": labels,
        }
    )  # fmt: skip


def test_cells_have_ten_seeds_or_more(efficacy: ModuleType) -> None:
    (table1,) = efficacy.cells("table1", "20newsgroups", quick=False)
    assert sum(table1.real.values()) == 1000
    assert sum(table1.made.values()) == 2600
    assert table1.draws == 20
    for corpus in efficacy.RARE:
        shots = list(efficacy.cells("few-shot", corpus, quick=False))
        assert [set(cell.real.values()) for cell in shots] == [{5}, {10}, {20}, {50}]
        ratios = list(efficacy.cells("imbalance", corpus, quick=False))
        assert [min(cell.real.values()) for cell in ratios] == [10, 2]
        assert all(cell.draws >= 10 for cell in [*shots, *ratios])
        assert set(efficacy.RARE[corpus]) < set(efficacy.LABELS[corpus])


def test_draw_trains_on_the_rows_of_its_cell_and_repeats_itself(
    efficacy: ModuleType, rows: pl.DataFrame
) -> None:
    made = {"cooking": 6}
    cell = efficacy.Cell("s", "c", "x", {"medicine": 8, "cooking": 4}, made, draws=1)
    test = rows.filter(pl.col("split") == "test")
    generator = FakeGenerator()
    vectors = generator.encode(test["text"].to_list())
    pool = generator.encode(rows.filter(pl.col("split") == "train")["text"].to_list())
    first, again, other = (
        efficacy.draw(cell, rows, test, vectors, generator, number, pool_vectors=pool)
        for number in (0, 0, 1)
    )
    assert first.equals(again)
    assert set(first["arm"]) == {*ARMS, "nearest_unlabelled", "smotext_nearest_unlabelled"}
    assert set(first["synthetic"]) == {6}
    assert Counter(map(len, first["predicted"])) == {test.height: first.height}
    assert not first.equals(other)


def test_rows_benchmark_adds_the_first_rows_of_each_label_and_repeats_itself(
    efficacy: ModuleType, rows: pl.DataFrame
) -> None:
    benchmark = importlib.import_module("rows")
    cell = efficacy.Cell("s", "c", "x", {"medicine": 8, "cooking": 4}, {"cooking": 6}, draws=1)
    test = rows.filter(pl.col("split") == "test")
    generator = FakeGenerator()
    vectors = generator.encode(test["text"].to_list())
    pool = generator.encode(rows.filter(pl.col("split") == "train")["text"].to_list())

    def draw() -> pl.DataFrame:
        found: pl.DataFrame = benchmark.draw(
            cell, rows, test, vectors, generator, 0, pool_vectors=pool, curve=(2, 6), usual=2
        )
        return found

    first = draw()
    assert first.equals(draw())
    said = {arm: one for head, arm, one in first.iter_rows() if head == "embedding"}
    assert said["rows_6"] == said["smotext"]  # all that were made
    more = {"rows_2", "rows_6", "ceiling_2", "ceiling_6", "half", "quarter", "near_base"}
    assert more <= set(said)
    assert {len(one) for one in said.values()} == {test.height}
    table = benchmark.told(test, [first, first], cell)
    assert set(table["arm"]) == set(first["arm"])
    made = pl.DataFrame({"label": ["a", "b", "a", "a"], "text": ["1", "2", "3", "4"]})
    assert benchmark.of_each(made, 2)["text"].to_list() == ["1", "2", "3"]


def test_adapted_benchmark_takes_no_copies_of_the_unlabelled_text(
    efficacy: ModuleType, rows: pl.DataFrame
) -> None:
    benchmark = importlib.import_module("adapted")
    generator = FakeGenerator()
    vectors = generator.encode(rows["text"].head(3).to_list())
    plain = generator.decode_candidates(vectors, seeds=[1, 2, 3], n_candidates=2)
    known = [plain.texts[0][1], " ".join(["so", *plain.texts[2][1].split(), "again"])]
    writer = benchmark.NotCopying(generator, KnownTexts(known))
    found = writer.decode_candidates(vectors, seeds=[1, 2, 3], n_candidates=2)
    expected = [list(row) for row in plain.texts]
    expected[0][1] = expected[2][1] = ""
    assert found.texts == expected
    assert (writer.copied, writer.seen) == (2, 6)
    np.testing.assert_array_equal(found.embeddings, plain.embeddings)
    assert writer.normalized == generator.normalized

    cell = efficacy.Cell("s", "c", "x", {"medicine": 8, "cooking": 4}, {"cooking": 6}, draws=1)
    test = rows.filter(pl.col("split") == "test")
    pool = generator.encode(rows.filter(pl.col("split") == "train")["text"].to_list())
    said = benchmark.draw(
        cell, rows, test, generator.encode(test["text"].to_list()), generator, 0,
        generator=generator, pool_vectors=pool,
    )  # fmt: skip
    assert {"smotext", "shipped", "ceiling"} <= set(said["arm"])
    assert {len(one) for one in said["predicted"]} == {test.height}


def test_page_is_the_same_twice_and_says_what_the_generator_read(
    efficacy: ModuleType, rows: pl.DataFrame, tmp_path: Path
) -> None:
    page = importlib.import_module("efficacy_page")
    test = rows.filter(pl.col("split") == "test")
    truth = (test["label"] == "medicine").cast(pl.Int64).to_numpy()
    right = {arm: [truth] * 3 for arm in (*ARMS, "nearest_unlabelled")}
    half = [np.where(np.arange(len(truth)) % 2, truth, 0)] * 3
    third = [np.where(np.arange(len(truth)) % 3, truth, 0)] * 3  # nearer to the truth
    wrong = {**right, "real": half, "smotext": third}
    predicted = {("embedding", a): p for a, p in right.items()} | {
        ("tfidf", a): p for a, p in wrong.items() if a not in ("smote", "mixup")
    }
    table = compare(test, predicted, labels=["cooking", "medicine"], run="10:1", seed=0)
    extra = {"setting": "10:1", "generator": "abc", "synthetic": 5.0, "test_rows": test.height}
    results = pl.concat(
        table.select(
            study=pl.lit(study), corpus=pl.lit(corpus), note=pl.lit("1 | 2 remain."),
            **{name: pl.lit(value) for name, value in extra.items()}, **{
                name: pl.col(name) for name in table.columns if name != "run"
            },
        )
        for study, corpus in (("few-shot", "banking77"), ("imbalance", "mtsamples"))
    )  # fmt: skip
    shutil.copy(ROOT / "docs" / "efficacy.template.md", tmp_path)
    made = []
    for _ in range(2):
        page.write_page(results, tmp_path)
        made.append({p.name: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()})
    assert made[0] == made[1]
    text = made[0]["efficacy.md"].decode()
    assert text.count("Not an independent corpus") == 1
    assert "helps in 2, no evidence in 2, hurts in 0" in text
    gain = table.filter(head="tfidf", metric="macro_f1")
    gains = dict(gain.select("arm", "difference").iter_rows())
    share = gains["smotext"] / gains["nearest_unlabelled"]
    assert 0 < share < 1
    edited = gains["smotext_word_edits"] / gains["nearest_unlabelled"]
    told = f"**{share:.2f} of the ceiling**, with word edits {edited:.2f}, mean of 1 set-ups."
    assert f"Few shots, on TF-IDF: {told}" in text
    assert "Few shots, on the encoder's vectors: **" not in text  # there is nothing to share
    assert "(images/efficacy-few-shot.png)" in text
    assert made[0]["efficacy-imbalance.png"].startswith(b"\x89PNG")


def test_results_of_a_study_replace_its_older_ones(efficacy: ModuleType, tmp_path: Path) -> None:
    file, lock = tmp_path / "efficacy.parquet", tmp_path / "lock"
    given = [("x", "10 a", 1), ("y", "5 a", 2), ("x", "5 a", 3), ("x", "10 a", 4)]
    for corpus, setting, value in given:
        row = {"study": ["a"], "corpus": [corpus], "setting": [setting], "value": [value]}
        efficacy.store(pl.DataFrame(row), file, lock_file=lock)
    found = pl.read_parquet(file).drop("study").rows()
    assert found == [("x", "5 a", 3), ("x", "10 a", 4), ("y", "5 a", 2)]


def test_page_is_what_the_results_say(efficacy: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "efficacy.template.md").write_text(
        (ROOT / "docs" / "efficacy.template.md").read_text(encoding="utf-8"), encoding="utf-8"
    )
    page = importlib.import_module("efficacy_page")
    page.write_page(pl.read_parquet(ROOT / "docs" / "efficacy.parquet"), tmp_path)
    found = (tmp_path / "efficacy.md").read_text(encoding="utf-8")
    assert found == (ROOT / "docs" / "efficacy.md").read_text(encoding="utf-8")
    for link in re.findall(r"\(images/(\S+)\)", found):
        assert (ROOT / "docs" / "images" / link).exists()
