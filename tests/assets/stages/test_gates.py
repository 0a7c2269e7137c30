"""A label whose rows leak is held back; the others, and what somebody decides, are published."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from smotext_core.efficacy.evaluation import evaluate
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
    reasons = "SELECT DISTINCT published_anyway FROM gates WHERE label = 'medicine' AND NOT passed"
    assert leaked.query(reasons) == [("these texts are public",)]
    # Asked for again without it, the same rows keep the decision.
    decided = leaked.files()
    publish(leaked, corpus, LEAKY)
    assert published(leaked) == before
    assert leaked.files() == decided
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


def test_reason_holds_for_the_gates_that_were_red(
    finished: Home, corpus: Path, tmp_path: Path
) -> None:
    home = copy_of(finished, tmp_path)
    rows = home.store.read("synthetic_texts", LEAKY)
    home.store.write("synthetic_texts", rows[:1], LEAKY)
    reason = {"medicine": "one is enough"}
    publish(home, corpus, LEAKY, min_accepted_share=0.5, publish_anyway=reason)
    assert published(home)["medicine"] == 1
    # A gate that is found red later was not looked at.
    home.store.delete("evaluation", {"run": "r1"})
    again = {"min_accepted_share": 0.5, "hold_where_it_hurts": True}
    publish(home, corpus, LEAKY, **again)
    assert "medicine" not in published(home)
    red = "SELECT gate, published_anyway FROM gates WHERE label = 'medicine' AND NOT passed"
    assert home.query(red) == [("accepted_share", "one is enough"), ("not_evaluated", None)]
    # The same words once more are a decision on both.
    publish(home, corpus, LEAKY, **again, publish_anyway=reason)
    assert published(home)["medicine"] == 1
    assert {why for _, why in home.query(red)} == {"one is enough"}
    # Other words take their place.
    publish(home, corpus, LEAKY, **again, publish_anyway={"medicine": "said better"})
    assert {why for _, why in home.query(red)} == {"said better"}


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


@pytest.fixture
def hurting(finished: Home, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose evaluation finds that medicine is hurt, cooking helped."""

    def found(*given: object, **options: object) -> pl.DataFrame:
        frame = evaluate(*given, **options)  # type: ignore[arg-type]
        high = pl.col("label").replace_strict({"medicine": -0.1}, default=0.2)
        verdict = pl.col("label").replace_strict({"medicine": "hurts"}, default="helps")
        mine = pl.col("over_cheap").is_not_null()
        return frame.with_columns(
            pl.when(mine).then(high).otherwise("over_high").alias("over_high"),
            pl.when(mine).then(verdict).otherwise("over_verdict").alias("over_verdict"),
        )

    monkeypatch.setattr("smotext_assets.stages.evidence.evaluate", found)
    monkeypatch.setattr("smotext_core.privacy.gates.MIN_TEST_DOCUMENTS", 1)  # the corpus is small
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


def test_label_of_few_test_documents_is_not_judged(
    hurting: Home, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = published(hurting)
    monkeypatch.setattr("smotext_core.privacy.gates.MIN_TEST_DOCUMENTS", 5)
    judge_run(hurting, corpus)
    for at in (LEAKY, OTHER):  # hurt and helped, by one or two documents
        publish(hurting, corpus, at, hold_where_it_hurts=True)
        gates = hurting.store.read("gates", at).filter(gate="hurts")
        assert gates["passed"].to_list() == [None]
    assert published(hurting) == before


def test_label_stays_held_until_it_is_let_go(
    hurting: Home, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = published(hurting)
    given = ("run", str(corpus), "--run", "r1", "--seed", "7")
    assert hurting.main(*given, "--hold-where-it-hurts") == 0
    held = {name: n for name, n in before.items() if name != "medicine"}
    assert published(hurting) == held
    files = hurting.files()
    capfd.readouterr()
    # Not said again: in the UI, by the command, where another label is published anyway.
    publish(hurting, corpus, LEAKY)
    assert hurting.main(*given) == 0
    (row,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("│ medicine")]
    assert "held back by a gate" in row
    assert hurting.main(*given, "--publish-anyway", "cooking=known") == 0
    assert published(hurting) == held
    assert hurting.files() == files
    # A label of the run that was never published is looked at, too.
    for table in ("gates", "synthetic_table"):
        hurting.store.delete(table, LEAKY)
    publish(hurting, corpus, LEAKY)
    assert published(hurting) == held
    assert hurting.main(*given, "--no-hold-where-it-hurts") == 0
    assert published(hurting) == before
    assert hurting.query("SELECT count(*) FROM gates WHERE gate = 'hurts'") == [(0,)]
    publish(hurting, corpus, LEAKY)
    assert published(hurting) == before


def test_label_that_waits_for_the_evaluation_waits_on(hurting: Home, corpus: Path) -> None:
    before = published(hurting)
    publish(hurting, corpus, LEAKY, hold_where_it_hurts=True)
    publish(hurting, corpus, LEAKY)
    assert "medicine" not in published(hurting)
    publish(hurting, corpus, LEAKY, hold_where_it_hurts=False)
    assert published(hurting) == before


def test_label_without_rows_keeps_being_looked_at(hurting: Home, corpus: Path) -> None:
    rows = hurting.store.read("synthetic_texts", LEAKY)
    hurting.store.write("synthetic_texts", rows.clear(), LEAKY)
    publish(hurting, corpus, LEAKY, hold_where_it_hurts=True)
    assert "hurts" not in hurting.store.read("gates", LEAKY).filter(~pl.col("passed"))["gate"]
    hurting.store.write("synthetic_texts", rows, LEAKY)
    publish(hurting, corpus, LEAKY)
    red = hurting.store.read("gates", LEAKY).filter(~pl.col("passed"))
    assert red["gate"].to_list() == ["not_evaluated"]


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


def test_command_publishes_anyway(
    hurting: Home, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = ("run", str(corpus), "--run", "r1", "--hold-where-it-hurts", "--publish-anyway")
    assert hurting.main(*given, "medicine=") == 2
    assert "takes slug=reason, got 'medicine='" in capfd.readouterr().err
    assert hurting.main(*given, "medecine=public") == 2
    assert "not ['medecine']" in " ".join(capfd.readouterr().err.split())
    before = published(hurting)
    assert hurting.main(*given, "medicine=public") == 0
    gates = hurting.store.read("gates", LEAKY)
    assert gates["published_anyway"].drop_nulls().to_list() == ["public"]
    assert gates.filter(gate="hurts", published_anyway="public")["passed"].to_list() == [False]
    assert published(hurting) == before


def test_another_protocol_evaluates_again(
    finished: Home, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copy_of(finished, tmp_path)
    judge_run(home, corpus)
    old = home.store.manifest("evaluation", {"run": "r1"})
    assert old == finished.store.manifest("evaluation", {"run": "r1"})
    monkeypatch.setattr("smotext_assets.stages.evidence.PROTOCOL", 9)
    judge_run(home, corpus)
    new = home.store.manifest("evaluation", {"run": "r1"})
    assert new is not None
    assert old is not None
    assert new.fingerprint != old.fingerprint
    assert new.sha256 == old.sha256


def test_status_names_what_is_held_back_and_what_was_measured(
    finished: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)
    gates = home.store.read("gates", OTHER)
    told = {"gate": "competence", "value": 0.29, "limit": 0.5, "passed": False}
    row = gates.head(1).with_columns(*(pl.lit(value).alias(name) for name, value in told.items()))
    home.store.write("gates", pl.concat([gates, row.select(gates.columns)]), OTHER)
    capfd.readouterr()
    assert home.main("status") == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "cooking (" in line]
    assert line.startswith("held back  r1: cooking (competence 0.29, limit 0.5): adapt")
    assert "--adapt 80" in line
