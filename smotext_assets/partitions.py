"""The two dimensions, label and run, and the one loop over a run's partitions."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from smotext_assets.columns import column_lineage

# Names of dynamic partitions are global across code locations, hence the prefix.
labels = dg.DynamicPartitionsDefinition(name="smotext_label")
runs = dg.DynamicPartitionsDefinition(name="smotext_run")
label_by_run = dg.MultiPartitionsDefinition({"label": labels, "run": runs})

BY_LABEL_AND_RUN = (
    "class_pairs",
    "interpolated_vectors",
    "decoded_texts",
    "synthetic_texts",
    "synthetic_table",
)
BY_RUN = ("evaluation", "privacy_audit", "dataset_card")

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


def follows(*parents: str) -> dg.AutomationCondition[dg.AssetKey]:
    """Make a partition when its own partition of one of `parents` was made; others do not count.

    Carried out by the sensor `follow_up`, and only for what is made while that is started.
    """
    selection = dg.AssetSelection.assets(*parents)
    updated = dg.AutomationCondition.any_deps_updated().allow(selection)
    busy = dg.AutomationCondition.any_deps_in_progress().allow(selection)
    return updated.since_last_handled() & ~busy & ~dg.AutomationCondition.in_progress()


def for_each_partition(
    context: dg.AssetExecutionContext,
    make: Callable[..., Mapping[str, Any]],
) -> None:
    """Call `make(label=…, run=…)`, of the dimensions the asset has, for every partition asked for.

    `make` commits the partition to the store and returns its metadata, to which the seconds it took
    and the origin of its columns are added. A partition that raises does not stop the others: at
    the end the good ones are recorded as materialised and the run fails, naming the bad ones. (A
    range run is one step. Were it to return, Dagster would mark all its partitions as
    materialised.)

    Raises:
        dg.Failure: with the metadata `failed_partitions`: the reason by key.
    """
    good: dict[str, Mapping[str, Any]] = {}
    bad: dict[str, Exception] = {}
    for key in context.partition_keys:
        began = time.perf_counter()
        try:
            metadata = make(**_dimensions(context, key))
            seconds = {"seconds": round(time.perf_counter() - began, 2)}
            good[key] = {**metadata, **column_lineage(context.asset_key.path[-1]), **seconds}
        except Exception as error:  # whatever it is, it is this partition's alone
            context.log.exception(f"partition {key} failed")
            bad[key] = error
    if not bad:
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


def _dimensions(context: dg.AssetExecutionContext, key: str) -> dict[str, str]:
    definition = context.assets_def.partitions_def
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return dict(definition.get_partition_key_from_str(key).keys_by_dimension)
    return {"label" if definition == labels else "run": key}


def of_label(frame: pl.DataFrame, label: str) -> pl.DataFrame:
    """The rows of one label, which is named by its slug.

    Raises:
        ValueError: there are none.
    """
    found = frame.filter(pl.col("slug") == label)
    if found.is_empty():
        raise ValueError(
            f"no text has the label {label!r}, the corpus has {sorted(set(frame['slug']))}: "
            "delete the partition, or materialise labelled_texts with the corpus that has it"
        )
    return found


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
