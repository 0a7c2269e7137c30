"""The code location: every asset, check and resource. Only here the environment is read."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from smotext_assets import corpus, decoding, embeddings, evidence, pairs, synthetic
from smotext_assets.resources import (
    Corpus,
    GeneratorResource,
    Progress,
    StoreResource,
    TableIOManager,
    Warehouse,
)

_STAGES = [corpus, embeddings, pairs, decoding, synthetic, evidence]


def dagster_instance() -> dg.DagsterInstance:
    """Of DAGSTER_HOME, else of this folder's dagster.yaml, else one under SMOTEXT_HOME."""
    if "DAGSTER_HOME" not in os.environ:
        home = Path.cwd()
        if not (home / "dagster.yaml").exists():
            home = Path(os.environ.get("SMOTEXT_HOME", ".smotext")).absolute() / "dagster"
            home.mkdir(parents=True, exist_ok=True)
            (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        os.environ["DAGSTER_HOME"] = str(home)
    return dg.DagsterInstance.get()


def resources() -> dict[str, Any]:
    """The resources that the environment asks for."""
    home = os.environ.get("SMOTEXT_HOME", ".smotext")
    store = StoreResource(
        root=os.environ.get("SMOTEXT_STORE", os.path.join(home, "store")),
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL"),
        region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
    )
    return {
        "io_manager": TableIOManager(store=store),
        "store": store,
        "corpus": Corpus(source=os.environ.get("SMOTEXT_CORPUS", "clinic_notes")),
        "generator": GeneratorResource(generator=os.environ.get("SMOTEXT_GENERATOR", "mini")),
        "warehouse": Warehouse(
            path=os.environ.get("SMOTEXT_WAREHOUSE", os.path.join(home, "warehouse.duckdb"))
        ),
        "progress": Progress(),
    }


def definitions(resources: Mapping[str, Any]) -> dg.Definitions:
    """The asset graph on these resources."""
    return dg.Definitions(
        assets=dg.load_assets_from_modules(_STAGES),
        asset_checks=dg.load_asset_checks_from_modules(_STAGES),
        resources=resources,
        executor=dg.in_process_executor,
    )


defs = definitions(resources())
