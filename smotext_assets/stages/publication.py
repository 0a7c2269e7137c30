"""synthetic_table: the accepted texts of a label are published, unless a gate holds them back."""

from datetime import timedelta
from functools import cache

import dagster as dg
import polars as pl
from pydantic import Field

from smotext_assets.graph import (
    OF_RUN,
    ByLabel,
    GeneratorResource,
    StoreResource,
    Table,
    Warehouse,
    candidates_of,
    column_schema,
    for_each_partition,
    label_by_run,
    run_config,
    with_vectors,
)
from smotext_assets.stages.leakage import audit_rows
from smotext_assets.stages.reviews import reviews_of
from smotext_assets.store import (
    JSON,
    Manifest,
    MissingPartition,
    Store,
    frame_sha256,
    read_if_sound,
    read_sound,
    refresh_warehouse,
)
from smotext_core.card import markdown_table
from smotext_core.efficacy import MOST_LABELS
from smotext_core.filters import competence_of
from smotext_core.privacy import (
    HURTS,
    NOT_EVALUATED,
    READERS,
    decided,
    held_back,
    hurts,
    judge,
    red_gates,
)
from smotext_core.reviews import acceptance, apply_verdicts, matching
from smotext_core.schemas import (
    CALIBRATION,
    EVALUATION,
    GATES,
    PRIVACY_AUDIT,
    SYNTHETIC_TEXTS,
)


class SyntheticTableConfig(dg.Config):
    """What keeps a label's rows from being published, and what was decided all the same."""

    min_accepted_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Rows that pass the filters, of those wanted; with fewer the label is held.",
    )
    hold_where_it_hurts: bool | None = Field(
        default=None,
        description="Hold a label whose rows hurt a classifier, by the run's evaluation. Rows that "
        "evaluation has not judged yet are held until it has: materialise it first. Null: as "
        "before, for this label or else for the run; at first not.",
    )
    min_accepted: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Of the label's rows that readers drew at random, the least share that they "
        "keep; with less it is held back, and where nobody has looked it is not. Null: as before, "
        "for this label; at first not.",
    )
    publish_anyway: dict[str, str] = Field(
        default={},
        description="By slug: why the label's rows are published though a gate is red. The reason "
        "is kept with these rows, in the table gates and on the card, until they are others. It "
        "holds for the gates that are red now, not for another one that is later.",
    )


@dg.asset(
    group_name="warehouse",
    kinds={"duckdb", "parquet"},
    partitions_def=label_by_run,
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={"reviews": OF_RUN},
    metadata={
        "dagster/column_schema": column_schema(SYNTHETIC_TEXTS),
        "dagster/table_name": "synthetic_texts",
    },
    # for a nightly run: one may be late, the second may not
    freshness_policy=dg.FreshnessPolicy.time_window(
        warn_window=timedelta(hours=26), fail_window=timedelta(hours=50)
    ),
)
def synthetic_table(
    context: dg.AssetExecutionContext,
    config: SyntheticTableConfig,
    synthetic_texts: Table,
    decoded_texts: Table,
    found_texts: Table,
    labelled_texts: Table,
    embeddings: Table,
    reviews: Table,
    generator: GeneratorResource,
    store: StoreResource,
    warehouse: Warehouse,
) -> None:
    """One row per accepted text, published: as Parquet, and in the DuckDB warehouse.

    A label whose rows leak, of which the filters accepted too few, or whose texts the generator
    cannot write (`competence` in the table `calibration`), is held back: it has no rows here until
    somebody publishes it with a reason. The table `gates` says which and why. By
    `hold_where_it_hurts` so is one whose rows make a classifier worse, by `min_accepted` one of
    which readers accept too few. Rows that a reader dropped are left out, others are published
    under the label that a reader gave them.
    What has changed goes into a copy of the warehouse, which is swapped in; beside
    `synthetic_texts` it has `lineage`, a row per parent, `rejected_texts`, `labelled_texts`,
    `gates` and `runs`.
    """
    tables, corpus = store.open(), ByLabel(labelled_texts.read())
    run_holds = cache(lambda run: holds_where_it_hurts(tables, run))  # once, not once a label
    reviews_of_run = cache(lambda run: reviews_of(reviews.store, run))

    def make(label: str, run: str) -> dict[str, object]:
        partition = {"label": label, "run": run}
        rows, sha256 = synthetic_texts.read(**partition), synthetic_texts.sha256(**partition)
        texts = corpus[label]
        told = matching(reviews_of_run(run), rows)
        name, efficacy = texts["label"][0], None
        hold = config.hold_where_it_hurts
        if hold is None:
            hold = _held(tables, partition)
        if run_holds(run) if hold is None else hold:
            evaluation = _evaluation(tables, partition, sha256)
            documents = texts.filter(pl.col("split") == "test")["document_id"].n_unique()
            # of no rows there is nothing to evaluate; the gate is on record all the same
            efficacy = hurts(
                evaluation if rows.height else EVALUATION.to_frame(), name, test_documents=documents
            )

        least = config.min_accepted
        if least is None:
            least = min_accepted_of(tables, partition)

        def publish(reasons: dict[str, str]) -> tuple[pl.DataFrame, dict[str, JSON]]:
            real, _ = with_vectors(texts, embeddings, encoder=generator.encoder_fingerprint)
            gates = judge(
                _audit(rows, real, candidates_of(decoded_texts, found_texts, **partition), run=run),
                run=run,
                label=name,
                accepted=rows.height,
                wanted=run_config(tables, run)["wanted"].get(label, 0),
                min_accepted_share=config.min_accepted_share,
                competence=competence_of(_calibration(tables, partition)),
                efficacy=efficacy,
                readers=None if least is None else (_accepted(told, name), least),
                published_anyway=reasons,
            )
            tables.write("gates", gates, partition, metadata={"rows": sha256})
            left = apply_verdicts(rows, told)
            return (left.clear() if held_back(gates).height else left), {}

        def published(reasons: dict[str, str]) -> tuple[pl.DataFrame, Manifest, pl.DataFrame]:
            frame, manifest, _ = tables.write_once(
                "synthetic_table",
                partition,
                # Not the corpus: rows are judged once, by the one that they were made from.
                inputs={
                    "rows": sha256,
                    "min_accepted_share": config.min_accepted_share,
                    "published_anyway": dict(reasons) or None,
                    **({"reviews": frame_sha256(told)} if told.height else {}),
                    **({} if least is None else {"min_accepted": least}),
                    **({} if efficacy is None else {"efficacy": list(efficacy.row(0))}),
                },
                make=lambda: publish(reasons),
            )
            gates = read_if_sound(tables, "gates", partition)
            if gates is None:  # damaged since: the same rows are judged alike
                publish(reasons)
                gates = tables.read("gates", partition)
            return frame, manifest, gates

        reasons = _recorded_reasons(tables, partition, sha256)
        frame, manifest, gates = published(reasons)
        if label in config.publish_anyway:  # what is red must be known first
            now = dict.fromkeys(red_gates(gates), config.publish_anyway[label])
            if now != reasons:
                frame, manifest, gates = published(now)
        held = held_back(gates)["gate"].to_list()
        if NOT_EVALUATED in held:
            context.log.warning(
                f"{label} is held back: hold_where_it_hurts wants its rows evaluated. Materialise "
                f"evaluation of {run}, then synthetic_table again. An evaluation looks at "
                f"{MOST_LABELS} labels at most: of more, give the others a run of their own, or "
                f"publish them by publish_anyway {{'{label}': 'the reason'}}"
            )
        elif held:
            context.log.warning(
                f"{label} is held back by {', '.join(held)}: look at its rows in synthetic_texts, "
                f"then publish them by publish_anyway {{'{label}': 'the reason'}} or leave it"
            )
        return {
            "dagster/partition_row_count": frame.height,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            "dropped_by_readers": told.filter(verdict="drop").height,
            "warehouse": dg.MetadataValue.path(str(warehouse.file)),
            "held_back_by": ", ".join(held) or "nothing",
            # why is in the table `gates`: a reason may quote a text, Dagster's record does not
            "published_anyway": ", ".join(decided(gates)) or "no",
            "gates": dg.MetadataValue.md(
                markdown_table(gates.drop("run", "label", "published_anyway"))
            ),
        }

    try:
        for_each_partition(context, make)
    finally:  # also where a label failed: the others are published
        rows = refresh_warehouse(tables, warehouse.file)
        context.log.info(f"{warehouse.file}: {rows}")


def _evaluation(tables: Store, partition: dict[str, str], rows: str) -> pl.DataFrame | None:
    """The run's evaluation, if it judged these very rows of the label."""
    at = {"run": partition["run"]}
    manifest = tables.manifest("evaluation", at)
    if manifest is None:
        return None
    judged = manifest.metadata.get("rows")
    if not isinstance(judged, dict) or judged.get(partition["label"]) != rows:
        return None
    return tables.read("evaluation", at)


def holds_where_it_hurts(tables: Store, run: str) -> bool:
    """Whether a label of the run was published, or held back, by `hold_where_it_hurts`."""
    return was_judged_by_evaluation(read_sound(tables, "gates", {"run": run}, schema=GATES)[0])


def min_accepted_of(tables: Store, partition: dict[str, str]) -> float | None:
    """What readers must accept of the label, as it was last published; None: no such gate.

    Where its gates are damaged, what any label of the run must reach: it is not let through by
    what nobody can read.
    """
    try:
        gates = tables.read("gates", partition)
    except MissingPartition:
        return None
    except (ValueError, FileNotFoundError):
        gates, _ = read_sound(tables, "gates", {"run": partition["run"]}, schema=GATES)
    return max(gates.filter(gate=READERS)["limit"].to_list(), default=None)


def _accepted(told: pl.DataFrame, label: str) -> float | None:
    """The share of the label's rows that readers keep; None where none was drawn and read."""
    found = acceptance(told).filter(label=label)
    share: float | None = found["share"][0] if found.height else None
    return share


def _held(tables: Store, partition: dict[str, str]) -> bool | None:
    """Whether this one was; None where it was never published, or its gates are damaged."""
    gates = read_if_sound(tables, "gates", partition)
    return None if gates is None else was_judged_by_evaluation(gates)


def was_judged_by_evaluation(gates: pl.DataFrame) -> bool:
    """Whether the gate of `hold_where_it_hurts` is among a label's."""
    return bool(gates["gate"].is_in([HURTS, NOT_EVALUATED]).any())


def _recorded_reasons(tables: Store, partition: dict[str, str], rows: str) -> dict[str, str]:
    """By gate, why these very rows were published though it was red. Of damaged gates nobody knows:
    what is red is held until somebody says why again."""
    gates = read_if_sound(tables, "gates", partition)
    manifest = None if gates is None else tables.manifest("gates", partition)
    if gates is None or manifest is None or manifest.metadata.get("rows") != rows:
        return {}
    return decided(gates)


def _calibration(tables: Store, partition: dict[str, str]) -> pl.DataFrame:
    """What held-out texts scored by the label's decoding."""
    if tables.manifest("calibration", partition) is None:
        return CALIBRATION.to_frame()
    return tables.read("calibration", partition)


def _audit(
    rows: pl.DataFrame, real: pl.DataFrame, candidates: pl.DataFrame, *, run: str
) -> pl.DataFrame:
    """The leak measures of a label's accepted rows."""
    if rows.is_empty():
        return PRIVACY_AUDIT.to_frame()
    keys = ["sample_id", "text"]
    vectors = candidates.select(*keys, "embedding").unique(keys, keep="first", maintain_order=True)
    made = rows.join(vectors, on=keys, how="left", maintain_order="left")
    return audit_rows(made, real, run=run, label=real["label"][0])


# One for the whole table. A check with partitions (a preview in Dagster 1.13) tells the result of
# each in a run of one partition, and a single one without its key in a run of a range, which is how
# labels are made here.
@dg.asset_check(asset=synthetic_table)
def no_label_is_held_back(synthetic_table: Table) -> dg.AssetCheckResult:
    """No label of any run waits for somebody to look at it."""
    gates, damage = read_sound(synthetic_table.store, "gates", schema=GATES)
    held = held_back(gates)
    by = held.group_by("label", "run", maintain_order=True).agg("gate")
    told = [f"{label} × {run} ({', '.join(names)})" for label, run, names in by.iter_rows()]
    told += damage
    more = f" and {len(told) - 10} more" if len(told) > 10 else ""
    return dg.AssetCheckResult(
        passed=not told,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"Held back: {', '.join(told[:10])}{more}" if told else None,
        metadata={
            "partitions_held": len(told),
            "held": dg.MetadataValue.md(markdown_table(held, max_rows=100)),
        },
    )


@dg.asset_check(asset=synthetic_table)
def samples_are_unique(synthetic_table: Table) -> dg.AssetCheckResult:
    """No sample is twice in the table, however often partitions were rerun."""
    samples = synthetic_table.read_all(schema=SYNTHETIC_TEXTS)["sample_id"]
    twice = samples.len() - samples.n_unique()
    return dg.AssetCheckResult(passed=twice == 0, metadata={"rows": samples.len(), "twice": twice})
