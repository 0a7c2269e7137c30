"""The store as Dagster sees it: a resource, and an I/O manager that hands assets their inputs."""

from dataclasses import dataclass

import dagster as dg
import polars as pl
from pydantic import Field

from smotext_assets.storage import Manifest, Store


class StoreResource(dg.ConfigurableResource[Store]):
    """Where the tables of record are. Credentials for S3 are found as boto3 finds them."""

    root: str = Field(description="A folder, or s3://bucket/prefix.")
    endpoint_url: str | None = Field(default=None, description="An S3 service other than AWS.")
    region_name: str | None = Field(default=None, description="The bucket's region.")

    def open(self) -> Store:
        if not self.root.startswith("s3://"):
            return Store(self.root)
        from dagster_aws.s3 import S3Resource  # boto3: only where the store is a bucket

        s3 = S3Resource(endpoint_url=self.endpoint_url, region_name=self.region_name)
        return Store(self.root, client=s3.get_client())


@dataclass(frozen=True)
class Table:
    """An upstream asset, as a stage receives it: its partitions are read when asked for."""

    store: Store
    name: str

    def read(self, **partition: str) -> pl.DataFrame:
        return self.store.read(self.name, partition)

    def read_all(self, *, schema: pl.Schema | None = None, **where: str) -> pl.DataFrame:
        return self.store.read_all(self.name, where, schema=schema)

    def manifest(self, **partition: str) -> Manifest | None:
        return self.store.manifest(self.name, partition)


class TableIOManager(dg.ConfigurableIOManager):
    """Lineage by parameter names: an asset's parameter is its upstream's `Table`.

    Assets commit their partitions themselves, one by one, so that one bad label fails alone.
    """

    store: StoreResource

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        if obj is not None:
            raise TypeError(
                f"{context.get_identifier()} returned a {type(obj).__name__}; assets commit their "
                "partitions through the store and return None"
            )

    def load_input(self, context: dg.InputContext) -> Table:
        return Table(self.store.open(), context.asset_key.path[-1])
