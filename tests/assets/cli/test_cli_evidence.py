"""`smotext evaluate`: what it makes and says."""

from functools import partial
from pathlib import Path

import pytest

from smotext_core.efficacy.label_sample import sampled_labels
from tests.assets.conftest import Home, copy_of


def test_evaluate_prints_verdicts_of_every_label(
    finished: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)
    before = home.store.read("evaluation", {"run": "r1"})
    assert home.main("evaluate", "r1", "--seeds", "3") == 0
    printed = capfd.readouterr().out
    after = home.store.read("evaluation", {"run": "r1"})
    assert (set(before["n_seeds"]), set(after["n_seeds"])) == ({10}, {3})
    for name in ("all labels (macro-F1)", "medicine", "cooking", "word_edits", "smotext_alone"):
        assert name[:8] in printed
    assert "augment" in printed


def test_evaluate_of_many_labels_judges_some_and_says_so(
    finished: Home,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("smotext_assets.cli.evaluate", "smotext_assets.stages.evidence"):
        monkeypatch.setattr(f"{module}.MOST_LABELS", 2)
    few = partial(sampled_labels, most=2)
    monkeypatch.setattr("smotext_core.efficacy.evaluation.sampled_labels", few)
    home = copy_of(finished, tmp_path)
    assert home.main("evaluate", "r1") == 0
    assert "of 3 labels 2 were judged, those with rows first" in capfd.readouterr().out
    judged = home.store.read("evaluation", {"run": "r1"})["label"].drop_nulls()
    assert set(judged) == {"cooking", "medicine"}


def test_evaluate_refuses_an_unknown_run(
    finished: Home, home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    assert finished.main("evaluate", "r9") == 2
    assert "needs the key of a run, got 'r9'; the store has: r1" in capfd.readouterr().err
    assert home.main("evaluate", "r1") == 2
    assert "the store has: none yet" in capfd.readouterr().err
