"""One label's damaged table: what is told of it, what goes on without it, and that it is mended."""

from pathlib import Path

import polars as pl
import pytest

from smotext_core.export import delta_rows
from smotext_core.privacy import READERS
from tests.assets.conftest import Home, copy_of

LABEL, RUN = "medicine", "r1"
REMEDY = {
    "gates": f"materialise synthetic_table, partition '{LABEL}|{RUN}'",
    "rejected_texts": f"materialise synthetic_texts, partition '{LABEL}|{RUN}'",
}
DAMAGE = ("changed", "truncated", "gone", "manifest")


def damage(home: Home, table: str, how: str) -> None:
    folder = Path(home.root, f"{table}/label={LABEL}/run={RUN}")
    (part,) = folder.glob("part-*")
    if how == "changed":
        part.write_bytes(b"PAR1 something else")
    elif how == "truncated":
        part.write_bytes(part.read_bytes()[:-7])
    elif how == "gone":
        part.unlink()
    else:
        (folder / "_manifest.json").write_text("{")


@pytest.fixture
def home(finished: Home, tmp_path: Path) -> Home:
    return copy_of(finished, tmp_path)


@pytest.mark.parametrize("table", REMEDY)
@pytest.mark.parametrize("how", DAMAGE)
def test_status_tells_of_a_damaged_table_and_goes_on(
    home: Home, table: str, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert home.main("status") == 0
    sound = capfd.readouterr().out
    assert "damaged  " not in sound
    damage(home, table, how)
    assert home.main("status") == 0
    told = capfd.readouterr().out
    lines = [line for line in told.splitlines() if line.startswith("damaged  ")]
    # refused texts are counted by their manifests; their files are many and not read for a status
    assert len(lines) == (table == "gates" or how == "manifest")
    for line in lines:
        assert f"{table}/label={LABEL}/run={RUN}" in line
        assert line.endswith(REMEDY[table])
    # the rest is told as before
    assert "generator: " in told
    assert {line for line in sound.splitlines() if "stale" in line or "held back" in line} == {
        line for line in told.splitlines() if "stale" in line or "held back" in line
    }


def test_status_tells_of_a_damaged_run_and_goes_on(
    home: Home, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert home.main("run", str(corpus), "--run", "r2", "--labels", "cooking") == 0
    (part,) = Path(home.root, f"runs/run={RUN}").glob("part-*")
    part.write_bytes(b"")
    capfd.readouterr()
    assert home.main("status") == 0
    told = capfd.readouterr().out
    assert f"runs/run={RUN}" in told
    assert "or delete it and ask for the run again" in told
    assert "│ r2 " in told


@pytest.mark.parametrize("table", REMEDY)
def test_a_damaged_table_is_made_again_by_the_asset_that_is_named(
    home: Home, finished: Home, corpus: Path, table: str
) -> None:
    damage(home, table, "truncated")
    asset = REMEDY[table].split()[1].rstrip(",")
    result = home.materialize(corpus, [asset], partition_key=f"{LABEL}|{RUN}")
    assert result.success
    assert home.files() == finished.files()


@pytest.mark.parametrize("table", REMEDY)
def test_a_run_goes_on_and_is_summed_up_with_a_damaged_table(
    home: Home, finished: Home, table: str, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(home, table, "changed")
    # the other labels alone: nothing mends it
    assert home.main("run", "--run", RUN, "--labels", "cooking") == 0
    told = capfd.readouterr().out
    assert REMEDY[table] in told
    assert "cooking" in told
    assert home.main("run", "--run", RUN) == 0
    assert "damaged  " not in capfd.readouterr().out
    assert home.files(without=["dataset_card"]) == finished.files(without=["dataset_card"])


def test_damaged_gates_leave_one_label_out_of_an_export_and_no_other(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    others = home.store.read_all("synthetic_table", {"run": RUN}).filter(pl.col("label") != LABEL)
    assert others.height
    damage(home, "gates", "changed")
    to = tmp_path / "out"
    assert home.main("export", RUN, "--to", str(to)) == 0
    told = " ".join(capfd.readouterr().out.split())
    assert f"the rows of {LABEL}: " in told
    assert REMEDY["gates"] in told
    assert delta_rows(str(to / "delta")).equals(others.sort("sample_id"))


@pytest.mark.parametrize("table", REMEDY)
def test_card_of_a_run_with_a_damaged_table_says_so(home: Home, corpus: Path, table: str) -> None:
    damage(home, table, "changed")
    assert home.materialize(corpus, ["dataset_card"], partition_key=RUN).success
    page = home.store.read_bytes(f"dataset_card/{RUN}.md").decode()
    assert "Damaged partitions of gates or rejected_texts: 1." in page
    assert "cooking" in page


def test_check_of_held_labels_tells_of_damaged_gates(home: Home, corpus: Path) -> None:
    damage(home, "gates", "changed")
    result = home.materialize(corpus, ["synthetic_table"], partition_key=f"cooking|{RUN}")
    (check,) = [
        event
        for event in result.get_asset_check_evaluations()
        if event.check_name == "no_label_is_held_back"
    ]
    assert not check.passed
    assert REMEDY["gates"] in str(check.description)


def test_what_readers_must_accept_is_not_lost_with_damaged_gates(home: Home) -> None:
    for label in (LABEL, "cooking"):
        config = {"ops": {"synthetic_table": {"config": {"min_accepted": 0.9}}}}
        result = home.materialize(
            Path(), ["synthetic_table"], partition_key=f"{label}|{RUN}", run_config=config
        )
        assert result.success
    before = home.store.read("gates", {"label": LABEL, "run": RUN})
    assert READERS in before["gate"].to_list()
    damage(home, "gates", "changed")
    result = home.materialize(Path(), ["synthetic_table"], partition_key=f"{LABEL}|{RUN}")
    assert result.success
    assert home.store.read("gates", {"label": LABEL, "run": RUN}).equals(before)


def test_damaged_calibration_of_a_label_is_measured_again(
    home: Home, finished: Home, corpus: Path
) -> None:
    damage(home, "calibration", "changed")
    result = home.materialize(corpus, ["decoded_texts"], partition_key=f"{LABEL}|{RUN}")
    assert result.success
    assert home.files() == finished.files()
