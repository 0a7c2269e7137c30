"""Which rows were made from an older corpus or by another generator than there is now."""

import dagster as dg
import polars as pl

from smotext_assets.graph import GeneratorResource, StoreResource, generator_in_use, run_config
from smotext_assets.store import Store
from smotext_core.card import markdown_table

_STALE = pl.Schema({"run": pl.String(), "label": pl.String(), "reason": pl.String()})


def stale_rows(store: Store, *, generator_fingerprint: str | None) -> pl.DataFrame:
    """Each label × run of the table that would come out otherwise now, and why: run, label, reason.

    Without `generator_fingerprint`, of the one in use, generators are not compared. A run's rows
    stay as they were made: new ones are made under another run key.
    """
    corpus = store.manifest("labelled_texts")
    reasons: dict[str, list[str]] = {}
    rows = []
    for partition in store.partitions("synthetic_table"):
        run, label = partition["run"], partition["label"]
        if run not in reasons:
            sha256 = None if corpus is None else corpus.sha256
            reasons[run] = _of_run(store, run, sha256, generator_fingerprint)
        why = list(reasons[run])
        if "older corpus" in why and not _same_texts(store, label=label, run=run):
            why[0] = "older corpus, other texts of this label"
        if why:
            rows.append((run, label, "; ".join(why)))
    return pl.DataFrame(rows, schema=_STALE, orient="row").sort("run", "label")


def _of_run(store: Store, run: str, corpus: str | None, generator: str | None) -> list[str]:
    try:
        frozen = run_config(store, run)
    except (ValueError, FileNotFoundError) as error:  # damaged: nobody can tell
        return [str(error)]
    reasons = [] if frozen["corpus_sha256"] == corpus else ["older corpus"]
    if generator not in (None, frozen["generator_fingerprint"]):
        reasons.append(f"other generator {frozen['generator_fingerprint'][:8]}")
    return reasons


def _same_texts(store: Store, *, label: str, run: str) -> bool:
    """Whether the label's vectors are those that the run's pairs were made of."""
    try:
        pairs = store.manifest("class_pairs", {"label": label, "run": run})
        vectors = store.manifest("embeddings", {"label": label})
    except ValueError:  # damaged
        return False
    return (
        pairs is not None and vectors is not None and pairs.metadata["embeddings"] == vectors.sha256
    )


@dg.asset_check(asset="synthetic_table", additional_deps=["labelled_texts"])
def rows_are_current(store: StoreResource, generator: GeneratorResource) -> dg.AssetCheckResult:
    """Every label × run was made from the corpus and by the generator that there are now."""
    tables = store.open()
    used = generator_in_use(tables, generator)
    stale = stale_rows(tables, generator_fingerprint=used.fingerprint)
    return dg.AssetCheckResult(
        passed=stale.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"stale": dg.MetadataValue.md(markdown_table(stale))},
    )
