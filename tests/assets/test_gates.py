"""A label whose rows leak is held back; the others, and what somebody decides, are published."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from smotext_core.evaluation import evaluate
from tests.assets.conftest import Home, copy_of

LEAKY = {"label": "medicine", "run": "r1"}
OTHER = {"label": "cooking", "run": "r1"}


@pytest.fixture
def leaked(finished: Home, tmp_path: Path) -> Home:
    """A home where a text of the label repeats one of its train texts, past the filters."""
    home = copy_of(finished, tmp_path)
    texts = home.store.read("labelled_texts").filter(
        pl.col("slug") == "medicine", pl.col("split") == "train"
    )
    made = home.store.read("synthetic_texts", LEAKY)
    assert made.height > 1
    old, copied = made["text"][0], texts["text"][0]
    for table in ("synthetic_texts", "decoded_texts"):
        frame = home.store.read(table, LEAKY)
        frame = frame.with_columns(pl.col("text").replace(old, copied))
        home.store.write(table, frame, LEAKY)
    return home


def publish(home: Home, corpus: Path, at: dict[str, str], **config: object) -> None:
    result = home.materialize(
        corpus,
        ["synthetic_table"],
        partition_key=f"{at['label']}|{at['run']}",
        run_config={"ops": {"synthetic_table": {"config": config}}},
    )
    assert result.success


def published(home: Home) -> dict[str, int]:
    rows = home.query("SELECT label, count(*) FROM synthetic_texts GROUP BY label")
    return {label: int(n) for label, n in rows}


def test_leak_is_held_back_and_other_labels_go_on(leaked: Home, corpus: Path) -> None:
    before = published(leaked)
    publish(leaked, corpus, LEAKY)
    publish(leaked, corpus, OTHER)
    assert published(leaked) == {name: n for name, n in before.items() if name != "medicine"}
    assert leaked.store.read("synthetic_table", LEAKY).is_empty()
    assert leaked.store.read("synthetic_texts", LEAKY).height == before["medicine"]  # for a look
    red = "SELECT DISTINCT label, gate FROM gates WHERE NOT passed ORDER BY ALL"
    assert set(leaked.query(red)) >= {("medicine", "identical_share")}
    assert {label for label, _ in leaked.query(red)} == {"medicine"}
    assert leaked.query("SELECT count(*) FROM lineage WHERE sample_id LIKE 'r1.medicine.%'") == [
        (0,)
    ]


def test_held_rows_are_published_with_a_reason(leaked: Home, corpus: Path) -> None:
    before = published(leaked)
    publish(leaked, corpus, LEAKY)
    held = leaked.files()
    publish(leaked, corpus, LEAKY)
    assert leaked.files() == held  # the same bytes
    publish(leaked, corpus, LEAKY, publish_anyway={"medicine": "these texts are public"})
    assert published(leaked) == before
    reasons = "SELECT DISTINCT published_anyway FROM gates WHERE label = 'medicine'"
    assert leaked.query(reasons) == [("these texts are public",)]
    # Asked for again without it, the same rows keep the decision.
    publish(leaked, corpus, LEAKY)
    assert published(leaked) == before
    # Other rows need a decision of their own.
    rows = leaked.store.read("synthetic_texts", LEAKY)
    leaked.store.write("synthetic_texts", rows[:-1], LEAKY)
    publish(leaked, corpus, LEAKY)
    assert "medicine" not in published(leaked)


def test_label_of_few_accepted_rows_is_held_back(
    finished: Home, corpus: Path, tmp_path: Path
) -> None:
    home = copy_of(finished, tmp_path)
    wanted = home.store.read("gates", LEAKY).filter(pl.col("gate") == "accepted_share")
    assert wanted["passed"].to_list() == [True]
    publish(home, corpus, LEAKY, min_accepted_share=1.0)
    share = home.store.read("gates", LEAKY)["value"][0]
    assert ("medicine" in published(home)) is (share == 1)
    rows = home.store.read("synthetic_texts", LEAKY)
    home.store.write("synthetic_texts", rows[:1], LEAKY)
    publish(home, corpus, LEAKY, min_accepted_share=0.5)
    assert "medicine" not in published(home)


def test_check_names_what_is_held_back(leaked: Home, corpus: Path) -> None:
    publish(leaked, corpus, LEAKY)
    result = leaked.materialize(
        corpus, ["synthetic_table"], partition_key=f"{OTHER['label']}|{OTHER['run']}"
    )
    (check,) = [
        e for e in result.get_asset_check_evaluations() if e.check_name == "no_label_is_held_back"
    ]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert "medicine" in str(check.metadata["held"].value)
    assert check.description is not None
    assert check.description.startswith("Held back: medicine × r1 (identical_share")
    assert check.metadata["partitions_held"].value == 1


def test_command_publishes_anyway(
    leaked: Home, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert leaked.main("run", str(corpus), "--run", "r1", "--publish-anyway", "medicine=") == 2
    assert "takes slug=reason, got 'medicine='" in capfd.readouterr().err
    assert (
        leaked.main(
            "run", str(corpus), "--run", "r1", "--seed", "7", "--publish-anyway", "medicine=public"
        )
        == 0
    )
    assert set(leaked.store.read("gates", LEAKY)["published_anyway"]) == {"public"}


@pytest.fixture
def hurting(finished: Home, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose evaluation finds that medicine is hurt, cooking helped."""

    def found(*given: object, **options: object) -> pl.DataFrame:
        frame = evaluate(*given, **options)  # type: ignore[arg-type]
        high = pl.col("label").replace_strict({"medicine": -0.1}, default=0.2)
        verdict = pl.col("label").replace_strict({"medicine": "hurts"}, default="helps")
        mine = pl.col("arm") == "smotext"
        return frame.with_columns(
            pl.when(mine).then(high).otherwise("high").alias("high"),
            pl.when(mine).then(verdict).otherwise("verdict").alias("verdict"),
        )

    monkeypatch.setattr("smotext_assets.evidence.evaluate", found)
    home = copy_of(finished, tmp_path)
    home.store.delete("evaluation", {"run": "r1"})
    return home


def judge_run(home: Home, corpus: Path) -> None:
    assert home.materialize(corpus, ["evaluation"], partition_key="r1").success


def test_label_that_hurts_is_held_back_where_asked(hurting: Home, corpus: Path) -> None:
    before = published(hurting)
    judge_run(hurting, corpus)
    publish(hurting, corpus, LEAKY)
    assert published(hurting) == before  # off by default
    for at in (LEAKY, OTHER):
        publish(hurting, corpus, at, hold_where_it_hurts=True)
    assert published(hurting) == {name: n for name, n in before.items() if name != "medicine"}
    red = hurting.query('SELECT label, gate, value, "limit" FROM gates WHERE NOT passed')
    assert red == [("medicine", "hurts", -0.1, 0.0)]
    held = hurting.files()
    publish(hurting, corpus, LEAKY, hold_where_it_hurts=True)
    judge_run(hurting, corpus)  # its rows are the accepted ones: they stay as they are
    assert hurting.files() == held
    assert hurting.materialize(
        corpus, ["privacy_audit", "dataset_card"], partition_key="r1"
    ).success
    card = hurting.store.read_bytes("dataset_card/r1.html").decode()
    assert "Held back: medicine (hurts)" in card
    assert card.count("held back by a gate") == 1  # not "0 of 10 wanted"
    reason = {"medicine": "for a demonstration"}
    publish(hurting, corpus, LEAKY, hold_where_it_hurts=True, publish_anyway=reason)
    assert published(hurting) == before


def test_rows_that_are_not_evaluated_wait(
    hurting: Home, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = published(hurting)
    publish(hurting, corpus, OTHER, hold_where_it_hurts=True)
    assert "cooking" not in published(hurting)
    assert "Materialise evaluation of r1, then synthetic_table again" in capfd.readouterr().err
    judge_run(hurting, corpus)
    publish(hurting, corpus, OTHER, hold_where_it_hurts=True)
    assert published(hurting) == before
    # Other rows are not the ones that were judged.
    rows = hurting.store.read("synthetic_texts", OTHER)
    hurting.store.write("synthetic_texts", rows[:-1], OTHER)
    publish(hurting, corpus, OTHER, hold_where_it_hurts=True)
    gates = hurting.store.read("gates", OTHER).filter(~pl.col("passed"))
    assert gates["gate"].to_list() == ["not_evaluated"]


def test_command_evaluates_before_it_publishes(hurting: Home, corpus: Path) -> None:
    given = ("run", str(corpus), "--run", "fresh", "--seed", "7", "--hold-where-it-hurts")
    assert hurting.main(*given) == 0
    of_run = "SELECT DISTINCT label FROM synthetic_texts WHERE run = 'fresh'"
    assert hurting.query(of_run) == [("cooking",)]
    held = "SELECT label, gate FROM gates WHERE run = 'fresh' AND NOT passed"
    assert hurting.query(held) == [("medicine", "hurts")]
    files = hurting.files()
    assert hurting.main(*given) == 0
    assert hurting.files() == files


def test_another_protocol_evaluates_again(
    finished: Home, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copy_of(finished, tmp_path)
    judge_run(home, corpus)
    old = home.store.manifest("evaluation", {"run": "r1"})
    assert old == finished.store.manifest("evaluation", {"run": "r1"})
    monkeypatch.setattr("smotext_assets.evidence.PROTOCOL", 9)
    judge_run(home, corpus)
    new = home.store.manifest("evaluation", {"run": "r1"})
    assert new is not None
    assert old is not None
    assert new.fingerprint != old.fingerprint
    assert new.sha256 == old.sha256
