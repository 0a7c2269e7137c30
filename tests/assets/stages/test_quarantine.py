"""Quarantined tables stay in the store: what may be published, and what writes to files."""

import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from smotext_assets.definitions import defs
from smotext_assets.store import quarantine, warehouse
from smotext_assets.store.tables import Store
from smotext_assets.store.warehouse import refresh_warehouse
from smotext_core.schemas import SYNTHETIC_TEXTS, found_schema, unlabelled_schema
from tests.assets.conftest import Home

QUARANTINED = (
    "unlabelled_texts",
    "embeddings",
    "class_pairs",
    "interpolated_vectors",
    "decoded_texts",
    "found_texts",
)
PUBLISHED = {
    "evaluation",
    "forgotten",
    "gates",
    "labelled_texts",
    "lineage",
    "privacy_audit",
    "rejected_texts",
    "runs",
    "synthetic_texts",
}


def quarantined(home: Home, name: str) -> pl.DataFrame:
    """Rows of the table; of those that a run without unlabelled texts leaves empty the columns."""
    empty = {"unlabelled_texts": unlabelled_schema(32), "found_texts": found_schema(32)}
    if name in empty:
        return empty[name].to_frame()
    frame = home.store.read_all(name, {"label": "medicine"})
    assert frame.height
    return frame


def test_quarantined_tables_are_marked_and_not_in_the_warehouse(finished: Home) -> None:
    marked = {s.key.path[-1] for s in defs.resolve_all_asset_specs() if "quarantined" in s.metadata}
    assert marked == set(QUARANTINED) == set(quarantine.QUARANTINED) - {"neighbors"}
    assert set(finished.tables()) == PUBLISHED
    columns = {
        row[0]
        for table in PUBLISHED
        for row in finished.query(f"SELECT column_name FROM (DESCRIBE {table})")
    }
    assert not columns & {"embedding", "vector"}


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_published_prefix_lists_nothing_but_what_may_be_published(
    finished: Home, kind: str, request: pytest.FixtureRequest
) -> None:
    store = finished.store
    if kind == "s3":  # the same partitions, one of them twice, through the store in a bucket
        store = request.getfixturevalue("s3_store")
        for table in (*QUARANTINED, "synthetic_table"):
            for partition in finished.store.partitions(table):
                frame = finished.store.read(table, partition)
                store.write(table, frame.clear(), partition)
                store.write(table, frame, partition)
    names = store._files.list("synthetic_table/")
    parts = set()
    for partition in store.partitions("synthetic_table"):
        manifest = store.manifest("synthetic_table", partition)
        assert manifest is not None
        parts |= {manifest.path, f"{manifest.path.rpartition('/')[0]}/_manifest.json"}
        data = store._files.get(manifest.path)
        assert data is not None
        assert pl.read_parquet_schema(io.BytesIO(data)) == SYNTHETIC_TEXTS  # of the file itself
    assert len(parts) >= 4
    assert set(names) - {"synthetic_table/.lock"} == parts


@pytest.mark.parametrize("name", [*QUARANTINED, "neighbors"])
def test_publishing_a_quarantined_table_raises(
    finished: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    frame = quarantined(finished, name)
    refused = f"{name} is as sensitive as the texts and is not published"
    with monkeypatch.context() as patch:  # under another name
        patch.setitem(warehouse._SOURCES, "samples", (name, frame.schema))
        with pytest.raises(ValueError, match=refused):
            refresh_warehouse(finished.store, tmp_path / "w.duckdb")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [n for n in QUARANTINED if n != "class_pairs"])
def test_publishing_vectors_under_any_name_raises(
    finished: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    frame = quarantined(finished, name)
    with monkeypatch.context() as patch:
        patch.setitem(warehouse._SOURCES, "samples", ("samples", frame.schema))
        with pytest.raises(TypeError, match="the warehouse holds"):
            refresh_warehouse(finished.store, tmp_path / "w.duckdb")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", QUARANTINED)
def test_published_table_takes_no_other_columns(finished: Home, store: Store, name: str) -> None:
    frame = quarantined(finished, name)
    key = {"label": "medicine", "run": "r1"}
    for frames in (frame, iter([frame])):
        with pytest.raises(ValueError, match="synthetic_table is read by others and has columns"):
            store.write("synthetic_table", frames, key)
    assert [file for file in store._files.list("") if "part-" in file] == []


def test_refresh_takes_nothing_that_the_store_holds_besides(finished: Home, tmp_path: Path) -> None:
    held = {path.name for path in Path(finished.root).iterdir()}
    assert {*QUARANTINED, "neighbors", "raw_corpus"} - {"unlabelled_texts"} <= held
    assert set(refresh_warehouse(finished.store, tmp_path / "w.duckdb")) == PUBLISHED


def test_package_writes_csv_through_its_guard_alone_and_loads_no_pickle() -> None:
    """Formulas reach no cell: one line writes CSV, of a guarded frame; no pickle is opened."""
    root = Path(__file__).parents[3]
    sources = {
        path.relative_to(root).as_posix(): path.read_text()
        for package in ("smotext_core", "smotext_assets")
        for path in (root / package).rglob("*.py")
    }
    assert len(sources) > 50
    writers = ("write_csv", "to_csv", "csv.writer", "DictWriter", "write_excel", "sink_csv")
    loaders = ("pickle.load", "joblib", "allow_pickle=True", "weights_only=False")
    spreadsheet = "smotext_core/texts/spreadsheet.py"
    sources[spreadsheet] = sources[spreadsheet].replace("guarded(frame).write_csv()", "", 1)
    for name, text in sources.items():
        assert not [word for word in (*writers, *loaders) if word in text], name
        loads: Any = text.count("torch.load(")
        assert loads == text.count("weights_only=True"), name
