"""Assets materialised in this process, on the same Dagster instance as the UI."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

import dagster as dg
from rich.console import Console

from smotext_assets.automation import root_cause
from smotext_assets.definitions import definitions
from smotext_assets.graph import labels, neighbours, range_tags
from smotext_assets.store import fail_dead_runs, hold

_INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


class Graph:
    """Materialises assets of the code location in this process."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        resources: Mapping[str, Any],
        ops: Mapping[str, Mapping[str, Any]],
        console: Console,
    ) -> None:
        self.job = definitions(resources).resolve_implicit_global_asset_job_def()
        self.instance, self.ops, self.console = instance, ops, console
        self.warehouse = resources["warehouse"].file
        fail_dead_runs(instance, self.warehouse)

    def materialize(
        self, names: Sequence[str], *, tags: Mapping[str, str] = {}, **options: Any
    ) -> dict[str, str]:
        """Materialise and return the partitions that failed, each with its reason.

        Raises:
            ValueError: a failure that is not of some partitions alone.
            KeyboardInterrupt: Dagster was interrupted, which it records as a failure.
        """
        self.console.print(f"{', '.join(names)} …", highlight=False)
        run_id = str(uuid.uuid4())
        hold(self.instance, self.warehouse, run_id)
        result = self.job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in names],
            run_config={
                "ops": {n: {"config": dict(self.ops[n])} for n in names if n in self.ops},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            run_id=run_id,
            tags=tags,
            raise_on_error=False,
            **options,
        )
        if result.success:
            return {}
        failures = [e.step_failure_data for e in result.all_node_events if e.is_step_failure]
        if any(f.error and f.error.cls_name in _INTERRUPTS for f in failures):
            raise KeyboardInterrupt
        failed: dict[str, str] = {}
        for failure in failures:
            data = failure.user_failure_data
            if data and (keys := data.metadata.get("failed_partitions")):
                failed |= cast("dict[str, str]", keys.value)
        if not failed:
            causes = "; ".join(root_cause(f.error) for f in failures) or "the run did not start"
            raise ValueError(f"{', '.join(names)} failed: {causes}")
        return failed

    def materialize_labels(
        self, names: Sequence[str], slugs: Sequence[str], *, suffix: str
    ) -> dict[str, str]:
        """One Dagster run for neighbouring labels; without the bad ones, if some failed."""
        order = self.instance.get_dynamic_partitions(str(labels.name))
        bad: dict[str, str] = {}
        todo = neighbours(slugs, order)
        while todo:
            group = todo.pop(0)
            tags = range_tags([f"{slug}{suffix}" for slug in group])
            failed = self.materialize(names, tags=tags)
            bad |= {key.removesuffix(suffix): reason for key, reason in failed.items()}
            if failed:
                todo = neighbours([s for s in group if s not in bad], order) + todo
        return bad
