"""The loop over a run's partitions, and the ranges that ask for them."""

from collections.abc import Callable, Mapping, Sequence

import dagster as dg
import polars as pl
import pytest

from smotext_assets.definitions import defs
from smotext_assets.graph.partitions import (
    RANGE_END,
    RANGE_START,
    ByLabel,
    for_each_partition,
    label_by_run,
    labels,
    neighbours,
    range_tags,
    runs,
)
from tests.assets.conftest import failures

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

NO_FOLDER = {"io_manager": dg.InMemoryIOManager()}  # Dagster's own makes one, which outlives it
Make = Callable[..., Mapping[str, object]]


def materialize(
    make: Make,
    keys: Sequence[str],
    *,
    definition: dg.PartitionsDefinition = label_by_run,
    tags: Mapping[str, str] = {},
) -> tuple[dg.ExecuteInProcessResult, dg.DagsterInstance]:
    @dg.asset(partitions_def=definition, backfill_policy=dg.BackfillPolicy.single_run())
    def texts(context: dg.AssetExecutionContext) -> None:
        for_each_partition(context, make)

    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(str(labels.name), ["b", "a", "c", "d"])
    instance.add_dynamic_partitions(str(runs.name), ["r1", "r2"])
    result = dg.materialize(
        [texts],
        instance=instance,
        resources=NO_FOLDER,
        tags={**range_tags(keys), **tags},
        raise_on_error=False,
    )
    return result, instance


def test_for_each_partition_names_the_dimensions() -> None:
    seen = []

    def make(**dimensions: str) -> dict[str, object]:
        seen.append(dimensions)
        return {}

    assert materialize(make, ["b|r1", "c|r1"])[0].success
    assert seen == [{"label": slug, "run": "r1"} for slug in ("b", "a", "c")]
    seen.clear()
    assert materialize(make, ["a", "d"], definition=labels)[0].success
    assert seen == [{"label": slug} for slug in ("a", "c", "d")]
    seen.clear()
    assert materialize(make, ["r1", "r2"], definition=runs)[0].success
    assert seen == [{"run": "r1"}, {"run": "r2"}]


@pytest.mark.parametrize(
    ("definition", "few", "many"),
    [(labels, ["b", "a"], ["b", "d"]), (label_by_run, ["b|r1", "a|r1"], ["b|r1", "d|r1"])],
)
def test_for_each_partition_looks_the_keys_up_as_often_for_many_as_for_few(
    definition: dg.PartitionsDefinition,
    few: Sequence[str],
    many: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_up: list[str] = []
    whole = dg.DagsterInstance.get_dynamic_partitions

    def counted(instance: dg.DagsterInstance, partitions_def_name: str) -> Sequence[str]:
        looked_up.append(partitions_def_name)
        return whole(instance, partitions_def_name)

    monkeypatch.setattr(dg.DagsterInstance, "get_dynamic_partitions", counted)
    times = []
    for keys in (few, many):
        looked_up.clear()
        materialize(lambda **at: {}, keys, definition=definition)
        times.append(len(looked_up))
    assert times[0] == times[1] > 0


def test_for_each_partition_records_each_with_its_metadata_once() -> None:
    def make(label: str, run: str) -> dict[str, object]:
        return {"slug": label}

    _, instance = materialize(make, ["b|r2", "c|r2"])
    records = instance.fetch_materializations(dg.AssetKey("texts"), limit=100).records
    told = {r.partition_key: r.asset_materialization.metadata["slug"].value for r in records}  # type: ignore[union-attr]
    assert told == {"b|r2": "b", "a|r2": "a", "c|r2": "c"}
    assert len(records) == 3


def test_for_each_partition_goes_on_after_one_that_raises() -> None:
    def make(label: str, run: str) -> dict[str, object]:
        if label in ("b", "c"):
            raise LookupError(f"nothing of {label}")
        return {"slug": label}

    result, instance = materialize(make, ["b|r1", "d|r1"])
    assert not result.success
    assert failures(result) == {
        "b|r1": "LookupError: nothing of b",
        "c|r1": "LookupError: nothing of c",
    }
    (event,) = [e for e in result.all_node_events if e.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    told = str(event.step_failure_data.user_failure_data.description)
    assert told.startswith("2 of 4 partitions failed, the others are committed. b|r1: LookupError")
    key = dg.AssetKey("texts")
    assert set(instance.get_materialized_partitions(key)) == {"a|r1", "d|r1"}
    records = instance.fetch_materializations(key, limit=100).records
    slugs = {r.asset_materialization.metadata["slug"].value for r in records}  # type: ignore[union-attr]
    assert slugs == {"a", "d"}


def test_for_each_partition_stops_at_an_interrupt() -> None:
    made = []

    def make(label: str, run: str) -> dict[str, object]:
        made.append(label)
        raise KeyboardInterrupt

    result, instance = materialize(make, ["b|r1", "d|r1"])
    assert not result.success
    assert not instance.get_materialized_partitions(dg.AssetKey("texts"))
    assert made == ["b"]


def test_run_of_a_jobs_backfill_makes_the_whole_range() -> None:
    """The tags of its run, as Dagster's `submit_backfill_runs` puts them together."""
    job = defs.resolve_job_def("synthesis")
    of_first = dict(job.get_tags_for_partition_key("b|r1", selected_asset_keys=None))
    assert of_first.pop("dagster/partition") == "b|r1"
    made = []

    def make(label: str, run: str) -> dict[str, object]:
        made.append(f"{label}|{run}")
        return {}

    # the second range of a backfill: the tags of the first partition of all are on it too
    result, instance = materialize(make, ["a|r1", "a|r2"], tags=of_first)
    assert result.success
    assert made == ["a|r1", "a|r2"]
    assert instance.get_materialized_partitions(dg.AssetKey("texts")) == {"a|r1", "a|r2"}


@pytest.mark.parametrize("last", ["a|r1", "a|r2", "b|r2"])
def test_for_each_partition_refuses_tags_that_contradict_the_range(last: str) -> None:
    made = []

    def make(label: str, run: str) -> dict[str, object]:
        made.append(label)
        return {}

    of_dimensions = {"dagster/partition/label": "b", "dagster/partition/run": "r1"}
    result, instance = materialize(make, ["b|r1", last], tags=of_dimensions)
    assert not result.success
    assert made == []
    assert instance.get_materialized_partitions(dg.AssetKey("texts")) == set()
    (event,) = [e for e in result.all_node_events if e.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    told = str(event.step_failure_data.user_failure_data.description)
    assert told.startswith(f"the run was asked for the partitions b|r1 to {last}, and Dagster")


def test_one_partition_is_made_by_whatever_tags_name_it() -> None:
    """A job's page names it by one tag, an asset's page by one of each dimension too."""

    @dg.asset(partitions_def=label_by_run, backfill_policy=dg.BackfillPolicy.single_run())
    def texts(context: dg.AssetExecutionContext) -> None:
        for_each_partition(context, lambda label, run: {"made": f"{label} of {run}"})

    dimensions = {"dagster/partition/label": "a", "dagster/partition/run": "r2"}
    one = {"dagster/partition": "a|r2"}
    for tags in (one, {**one, **dimensions}, {RANGE_START: "a|r2", RANGE_END: "a|r2"}):
        instance = dg.DagsterInstance.ephemeral()
        instance.add_dynamic_partitions(str(labels.name), ["b", "a"])
        instance.add_dynamic_partitions(str(runs.name), ["r1", "r2"])
        assert dg.materialize([texts], instance=instance, resources=NO_FOLDER, tags=tags).success
        (record,) = instance.fetch_materializations(dg.AssetKey("texts"), limit=9).records
        assert record.partition_key == "a|r2"
        assert record.asset_materialization is not None
        assert record.asset_materialization.metadata["made"].value == "a of r2"
        assert dimensions.items() <= (record.asset_materialization.tags or {}).items()


def test_rows_of_a_label_without_texts_are_refused() -> None:
    frame = pl.DataFrame({"slug": ["b", "a", "b", "a"], "text": ["1", "2", "3", "4"]})
    of = ByLabel(frame)
    assert of["a"]["text"].to_list() == ["2", "4"]
    assert of.get("b").equals(frame.filter(slug="b"))
    assert of.get("x").equals(frame.clear())
    with pytest.raises(ValueError, match=r"no text has the label 'x', the corpus has \['a', 'b'\]"):
        of["x"]


@pytest.mark.parametrize(
    ("slugs", "groups"),
    [
        (["a", "b", "c", "d"], [["b", "a", "c", "d"]]),
        (["d", "b"], [["b"], ["d"]]),
        (["c", "a", "d"], [["a", "c", "d"]]),
        ([], []),
    ],
)
def test_neighbours_groups_what_stands_side_by_side(
    slugs: list[str], groups: list[list[str]]
) -> None:
    assert neighbours(slugs, ["b", "a", "c", "d"]) == groups
