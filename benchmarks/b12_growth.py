"""B12: how time and memory of every stage grow with the rows and with the labels of a corpus.

Two axes: a corpus of `--rows` rows in four labels, and one of `--labels` labels of 12 rows each, on
the generator without weights of the tests: what is measured is ours and Dagster's, not a model. Of
each label a tenth of its rows is made, four at least. The stages run in order, each in a process of
its own on the home that the ones before have left: CPU seconds of the stage alone (imports and the
making of the definitions are not in them), peak memory of the whole process. Exponents are those of
the last two sizes of an axis, log to log: 1 is a stage of which ten times as much takes ten times
as long, 2 one of which it takes a hundred times as long.
"""

import argparse
import json
import math
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

for _library in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "POLARS_MAX"):
    os.environ.setdefault(f"{_library}_THREADS", "1")
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

RESULTS = Path(__file__).with_name("results.jsonl")
FEW_LABELS, FEW_ROWS, LEAST_SAMPLES = 4, 12, 4
RUN = "r1"
# by name: assets, and whether they are materialised without partition, by label, label × run, run
GRAPH: Mapping[str, tuple[list[str], str]] = {
    "ingest": (["raw_corpus"], ""),
    "split": (["labelled_texts"], ""),
    "embeddings": (["embeddings"], "label"),
    "pairs": (["class_pairs"], "label|run"),
    "mixed vectors": (["interpolated_vectors"], "label|run"),
    "decoding": (["decoded_texts", "found_texts"], "label|run"),
    "filters": (["synthetic_texts"], "label|run"),
    "filters, ROUGE-L": (["synthetic_texts"], "label|run"),
    "publication": (["synthetic_table"], "label|run"),
    "publication of one": (["synthetic_table"], "one"),
    "evaluation": (["evaluation"], "run"),
    "audit": (["privacy_audit"], "run"),
    "card": (["dataset_card"], "run"),
}
PARTITIONS_PAGE = """{
  assetNodeOrError(assetKey: {path: ["synthetic_table"]}) { ... on AssetNode {
    partitionStats { numMaterialized numPartitions }
    partitionKeysByDimension { name partitionKeys }
    assetPartitionStatuses { ... on MultiPartitionStatuses {
      ranges { primaryDimStartKey primaryDimEndKey } } }
  } }
}"""


class Bench:
    """A home on disk, of which each stage is a process."""

    def __init__(self, folder: str) -> None:
        from tests.assets.conftest import Home

        self.folder = Path(folder)
        self.home = Home(self.folder / "home")

    def instance(self) -> Any:
        import dagster as dg

        (self.folder / "dagster").mkdir(exist_ok=True)
        self.home.instance = dg.DagsterInstance.local_temp(str(self.folder / "dagster"))
        return self.home.instance

    def write_corpus(self, rows: int, n_labels: int) -> None:
        """Half of a text's 12 words are among the six of its label."""
        from tests.assets.conftest import write_corpus
        from tests.fakes import VOCABULARY

        rng = random.Random(0)
        own = {f"label-{number:05}": rng.sample(VOCABULARY, 6) for number in range(n_labels)}
        names = list(own)
        of = [names[row % n_labels] for row in range(rows)]
        texts = [" ".join(rng.choices(own[name], k=6) + rng.sample(VOCABULARY, 6)) for name in of]
        write_corpus(self.folder / "corpus.csv", list(zip(texts, of, strict=True)))

    def config(self, stage: str) -> dict[str, Any]:
        if stage == "pairs":
            train = self.home.store.read("labelled_texts").filter(split="train")
            counts = dict(train.group_by("slug").len().iter_rows())
            wanted = {slug: n + max(LEAST_SAMPLES, n // 10) for slug, n in counts.items()}
            return {"class_pairs": {"totals": wanted, "oversample": 1.0}}
        if stage == "publication":  # whatever the gates say: later stages need rows
            slugs = self.home.store.read("labelled_texts")["slug"].unique().sort().to_list()
            return {"synthetic_table": {"publish_anyway": dict.fromkeys(slugs, "a benchmark")}}
        return {
            "decoding": {"decoded_texts": {"n_candidates": 2}},
            "filters, ROUGE-L": {"synthetic_texts": {"max_rouge_l": 0.7}},
            "publication of one": {"synthetic_table": {"min_accepted_share": 0.0}},
            "evaluation": {"evaluation": {"n_seeds": 2}},
        }.get(stage, {})

    def graph(self, stage: str) -> Callable[[], object]:
        import dagster as dg

        from smotext_assets.definitions import definitions
        from smotext_assets.graph import labels, range_tags, runs

        names, by = GRAPH[stage]
        instance = self.instance()
        graph = definitions(self.home.resources(self.folder / "corpus.csv"))
        job = graph.resolve_implicit_global_asset_job_def()
        keys = instance.get_dynamic_partitions(str(labels.name))
        options: dict[str, Any] = {}
        if by == "label":
            options["tags"] = range_tags(keys)
        elif by == "label|run":
            instance.add_dynamic_partitions(str(runs.name), [RUN])
            options["tags"] = range_tags([f"{keys[0]}|{RUN}", f"{keys[-1]}|{RUN}"])
        elif by:
            options["partition_key"] = f"{keys[0]}|{RUN}" if by == "one" else RUN
        ops = {name: {"config": config} for name, config in self.config(stage).items()}

        def run() -> None:
            result = job.execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(name) for name in names],
                run_config={
                    "ops": ops,
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                **options,
            )
            assert result.success

        return run

    def other(self, stage: str) -> Callable[[], object]:
        """What is no asset."""
        import dagster as dg

        from smotext_assets.definitions import definitions

        instance = self.instance()
        if stage == "status":
            return self.status
        if stage == "schedule's tick":
            given = self.home.resources(self.folder / "corpus.csv")
            schedule = definitions(given).resolve_schedule_def("nightly_run")
            context = dg.build_schedule_context(
                instance=instance,
                scheduled_execution_time=datetime(2026, 11, 30, 3, tzinfo=UTC),
                resources={name: given[name] for name in ("store", "generator")},
            )
            return lambda: schedule(context)
        if stage == "event log":
            key = dg.AssetKey("synthetic_table")
            return lambda: (
                instance.get_materialized_partitions(key),
                instance.event_log_storage.get_latest_storage_id_by_partition(
                    key, dg.DagsterEventType.ASSET_MATERIALIZATION
                ),
            )
        from smotext_assets.graph import label_by_run

        if stage == "dynamic partitions":
            return lambda: label_by_run.get_partition_keys(dynamic_partitions_store=instance)
        assert stage == "partition page", stage
        return self.page(instance)

    def status(self) -> None:
        with redirect_stdout(StringIO()):
            assert self.home.main("status") == 0

    def page(self, instance: Any) -> Callable[[], object]:
        """What the UI asks for, without HTTP; the code location is a process beside it."""
        from dagster._core.workspace.context import WorkspaceProcessContext
        from dagster._core.workspace.load_target import ModuleTarget
        from dagster_graphql.test.utils import execute_dagster_graphql

        os.environ["SMOTEXT_HOME"] = str(self.home.folder)
        target = ModuleTarget(
            module_name="tests.ui.location",
            attribute=None,
            working_directory=str(Path(__file__).parents[1]),
            location_name="benchmark",
        )
        process = WorkspaceProcessContext(instance, target)

        def ask() -> None:
            with process:
                found = execute_dagster_graphql(process.create_request_context(), PARTITIONS_PAGE)
            stats = found.data["assetNodeOrError"]["partitionStats"]
            assert stats["numMaterialized"] == stats["numPartitions"], stats

        return ask


OTHERS = ("status", "dynamic partitions", "event log", "partition page", "schedule's tick")


def measure(folder: str, stage: str, pipe: Any) -> None:
    """In a process of its own: sends CPU seconds and peak bytes."""
    bench = Bench(folder)
    act = bench.graph(stage) if stage in GRAPH else bench.other(stage)
    began = time.process_time()
    act()
    took = time.process_time() - began
    pipe.send((took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def stages_of(rows: int, n_labels: int, only: list[str] | None) -> dict[str, tuple[float, float]]:
    """CPU seconds and peak GB by stage."""
    forking = get_context("forkserver")
    forking.set_forkserver_preload(["smotext_assets.definitions", "tests.assets.conftest"])
    found = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Bench(folder).write_corpus(rows, n_labels)
        for stage in (*GRAPH, *OTHERS):
            if only and stage in OTHERS and stage not in only:
                continue
            receive, send = forking.Pipe(duplex=False)
            child = forking.Process(target=measure, args=(folder, stage, send))
            child.start()
            send.close()
            try:
                seconds, peak = receive.recv()
            except EOFError:
                raise RuntimeError(f"{stage} of {rows} rows, {n_labels} labels failed") from None
            child.join()
            found[stage] = (round(seconds, 3), round(peak / 1e9, 3))
            print(
                f"{rows:8} {n_labels:6} {stage:20}{seconds:9.2f} s{peak / 1e9:8.2f} GB", flush=True
            )
    return found


def exponent(sizes: list[int], values: list[float]) -> float:
    """Of the last two."""
    low, high = (max(value, 0.001) for value in values[-2:])  # rounded to that
    return round(math.log(high / low) / math.log(sizes[-1] / sizes[-2]), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 3_000, 10_000, 30_000])
    parser.add_argument("--labels", type=int, nargs="*", default=[10, 30, 100, 300])
    parser.add_argument("--others", nargs="*", help=f"of {', '.join(OTHERS)}: these alone")
    given = parser.parse_args()
    axes = {
        "rows": [(n, n, FEW_LABELS) for n in sorted(given.rows)],
        "labels": [(n, FEW_ROWS * n, n) for n in sorted(given.labels)],
    }
    for axis, sizes in axes.items():
        if not sizes:
            continue
        found = [stages_of(rows, n_labels, given.others) for _, rows, n_labels in sizes]
        ns = [n for n, _, _ in sizes]
        print(f"\n{axis:20}" + "".join(f"{n:>10}" for n in ns) + f"{'exponent':>10}{'GB':>8}")
        for stage in found[-1]:
            seconds, peaks = ([of[stage][i] for of in found] for i in (0, 1))
            line: dict[str, Any] = {
                "id": "B12",
                "axis": axis,
                "stage": stage,
                "sizes": ns,
                "cpu_s": seconds,
                "peak_gb": peaks,
            }
            if len(ns) > 1:
                line["exponent"] = exponent(ns, seconds)
                line["exponent_memory"] = exponent(ns, peaks)
            line["at"] = datetime.now(UTC).isoformat(timespec="seconds")
            told = "".join(f"{value:10.2f}" for value in seconds)
            print(f"{stage:20}{told}{line.get('exponent', ''):>10}{peaks[-1]:8.2f}", flush=True)
            with RESULTS.open("a") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
