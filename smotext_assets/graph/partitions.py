"""The two dimensions, label and run, and the one loop over a run's partitions."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dagster as dg
import polars as pl

from smotext_assets.graph.column_lineage import column_lineage

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


_kept: ContextVar[tuple[dg.PartitionKeyRange, Sequence[str]] | None]
_kept = ContextVar("the range of the step and its keys", default=None)


class _LookedUpOnce:
    """The keys of a range that is kept are looked up once: Dagster asks for all of them each time
    that it is told the metadata of one partition."""

    def get_partition_keys_in_range(self, partition_key_range: dg.PartitionKeyRange) -> Any:
        kept = _kept.get()
        if kept is not None and kept[0] == partition_key_range:
            return kept[1]
        return super().get_partition_keys_in_range(partition_key_range)  # type: ignore[misc]


class ByKey(_LookedUpOnce, dg.DynamicPartitionsDefinition):
    """Dynamic partitions as Dagster has them, but for that."""


# The second argument of Dagster's own, the store of keys, is given by nobody.
class LabelByRun(_LookedUpOnce, dg.MultiPartitionsDefinition):  # type: ignore[misc]
    """Label × run as Dagster has it, but for that and one thing more."""

    def get_tags_for_partition_key(self, partition_key: str) -> Mapping[str, str]:
        """Without a tag of each dimension, `dagster/partition/label`.

        The backfill of a job puts the tags of its first partition, all but `dagster/partition`, on
        the runs of its ranges. Dagster believes the tags of dimensions before those of the range:
        a run of r1 to r2 would make r1 alone, and be a success.
        """
        return {"dagster/partition": partition_key}


@contextmanager
def _keep(partition_key_range: dg.PartitionKeyRange, keys: Sequence[str]) -> Iterator[None]:
    token = _kept.set((partition_key_range, keys))
    try:
        yield
    finally:
        _kept.reset(token)


# Names of dynamic partitions are global across code locations, hence the prefix.
labels = ByKey(name="smotext_label")
runs = ByKey(name="smotext_run")
label_by_run = LabelByRun({"label": labels, "run": runs})

BY_LABEL_AND_RUN = (
    "class_pairs",
    "interpolated_vectors",
    "decoded_texts",
    "found_texts",
    "synthetic_texts",
    "synthetic_table",
)
BY_RUN = ("evaluation", "privacy_audit", "dataset_card")

# What an asset by run reads of one by label and run, and of one by label.
OF_RUN = dg.AssetIn(partition_mapping=dg.MultiToSingleDimensionPartitionMapping("run"))
EVERY_LABEL = dg.AssetIn(partition_mapping=dg.AllPartitionMapping())


def follows(*parents: str) -> dg.AutomationCondition[dg.AssetKey]:
    """Make a partition when its own partition of one of `parents` was made; others do not count.

    Carried out by the sensor `follow_up`, and only for what is made while that is started.
    """
    selection = dg.AssetSelection.assets(*parents)
    updated = dg.AutomationCondition.any_deps_updated().allow(selection)
    busy = dg.AutomationCondition.any_deps_in_progress().allow(selection)
    return updated.since_last_handled() & ~busy & ~dg.AutomationCondition.in_progress()


def _one_after_another(make: Callable[[str], None], keys: Sequence[str]) -> None:
    for key in keys:
        make(key)


def for_each_partition(
    context: dg.AssetExecutionContext,
    make: Callable[..., Mapping[str, Any]],
    *,
    each: Callable[[Callable[[str], None], Sequence[str]], None] = _one_after_another,
) -> None:
    """Call `make(label=…, run=…)`, of the dimensions the asset has, for every partition asked for.

    `make` commits the partition to the store and returns its metadata, to which the seconds it took
    and the origin of its columns are added; `each` may call it in threads. A partition that raises
    does not stop the others: at the end the good ones are recorded as materialised and the run
    fails, naming the bad ones. (A range run is one step. Were it to return, Dagster would mark all
    its partitions as materialised.)

    Raises:
        dg.Failure: with the metadata `failed_partitions`: the reason by key. Before anything is
            made, where Dagster's tags of the run contradict each other.
    """
    good: dict[str, Mapping[str, Any]] = {}
    bad: dict[str, Exception] = {}
    keys = _keys_asked_for(context)

    def one(key: str) -> None:
        began = time.perf_counter()
        try:
            metadata = make(**_dimensions(context, key))
            seconds = {"seconds": round(time.perf_counter() - began, 2)}
            good[key] = {**metadata, **column_lineage(context.asset_key.path[-1]), **seconds}
        except Exception as error:  # whatever it is, it is this partition's alone
            context.log.exception(f"partition {key} failed")
            bad[key] = error

    each(one, keys)
    good, bad = ({key: of[key] for key in keys if key in of} for of in (good, bad))  # type: ignore[assignment]
    if not bad:
        with _keep(context.partition_key_range, keys):
            for key, metadata in good.items():
                context.add_asset_metadata(metadata, partition_key=key)
        return
    for key, metadata in good.items():
        context.log_event(
            dg.AssetMaterialization(
                asset_key=context.asset_key, partition=key, metadata=dict(metadata)
            )
        )
    reasons = {key: f"{type(error).__name__}: {error}" for key, error in bad.items()}
    raise dg.Failure(
        f"{len(bad)} of {len(bad) + len(good)} partitions failed, the others are committed. "
        + "; ".join(f"{key}: {reason}" for key, reason in reasons.items()),
        metadata={"failed_partitions": dg.MetadataValue.json(reasons)},
        allow_retries=len(good) == 0,
    )


def _keys_asked_for(context: dg.AssetExecutionContext) -> Sequence[str]:
    """Keys of the partitions that the run is of.

    Raises:
        dg.Failure: the run's tags ask for other ones than Dagster would record.
    """
    keys: Sequence[str] = context.partition_keys
    tags = context.run_tags
    asked = (tags.get(RANGE_START, keys[0]), tags.get(RANGE_END, keys[-1]))
    if asked != (keys[0], keys[-1]):
        raise dg.Failure(
            f"the run was asked for the partitions {asked[0]} to {asked[1]}, and Dagster would "
            f"record {keys[0]} to {keys[-1]} as made: nothing was made. Launch the backfill from "
            "the page of an asset, or from the job synthesis",
            allow_retries=False,
        )
    return keys


def _dimensions(context: dg.AssetExecutionContext, key: str) -> dict[str, str]:
    definition = context.assets_def.partitions_def
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return dict(definition.get_partition_key_from_str(key).keys_by_dimension)
    return {"label" if definition == labels else "run": key}


class ByLabel:
    """The rows of a frame by label, which is named by its slug, or `by` another column. They are
    looked up: a look at all rows for each label would be rows × labels."""

    def __init__(self, frame: pl.DataFrame, *, by: str = "slug") -> None:
        self._frame = frame
        rows = frame.select(label=by).with_row_index("row").group_by("label").agg("row")
        self._rows = dict(zip(rows["label"], rows["row"], strict=True))

    def get(self, label: str) -> pl.DataFrame:
        """In the order of the frame; without any, an empty frame."""
        return self._frame[self._rows[label]] if label in self._rows else self._frame.clear()

    def __getitem__(self, label: str) -> pl.DataFrame:
        """Raises: ValueError: there are none."""
        if label not in self._rows:
            raise ValueError(
                f"no text has the label {label!r}, the corpus has {sorted(self._rows)}: "
                "delete the partition, or materialise labelled_texts with the corpus that has it"
            )
        return self.get(label)


def range_tags(keys: Sequence[str]) -> dict[str, str]:
    """Run tags that ask for the partitions from the first to the last of `keys`.

    Dagster takes every partition that was added between the two, so `keys` must be neighbours in
    the order of the dynamic partitions.
    """
    return {RANGE_START: keys[0], RANGE_END: keys[-1]}


def neighbours(slugs: Collection[str], order: Sequence[str]) -> list[list[str]]:
    """Groups of `slugs` that stand side by side in `order`, as a partition range needs them."""
    groups: list[list[str]] = []
    previous = -2
    for place, slug in enumerate(order):
        if slug in slugs:
            if place == previous + 1:
                groups[-1].append(slug)
            else:
                groups.append([slug])
            previous = place
    return groups
