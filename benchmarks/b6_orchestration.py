"""B6: what the orchestration of a partition costs, the work itself being next to nothing.

A backfill of 40 labels × 10 runs, 10,000 rows in all, through two stages that copy their rows into
the store as Parquet: the loop, store and local instance of the asset graph, in this process.
`ms_a_partition` is the time of both stages over the partitions they wrote; `again` the same when
every partition is there already; `cpu_ms_a_partition` the processor's share of the first.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from smotext_assets.graph import (
    StoreResource,
    Table,
    TableIOManager,
    Warehouse,
    for_each_partition,
    label_by_run,
    labels,
    range_tags,
    runs,
)

RESULTS = Path(__file__).with_name("results.jsonl")
STAGE: Mapping[str, Any] = {
    "partitions_def": label_by_run,
    "backfill_policy": dg.BackfillPolicy.single_run(),
}


def stages(rows: int) -> list[dg.AssetsDefinition]:
    @dg.asset(**STAGE)
    def first(context: dg.AssetExecutionContext, store: StoreResource) -> None:
        tables = store.open()

        def make(label: str, run: str) -> dict[str, object]:
            ids = [f"{label}-{run}-{row}" for row in range(rows)]
            frame = pl.DataFrame({"id": ids, "text": [f"a text of {id_}" for id_ in ids]})
            at = {"label": label, "run": run}
            tables.write_once("first", at, inputs={"rows": rows}, make=lambda: (frame, {}))
            return {"dagster/partition_row_count": rows}

        for_each_partition(context, make)

    @dg.asset(**STAGE)
    def second(context: dg.AssetExecutionContext, first: Table, store: StoreResource) -> None:
        tables = store.open()

        def make(label: str, run: str) -> dict[str, object]:
            at = {"label": label, "run": run}
            inputs = {"rows": first.sha256(**at)}
            tables.write_once("second", at, inputs=inputs, make=lambda: (first.read(**at), {}))
            return {"dagster/partition_row_count": rows}

        for_each_partition(context, make)

    return [first, second]


def backfill(folder: Path, *, n_labels: int, n_runs: int, rows: int) -> tuple[float, float, float]:
    """Seconds of the first backfill and of the second, and of the processor in the first.

    Each is one run over all partitions.
    """
    slugs = [f"label-{n:02d}" for n in range(n_labels)]
    keys = [f"run-{n:02d}" for n in range(n_runs)]
    store = StoreResource(root=str(folder / "store"))
    warehouse = Warehouse(path=str(folder / "warehouse.duckdb"))
    resources = {"store": store, "io_manager": TableIOManager(store=store, warehouse=warehouse)}
    took = []
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        instance.add_dynamic_partitions(str(labels.name), slugs)
        instance.add_dynamic_partitions(str(runs.name), keys)
        for _ in range(2):
            began, cpu = time.perf_counter(), time.process_time()
            tags = range_tags([f"{slugs[0]}|{keys[0]}", f"{slugs[-1]}|{keys[-1]}"])
            dg.materialize(stages(rows), instance=instance, resources=resources, tags=tags)
            took.append((time.perf_counter() - began, time.process_time() - cpu))
        for name in ("first", "second"):
            made = instance.get_materialized_partitions(dg.AssetKey(name))
            if len(made) != n_labels * n_runs:
                raise RuntimeError(f"{name}: {len(made)} of {n_labels * n_runs} partitions")
    return took[0][0], took[1][0], took[0][1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=40)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=10_000, help="in all, of each stage")
    given = parser.parse_args()
    partitions = given.labels * given.runs
    with tempfile.TemporaryDirectory() as folder:
        first, again, cpu = backfill(
            Path(folder),
            n_labels=given.labels,
            n_runs=given.runs,
            rows=given.rows // partitions,
        )
    line = {
        "id": "B6",
        "case": f"{given.labels} labels x {given.runs} runs, 2 stages, {given.rows} rows",
        "ms_a_partition": round(1000 * first / (2 * partitions), 1),
        "ms_a_partition_again": round(1000 * again / (2 * partitions), 1),
        "cpu_ms_a_partition": round(1000 * cpu / (2 * partitions), 1),
        "seconds": round(first, 1),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    print(json.dumps(line))
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
