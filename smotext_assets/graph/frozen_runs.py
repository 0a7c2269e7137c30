"""A run's frozen configuration: what it was made from, decided once."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import polars as pl

from smotext_assets.graph.generator_in_use import InUse, generator_in_use
from smotext_assets.graph.resources import GeneratorResource
from smotext_assets.graph.table_io import Table
from smotext_assets.store import GENERATOR_FORGOTTEN, Store
from smotext_core.mixing import check_options, sampling_targets
from smotext_core.schemas import RUNS, conform

DEFAULTS: dict[str, Any] = {
    "seed": 0,
    "sampling_strategy": "auto",
    "strategy": "smote",
    "k_neighbors": 5,
    "m_neighbors": 10,
    "n_parents": 2,
    "lam": "uniform",
    "mixing": None,  # as suits the generator's encoder
    "across_documents": True,
    "oversample": 1.5,
}


def frozen_run(
    store: Store,
    run: str,
    *,
    labelled_texts: Table,
    generator: GeneratorResource,
    asked: dict[str, Any],
) -> dict[str, Any]:
    """The configuration of `run`, frozen by whoever comes first, and that it still holds.

    Args:
        asked: the options of DEFAULTS that were given; None means as frozen, or the default.

    Returns:
        the options, `wanted` (new rows by slug), `corpus_sha256`, `generator_fingerprint`,
        `generator_licence`.

    Raises:
        ValueError: the run was frozen with other options, another corpus or generator; the
            generator was adapted to another corpus, or was deleted by `smotext forget`.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    manifest, used = labelled_texts.manifest(), generator_in_use(store, generator)
    if used.fault:
        raise ValueError(used.fault)
    now = {
        "corpus_sha256": manifest.sha256 if manifest else "",
        "generator_fingerprint": used.fingerprint,
    }
    if store.manifest("runs", {"run": run}) is None:
        texts = store.read_frames("labelled_texts", columns=["slug", "split"])
        options = run_options(pl.concat(texts), asked)
        strategy = options["sampling_strategy"]
        frozen = {
            **options,
            **now,
            "generator": used.name,
            "generator_licence": generator.licence,
        }
        if used.adapted is not None:  # what makes it again
            steps = store.read("generator")["adapt_steps"][0]
            frozen |= {"adapt_steps": steps, "adapted_from": generator.fingerprint}
        row = {
            **{name: frozen[name] for name in RUNS if name in frozen},
            "run": run,
            "sampling_strategy": strategy if isinstance(strategy, str) else json.dumps(strategy),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": json.dumps(frozen, sort_keys=True),
        }
        store.write("runs", conform(pl.DataFrame([row]), RUNS), {"run": run})
    # Read back: of two that came at once the later write counts for both.
    frozen = run_config(store, run)
    check_decodes(run, frozen)
    _check_same(run, frozen, {**given, **now})
    return frozen


def judged_run(
    store: Store, run: str, *, labelled_texts: Table, generator: GeneratorResource
) -> dict[str, Any]:
    """The configuration of `run`, for what looks at its rows and decodes none.

    That needs its corpus and its encoder, which adaptation leaves as it is: the adapted generator
    may be gone, or another one in use.

    Raises:
        ValueError: the run was made of another corpus, or by a generator that is not the configured
            one nor was adapted from it.
    """
    frozen = run_config(store, run)
    _check_same(run, frozen, {"corpus_sha256": labelled_texts.sha256()})
    check_made_by(run, frozen, generator, in_use=generator_in_use(store, generator))
    return frozen


def check_decodes(run: str, frozen: Mapping[str, Any]) -> None:
    """Raises ValueError where the run's generator was deleted by `smotext forget`."""
    if frozen.get(GENERATOR_FORGOTTEN):
        raise ValueError(
            f"the run {run} gets no more rows: its generator may have been trained on texts that "
            "were forgotten, and was deleted with them. Start a run with another key; of the rows "
            f"that are left `smotext evaluate {run}` and `smotext card {run}` tell, and "
            "synthetic_table in the UI (`publish_anyway`) publishes what a gate holds back"
        )


def check_made_by(
    run: str, frozen: Mapping[str, Any], generator: GeneratorResource, *, in_use: InUse
) -> None:
    """Raises ValueError where the run was made by another generator than the configured one, and
    by none that was adapted from it."""
    if in_use.fingerprint == frozen["generator_fingerprint"] and not in_use.fault:
        return  # a run of an older version does not say what its generator was adapted from
    if generator.fingerprint != frozen.get("adapted_from", frozen["generator_fingerprint"]):
        raise ValueError(
            f"the run {run} was made by the generator {frozen['generator']} "
            f"({frozen['generator_fingerprint']}), {generator.name} is {generator.fingerprint}: "
            "give --generator, and --adapt where it was adapted, as they were (SMOTEXT_GENERATOR "
            "does as --generator), or start a run with another key"
        )


def _check_same(run: str, frozen: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    told = "; ".join(
        f"{name} was {frozen[name]!r}, is {value!r}"
        for name, value in now.items()
        if frozen[name] != value
    )
    if told:
        raise ValueError(f"the run {run} is frozen and {told}: start a run with another key")


def run_options(corpus: pl.DataFrame, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a new run and `wanted`, new rows by slug.

    Raises:
        ValueError: an option that cannot be.
    """
    train = corpus.filter(pl.col("split") == "train")
    counts = {str(slug): n for slug, n in sorted(train.group_by("slug").len().iter_rows())}
    options = {**DEFAULTS, **{name: value for name, value in asked.items() if value is not None}}
    looked_at = ("strategy", "k_neighbors", "m_neighbors", "n_parents", "lam")
    check_options(**{name: options[name] for name in looked_at})
    if not 0 < options["oversample"] < float("inf"):
        raise ValueError(f"oversample must be above 0, got {options['oversample']}")
    return {**options, "wanted": sampling_targets(counts, options["sampling_strategy"])}


def check_run(store: Store, run: str, *, command: str) -> None:
    """Raises LookupError where the store has no such run, with those that it has."""
    known = [partition["run"] for partition in store.partitions("runs")]
    if run not in known:
        told = ", ".join(known) or "none yet; `smotext run` makes one"
        raise LookupError(f"{command} needs the key of a run, got {run!r}; the store has: {told}")


def run_config(store: Store, run: str) -> dict[str, Any]:
    """The frozen configuration of `run`, as `frozen_run` returned it."""
    config = _parsed(store.read("runs", {"run": run})["config"][0])
    return {**DEFAULTS, **config}  # a run of an older version lacks the options that came later


@lru_cache(maxsize=4)
def _parsed(config: str) -> Mapping[str, Any]:
    """Every label of a run asks for it, and it names every label."""
    found: dict[str, Any] = json.loads(config)
    return found
