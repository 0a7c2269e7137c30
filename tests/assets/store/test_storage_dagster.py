"""The store as a Dagster resource, and tables as assets' parameters."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from smotext_assets.graph.resources import StoreResource, Warehouse
from smotext_assets.graph.table_io import Table, TableIOManager
from smotext_assets.store.tables import Store
from tests.frames import ONE


def test_store_resource_opens_a_folder_and_a_bucket(
    tmp_path: Path, s3_endpoint: str, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    StoreResource(root=str(tmp_path)).open().write("t", ONE)
    assert Store(str(tmp_path)).read("t").equals(ONE)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    remote = StoreResource(root=s3_store.root, endpoint_url=s3_endpoint, region_name="us-east-1")
    remote.open().write("t", ONE)
    assert s3_store.read("t").equals(ONE)


def test_table_io_manager_hands_a_range_run_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = dg.DynamicPartitionsDefinition(name="smotext_label")
    run = dg.DynamicPartitionsDefinition(name="smotext_run")
    grid = dg.MultiPartitionsDefinition({"label": label, "run": run})
    loads = []
    load_input = TableIOManager.load_input

    def counted(self: TableIOManager, context: dg.InputContext) -> Table:
        loads.append(context.asset_key.to_user_string())
        return load_input(self, context)

    monkeypatch.setattr(TableIOManager, "load_input", counted)

    @dg.asset
    def labelled_texts(store: StoreResource) -> None:
        store.open().write("labelled_texts", ONE)

    @dg.asset(partitions_def=label, backfill_policy=dg.BackfillPolicy.single_run())
    def embeddings(
        context: dg.AssetExecutionContext, store: StoreResource, labelled_texts: Table
    ) -> None:
        assert labelled_texts.read().equals(ONE)
        for key in context.partition_keys:
            if key != "c":  # not embedded: the others go on
                store.open().write("embeddings", pl.DataFrame({"key": [key]}), {"label": key})

    @dg.asset(partitions_def=grid, backfill_policy=dg.BackfillPolicy.single_run())
    def class_pairs(
        context: dg.AssetExecutionContext, store: StoreResource, embeddings: Table
    ) -> None:
        for key in context.partition_keys:
            assert isinstance(key, dg.MultiPartitionKey)
            partition = dict(key.keys_by_dimension)
            if embeddings.manifest(label=partition["label"]) is not None:
                frame = embeddings.read(label=partition["label"])
                store.open().write("class_pairs", frame, partition)

    @dg.asset(
        partitions_def=run,
        ins={
            "class_pairs": dg.AssetIn(
                partition_mapping=dg.MultiToSingleDimensionPartitionMapping("run")
            )
        },
    )
    def evaluation(
        context: dg.AssetExecutionContext, store: StoreResource, class_pairs: Table
    ) -> None:
        frame = class_pairs.read_all(run=context.partition_key)
        store.open().write("evaluation", frame, {"run": context.partition_key})

    assets = [labelled_texts, embeddings, class_pairs, evaluation]
    resource = StoreResource(root=str(tmp_path))
    warehouse = Warehouse(path=str(tmp_path / "warehouse.duckdb"))
    manager = TableIOManager(store=resource, warehouse=warehouse)
    resources = {"store": resource, "io_manager": manager}
    span = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("smotext_label", ["a", "b", "c"])
        instance.add_dynamic_partitions("smotext_run", ["r1", "r2"])

        def go(asset: dg.AssetsDefinition, **options: Any) -> bool:
            return dg.materialize(
                assets, selection=[asset], instance=instance, resources=resources, **options
            ).success

        assert go(labelled_texts)
        assert go(embeddings, tags=dict(zip(span, ("a", "c"), strict=True)))
        assert go(class_pairs, tags=dict(zip(span, ("a|r1", "c|r2"), strict=True)))
        assert go(evaluation, partition_key="r2")
    assert loads == ["labelled_texts", "embeddings", "class_pairs"]
    store = resource.open()
    assert store.partitions("class_pairs") == [
        {"label": a, "run": b} for a in "ab" for b in ("r1", "r2")
    ]
    assert store.read("evaluation", {"run": "r2"})["key"].to_list() == ["a", "b"]


def test_table_io_manager_refuses_a_returned_frame(tmp_path: Path) -> None:
    @dg.asset
    def embeddings() -> Any:
        return ONE

    warehouse = Warehouse(path=str(tmp_path / "warehouse.duckdb"))
    manager = TableIOManager(store=StoreResource(root=str(tmp_path)), warehouse=warehouse)
    with pytest.raises(TypeError, match=r"embeddings.* returned a DataFrame; assets commit"):
        dg.materialize([embeddings], resources={"io_manager": manager})
