"""The code location: what Dagster sees of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from smotext_assets.definitions import (
    QUARANTINED_TAG,
    dagster_instance,
    definitions,
    defs,
    resources,
)
from smotext_assets.graph.column_lineage import column_lineage, origins
from smotext_core.schemas import SYNTHETIC_TEXTS

LABEL = "label"
RUN = "run"

# asset: group, partitioned by, pools, kinds, parents
ASSETS = {
    "raw_corpus": ("corpus", (), set(), {"parquet"}, set()),
    "labelled_texts": ("corpus", (), set(), {"parquet"}, {"raw_corpus"}),
    "embeddings": ("generator", (LABEL,), {"gpu"}, {"parquet", "torch"}, {"labelled_texts"}),
    "unlabelled_texts": ("corpus", (), {"gpu"}, {"parquet", "torch"}, {"labelled_texts"}),
    "generator": (
        "generator",
        (),
        {"gpu"},
        {"parquet", "torch"},
        {"labelled_texts", "unlabelled_texts", "embeddings"},
    ),
    "class_pairs": (
        "mixing",
        (LABEL, RUN),
        set(),
        {"parquet"},
        {"labelled_texts", "embeddings", "generator"},
    ),
    "interpolated_vectors": (
        "mixing",
        (LABEL, RUN),
        set(),
        {"parquet"},
        {"class_pairs", "labelled_texts", "embeddings"},
    ),
    "decoded_texts": (
        "texts",
        (LABEL, RUN),
        {"gpu"},
        {"parquet", "torch"},
        {"class_pairs", "interpolated_vectors", "labelled_texts", "generator"},
    ),
    "found_texts": (
        "texts",
        (LABEL, RUN),
        set(),
        {"parquet"},
        {"interpolated_vectors", "unlabelled_texts"},
    ),
    "synthetic_texts": (
        "texts",
        (LABEL, RUN),
        set(),
        {"parquet"},
        {
            "decoded_texts",
            "found_texts",
            "unlabelled_texts",
            "class_pairs",
            "labelled_texts",
            "embeddings",
        },
    ),
    "reviews": ("texts", (RUN,), set(), {"parquet"}, {"synthetic_texts"}),
    "synthetic_table": (
        "warehouse",
        (LABEL, RUN),
        set(),
        {"duckdb", "parquet"},
        {
            "synthetic_texts",
            "decoded_texts",
            "found_texts",
            "labelled_texts",
            "embeddings",
            "reviews",
        },
    ),
    "evaluation": (
        "evidence",
        (RUN,),
        set(),
        {"parquet", "scikitlearn"},
        {"synthetic_texts", "decoded_texts", "found_texts", "labelled_texts", "embeddings"},
    ),
    "privacy_audit": (
        "evidence",
        (RUN,),
        set(),
        {"parquet"},
        {
            "synthetic_table",
            "decoded_texts",
            "found_texts",
            "labelled_texts",
            "embeddings",
            "interpolated_vectors",
        },
    ),
    "dataset_card": (
        "evidence",
        (RUN,),
        set(),
        {"html", "markdown"},
        {
            "synthetic_table",
            "decoded_texts",
            "found_texts",
            "labelled_texts",
            "embeddings",
            "evaluation",
            "privacy_audit",
        },
    ),
    "exported_dataset": (
        "evidence",
        (RUN,),
        set(),
        {"csv", "deltalake", "huggingface", "parquet"},
        {"synthetic_table", "labelled_texts", "dataset_card"},
    ),
}
CHECKS = {
    ("labelled_texts", "splits_share_no_document"),
    ("embeddings", "embeddings_are_finite"),
    ("class_pairs", "pairs_share_label"),
    ("interpolated_vectors", "vectors_keep_norm"),
    ("synthetic_table", "no_label_is_held_back"),
    ("interpolated_vectors", "vectors_lie_in_class"),
    ("synthetic_texts", "texts_are_not_copies"),
    ("synthetic_table", "samples_are_unique"),
    ("synthetic_table", "rows_are_current"),
    ("reviews", "reviewed_enough"),
    ("reviews", "accepted_enough"),
    ("privacy_audit", "leak_measures_are_not_red"),
}
NAMES = {"smotext_label": LABEL, "smotext_run": RUN}


def dimensions(definition: dg.PartitionsDefinition | None) -> tuple[str, ...]:
    if definition is None:
        return ()
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return tuple(
            NAMES[str(d.partitions_def.name)]  # type: ignore[attr-defined]
            for d in definition.partitions_defs
        )
    assert isinstance(definition, dg.DynamicPartitionsDefinition)
    return (NAMES[str(definition.name)],)


def test_definitions_are_the_graph_of_the_design() -> None:
    graph = defs.resolve_asset_graph()
    found = {}
    for spec in defs.resolve_all_asset_specs():
        node = graph.get(spec.key)
        found[spec.key.to_user_string()] = (
            spec.group_name,
            dimensions(spec.partitions_def),
            set(node.pools or ()),
            set(spec.kinds),
            {dep.asset_key.to_user_string() for dep in spec.deps},
        )
    assert found == ASSETS
    checks = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    assert checks == CHECKS


def test_definitions_partitioned_assets_backfill_in_a_single_run() -> None:
    graph = defs.resolve_asset_graph()
    for name, (_, partitioned_by, *_) in ASSETS.items():
        policy = graph.get(dg.AssetKey(name)).backfill_policy
        assert (policy == dg.BackfillPolicy.single_run()) == bool(partitioned_by), name


def test_definitions_every_asset_tells_its_grain_and_its_columns() -> None:
    for spec in defs.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        if name == "dataset_card":
            assert (spec.description or "").startswith("The run on one page")
            continue
        assert (spec.description or "").startswith("One row per "), name
        schema = spec.metadata["dagster/column_schema"]
        assert schema.columns, name
    of_table = next(s for s in defs.resolve_all_asset_specs() if "synthetic_table" in s.key.path)
    columns = of_table.metadata["dagster/column_schema"].columns
    assert [column.name for column in columns] == list(SYNTHETIC_TEXTS)


def test_definitions_groups_are_stages_without_a_loop() -> None:
    """Collapsed to its groups, the graph in the UI reads from the corpus to the evidence."""
    order = ["corpus", "generator", "mixing", "texts", "warehouse", "evidence"]
    for name, (group, *_, parents) in ASSETS.items():
        for parent in parents:
            assert order.index(ASSETS[parent][0]) <= order.index(group), (parent, name)


def test_definitions_every_asset_has_an_owner_and_every_column_a_description() -> None:
    specs = definitions(resources(), owner="team:text-data").resolve_all_asset_specs()
    for spec in specs:
        assert list(spec.owners) == ["team:text-data"]
        assert (QUARANTINED_TAG in spec.tags) == ("quarantined" in spec.metadata)
        schema = spec.metadata.get("dagster/column_schema")
        bare = (
            [column.name for column in schema.columns if not column.description] if schema else []
        )
        assert not bare, f"{spec.key}: describe them in smotext_assets/graph/column_lineage.py"


def test_column_lineage_leads_from_the_table_to_the_corpus() -> None:
    schemas = {
        spec.key.path[-1]: {c.name for c in spec.metadata["dagster/column_schema"].columns}
        for spec in defs.resolve_all_asset_specs()
        if "dagster/column_schema" in spec.metadata
    }

    def beginnings(asset: str, column: str) -> set[str]:
        assert column in schemas[asset], f"{asset} has no column {column}"
        found = {f"{asset}.{column}"}
        for lineage in column_lineage(asset).values():
            for dep in lineage.deps_by_column.get(column, []):
                parents = ASSETS[asset][-1]
                assert isinstance(parents, set)
                assert dep.asset_key.path[-1] in parents
                found |= beginnings(dep.asset_key.path[-1], dep.column_name)
        return found

    for column, origin in {
        "text": "raw_corpus.text",
        "label": "raw_corpus.label",
        "parent_ids": "labelled_texts.text_id",
        "weights": "class_pairs.weights",
        "sample_id": "class_pairs.sample_id",
        "found_id": "unlabelled_texts.text_id",
    }.items():
        assert origin in beginnings("synthetic_table", column), column
    assert "raw_corpus.text" in origins("exported_dataset", "text")
    assert set(SYNTHETIC_TEXTS) == set(
        column_lineage("synthetic_table")["dagster/column_lineage"].deps_by_column
    )


def test_definitions_load_and_every_job_resolves() -> None:
    dg.Definitions.validate_loadable(definitions(resources()))


def test_local_instances_evaluate_freshness_and_write_events_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "")  # set, to be restored
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.setenv("SMOTEXT_HOME", 'a "home": {of} mine')
    with dagster_instance() as instance:
        assert os.environ["DAGSTER_HOME"] == f'{tmp_path}/a "home": {{of}} mine/dagster'
        assert Path(os.environ["DAGSTER_HOME"], "history", "runs", "index.db").exists()
        assert instance.freshness_enabled

    (tmp_path / "dagster.yaml").write_text((root / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.freshness_enabled


IMPORT = """
import json, resource, sys
import smotext_assets.definitions
heavy = ["datasets", "deltalake", "mlcroissant", "argilla"]
heavy += ["torch", "transformers", "sklearn", "matplotlib", "boto3", "datasketch", "scipy"]
print(json.dumps([
    [name for name in heavy if name in sys.modules],
    resource.getrusage(resource.RUSAGE_SELF).ru_utime,
]))
"""


def test_definitions_import_is_light(tmp_path: Path) -> None:
    environment = {**os.environ, "SMOTEXT_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    heavy, cpu_s = json.loads(done.stdout)
    assert heavy == []
    assert cpu_s < 3
    assert list(tmp_path.iterdir()) == []  # an import leaves nothing behind


def test_resources_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (
        "HOME",
        "STORE",
        "WAREHOUSE",
        "CORPUS",
        "GENERATOR",
        "DEVICE",
        "DTYPE",
        "GROUP_READABLE",
    ):
        monkeypatch.delenv(f"SMOTEXT_{name}", raising=False)
    found = resources()
    assert found["store"].root == ".smotext/store"
    assert found["io_manager"].store.root == ".smotext/store"
    assert found["warehouse"].path == ".smotext/warehouse.duckdb"
    assert found["corpus"].source == "help_desk"
    assert found["generator"].generator == "small"
    assert (found["generator"].device, found["generator"].dtype) == ("cpu", "auto")

    assert not found["store"].group_readable

    monkeypatch.setenv("SMOTEXT_HOME", str(tmp_path))
    monkeypatch.setenv("SMOTEXT_GROUP_READABLE", "1")
    found = resources()
    assert found["store"].open().group_readable is True
    assert found["store"].open().root == str(tmp_path / "store")
    assert found["warehouse"].file == tmp_path / "warehouse.duckdb"

    monkeypatch.setenv("SMOTEXT_STORE", "s3://bucket/prefix")
    monkeypatch.setenv("SMOTEXT_WAREHOUSE", str(tmp_path / "elsewhere.duckdb"))
    monkeypatch.setenv("SMOTEXT_CORPUS", "notes.csv")
    monkeypatch.setenv("SMOTEXT_GENERATOR", "xrag-7b")
    monkeypatch.setenv("SMOTEXT_DEVICE", "cuda")
    monkeypatch.setenv("SMOTEXT_DTYPE", "bfloat16")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_REGION", raising=False)
    found = resources()
    assert found["store"].root == found["io_manager"].store.root == "s3://bucket/prefix"
    assert found["store"].endpoint_url == "http://127.0.0.1:9"
    assert found["store"].region_name == "eu-west-1"
    assert found["warehouse"].file == tmp_path / "elsewhere.duckdb"
    assert found["corpus"].source == "notes.csv"
    assert found["generator"].generator == "xrag-7b"
    assert (found["generator"].device, found["generator"].dtype) == ("cuda", "bfloat16")

    monkeypatch.setenv("SMOTEXT_DTYPE", "float8")
    with pytest.raises(ValueError, match="float8"):
        resources()
    monkeypatch.setenv("SMOTEXT_DTYPE", "auto")
    monkeypatch.setenv("SMOTEXT_GROUP_READABLE", "analysts")
    with pytest.raises(ValueError, match="group_readable"):
        resources()
