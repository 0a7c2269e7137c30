"""What an asset gets for an upstream: its table, read where it is needed, not before."""

from dataclasses import dataclass

import dagster as dg
import polars as pl

from smotext_assets.graph.column_lineage import DESCRIPTIONS
from smotext_assets.graph.resources import StoreResource, Warehouse
from smotext_assets.store import JSON, Manifest, MissingPartition, Store, hold
from smotext_core.filters import DECODED, FOUND
from smotext_core.schemas import DECODED_TEXTS, with_later


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

    def sha256(self, **partition: str) -> str:
        """Of the committed partition.

        Raises:
            MissingPartition: there is none.
        """
        return self._committed(partition).sha256

    def sha256_by_label(self, run: str) -> dict[str, JSON]:
        """Of the partitions of a run."""
        return {
            partition["label"]: self.sha256(**partition)
            for partition in self.partitions()
            if partition["run"] == run
        }

    def metadata(self, **partition: str) -> dict[str, JSON]:
        """What its writer told of the committed partition.

        Raises:
            MissingPartition: there is none.
        """
        return self._committed(partition).metadata

    def partitions(self) -> list[dict[str, str]]:
        return self.store.partitions(self.name)

    def _committed(self, partition: dict[str, str]) -> Manifest:
        manifest = self.manifest(**partition)
        if manifest is None:
            raise MissingPartition(
                f"{self.name} has no partition {partition or '(whole table)'}: materialise it first"
            )
        return manifest


def with_vectors(
    texts: pl.DataFrame, embeddings: Table, *, encoder: str
) -> tuple[pl.DataFrame, dict[str, JSON]]:
    """The rows of `texts` that this encoder has embedded, in their order, with `embedding`.

    The store may hold vectors of labels that left the corpus, of other encoders, and of other texts
    under the same ids; they do not count. With the rows comes the sha256 of each partition used.
    """
    parts, used = [], {}
    for slug in texts["slug"].unique().sort():
        manifest = embeddings.manifest(label=slug)
        if manifest is not None and manifest.metadata["encoder"] == encoder:
            parts.append(embeddings.read(label=slug).with_columns(slug=pl.lit(slug)))
            used[slug] = manifest.sha256
    keys = ["slug", "text_id", "content_hash"]
    if parts:
        found = texts.join(pl.concat(parts), on=keys, how="inner", maintain_order="left")
    if not parts or found.is_empty():
        raise MissingPartition(
            f"none of these texts has a vector of the encoder {encoder}: materialise embeddings"
        )
    return found, dict(used)


def candidates_of(decoded_texts: Table, found_texts: Table, **partition: str) -> pl.DataFrame:
    """What was decoded for the samples of a label and run, and behind it what was found, numbered
    on. Beside the columns of `decoded_texts` there are `origin` and `found_id`."""
    decoded = with_later(decoded_texts.read(**partition), DECODED_TEXTS).with_columns(
        origin=pl.lit(DECODED), found_id=pl.lit(None, pl.String)
    )
    if found_texts.manifest(**partition) is None:  # of an older version
        return decoded
    behind = decoded.select(pl.col("candidate").max().fill_null(-1) + 1).item()
    found = with_later(found_texts.read(**partition), DECODED_TEXTS).with_columns(
        pl.col("candidate") + behind, origin=pl.lit(FOUND)
    )
    return pl.concat([decoded, found.select(decoded.columns)]) if found.height else decoded


def with_candidate_vectors(
    synthetic: pl.DataFrame, decoded_texts: Table, found_texts: Table, *, run: str
) -> pl.DataFrame:
    """Synthetic rows with the vectors their candidates got, in the column `embedding`."""
    parts = [
        candidates_of(decoded_texts, found_texts, **partition).select(
            "sample_id", "text", "embedding"
        )
        for partition in decoded_texts.partitions()
        if partition["run"] == run
    ]
    vectors = pl.concat(parts).unique(["sample_id", "text"], keep="first", maintain_order=True)
    return synthetic.join(vectors, on=["sample_id", "text"], how="left", maintain_order="left")


class TableIOManager(dg.ConfigurableIOManager):
    """Lineage by parameter names: an asset's parameter is its upstream's `Table`.

    Assets commit their partitions themselves, one by one, so that one bad label fails alone.
    """

    store: StoreResource
    warehouse: Warehouse

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        if context.instance is not None and context.run_id is not None:  # in a run
            hold(context.instance, self.warehouse.file, context.run_id)

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        if obj is not None:
            raise TypeError(
                f"{context.get_identifier()} returned a {type(obj).__name__}; assets commit their "
                "partitions through the store and return None"
            )

    def load_input(self, context: dg.InputContext) -> Table:
        return Table(self.store.open(), context.asset_key.path[-1])


def column_schema(schema: pl.Schema) -> dg.TableSchema:
    """A table's columns, as the asset's page shows them."""
    return dg.TableSchema(
        [
            dg.TableColumn(name, str(dtype), description=DESCRIPTIONS.get(name))
            for name, dtype in schema.items()
        ]
    )
