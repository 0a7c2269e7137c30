"""Thresholds of the filters come from held-out texts, unless the configuration gives numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from smotext_core.schemas import CALIBRATION
from smotext_core.texts.diversity import rouge_l
from smotext_core.texts.tokenization import words
from tests.assets.conftest import Calls, Home, copy_of, write_corpus
from tests.fakes import fake_corpus

AT = {"label": "medicine", "run": "r1"}
CALIBRATIONS: list[tuple[str, dict[str, str]]] = [("calibration", AT), ("label_calibration", {})]


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with held-out texts enough to tell a quantile."""
    texts, labels = fake_corpus({"astronomy": 80, "cooking": 40, "medicine": 20}, seed=5)
    path = tmp_path_factory.mktemp("larger") / "larger.csv"
    return write_corpus(path, list(zip(texts, labels, strict=True)))


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory, larger: Path) -> Home:
    home = Home(tmp_path_factory.mktemp("made") / "home")
    assert home.main("run", str(larger), "--run", "r1") == 0
    return home


@pytest.fixture
def home(made_once: Home, tmp_path: Path) -> Home:
    """A home with the finished run r1 of the larger corpus, to be changed."""
    return copy_of(made_once, tmp_path)


def choose_again(home: Home, corpus: Path, **config: Any) -> pl.DataFrame:
    result = home.materialize(
        corpus,
        ["synthetic_texts"],
        partition_key="medicine|r1",
        run_config={"ops": {"synthetic_texts": {"config": config}}},
    )
    assert result.success
    return home.store.read("rejected_texts", AT)


def test_thresholds_are_measured_once_a_run_and_held_to(home: Home, larger: Path) -> None:
    calibration = home.store.read("calibration", AT)
    assert calibration.schema == CALIBRATION
    assert calibration["measure"].to_list() == ["round_trip_cosine", "competence"]
    assert calibration["n_own"].to_list() == [42, 42]  # three in ten of 140
    round_trip = calibration.head(1)
    (least,) = round_trip["threshold"]
    assert 0.3 < least < 1
    assert 0.9 < round_trip["own_passing"][0] < 1
    confidence = home.store.read("label_calibration").filter(pl.col("label") == "medicine")
    made = home.store.read("synthetic_texts", AT)
    assert made.height
    assert made["round_trip_cosine"].min() >= np.float32(least)
    assert made["label_confidence"].min() >= np.float32(confidence["threshold"][0])

    files, Calls.encoded, Calls.decoded = home.files(), [], 0
    assert home.main("run", str(larger), "--run", "r1") == 0
    assert home.files() == files
    assert Calls.decoded == 0


def test_numbers_of_the_configuration_win(home: Home, larger: Path) -> None:
    reasons = choose_again(home, larger, min_round_trip=2.0)["reason"].unique().to_list()
    assert "round trip below minimum" in reasons
    assert home.store.read("synthetic_texts", AT).is_empty()
    reasons = choose_again(home, larger, min_round_trip=-1.0, min_label_confidence=1.1)["reason"]
    assert "round trip below minimum" not in reasons
    assert "label confidence below minimum" in reasons
    assert home.store.read("synthetic_texts", AT).is_empty()


def test_too_few_held_out_texts_leave_the_fixed_thresholds(finished: Home) -> None:
    assert finished.store.read("calibration", AT).is_empty()
    confidence = finished.store.read("label_calibration")
    assert confidence.filter(pl.col("label") == "medicine")["threshold"].to_list() == [None]
    made = finished.store.read("synthetic_texts", AT)
    assert made["round_trip_cosine"].min() >= np.float32(0.3)


def test_labels_that_join_a_run_share_the_measuring(larger: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "nothing made")
    given = ("run", str(larger), "--run", "r1", "--labels")
    assert home.main(*given, "medicine") == 0
    before = home.store.manifest("calibration", AT)
    assert before is not None
    Calls.decoded = 0
    assert home.main(*given, "cooking") == 0
    wanted = home.store.read("interpolated_vectors", {"label": "cooking", "run": "r1"}).height
    assert Calls.decoded == wanted  # the 42 held-out texts were not decoded again
    joined = home.store.manifest("calibration", {"label": "cooking", "run": "r1"})
    assert joined is not None
    assert joined.metadata == before.metadata
    assert joined.sha256 == before.sha256
    # Decoded in another way, its threshold is its own, and that of the first label stays.
    made = home.store.manifest("synthetic_texts", AT)
    assert home.main(*given, "cooking", "--candidates", "3") == 0
    other = home.store.manifest("calibration", {"label": "cooking", "run": "r1"})
    assert other is not None
    assert other.metadata["made_from"] == {**before.metadata["made_from"], "n_candidates": 3}
    assert home.store.manifest("calibration", AT) == before
    assert choose_again(home, larger).height
    assert home.store.manifest("synthetic_texts", AT) == made


def test_a_changed_rule_measures_again(
    home: Home, larger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("run", str(larger), "--run", "r1", "--labels", "medicine")
    old = {name: home.store.manifest(name, at) for name, at in CALIBRATIONS}

    def stricter(*_: object, **__: object) -> pl.DataFrame:
        row = ("round_trip_cosine", None, 0.99, 0.1, 0.0, 42, 100)
        return pl.DataFrame([row], schema=CALIBRATION, orient="row")

    monkeypatch.setattr("smotext_assets.stages.decoding.calibrate_round_trip", stricter)
    assert home.main(*given) == 0
    assert {name: home.store.manifest(name, at) for name, at in CALIBRATIONS} == old
    monkeypatch.setattr("smotext_assets.stages.decoding.ROUND_TRIP_RULE", 9)
    monkeypatch.setattr("smotext_assets.stages.synthetic.LABEL_RULE", 9)
    assert home.main(*given) == 0
    for name, at in CALIBRATIONS:
        new, before = home.store.manifest(name, at), old[name]
        assert new is not None
        assert before is not None
        assert new.metadata["made_from"] == {**before.metadata["made_from"], "rule": 9}
    assert home.store.read("calibration", AT)["threshold"].to_list() == [0.99]
    assert "round trip below minimum" in home.store.read("rejected_texts", AT)["reason"]
    assert (home.store.read("synthetic_texts", AT)["round_trip_cosine"] >= 0.98).all()


def test_a_calibration_of_the_whole_run_still_counts(home: Home, larger: Path) -> None:
    """As stores of before have it."""
    home.store.write("calibration", home.store.read("calibration", AT), {"run": "r1"})
    home.store.delete("calibration", AT)
    made = home.store.manifest("synthetic_texts", AT)
    assert choose_again(home, larger).height
    assert home.store.manifest("synthetic_texts", AT) == made


def test_texts_that_repeat_others_are_refused_where_asked(home: Home, larger: Path) -> None:
    given = ("run", str(larger), "--run", "r1", "--labels", "medicine")
    made = home.store.read("synthetic_texts", AT)
    reason = "too like a synthetic text"
    assert reason not in home.store.read("rejected_texts", AT)["reason"]
    assert home.main(*given, "--max-rouge-l", "0.2") == 0
    assert reason in home.store.read("rejected_texts", AT)["reason"]
    told = [words(text) for text in home.store.read("synthetic_texts", AT)["text"]]
    alike = [rouge_l(a, b) for place, a in enumerate(told) for b in told[:place]]
    assert max(alike, default=0) < 0.2
    files = home.files()
    assert home.main(*given) == 0  # as it was made, until it is said otherwise
    assert home.files() == files
    assert home.main(*given, "--max-rouge-l", "1") == 0
    assert home.store.read("synthetic_texts", AT).equals(made)


def test_minima_are_raised_by_the_verdicts_of_readers_and_never_lowered(
    home: Home, larger: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = ("run", str(larger), "--run", "r1", "--labels", "medicine,cooking")
    made = home.store.read("synthetic_texts", AT)
    assert made.height > 12
    # readers keep those above a thousandth, about twelve, and drop the rest
    cut = (int(made["round_trip_cosine"].sort(descending=True)[12] * 1000) + 1) / 1000
    close = made.filter(pl.col("round_trip_cosine") >= np.float32(cut))
    assert 10 <= close.height < made.height
    file = tmp_path / "review.csv"
    assert home.main("review", "r1", "--export", str(file), "--sample", "500") == 0
    cells = pl.read_csv(file, infer_schema=False).fill_null("")
    kept = pl.col("sample_id").is_in(close["sample_id"].implode())
    told = pl.when(kept).then(pl.lit("keep")).otherwise(pl.lit("drop"))
    medicine = cells.filter(label="medicine").with_columns(told.alias("verdict"))
    file.write_bytes(medicine.write_csv().encode())
    assert home.main("review", "r1", "--import", str(file), "--reviewer", "Ada") == 0
    manifest = home.store.manifest("synthetic_texts", AT)
    choose_again(home, larger)
    assert home.store.manifest("synthetic_texts", AT) == manifest  # nobody asked for it
    assert home.store.partitions("reader_calibration") == []

    assert home.main(*given, "--calibrate-on-reviews", "1") == 0
    shown = " ".join(capfd.readouterr().out.split())
    found = home.store.read("reader_calibration", AT).row(0, named=True)
    assert (found["outcome"], found["accepted"], found["read"]) == (
        "raised", close.height, close.height
    )  # fmt: skip
    least = found["min_round_trip"]
    assert least == cut
    assert found["held_out_round_trip"] == home.store.read("calibration", AT)["threshold"][0]
    assert f"readers medicine: minima raised to round trip {least:.3f}" in shown
    assert f"{close.height} of {close.height} read texts accepted, 100% (7" in shown
    assert "readers cooking: minima stay" in shown
    assert "0 texts drawn at random were read, 10 are needed" in shown
    raised = home.store.read("synthetic_texts", AT)
    assert raised["round_trip_cosine"].min() >= np.float32(least)
    cooking = {"label": "cooking", "run": "r1"}
    stays = home.store.read("reader_calibration", cooking).row(0, named=True)
    assert stays["outcome"] == "too few verdicts"
    assert stays["min_round_trip"] == stays["held_out_round_trip"]
    card = home.store.read_bytes("dataset_card/r1.md").decode()
    assert "| medicine | 1 | raised |" in card
    assert "--calibrate-on-reviews 1" in card

    # the dropped texts have gone: their verdicts still say why, so a rerun changes nothing
    again = home.files()
    assert home.main(*given) == 0
    assert home.files() == again
    choose_again(home, larger, calibrate_on_reviews=0.0)
    assert home.store.manifest("synthetic_texts", AT) == manifest
    assert home.store.partitions("reader_calibration") == [cooking]
    for share, why in (("1.5", "less than or equal to 1"), ("-1", "greater than or equal to 0")):
        assert home.main(*given, "--calibrate-on-reviews", share) == 2
        assert f"--calibrate-on-reviews: Input should be {why}" in capfd.readouterr().err
