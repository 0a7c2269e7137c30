"""The code location: every asset, check and resource. Only here the environment is read."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from smotext_assets.automation import schedules as automation
from smotext_assets.graph import (
    Corpus,
    Engine,
    Exports,
    GeneratorResource,
    Progress,
    StoreResource,
    TableIOManager,
    Warehouse,
)
from smotext_assets.stages import (
    card,
    corpus,
    decoding,
    embeddings,
    evidence,
    export,
    generator,
    interpolation,
    pairs,
    placement,
    publication,
    reviews,
    staleness,
    synthetic,
    unlabelled,
)
from smotext_core.xrag import embedded_generator

# Read when torch is loaded. Its threads spin while they wait for each other, and beside other busy
# processes they then wait most of the time.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Read when a Ray cluster is started on this machine: nothing is told to anybody.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

_STAGES = [
    corpus,
    embeddings,
    unlabelled,
    generator,
    pairs,
    interpolation,
    placement,
    decoding,
    synthetic,
    reviews,
    publication,
    evidence,
    card,
    export,
    staleness,
]
# Tables that stay in the store: the UI finds them by this tag.
QUARANTINED_TAG = "smotext/quarantined"


def dagster_instance() -> dg.DagsterInstance:
    """Of DAGSTER_HOME, else of this folder's dagster.yaml, else one under SMOTEXT_HOME."""
    if "DAGSTER_HOME" not in os.environ:
        home = Path.cwd()
        if not (home / "dagster.yaml").exists():
            home = Path(os.environ.get("SMOTEXT_HOME", ".smotext")).absolute() / "dagster"
            home.mkdir(parents=True, exist_ok=True)
            if not (home / "dagster.yaml").exists():  # it may have been changed since
                (home / "dagster.yaml").write_text(
                    "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"
                    "freshness:\n  enabled: true\n"
                )
        os.environ["DAGSTER_HOME"] = str(home)
    return dg.DagsterInstance.get()


def resources() -> dict[str, Any]:
    """The resources that the environment asks for."""
    home = os.environ.get("SMOTEXT_HOME", ".smotext")
    store = StoreResource(
        root=os.environ.get("SMOTEXT_STORE", os.path.join(home, "store")),
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL"),
        region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        group_readable=os.environ.get("SMOTEXT_GROUP_READABLE", "0"),  # type: ignore[arg-type]  # validated
    )
    warehouse = Warehouse(
        path=os.environ.get("SMOTEXT_WAREHOUSE", os.path.join(home, "warehouse.duckdb"))
    )
    return {
        "io_manager": TableIOManager(store=store, warehouse=warehouse),
        "store": store,
        "corpus": Corpus(source=_corpus()),
        "unlabelled": Corpus(source=os.environ.get("SMOTEXT_UNLABELLED", ""), label=None),
        "generator": GeneratorResource(
            generator=os.environ.get("SMOTEXT_GENERATOR", embedded_generator()),
            device=os.environ.get("SMOTEXT_DEVICE", "cpu"),  # type: ignore[arg-type]  # validated
            dtype=os.environ.get("SMOTEXT_DTYPE", "auto"),  # type: ignore[arg-type]  # validated
            workspace=os.path.join(home, "generators"),
        ),
        "warehouse": warehouse,
        "exports": Exports(
            to=os.environ.get("SMOTEXT_EXPORTS") or os.path.join(home, "exports"),
            follows=bool(os.environ.get("SMOTEXT_EXPORTS")),
        ),
        "progress": Progress(),
        "engine": Engine(
            engine=os.environ.get("SMOTEXT_ENGINE", "local"),  # type: ignore[arg-type]  # validated
            address=os.environ.get("RAY_ADDRESS"),
            workers=int(os.environ.get("SMOTEXT_WORKERS", "0")),
            num_cpus=float(os.environ.get("SMOTEXT_WORKER_CPUS", "1")),
            num_gpus=float(os.environ.get("SMOTEXT_WORKER_GPUS", "0")),
        ),
    }


def _corpus() -> str:
    """The inbox, if there is one; the "/" says so before its folder is there."""
    if inbox := os.environ.get("SMOTEXT_INBOX"):
        return f"{inbox.rstrip('/')}/"
    return os.environ.get("SMOTEXT_CORPUS", "help_desk")


def definitions(
    resources: Mapping[str, Any],
    *,
    cron_schedule: str = "0 3 * * *",
    owner: str = "team:smotext",
) -> dg.Definitions:
    """The asset graph on these resources.

    `cron_schedule` (UTC) is that of the nightly run; `owner`, a mail address or team:NAME, stands
    on every asset's page.
    """

    def described(spec: dg.AssetSpec) -> dg.AssetSpec:
        (name,) = spec.key.path
        if (name == "exported_dataset" and not resources["exports"].follows) or (
            name == "unlabelled_texts" and not resources["unlabelled"].source
        ):
            spec = spec.replace_attributes(automation_condition=None)
        quarantined = {QUARANTINED_TAG: ""} if "quarantined" in spec.metadata else {}
        return spec.merge_attributes(owners=[owner], tags=quarantined)

    return dg.Definitions(
        assets=dg.map_asset_specs(
            described,
            dg.load_assets_from_modules(_STAGES),  # type: ignore[arg-type]  # it takes these too
        ),
        asset_checks=dg.load_asset_checks_from_modules(_STAGES),
        jobs=[automation.ingest, automation.synthesis],
        schedules=[automation.nightly(cron_schedule)],
        sensors=[
            automation.inbox,
            automation.follow_up(),
            automation.failures,
            automation.dead_runs,
        ],
        resources=resources,
        executor=dg.in_process_executor,
    )


defs = definitions(
    resources(),
    cron_schedule=os.environ.get("SMOTEXT_SCHEDULE", "0 3 * * *"),
    owner=os.environ.get("SMOTEXT_OWNER", "team:smotext"),
)
