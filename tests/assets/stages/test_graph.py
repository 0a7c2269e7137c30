"""The whole graph, from a CSV file to the warehouse and the card."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from smotext_assets.graph.partitions import runs
from smotext_assets.graph.table_io import Table
from smotext_core.schemas import (
    EVALUATION,
    GATES,
    LABELLED_TEXTS,
    LINEAGE,
    PRIVACY_AUDIT,
    REJECTED_TEXTS,
    RUNS,
    SYNTHETIC_TEXTS,
)
from tests.assets.conftest import (
    BY_LABEL_AND_RUN,
    COUNTS,
    Home,
)
from tests.conftest import S3_BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WANTED = {"astronomy": 0, "cooking": 8, "medicine": 10}  # to the 16 train texts of astronomy


# what a finished run leaves


def test_graph_warehouse_has_the_tables_that_stay_stable(finished: Home) -> None:
    schemas = {
        "labelled_texts": LABELLED_TEXTS,
        "synthetic_texts": SYNTHETIC_TEXTS,
        "rejected_texts": REJECTED_TEXTS,
        "lineage": LINEAGE,
        "runs": RUNS,
        "evaluation": EVALUATION,
        "privacy_audit": PRIVACY_AUDIT,
        "gates": GATES,
    }
    tables = finished.tables()
    assert tables.pop("forgotten") == []
    assert sorted(tables) == sorted(schemas)
    for name, schema in schemas.items():
        columns = finished.query(f"DESCRIBE {name}")
        assert [column[0] for column in columns] == list(schema), name
        assert not any("FLOAT[" in column[1] for column in columns), name  # no vectors
        assert tables[name], name


def test_graph_makes_the_rows_wanted(finished: Home) -> None:
    made = dict(finished.query("SELECT label, count(*) FROM synthetic_texts GROUP BY label"))
    assert made == {label: n for label, n in WANTED.items() if n}
    assert finished.query("SELECT count(DISTINCT sample_id), count(*) FROM synthetic_texts") == [
        (18, 18)
    ]
    ((config,),) = finished.query("SELECT config FROM runs")
    assert json.loads(config)["wanted"] == WANTED


def test_graph_every_candidate_is_accepted_or_rejected(finished: Home) -> None:
    candidates = finished.store.read_all("decoded_texts")
    kept = len(finished.tables()["synthetic_texts"]) + len(finished.tables()["rejected_texts"])
    assert kept == candidates.height == 6 * (12 + 15)  # 1.5 samples a row wanted, 6 texts each


def test_graph_lineage_leads_to_train_texts_of_the_same_label(finished: Home) -> None:
    assert finished.query(
        """
        SELECT count(*), count(parent.text_id), bool_and(parent.split = 'train'),
               bool_and(parent.label = made.label)
        FROM lineage
        JOIN synthetic_texts made USING (sample_id)
        LEFT JOIN labelled_texts parent ON parent.text_id = lineage.parent_id
        """
    ) == [(36, 36, True, True)]
    sums = finished.query("SELECT sum(weight) FROM lineage GROUP BY sample_id")
    assert [total for (total,) in sums] == pytest.approx([1.0] * 18)


def test_graph_run_row_tells_what_was_frozen(finished: Home) -> None:
    (row,) = finished.tables()["runs"]
    run, seed, strategy, k, generator, fingerprint, corpus_sha256, _, config = row
    assert (run, seed, strategy, k, generator) == ("r1", 7, "auto", 5, "small")
    manifest = finished.store.manifest("labelled_texts")
    assert manifest is not None
    assert corpus_sha256 == manifest.sha256
    assert json.loads(config)["generator_fingerprint"] == fingerprint


def test_graph_card_shows_the_run_and_no_vector(finished: Home) -> None:
    html = finished.store.read_bytes("dataset_card/r1.html").decode()
    markdown = finished.store.read_bytes("dataset_card/r1.md").decode()
    for label in WANTED:
        assert label in html
        assert label in markdown
    assert html.count("data:image/png;base64,") >= 3  # two maps and a chart
    texts = {text for (text,) in finished.query("SELECT text FROM synthetic_texts")}
    assert any(text in html for text in texts)
    assert str(finished.folder) not in html + markdown


def test_graph_metadata_of_every_partition_is_recorded(finished: Home) -> None:
    for name in ("synthetic_texts", "synthetic_table", "class_pairs", "decoded_texts"):
        records = finished.instance.fetch_materializations(dg.AssetKey(name), limit=100).records
        metadata = {r.partition_key: r.asset_materialization.metadata for r in records}  # type: ignore[union-attr]
        assert set(metadata) == {f"{label}|r1" for label in WANTED}, name
        for key, found in metadata.items():
            rows = found["dagster/partition_row_count"].value
            stored = finished.store.manifest(
                name, {"label": str(key).partition("|")[0], "run": "r1"}
            )
            assert stored is not None
            assert rows == stored.rows, key
    (texts,) = [
        r.asset_materialization.metadata  # type: ignore[union-attr]
        for r in finished.instance.fetch_materializations(
            dg.AssetKey("synthetic_texts"), limit=100
        ).records
        if r.partition_key == "medicine|r1"
    ]
    assert str(texts["map"].value).startswith("![map](data:image/png;base64,")
    assert "| medicine | " in str(texts["first_samples"].value)
    assert texts["wanted"].value == 10
    assert texts["shortfall"].value == "none"


def test_graph_checks_pass(finished: Home) -> None:
    records = finished.instance.get_event_records(
        dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION), limit=100
    )
    found = {}
    for record in records:
        assert record.event_log_entry.dagster_event is not None
        data = record.event_log_entry.dagster_event.asset_check_evaluation_data
        found[data.check_name] = data.passed
    del found["leak_measures_are_not_red"]  # a warning, of what these 18 texts happen to be
    assert found == dict.fromkeys(
        [
            "embeddings_are_finite",
            "no_label_is_held_back",
            "pairs_share_label",
            "rows_are_current",
            "samples_are_unique",
            "splits_share_no_document",
            "texts_are_not_copies",
            "vectors_keep_norm",
            "vectors_lie_in_class",
        ],
        True,
    )


def test_graph_in_a_bucket_writes_the_bytes_of_a_folder(
    finished: Home, s3_home: Home, s3_client: "S3Client", corpus: Path
) -> None:
    assert s3_home.main("run", str(corpus), "--run", "r1", "--seed", "7") == 0
    prefix = s3_home.root.removeprefix(f"s3://{S3_BUCKET}/") + "/"
    listed = s3_client.list_objects_v2(Bucket=S3_BUCKET, Prefix=prefix)["Contents"]
    assert len(listed) < 1000  # one page
    objects = {
        key.removeprefix(prefix): hashlib.sha256(
            s3_client.get_object(Bucket=S3_BUCKET, Key=key)["Body"].read()
        ).hexdigest()
        for key in (item["Key"] for item in listed)
        if not key.startswith(f"{prefix}runs/")  # says when
    }
    assert objects == finished.files(without=["runs"])
    here, there = s3_home.tables(), finished.tables()
    assert here.pop("runs")[0][:7] == there.pop("runs")[0][:7]
    assert here == there


# by hand, in the UI


def test_graph_single_partition_is_enough_in_the_ui(
    finished: Home, home: Home, corpus: Path
) -> None:
    assert home.materialize(corpus, ["raw_corpus", "labelled_texts"]).success
    home.instance.add_dynamic_partitions(str(runs.name), ["r1"])
    for label in ("medicine", "cooking"):
        assert home.materialize(corpus, ["embeddings"], partition_key=label).success
    result = home.materialize(
        corpus,
        BY_LABEL_AND_RUN,
        partition_key="medicine|r1",
        run_config={"ops": {"class_pairs": {"config": {"seed": 7}}}},
    )
    assert result.success
    # pairs, vectors and candidates are a matter of the label alone
    for table in BY_LABEL_AND_RUN[:2]:
        here, there = (
            Table(h.store, table).sha256(label="medicine", run="r1") for h in (home, finished)
        )
        assert here == there, table
    assert len(home.tables()["synthetic_texts"]) == WANTED["medicine"]
    assert sum(COUNTS.values()) == home.store.read("labelled_texts").height
