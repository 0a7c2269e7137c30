"""evaluation and privacy_audit: does a run help, does it leak."""

import dagster as dg
import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from smotext_assets.graph import (
    EVERY_LABEL,
    OF_RUN,
    ByLabel,
    GeneratorResource,
    StoreResource,
    Table,
    column_schema,
    follows,
    for_each_partition,
    judged_run,
    runs,
    with_candidate_vectors,
    with_vectors,
)
from smotext_assets.stages.leakage import audit_rows
from smotext_assets.store import JSON
from smotext_core.card import markdown_table
from smotext_core.efficacy import ARMS, MOST_LABELS, PROTOCOL, evaluate, verdicts
from smotext_core.filters import FOUND
from smotext_core.privacy import MEASURES
from smotext_core.schemas import EVALUATION, PRIVACY_AUDIT, SYNTHETIC_TEXTS
from smotext_core.xrag import read_embedder


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
    ins={
        "synthetic_texts": OF_RUN,
        "decoded_texts": OF_RUN,
        "found_texts": OF_RUN,
        "embeddings": EVERY_LABEL,
    },
    metadata={"dagster/column_schema": column_schema(EVALUATION)},
)
def evaluation(
    context: dg.AssetExecutionContext,
    config: EvaluationConfig,
    synthetic_texts: Table,
    decoded_texts: Table,
    found_texts: Table,
    labelled_texts: Table,
    embeddings: Table,
    generator: GeneratorResource,
    store: StoreResource,
) -> None:
    """One row per classifier, training set, metric and label, with an interval and a verdict.

    Real rows alone against real rows with class weights, with duplicates, with SMOTE in the
    embedding space, with word edits and with the run's synthetic rows, and against those alone, on
    test texts that had no part in them; found rows, where there are any, alone as well. The rows
    are those that the filters accepted, also where a gate holds them back: its verdict can be such
    a gate. Of more than 200 labels 200 are judged, those with rows before others.
    """
    tables = store.open()
    corpus, vectors = with_vectors(
        labelled_texts.read(), embeddings, encoder=generator.encoder_fingerprint
    )

    other = read_embedder(config.other_encoder) if config.other_encoder else None
    many = corpus["label"].n_unique() > MOST_LABELS

    def make(run: str) -> dict[str, object]:
        rows = synthetic_texts.read_all(schema=SYNTHETIC_TEXTS, run=run)
        frozen = judged_run(tables, run, labelled_texts=labelled_texts, generator=generator)

        judged = synthetic_texts.sha256_by_label(run)

        def score() -> tuple[pl.DataFrame, dict[str, JSON]]:
            made = with_candidate_vectors(rows, decoded_texts, found_texts, run=run)
            found = made.filter(origin=FOUND)
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
                others={FOUND: (found.drop("embedding"), found["embedding"].to_numpy())},
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
                **({"most_labels": MOST_LABELS} if many else {}),
            },
            make=score,
        )
        return {
            "dagster/partition_row_count": frame.height,
            "verdicts": dg.MetadataValue.md(markdown_table(verdicts(frame), max_rows=60)),
        }

    for_each_partition(context, make)


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
        "synthetic_table": OF_RUN,
        "decoded_texts": OF_RUN,
        "found_texts": OF_RUN,
        "embeddings": EVERY_LABEL,
        "interpolated_vectors": OF_RUN,
    },
    metadata={"dagster/column_schema": column_schema(PRIVACY_AUDIT)},
)
def privacy_audit(
    context: dg.AssetExecutionContext,
    synthetic_table: Table,
    decoded_texts: Table,
    found_texts: Table,
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
    texts_of = ByLabel(corpus, by="label")

    def make(run: str) -> dict[str, object]:
        judged_run(tables, run, labelled_texts=labelled_texts, generator=generator)
        rows = synthetic_table.read_all(schema=SYNTHETIC_TEXTS, run=run)

        def measure() -> tuple[pl.DataFrame, dict[str, str]]:
            if rows.is_empty():
                return PRIVACY_AUDIT.to_frame(), {}
            made = with_candidate_vectors(rows, decoded_texts, found_texts, run=run)
            mixed = _mixed(run, interpolated_vectors)
            slugs = dict(corpus.select("label", "slug").unique().iter_rows())

            def attack(made: pl.DataFrame, label: str | None) -> pl.DataFrame:
                labels = made["label"].unique().sort().to_list() if label is None else [label]
                of_labels = pl.col("label").is_in(labels)
                real = corpus.filter(of_labels) if label is None else texts_of.get(label)
                vectors = [mixed[slugs[name]] for name in labels if slugs[name] in mixed]
                return audit_rows(
                    made,
                    real,
                    run=run,
                    label=label,
                    mixed=np.concatenate(vectors) if vectors else None,
                )

            frames = [attack(made, None)]
            made_of = ByLabel(made, by="label")
            for label in made["label"].unique().sort():
                frames.append(attack(made_of[label], label))
            frame = pl.concat(frames)
            return frame, {}

        frame, _, _ = tables.write_once(
            "privacy_audit",
            {"run": run},
            inputs={
                "corpus": labelled_texts.sha256(),
                "vectors": vectors,
                "rows": synthetic_table.sha256_by_label(run),
                "mixed": interpolated_vectors.sha256_by_label(run),
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
