"""evaluation, privacy_audit and dataset_card: does a run help, does it leak, and the card."""

import dagster as dg
import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from smotext_assets.leakage import audit_rows
from smotext_assets.partitions import follows, for_each_partition, runs
from smotext_assets.receipts import notice
from smotext_assets.resources import (
    GeneratorResource,
    StoreResource,
    Table,
    Warehouse,
    column_schema,
    with_vectors,
)
from smotext_assets.runs import frozen_run
from smotext_assets.storage import JSON, Store
from smotext_assets.warehouse import refresh_warehouse
from smotext_core.card import dataset_card as build_card
from smotext_core.embedding import read_embedder
from smotext_core.evaluation import ARMS, PROTOCOL, evaluate, verdicts
from smotext_core.filters import shortfall
from smotext_core.gates import held_back
from smotext_core.pictures import class_map
from smotext_core.privacy import MEASURES
from smotext_core.report import markdown_table
from smotext_core.schemas import EVALUATION, PRIVACY_AUDIT, REJECTED_TEXTS, SYNTHETIC_TEXTS

# A run's evidence is of all its labels.
_OF_RUN = dg.AssetIn(partition_mapping=dg.MultiToSingleDimensionPartitionMapping("run"))
_ALL = dg.AssetIn(partition_mapping=dg.AllPartitionMapping())


def _with_vectors(run: str, synthetic: pl.DataFrame, decoded_texts: Table) -> pl.DataFrame:
    """Synthetic rows with the vectors their candidates got, in the column `embedding`."""
    parts = [
        decoded_texts.read(**partition).select("sample_id", "text", "embedding")
        for partition in decoded_texts.partitions()
        if partition["run"] == run
    ]
    vectors = pl.concat(parts).unique(["sample_id", "text"], keep="first", maintain_order=True)
    return synthetic.join(vectors, on=["sample_id", "text"], how="left", maintain_order="left")


class EvaluationConfig(dg.Config):
    """The protocol."""

    n_seeds: int = Field(default=10, ge=2, description="Paired subsamples of the train texts.")
    other_encoder: str | None = Field(
        default=None,
        description="A second encoder to judge by: a folder in sentence-transformers' layout, such "
        "as a commit in the Hugging Face cache.",
    )


@dg.asset(
    group_name="evidence",
    kinds={"parquet", "scikitlearn"},
    partitions_def=runs,
    automation_condition=follows("synthetic_texts"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={"synthetic_texts": _OF_RUN, "decoded_texts": _OF_RUN, "embeddings": _ALL},
    metadata={"dagster/column_schema": column_schema(EVALUATION)},
)
def evaluation(
    context: dg.AssetExecutionContext,
    config: EvaluationConfig,
    synthetic_texts: Table,
    decoded_texts: Table,
    labelled_texts: Table,
    embeddings: Table,
    generator: GeneratorResource,
    store: StoreResource,
) -> None:
    """One row per classifier, training set, metric and label, with an interval and a verdict.

    Real rows alone against real rows with class weights, with duplicates, with SMOTE in the
    embedding space, with word edits and with the run's synthetic rows, and against those alone, on
    test texts that had no part in them. The rows are those that the filters accepted, also where a
    gate holds them back: its verdict can be such a gate.
    """
    tables = store.open()
    corpus, vectors = with_vectors(
        labelled_texts.read(), embeddings, encoder=generator.encoder_fingerprint
    )

    other = read_embedder(config.other_encoder) if config.other_encoder else None

    def make(run: str) -> dict[str, object]:
        rows = synthetic_texts.read_all(schema=SYNTHETIC_TEXTS, run=run)
        frozen = frozen_run(
            tables, run, labelled_texts=labelled_texts, generator=generator, asked={}
        )

        judged = _shas(synthetic_texts, run)

        def score() -> tuple[pl.DataFrame, dict[str, JSON]]:
            made = _with_vectors(run, rows, decoded_texts)
            train, test = (corpus.filter(pl.col("split") == s) for s in ("train", "test"))
            frame = evaluate(
                train.drop("embedding"),
                train["embedding"].to_numpy(),
                test.drop("embedding"),
                test["embedding"].to_numpy(),
                made.drop("embedding"),
                made["embedding"].to_numpy(),
                run=run,
                n_seeds=config.n_seeds,
                seed=frozen["seed"],
                encode=lambda texts: generator.load().encode(texts),
                other_encode=other.encode if other else None,
            )
            return frame, {"rows": judged}

        frame, _, _ = tables.write_once(
            "evaluation",
            {"run": run},
            inputs={
                "corpus": labelled_texts.sha256(),
                "vectors": vectors,
                "rows": judged,
                "protocol": PROTOCOL,
                "n_seeds": config.n_seeds,
                "arms": list(ARMS),
                "other_encoder": other.fingerprint if other else None,
            },
            make=score,
        )
        return {
            "dagster/partition_row_count": frame.height,
            "verdicts": dg.MetadataValue.md(markdown_table(verdicts(frame), max_rows=60)),
        }

    for_each_partition(context, make)


def _shas(table: Table, run: str) -> dict[str, JSON]:
    return {
        partition["label"]: table.sha256(**partition)
        for partition in table.partitions()
        if partition["run"] == run
    }


def _mixed(run: str, interpolated_vectors: Table) -> dict[str, NDArray[np.float32]]:
    """The run's interpolated vectors by slug, (n, d) each."""
    return {
        partition["label"]: interpolated_vectors.read(**partition)["vector"].to_numpy()
        for partition in interpolated_vectors.partitions()
        if partition["run"] == run
    }


@dg.asset(
    group_name="evidence",
    kinds={"parquet"},
    partitions_def=runs,
    automation_condition=follows("synthetic_table"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={
        "synthetic_table": _OF_RUN,
        "decoded_texts": _OF_RUN,
        "embeddings": _ALL,
        "interpolated_vectors": _OF_RUN,
    },
    metadata={"dagster/column_schema": column_schema(PRIVACY_AUDIT)},
)
def privacy_audit(
    context: dg.AssetExecutionContext,
    synthetic_table: Table,
    decoded_texts: Table,
    interpolated_vectors: Table,
    labelled_texts: Table,
    embeddings: Table,
    generator: GeneratorResource,
    store: StoreResource,
) -> None:
    """One row per leakage measure of the run and of each label: value, threshold, passed or null.

    Over the labels that were augmented, together and one by one: train texts against the holdout,
    which no synthetic row descends from. A pass is no guarantee. The mixed vectors are attacked
    where they lie; none is written here.
    """
    tables = store.open()
    corpus, vectors = with_vectors(
        labelled_texts.read(), embeddings, encoder=generator.encoder_fingerprint
    )

    def make(run: str) -> dict[str, object]:
        frozen_run(tables, run, labelled_texts=labelled_texts, generator=generator, asked={})
        rows = synthetic_table.read_all(schema=SYNTHETIC_TEXTS, run=run)

        def measure() -> tuple[pl.DataFrame, dict[str, str]]:
            if rows.is_empty():
                return PRIVACY_AUDIT.to_frame(), {}
            made = _with_vectors(run, rows, decoded_texts)
            mixed = _mixed(run, interpolated_vectors)
            slugs = dict(corpus.select("label", "slug").unique().iter_rows())

            def attack(made: pl.DataFrame, label: str | None) -> pl.DataFrame:
                labels = made["label"].unique().sort().to_list()
                real = corpus.filter(pl.col("label").is_in(labels))
                vectors = [mixed[slugs[name]] for name in labels if slugs[name] in mixed]
                return audit_rows(
                    made,
                    real,
                    run=run,
                    label=label,
                    mixed=np.concatenate(vectors) if vectors else None,
                )

            frames = [attack(made, None)]
            for label in made["label"].unique().sort():
                frames.append(attack(made.filter(pl.col("label") == label), label))
            frame = pl.concat(frames)
            return frame, {}

        frame, _, _ = tables.write_once(
            "privacy_audit",
            {"run": run},
            inputs={
                "corpus": labelled_texts.sha256(),
                "vectors": vectors,
                "rows": _shas(synthetic_table, run),
                "mixed": _shas(interpolated_vectors, run),
                "measures": list(MEASURES),
            },
            make=measure,
        )
        return {
            "dagster/partition_row_count": frame.height,
            "red": int((~frame["passed"]).sum() or 0),
            "not_judged": frame["passed"].null_count(),
            "measures": dg.MetadataValue.md(markdown_table(frame.drop("run"), max_rows=60)),
        }

    for_each_partition(context, make)


@dg.asset(
    group_name="evidence",
    kinds={"html", "markdown"},
    partitions_def=runs,
    automation_condition=follows("synthetic_table", "evaluation", "privacy_audit"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={"synthetic_table": _OF_RUN, "decoded_texts": _OF_RUN, "embeddings": _ALL},
)
def dataset_card(
    context: dg.AssetExecutionContext,
    synthetic_table: Table,
    decoded_texts: Table,
    evaluation: Table,
    privacy_audit: Table,
    labelled_texts: Table,
    embeddings: Table,
    generator: GeneratorResource,
    store: StoreResource,
    warehouse: Warehouse,
) -> None:
    """The run on one page: counts, samples with their parents, evidence, maps, how to repeat it."""
    tables, corpus = store.open(), labelled_texts.read()

    def make(run: str) -> dict[str, object]:
        frozen = frozen_run(
            tables, run, labelled_texts=labelled_texts, generator=generator, asked={}
        )
        rows = synthetic_table.read_all(schema=SYNTHETIC_TEXTS, run=run)
        rejected = tables.read_all("rejected_texts", {"run": run}, schema=REJECTED_TEXTS)
        made = _with_vectors(run, rows, decoded_texts) if rows.height else rows
        names = dict(corpus.select("slug", "label").unique().iter_rows())
        gates = _gates(tables, run)
        held = set() if gates is None else set(held_back(gates)["label"])
        counts, pictures = [], {}
        for slug in sorted(_shas(synthetic_table, run)):
            label = names[slug]
            real = corpus.filter(pl.col("slug") == slug)
            accepted = made.filter(pl.col("label") == label)
            wanted = frozen["wanted"].get(slug, 0)
            reason = shortfall(wanted, accepted, rejected.filter(pl.col("label") == label))
            reason = "held back by a gate" if label in held else reason
            counts.append(
                (label, (real["split"] == "train").sum(), wanted, accepted.height, reason)
            )
            if accepted.height:
                real, _ = with_vectors(real, embeddings, encoder=generator.encoder_fingerprint)
                place = {text_id: row for row, text_id in enumerate(real["text_id"])}
                pictures[label] = class_map(
                    real["embedding"].to_numpy(),
                    accepted["embedding"].to_numpy(),
                    parents=[
                        tuple(place[p] for p in ids) for ids in accepted["parent_ids"].head(4)
                    ],
                    title=label,
                )
        columns = ["label", "real", "wanted", "made", "main_reason"]
        html, markdown = build_card(
            run=run,
            config=frozen,
            counts=pl.DataFrame(counts, schema=columns, orient="row"),
            synthetic=rows,
            labelled=corpus,
            rejected=rejected.group_by("reason").len("count").sort("reason"),
            evaluation=evaluation.read(run=run),
            privacy_audit=privacy_audit.read(run=run),
            pictures=pictures,
            notice=notice(tables, run),
            examples=_examples(rejected),
            gates=gates,
            generator={
                "name": frozen["generator"],
                "licence": generator.licence,
                "fingerprint": frozen["generator_fingerprint"],
            },
        )
        tables.write_bytes(f"dataset_card/{run}.html", html.encode())
        tables.write_bytes(f"dataset_card/{run}.md", markdown.encode())
        return {
            "html": dg.MetadataValue.path(f"{tables.root}/dataset_card/{run}.html"),
            "card": dg.MetadataValue.md(markdown.partition("---\n")[2].partition("---\n")[2]),
        }

    try:
        for_each_partition(context, make)
    finally:  # evaluation and privacy_audit are tables of the warehouse too
        refresh_warehouse(tables, warehouse.file)


def _gates(tables: Store, run: str) -> pl.DataFrame | None:
    """The run's gates; None where none were judged."""
    if not any(at["run"] == run for at in tables.partitions("gates")):
        return None
    return tables.read_all("gates", {"run": run})


def _examples(rejected: pl.DataFrame) -> dict[str, str]:
    """Of each reason the first text by sample and candidate."""
    first = rejected.sort("sample_id", "candidate", "text").unique(
        "reason", keep="first", maintain_order=True
    )
    return dict(first.select("reason", "text").iter_rows())


@dg.asset_check(asset=privacy_audit)
def leak_measures_are_not_red(privacy_audit: Table) -> dg.AssetCheckResult:
    """No measure of any run is worse than chance explains; not judged counts as not red."""
    frame = privacy_audit.read_all(schema=PRIVACY_AUDIT)
    red = frame.filter(~pl.col("passed"))
    return dg.AssetCheckResult(
        passed=red.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"red": dg.MetadataValue.md(markdown_table(red))},
    )
