"""What an asset's page says of its columns: what each holds, and which columns it is made from."""

import dagster as dg

from smotext_core.schemas import SYNTHETIC_TEXTS

DESCRIPTIONS = {
    "document_id": "The id that the corpus gave, or the row's number in its file.",
    "text_id": "document_id, or document_id#number where it became passages or has several labels.",
    "passage": "Number of the passage in its document, from 0.",
    "text": "The text, as data: never markup, a path, a formula or SQL.",
    "content_hash": "sha256 of the text.",
    "label": "The class, as the corpus writes it; empty where the figure is of the whole run.",
    "slug": "The label as a partition key: letters, digits, - and _.",
    "split": "train, test or holdout; all passages of a document share one; train has children.",
    "embedding": "The text's vector by the generator's encoder. As sensitive as the text.",
    "sample_id": "run.slug.number: the same in every table that the sample passes through.",
    "number": "From 0; run seed, label and number are the sample's random stream.",
    "parent_ids": "text_id of each text that was mixed, the base first.",
    "weights": "The share of each parent, in the same order; they sum to 1.",
    "vector": "The parents' vectors, mixed by their weights. As sensitive as the texts.",
    "candidate": "From 0, the closest to the vector first.",
    "round_trip_cosine": "Of the text, embedded again, to the vector it was decoded from.",
    "unknown_words": "Words that the decoder's training text does not have.",
    "log_probability": "Of its tokens given the vector, in nats; null where it was sampled.",
    "run": "The run key, which names a frozen configuration.",
    "parent_cosine": "Cosine to the nearest of its parents.",
    "label_confidence": "Probability of its label by a classifier of the real train texts.",
    "copied_words": "Longest run of words that it shares with any real text.",
    "generator": "Fingerprint of the generator of the run.",
    "origin": "decoded: written by the generator; found: a real text that nobody had labelled.",
    "found_id": "Of a found row: which of unlabelled_texts it is.",
    "name": "The generator as configured: mini, xrag-7b or a folder's name.",
    "fingerprint": "Of the generator that decodes; the adapted one, where there is one.",
    "licence": "Of its weights; it binds what is made with them.",
    "encoder": "The model that turns texts into vectors.",
    "lm": "The language model that reads a vector as one token and writes.",
    "adapt_steps": "Training steps on the train texts and the unlabelled ones; 0: as configured, "
    "and figures below, if any, are of one that wrote no nearer.",
    "nll_before": "Per token of test and holdout texts given their vectors; lower is better.",
    "nll_after": "The same after adaptation.",
    "cosine_before": "Round trip of test and holdout texts, likeliest text.",
    "cosine_after": "The same after adaptation.",
    "memorised_before": "Share of decoded train texts that repeat nine words in a row of one.",
    "memorised_after": "The same after adaptation.",
    "memorised_mixed_before": "The same from the middle between two train texts.",
    "memorised_mixed_after": "The same after adaptation.",
    "head": "The classifier: on embeddings, or on TF-IDF of words.",
    "arm": "What it was trained on: real, class_weight, oversample, smote or smotext.",
    "metric": "macro_f1, accuracy, or f1 of one label.",
    "value": "The figure; of an evaluation, its mean over the seeds.",
    "difference": "To the real rows alone, paired by seed.",
    "low": "Lower end of the 95 % paired bootstrap interval of the difference.",
    "high": "Upper end of that interval.",
    "verdict": "helps, no evidence or hurts; of a reader: keep, drop, relabel or undecided.",
    "corrected_label": "What a reader says is its label.",
    "reviewer": "Who read it.",
    "reviewed_at": "When, UTC.",
    "asked": "The share of texts that readers are to accept.",
    "outcome": "raised, reached, not reached or too few verdicts: then the minima stay.",
    "held_out_round_trip": "The least round trip by held-out real texts.",
    "held_out_label_confidence": "The least label confidence by held-out real texts.",
    "min_round_trip": "The least that a text must reach by the verdicts of readers.",
    "min_label_confidence": "The least by the verdicts; empty: the likeliest label counts.",
    "read": "Texts drawn at random, and read, that reach the minima.",
    "accepted": "Of these, kept as they are.",
    "share": "Accepted of the read.",
    "sampled": "Drawn at random; else read for being doubtful, and in no estimate.",
    "cheap_arm": "Of arms with made rows: the best arm that needs no generator.",
    "over_cheap": "The difference to that one, paired by seed.",
    "over_low": "Lower end of its 95 % paired bootstrap interval.",
    "over_high": "Upper end of that interval.",
    "over_verdict": "helps, no evidence or hurts, beside that arm.",
    "n_seeds": "Paired subsamples of the train texts.",
    "measure": "The attack or distance.",
    "reference": "What the holdout scores, which no synthetic row descends from.",
    "threshold": "Worse than this is red.",
    "passed": "Empty: not judged, for want of texts.",
}

# column: the upstream columns it is made from, as asset.column
_SOURCES: dict[str, dict[str, list[str]]] = {
    "labelled_texts": {
        "document_id": ["raw_corpus.document_id"],
        "text_id": ["raw_corpus.document_id", "raw_corpus.text"],
        "text": ["raw_corpus.text"],
        "content_hash": ["raw_corpus.text"],
        "label": ["raw_corpus.label"],
        "slug": ["raw_corpus.label"],
        "split": ["raw_corpus.document_id"],
    },
    "embeddings": {
        "text_id": ["labelled_texts.text_id"],
        "content_hash": ["labelled_texts.content_hash"],
        "embedding": ["labelled_texts.text"],
    },
    "class_pairs": {
        "parent_ids": ["labelled_texts.text_id", "embeddings.embedding"],
        "sample_id": ["labelled_texts.slug"],
    },
    "interpolated_vectors": {
        "sample_id": ["class_pairs.sample_id"],
        "vector": ["class_pairs.parent_ids", "class_pairs.weights", "embeddings.embedding"],
    },
    "decoded_texts": {
        "sample_id": ["interpolated_vectors.sample_id"],
        "text": ["interpolated_vectors.vector"],
        "round_trip_cosine": ["interpolated_vectors.vector"],
        "log_probability": ["interpolated_vectors.vector"],
        "embedding": ["interpolated_vectors.vector"],
    },
    "found_texts": {
        "sample_id": ["interpolated_vectors.sample_id"],
        "text": ["unlabelled_texts.text"],
        "round_trip_cosine": ["interpolated_vectors.vector", "unlabelled_texts.embedding"],
        "embedding": ["unlabelled_texts.embedding"],
        "found_id": ["unlabelled_texts.text_id"],
    },
    "synthetic_texts": {
        "sample_id": ["decoded_texts.sample_id"],
        "text": ["decoded_texts.text", "found_texts.text"],
        "found_id": ["found_texts.found_id"],
        "round_trip_cosine": ["decoded_texts.round_trip_cosine", "found_texts.round_trip_cosine"],
        "parent_cosine": ["decoded_texts.embedding", "embeddings.embedding"],
        "label_confidence": ["decoded_texts.embedding", "embeddings.embedding"],
        "copied_words": ["decoded_texts.text", "labelled_texts.text"],
        "parent_ids": ["class_pairs.parent_ids"],
        "weights": ["class_pairs.weights"],
        "label": ["labelled_texts.label"],
    },
    "synthetic_table": {name: [f"synthetic_texts.{name}"] for name in SYNTHETIC_TEXTS}
    | {"label": ["synthetic_texts.label", "reviews.corrected_label"]},
    "exported_dataset": {name: [f"synthetic_table.{name}"] for name in SYNTHETIC_TEXTS},
}


def origins(asset: str, column: str) -> list[str]:
    """Every column, as asset.column, that this one is made from, the nearest first."""
    found: list[str] = []
    near = [f"{asset}.{column}"]
    while near:
        at = near.pop(0)
        parents = _SOURCES.get(at.partition(".")[0], {}).get(at.partition(".")[2], [])
        near += [parent for parent in parents if parent not in found]
        found += [parent for parent in parents if parent not in found]
    return found


def column_lineage(asset: str) -> dict[str, dg.TableColumnLineage]:
    """Metadata of a materialisation, none for an asset whose columns have no single origin."""
    if asset not in _SOURCES:
        return {}
    deps = {
        column: [
            dg.TableColumnDep(dg.AssetKey(source.partition(".")[0]), source.partition(".")[2])
            for source in sources
        ]
        for column, sources in _SOURCES[asset].items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}
