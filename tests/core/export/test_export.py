"""Every format is read back by the library that others read it with."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import time
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from smotext_core.export import (
    croissant,
    delta_rows,
    parquet,
    put_in_delta,
    readme,
    with_real,
)
from smotext_core.schemas import LABELLED_TEXTS, SYNTHETIC_TEXTS, conform
from smotext_core.texts import csv_bytes, guarded, unguarded

HOSTILE = ["=1+1", "+2", "-3", "@x", "\tx", "\rx", "'=1", "''+1", "'quoted'", 'a "b", c\nd', "né"]


def rows(n: int = 4, *, run: str = "r1", label: str = "rare", text: str = "text") -> pl.DataFrame:
    made = {
        "sample_id": [f"{run}.{label}.{i}" for i in range(n)],
        "run": run,
        "label": label,
        "text": [f"{text} {i}" for i in range(n)],
        "round_trip_cosine": 0.5,
        "parent_cosine": -0.25,
        "label_confidence": 0.75,
        "copied_words": 3,
        "parent_ids": [["1", f"{i}#2"] for i in range(n)],
        "weights": [[0.25, 0.75]] * n,
        "generator": "abc",
    }
    return conform(pl.DataFrame(made), SYNTHETIC_TEXTS)


def labelled() -> pl.DataFrame:
    splits = ["train", "test", "holdout"]
    texts = {name: splits for name in LABELLED_TEXTS if name not in ("passage",)}
    return conform(pl.DataFrame({**texts, "passage": [0, 0, 0]}), LABELLED_TEXTS)


def folder(to: Path, splits: dict[str, pl.DataFrame]) -> Path:
    (to / "data").mkdir(parents=True)
    data = {split: parquet(frame) for split, frame in splits.items()}
    for split, content in data.items():
        (to / "data" / f"{split}.parquet").write_bytes(content)
    generator = {"name": "small", "fingerprint": "abc", "licence": "Apache-2.0"}
    told = readme(
        run="r1",
        splits={split: frame.height for split, frame in splits.items()},
        counts=[("=rare", 8, 4)],
        verdict=["No leak measure is red, which is no guarantee."],
        columns={"text": "The text."},
        generator=generator,
        left_out=["3 rows of other: held back by copied"],
        licence="cc-by-4.0",
    )
    (to / "README.md").write_text(told)
    described = croissant(
        run="r1",
        made_at="2026-11-27T10:00:00+00:00",
        schema=splits["synthetic"].schema,
        files={s: (hashlib.sha256(d).hexdigest(), len(d)) for s, d in data.items()},
        descriptions={"text": "The text."},
        sources={"text": ["synthetic_texts.text", "decoded_texts.text"]},
        verdict=["No leak measure is red."],
        licence="cc-by-4.0",
        language="en",
        generator=generator,
    )
    (to / "croissant.json").write_bytes(described)
    return to


def test_datasets_reads_the_folder_with_and_without_real_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    made = rows()
    alone = datasets.load_dataset(
        str(folder(tmp_path / "alone", {"synthetic": made})), cache_dir=str(tmp_path / "cache")
    )
    assert list(alone) == ["synthetic"]
    assert alone["synthetic"].to_list() == made.to_dicts()
    both = datasets.load_dataset(
        str(folder(tmp_path / "both", with_real(made, labelled()))),
        cache_dir=str(tmp_path / "cache"),
    )
    assert {split: len(frame) for split, frame in both.items()} == {
        "synthetic": 4,
        "train": 1,
        "test": 1,
    }
    assert both["train"][0]["text"] == "train"
    assert both["train"][0]["sample_id"] is None
    assert "holdout" not in json.dumps([row for split in both.values() for row in split])


def test_readme_has_the_front_matter_of_the_hub_and_quotes_no_markup(tmp_path: Path) -> None:
    told = (folder(tmp_path / "x", {"synthetic": rows()}) / "README.md").read_text()
    _, front, body = told.split("---\n", 2)
    header = yaml.safe_load(front)
    assert header["license"] == "cc-by-4.0"
    assert header["size_categories"] == ["n<1K"]
    assert header["task_categories"] == ["text-classification"]
    assert header["generator"]["fingerprint"] == "abc"
    assert header["configs"][0]["data_files"] == [
        {"split": "synthetic", "path": "data/synthetic.parquet"}
    ]
    assert "held back by copied" in body
    assert "| =rare" not in body  # it is an entity: a label is no markup
    assert "text 0" not in told


def test_mlcroissant_reads_the_rows_and_the_provenance_of_fields(tmp_path: Path) -> None:
    import mlcroissant as mlc

    made = rows(2)
    at = folder(tmp_path / "x", {"synthetic": made}) / "croissant.json"
    data = mlc.Dataset(jsonld=str(at))
    assert not data.metadata.issues.errors
    found = list(data.records("synthetic"))
    assert [row["synthetic/text"].decode() for row in found] == made["text"].to_list()
    assert [[p.decode() for p in row["synthetic/parent_ids"]] for row in found] == made[
        "parent_ids"
    ].to_list()
    fields = {field.name: field for field in data.metadata.record_sets[0].fields}
    assert list(fields) == list(SYNTHETIC_TEXTS)
    assert "Made from: synthetic_texts.text, decoded_texts.text." in fields["text"].description
    data_file = at.parent / "data" / "synthetic.parquet"
    assert (
        data.metadata.distribution[0].sha256 == hashlib.sha256(data_file.read_bytes()).hexdigest()
    )


def test_put_in_delta_is_idempotent_and_appends_runs(tmp_path: Path) -> None:
    uri = str(tmp_path / "delta")
    first, second = rows(), rows(run="r2", label="a/b's é")
    assert put_in_delta(uri, first, run="r1", published=first) == 0
    files = sorted(tmp_path.rglob("*"))
    assert put_in_delta(uri, first, run="r1", published=first) == 0
    assert sorted(tmp_path.rglob("*")) == files  # not even a commit
    assert put_in_delta(uri, second, run="r2", published=second) == 1
    assert delta_rows(uri).equals(pl.concat([first, second]))
    from deltalake import DeltaTable

    assert DeltaTable(uri).metadata().partition_columns == ["label", "run"]


def test_put_in_delta_deletes_what_is_gone_and_vacuums_on_request(tmp_path: Path) -> None:
    uri = str(tmp_path / "delta")
    made, other = rows(text="zanzibar"), rows(run="r2")
    put_in_delta(uri, made, run="r1", published=made)
    put_in_delta(uri, other, run="r2", published=other)
    left = made.filter(pl.col("text") != "zanzibar 1")
    put_in_delta(uri, left, run="r1", published=left)
    assert delta_rows(uri).equals(pl.concat([left, other]))

    def somewhere(text: str) -> list[Path]:
        found = []
        for path in (p for p in Path(uri).rglob("*") if p.is_file()):
            column = pl.read_parquet(path)["text"].to_list() if path.suffix == ".parquet" else []
            if text in column or text.encode() in path.read_bytes():
                found.append(path)
        return found

    assert somewhere("zanzibar 1")  # in the files of the version before
    (killed := next(Path(uri).glob("label=*"))).mkdir(exist_ok=True)
    made.write_parquet(killed / "part-of-a-killed-writer.parquet")  # its log never named it
    long_ago = time.time() - 25 * 3600
    os.utime(killed / "part-of-a-killed-writer.parquet", (long_ago, long_ago))
    made.write_parquet(killed / "part-of-a-writer.parquet")  # its log is to name it
    put_in_delta(uri, left, run="r1", published=left, vacuum=True)
    assert [path.name for path in somewhere("zanzibar 1")] == ["part-of-a-writer.parquet"]
    assert all("_delta_log" not in path.parts for path in somewhere("zanzibar 2"))


def test_put_in_delta_of_one_label_keeps_the_others_that_are_still_published(
    tmp_path: Path,
) -> None:
    uri = str(tmp_path / "delta")
    a, b, c = rows(label="a"), rows(label="b"), rows(label="c")
    everything = pl.concat([a, b, c])
    put_in_delta(uri, everything, run="r1", published=everything)
    fewer = pl.concat([a.head(1), b])  # of c nothing is published any more
    put_in_delta(uri, a.head(1), run="r1", published=fewer, labels=["a"])
    assert delta_rows(uri).equals(fewer)


def test_put_in_delta_refuses_a_table_that_is_not_its_own(tmp_path: Path) -> None:
    from deltalake import write_deltalake

    write_deltalake(str(tmp_path), pl.DataFrame({"x": [1]}).to_arrow())
    with pytest.raises(ValueError, match="no export of smotext"):
        put_in_delta(str(tmp_path), rows(), run="r1", published=rows())


def test_csv_has_no_formula_and_is_read_back_as_it_was() -> None:
    frame = pl.DataFrame({"text": HOSTILE, "n": [-1] * len(HOSTILE)})
    data = csv_bytes(frame, bom=True)
    assert data.startswith(b"\xef\xbb\xbf")
    cells = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert not any(cell["text"].startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    assert [unguarded(cell["text"]) for cell in cells] == HOSTILE
    assert cells[0]["n"] == "-1"  # a number is no formula
    assert pl.read_csv(data)["text"].to_list() == guarded(frame)["text"].to_list()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=5))
def test_unguarded_gives_every_string_back(texts: list[str]) -> None:
    frame = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)})
    cells = guarded(frame)["text"].to_list()
    assert [unguarded(cell) for cell in cells] == texts
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)


def test_parquet_is_the_same_bytes_again() -> None:
    assert parquet(rows()) == parquet(rows())
