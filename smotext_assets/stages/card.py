"""dataset_card: a run on one page."""

import dagster as dg
import polars as pl

from smotext_assets.graph import (
    EVERY_LABEL,
    OF_RUN,
    ByLabel,
    GeneratorResource,
    StoreResource,
    Table,
    Warehouse,
    follows,
    for_each_partition,
    judged_run,
    runs,
    with_candidate_vectors,
    with_vectors,
)
from smotext_assets.stages.recorded_options import options_of_corpus, options_of_labels
from smotext_assets.stages.reviews import read_by_label
from smotext_assets.store import Store, notice, read_sound, refresh_warehouse
from smotext_core.card import MOST_MAPS, class_map
from smotext_core.card import dataset_card as build_card
from smotext_core.filters import shortfall
from smotext_core.privacy import held_back
from smotext_core.schemas import GATES, READER_CALIBRATION, REJECTED_TEXTS, SYNTHETIC_TEXTS


@dg.asset(
    group_name="evidence",
    kinds={"html", "markdown"},
    partitions_def=runs,
    automation_condition=follows("synthetic_table", "evaluation", "privacy_audit"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={
        "synthetic_table": OF_RUN,
        "decoded_texts": OF_RUN,
        "found_texts": OF_RUN,
        "embeddings": EVERY_LABEL,
    },
)
def dataset_card(
    context: dg.AssetExecutionContext,
    synthetic_table: Table,
    decoded_texts: Table,
    found_texts: Table,
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
    texts_of = ByLabel(corpus)
    shared = options_of_corpus(tables)

    def make(run: str) -> dict[str, object]:
        frozen = judged_run(tables, run, labelled_texts=labelled_texts, generator=generator)
        rows = synthetic_table.read_all(schema=SYNTHETIC_TEXTS, run=run)
        of_run = {"run": run}
        rejected, damage = read_sound(tables, "rejected_texts", of_run, schema=REJECTED_TEXTS)
        made = (
            with_candidate_vectors(rows, decoded_texts, found_texts, run=run)
            if rows.height
            else rows
        )
        names = dict(corpus.select("slug", "label").unique().iter_rows())
        gates, more = read_sound(tables, "gates", of_run, schema=GATES)
        damage += more
        for told in damage:
            context.log.warning(told)
        held = set(held_back(gates)["label"])
        made_of, refused_of = (ByLabel(frame, by="label") for frame in (made, rejected))
        slugs = sorted(synthetic_table.sha256_by_label(run))
        n_made = dict(made["label"].value_counts().iter_rows())
        most = sorted(slugs, key=lambda slug: -n_made.get(names[slug], 0))
        drawn = {slug for slug in most[:MOST_MAPS] if names[slug] in n_made}
        counts, pictures = [], {}
        for slug in slugs:
            label = names[slug]
            real, accepted = texts_of.get(slug), made_of.get(label)
            wanted = frozen["wanted"].get(slug, 0)
            reason = shortfall(wanted, accepted, refused_of.get(label))
            reason = "held back by a gate" if label in held else reason
            counts.append(
                (label, (real["split"] == "train").sum(), wanted, accepted.height, reason)
            )
            if slug in drawn:
                real, _ = with_vectors(real, embeddings, encoder=generator.encoder_fingerprint)
                place = {text_id: row for row, text_id in enumerate(real["text_id"])}
                pictures[label] = class_map(
                    real["embedding"].to_numpy(),
                    accepted["embedding"].to_numpy(),
                    # a reader may have given the label to a row of another one's parents
                    parents=[
                        tuple(place[p] for p in ids)
                        for ids in accepted["parent_ids"].head(4)
                        if place.keys() >= set(ids)
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
            notice=_since(tables, run, damaged=len(damage)),
            examples=_examples(rejected),
            gates=gates if gates.height else None,
            acceptance=read_by_label(tables, run),
            reader_calibration=tables.read_all(
                "reader_calibration", of_run, schema=READER_CALIBRATION
            ),
            options={
                slug: {**shared, **own} for slug, own in options_of_labels(tables, run).items()
            },
            generator={
                "name": frozen["generator"],
                "configured": generator.name,  # an adapted one's name says what was done to it
                "licence": generator.licence,
                "fingerprint": frozen["generator_fingerprint"],
            },
        )
        tables.write_bytes(f"dataset_card/{run}.html", html.encode())
        tables.write_bytes(f"dataset_card/{run}.md", markdown.encode())
        return {
            "html": dg.MetadataValue.path(f"{tables.root}/dataset_card/{run}.html"),
            "markdown": dg.MetadataValue.path(f"{tables.root}/dataset_card/{run}.md"),
        }

    try:
        for_each_partition(context, make)
    finally:  # evaluation and privacy_audit are tables of the warehouse too
        refresh_warehouse(tables, warehouse.file)


def _since(tables: Store, run: str, *, damaged: int) -> str | None:
    """What the card must say of what happened to the run's tables."""
    told = notice(tables, run)
    if not damaged:
        return told
    line = (
        f"Damaged partitions of gates or rejected_texts: {damaged}. They are not counted here; the "
        "log of dataset_card names them."
    )
    return f"{told} {line}" if told else line


def _examples(rejected: pl.DataFrame) -> dict[str, str]:
    """Of each reason the first text by sample and candidate."""
    first = rejected.sort("sample_id", "candidate", "text").unique(
        "reason", keep="first", maintain_order=True
    )
    return dict(first.select("reason", "text").iter_rows())
