"""synthetic_texts: the candidates that pass the filters."""

from functools import cache

import dagster as dg
import polars as pl
from pydantic import Field

from smotext_assets.graph import (
    ByLabel,
    GeneratorResource,
    StoreResource,
    Table,
    candidates_of,
    column_schema,
    for_each_partition,
    frozen_run,
    label_by_run,
    with_vectors,
)
from smotext_assets.stages.placement import map_metadata
from smotext_assets.stages.reviews import calibrate_by_readers, reviews_of
from smotext_assets.store import JSON, Encoded, Store, read_if_sound
from smotext_core.card import class_map, markdown_table
from smotext_core.filters import (
    FOUND,
    LABEL_RULE,
    RELEVANCE,
    accept,
    calibrate_labels,
    fit_label_classifier,
    least_words,
    shortfall,
    threshold_of,
)
from smotext_core.neighbors import UnitVectors
from smotext_core.schemas import CALIBRATION, REJECTED_TEXTS, SYNTHETIC_TEXTS
from smotext_core.texts import KnownTexts

FIXED_ROUND_TRIP = 0.3  # where no held-out texts can tell


class SyntheticTextsConfig(dg.Config):
    """What a candidate must pass."""

    min_round_trip: float | None = Field(
        default=None,
        description="Least cosine of the re-embedded text to its vector. Null: what 95 of 100 "
        f"held-out texts reach by the run's decoding; {FIXED_ROUND_TRIP} where they are too few.",
    )
    max_copied_words: int = Field(
        default=9, description="A run of so many words shared with a real text is a copy."
    )
    near_duplicate: float = Field(
        default=0.8, description="Jaccard similarity of word 3-grams that makes a duplicate."
    )
    near_duplicate_cosine: float = Field(
        default=0.98, description="Cosine to a real text that makes a duplicate."
    )
    max_rouge_l: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="ROUGE-L with a closer synthetic text of the label from which a text repeats "
        "it; Self-Instruct takes 0.7. Null: no such filter.",
    )
    relevance: float = Field(
        default=RELEVANCE,
        gt=0,
        le=1,
        description="Among texts that pass, how much nearness to the vector counts beside "
        "unlikeness to the texts taken before; 1 takes the closest first. Of texts decoded at a "
        "temperature of 0 the likeliest of each sample come before.",
    )
    min_words: int | None = Field(
        default=None,
        ge=0,
        description="A text of fewer words is refused. Null: 5, or as few as a tenth of the "
        "label's train texts have.",
    )
    check_label: bool = Field(
        default=True,
        description="Refuse texts to which a classifier of the real train texts gives another "
        "label.",
    )
    min_label_confidence: float | None = Field(
        default=None,
        description="What that classifier must give the label at least. Null: what nine in ten of "
        "the label's texts reach that it did not see, and one in twenty others at most; where "
        "they are too few, no other label may be likelier.",
    )
    calibrate_on_reviews: float = Field(
        default=0,
        ge=0,
        le=1,
        description="The share of texts that readers are to accept: the two minima are raised, by "
        "the verdicts on the label's texts that were drawn at random, until it is reached; they "
        "are never lowered. 0: they stay as they are.",
    )


@dg.asset(
    group_name="texts",
    kinds={"parquet"},
    partitions_def=label_by_run,
    backfill_policy=dg.BackfillPolicy.single_run(),
    metadata={"dagster/column_schema": column_schema(SYNTHETIC_TEXTS)},
)
def synthetic_texts(
    context: dg.AssetExecutionContext,
    config: SyntheticTextsConfig,
    decoded_texts: Table,
    found_texts: Table,
    unlabelled_texts: Table,
    class_pairs: Table,
    labelled_texts: Table,
    embeddings: Table,
    generator: GeneratorResource,
    store: StoreResource,
) -> None:
    """One row per accepted text, with its parents, their weights and its scores.

    Where unlabelled texts were found for the samples, they are asked before the decoded ones.
    Every other candidate is in `rejected_texts`, with the first reason against it.
    """
    tables = store.open()
    corpus, vectors = with_vectors(
        labelled_texts.read(), embeddings, encoder=generator.encoder_fingerprint
    )
    train, texts_of = corpus.filter(pl.col("split") == "train"), ByLabel(corpus)
    known = cache(lambda: KnownTexts(corpus["text"].to_list()))  # not where all is made
    known_vectors = cache(lambda: UnitVectors(corpus["embedding"].to_numpy()))
    # by sha256: they may be replaced while a long step runs
    known_unlabelled = cache(lambda sha256: KnownTexts(unlabelled_texts.read()["text"].to_list()))
    classifier = fit_label_classifier(train["embedding"].to_numpy(), train["label"].to_list())

    used_vectors = Encoded.of(vectors)

    reviews = cache(lambda run: reviews_of(tables, run))

    @cache  # once a step: it is of all labels
    def label_calibration() -> ByLabel:
        made_from: dict[str, JSON] = {
            "corpus": labelled_texts.sha256(),
            "encoder": generator.encoder_fingerprint,
            "vectors": vectors,
            "rule": LABEL_RULE,
        }
        return ByLabel(_label_calibration(tables, config, train, made_from), by="label")

    n_partitions = len(context.partition_keys)  # Dagster looks each of them up: not in `make`

    def make(label: str, run: str) -> dict[str, object]:
        frozen = frozen_run(
            tables, run, labelled_texts=labelled_texts, generator=generator, asked={}
        )
        wanted = frozen["wanted"].get(label, 0)
        pairs = class_pairs.read(label=label, run=run)
        candidates = candidates_of(decoded_texts, found_texts, label=label, run=run)
        unlabelled = unlabelled_texts.manifest()
        unlabelled = unlabelled if unlabelled and unlabelled.rows else None
        real = texts_of[label]
        partition = {"label": label, "run": run}
        confidences = label_calibration().get(real["label"][0])
        calibration = _calibration(tables, label, run)
        options = config.model_dump()
        asked = options.pop("calibrate_on_reviews")
        if config.max_rouge_l is None:  # texts chosen before there was this filter stay as they are
            del options["max_rouge_l"]
        if config.min_words is None:
            own = real.filter(pl.col("split") == "train")
            options["min_words"] = least_words(own["text"].to_list())
        if config.min_round_trip is None:
            found = threshold_of(calibration)
            options["min_round_trip"] = FIXED_ROUND_TRIP if found is None else found
        if config.min_label_confidence is None:
            options["min_label_confidence"] = threshold_of(confidences, real["label"][0])
        readers = calibrate_by_readers(
            tables,
            partition,
            real["label"][0],
            reviews=reviews,
            accepted_share=asked,
            min_round_trip=options["min_round_trip"],
            min_label_confidence=options["min_label_confidence"] if config.check_label else None,
        )
        minima = ("min_round_trip", "min_label_confidence")
        for told in readers.select(minima).iter_rows(named=True):
            options |= told

        def choose() -> tuple[pl.DataFrame, dict[str, JSON]]:
            if candidates.is_empty():
                accepted, rejected = SYNTHETIC_TEXTS.to_frame(), REJECTED_TEXTS.to_frame()
            else:
                accepted, rejected = accept(
                    candidates.drop("embedding"),
                    candidates["embedding"].to_numpy(),
                    label=real["label"][0],
                    run=run,
                    generator=frozen["generator_fingerprint"],
                    pairs=pairs,
                    parent_embeddings=dict(
                        zip(real["text_id"], real["embedding"].to_numpy(), strict=True)
                    ),
                    real_texts=known(),
                    real_embeddings=known_vectors(),
                    classifier=classifier,
                    n_wanted=wanted,
                    unlabelled=known_unlabelled(unlabelled.sha256) if unlabelled else (),
                    **options,
                )
            tables.write("rejected_texts", rejected, partition)
            return accepted, {
                "shortfall": shortfall(wanted, accepted, rejected),
                "options": config.model_dump(exclude_defaults=True),
            }

        frame, manifest, _ = tables.write_once(
            "synthetic_texts",
            partition,
            inputs={
                "candidates": decoded_texts.sha256(**partition),
                "pairs": class_pairs.sha256(**partition),
                "corpus": labelled_texts.sha256(),
                "vectors": used_vectors,
                "generator": frozen["generator_fingerprint"],
                "wanted": wanted,
                **(
                    {"found": found_texts.sha256(**partition)}
                    if (candidates["origin"] == FOUND).any()
                    else {}
                ),
                **({"unlabelled": unlabelled.sha256} if unlabelled else {}),
                **options,
                **({"calibrate_on_reviews": asked} if asked else {}),
            },
            make=choose,
        )
        rejected = read_if_sound(tables, "rejected_texts", partition)
        if rejected is None:  # damaged since: the same choice tells the same reasons
            choose()
            rejected = tables.read("rejected_texts", partition)
        reasons = rejected.group_by("reason").len("rows").sort("rows", "reason", descending=True)
        return {
            "dagster/partition_row_count": frame.height,
            "dagster/uri": f"{tables.root}/{manifest.path}",
            "wanted": wanted,
            "found": frame.filter(origin=FOUND).height,
            "shortfall": str(manifest.metadata["shortfall"] or "none"),
            "calibration": dg.MetadataValue.md(
                markdown_table(pl.concat([calibration, confidences]))
            ),
            "calibration_by_readers": dg.MetadataValue.md(markdown_table(readers)),
            "rejected": dg.MetadataValue.md(markdown_table(reasons)),
            "first_samples": dg.MetadataValue.md(markdown_table(_named(frame))),
            # its texts stand on the card, which `smotext forget` can withdraw
            "html": dg.MetadataValue.path(f"{tables.root}/dataset_card/{run}.html"),
            **map_metadata(lambda: _picture(real, frame, candidates), n_partitions=n_partitions),
        }

    for_each_partition(context, make)


def _calibration(tables: Store, label: str, run: str) -> pl.DataFrame:
    """What held-out texts score by the label's decoding; of older stores, by the run's."""
    for at in ({"label": label, "run": run}, {"run": run}):
        if tables.manifest("calibration", at) is not None:
            return tables.read("calibration", at)
    return CALIBRATION.to_frame()


def _label_calibration(
    tables: Store,
    config: SyntheticTextsConfig,
    train: pl.DataFrame,
    inputs: dict[str, JSON],
) -> pl.DataFrame:
    """The table `label_calibration`, made again where corpus, vectors or the rule changed."""
    if not config.check_label or config.min_label_confidence is not None:
        return CALIBRATION.to_frame()
    frame, _, _ = tables.write_once(
        "label_calibration",
        {},
        inputs=inputs,
        make=lambda: (
            calibrate_labels(
                train["embedding"].to_numpy(),
                train["label"].to_list(),
                train["document_id"].to_list(),
            ),
            {"made_from": inputs},
        ),
    )
    return frame


def _named(accepted: pl.DataFrame) -> pl.DataFrame:
    """The first samples by their ids and their parents': Dagster's record quotes no text."""
    few = accepted.head(5).select("label", "sample_id", "parent_ids", "weights")
    return few.with_columns(
        pl.col("parent_ids").list.join(", "),
        pl.col("weights").list.eval(pl.element().round(3).cast(pl.String)).list.join(", "),
    )


def _picture(real: pl.DataFrame, accepted: pl.DataFrame, candidates: pl.DataFrame) -> bytes:
    """The class's map."""
    made = accepted.join(candidates, on=["sample_id", "text"], how="left").unique(
        "sample_id", maintain_order=True
    )
    place = {text_id: row for row, text_id in enumerate(real["text_id"])}
    return class_map(
        real["embedding"].to_numpy(),
        made["embedding"].to_numpy(),
        parents=[tuple(place[p] for p in ids) for ids in made["parent_ids"].head(4)],
        title=real["label"][0],
    )


@dg.asset_check(asset=synthetic_texts, additional_ins={"labelled_texts": dg.AssetIn()})
def texts_are_not_copies(synthetic_texts: Table, labelled_texts: Table) -> dg.AssetCheckResult:
    """No synthetic text equals a text of the corpus."""
    made = synthetic_texts.read_all(schema=SYNTHETIC_TEXTS)["text"]
    copies = made.is_in(labelled_texts.read()["text"].implode()).sum()
    return dg.AssetCheckResult(passed=copies == 0, metadata={"copies": int(copies)})
