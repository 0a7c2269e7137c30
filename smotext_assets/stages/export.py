"""exported_dataset: a run's published rows in the formats that others read."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import dagster as dg
import polars as pl
from pydantic import Field

from smotext_assets.graph import (
    DESCRIPTIONS,
    OF_RUN,
    Exports,
    StoreResource,
    Table,
    column_schema,
    follows,
    for_each_partition,
    origins,
    run_config,
    runs,
)
from smotext_assets.stages.reviews import read_by_label, reviews_of
from smotext_assets.store import JSON, QUARANTINED, Store, read_sound
from smotext_core.card import markdown_table, verdict_lines
from smotext_core.efficacy import verdicts
from smotext_core.export import croissant, parquet, put_in_delta, readme, with_real
from smotext_core.filters import FOUND
from smotext_core.privacy import held_back
from smotext_core.reviews import apply_verdicts, matching
from smotext_core.schemas import (
    EVALUATION,
    EXPORTS,
    GATES,
    PRIVACY_AUDIT,
    SYNTHETIC_TEXTS,
)
from smotext_core.texts import csv_bytes

FORMATS = ("huggingface", "croissant", "csv", "delta")
_SPLITS = ("synthetic", "train", "test")


class ExportedDatasetConfig(dg.Config):
    """Where a run goes, as what, and with what beside it."""

    to: str = Field(
        default="", description="A folder or s3://bucket/prefix. Empty: that of the resource."
    )
    formats: list[str] = Field(
        default=list(FORMATS), description="croissant describes the files of huggingface."
    )
    labels: list[str] = Field(default=[], description="Only these, by slug. Empty: all.")
    with_real: bool = Field(
        default=False, description="The real train and test texts beside them, as they are."
    )
    bom: bool = Field(default=False, description="CSV with the mark by which Excel knows UTF-8.")
    vacuum: bool = Field(
        default=False,
        description="Delete the files of former versions of the Delta table, at once: the rows "
        "of forgotten texts are in them until then.",
    )
    licence: str = Field(default="other", description="Of the data set, as the hub writes it.")
    language: str = Field(default="en", description="Of its texts, as the hub writes it.")


class Leaving(NamedTuple):
    """What may leave of a run, and why the rest does not."""

    rows: pl.DataFrame  # SYNTHETIC_TEXTS, of the labels asked for
    published: pl.DataFrame  # SYNTHETIC_TEXTS, of every label
    left_out: list[str]  # a sentence each


def leaving(tables: Store, run: str, slugs: Sequence[str]) -> Leaving:
    """The published rows of a run, of the labels `slugs`, or of all where there are none.

    A gate that holds a label back counts here once more: whatever lies in the table, its rows stay.

    Raises:
        ValueError: a label that the run has not published or held back.
    """
    known = [at["label"] for at in tables.partitions("synthetic_table") if at["run"] == run]
    if unknown := sorted(set(slugs) - set(known)):
        raise ValueError(
            f"the run {run} has the labels {known}, not {unknown}: give slugs, as `smotext status` "
            "lists them, and finish the run by `smotext run` where one is missing"
        )
    rows, published, left_out = [SYNTHETIC_TEXTS.to_frame()], [SYNTHETIC_TEXTS.to_frame()], []
    for slug in known:
        at = {"label": slug, "run": run}
        (made, gates, table), damage = _sound(tables, at)
        if damage:  # whether it is held back, or what it holds, nobody can tell
            left_out.append(f"the rows of {slug}: {'; '.join(damage)}")
            continue
        accepted, held = made.height, held_back(gates)["gate"].to_list()
        if held:
            left_out.append(f"{accepted} rows of {slug}: held back by {', '.join(held)}")
            continue
        there = table.height
        # where the verdict is newer than the table
        frame = apply_verdicts(table, matching(reviews_of(tables, run), table))
        if dropped := there - frame.height:
            left_out.append(f"{dropped} rows of {slug}: dropped by a reader")
        published.append(frame)
        if slugs and slug not in slugs:
            left_out.append(f"{frame.height} rows of {slug}: not asked for")
            continue
        rows.append(frame)
        if accepted > there:
            left_out.append(f"{accepted - there} rows of {slug}: dropped by a reader before")
    left_out.append(f"Never leave the store: {', '.join(QUARANTINED)}.")
    return Leaving(pl.concat(rows), pl.concat(published), left_out)


def _sound(tables: Store, at: Mapping[str, str]) -> tuple[list[pl.DataFrame], list[str]]:
    """The label's accepted rows, gates and published rows; and what of them is damaged."""
    wanted = {
        "synthetic_texts": SYNTHETIC_TEXTS,
        "gates": GATES,
        "synthetic_table": SYNTHETIC_TEXTS,
    }
    found = [read_sound(tables, name, at, schema=schema) for name, schema in wanted.items()]
    return [frame for frame, _ in found], [told for _, damage in found for told in damage]


@dg.asset(
    group_name="evidence",
    kinds={"huggingface", "deltalake", "parquet", "csv"},
    partitions_def=runs,
    automation_condition=follows("dataset_card"),  # where SMOTEXT_EXPORTS is set, see definitions
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={"synthetic_table": OF_RUN},
    deps=["dataset_card"],
    metadata={"dagster/column_schema": column_schema(SYNTHETIC_TEXTS)},
)
def exported_dataset(
    context: dg.AssetExecutionContext,
    config: ExportedDatasetConfig,
    synthetic_table: Table,
    labelled_texts: Table,
    store: StoreResource,
    exports: Exports,
) -> None:
    """One row per published text of a run, as others take it.

    A folder a run, `README.md` and `data/` for Hugging Face's `datasets`, `croissant.json`,
    `csv/`; beside the runs one Delta table, `delta/`. What a gate holds back stays, and so does
    every quarantined table. The table `exports` has a row per place that the run goes out to,
    before the first byte is written there; an export that was cut off is not `done` in it.
    """
    tables = store.open()
    place = store.beside(config.to or exports.to)
    target = place.open()

    if unknown := sorted(set(config.formats) - set(FORMATS)):
        raise ValueError(f"formats takes {', '.join(FORMATS)}; got {', '.join(unknown)}")

    def make(run: str) -> dict[str, object]:
        gone = leaving(tables, run, config.labels)
        corpus, frozen = labelled_texts.read(), run_config(tables, run)
        splits = with_real(gone.rows, corpus) if config.with_real else {"synthetic": gone.rows}
        gates, _ = read_sound(tables, "gates", {"run": run}, schema=GATES)
        audit = tables.read_all("privacy_audit", {"run": run}, schema=PRIVACY_AUDIT)
        judged = verdicts(tables.read_all("evaluation", {"run": run}, schema=EVALUATION))
        lines = verdict_lines(judged, corpus, audit, gates, read_by_label(tables, run))
        verdict = [line for _, line in lines]
        generator = {
            "name": frozen["generator"],
            "fingerprint": frozen["generator_fingerprint"],
            "licence": frozen["generator_licence"],
        }
        data = {split: parquet(frame) for split, frame in splits.items()}
        files: dict[str, tuple[str, bytes, int]] = {}
        if {"huggingface", "croissant"} & set(config.formats):
            for split, content in data.items():
                files[f"data/{split}.parquet"] = ("huggingface", content, splits[split].height)
            files["README.md"] = (
                "huggingface",
                readme(
                    run=run,
                    splits={split: frame.height for split, frame in splits.items()},
                    counts=_counts(corpus, gone.rows),
                    verdict=verdict,
                    columns={name: DESCRIPTIONS[name] for name in splits["synthetic"].columns},
                    generator=generator,
                    left_out=gone.left_out,
                    found=gone.rows.filter(origin=FOUND).height,
                    licence=config.licence,
                    language=config.language,
                ).encode(),
                gone.rows.height,
            )
        if "croissant" in config.formats:
            described = croissant(
                run=run,
                made_at=tables.read("runs", {"run": run})["created_at"][0],
                schema=splits["synthetic"].schema,
                files={s: (hashlib.sha256(d).hexdigest(), len(d)) for s, d in data.items()},
                descriptions=DESCRIPTIONS,
                sources={n: origins("exported_dataset", n) for n in SYNTHETIC_TEXTS},
                verdict=verdict,
                licence=config.licence,
                language=config.language,
                generator=generator,
            )
            files["croissant.json"] = ("croissant", described, gone.rows.height)
        if "csv" in config.formats:
            for split, frame in splits.items():
                content = csv_bytes(frame, bom=config.bom)
                files[f"csv/{split}.csv"] = ("csv", content, frame.height)
        at, rows = f"{target.root}/{run}", gone.rows.height
        written: list[tuple[str, str, str, int, str | None, bool]] = [
            (run, kind, f"{at}/{name}", n, hashlib.sha256(content).hexdigest(), True)
            for name, (kind, content, n) in files.items()
        ]
        if "delta" in config.formats:
            written.append((run, "delta", f"{target.root}/delta", rows, None, True))
        table = pl.DataFrame(written, schema=EXPORTS, orient="row")
        folders = {name.partition("/")[0] for name in files}
        old = [  # of an export with more beside it
            name
            for split in _SPLITS
            for name in (f"data/{split}.parquet", f"csv/{split}.csv")
            if name.partition("/")[0] in folders and name not in files
        ]
        before, damage = read_sound(tables, "exports", {"run": run}, schema=EXPORTS)
        for told in damage:
            context.log.warning(f"where {run} went before is not known any more: {told}")
        gone_files = [f"{at}/{name}" for name in old]
        about: dict[str, JSON] = {"left_out": [*gone.left_out]}

        def record(now: pl.DataFrame, *, left: Sequence[str] = ()) -> None:
            # read anew: the run may be on its way to another place, too
            known, _ = read_sound(tables, "exports", {"run": run}, schema=EXPORTS)
            known = known.filter(~pl.col("place").is_in([*now["place"], *left]))
            places = pl.concat([known, now]).sort("place", "format")
            tables.write("exports", places, {"run": run}, metadata=about)

        record(table.with_columns(done=pl.lit(False)))  # before anything can be outside
        if not before.filter(pl.col("place").str.starts_with(f"{at}/"))["done"].all():
            target.delete_bytes(run, unfinished=True)
        for name in old:
            target.delete_file(f"{run}/{name}")
        for name, (_, content, _) in files.items():
            target.write_bytes(f"{run}/{name}", content)
        if "delta" in config.formats:
            put_in_delta(
                f"{target.root}/delta",
                gone.rows,
                run=run,
                published=gone.published,
                labels=_names(corpus, config.labels) if config.labels else None,
                vacuum=config.vacuum,
                storage_options=place.delta_options(),
            )
        record(table, left=gone_files)
        return {
            "dagster/partition_row_count": rows,
            "dagster/uri": at,
            "left_out": dg.MetadataValue.md(
                markdown_table(pl.DataFrame({"left out": gone.left_out}))
            ),
            "places": dg.MetadataValue.md(markdown_table(table.drop("run", "sha256", "done"))),
        }

    for_each_partition(context, make)


def _names(corpus: pl.DataFrame, slugs: Sequence[str]) -> list[str]:
    return sorted(set(corpus.filter(pl.col("slug").is_in(list(slugs)))["label"]))


def _counts(corpus: pl.DataFrame, rows: pl.DataFrame) -> list[tuple[str, int, int]]:
    """Label, real train texts, synthetic texts."""
    real = dict(corpus.filter(split="train").group_by("label").len().iter_rows())
    made = dict(rows.group_by("label").len().iter_rows())
    return [(label, real.get(label, 0), made.get(label, 0)) for label in sorted(real | made)]
