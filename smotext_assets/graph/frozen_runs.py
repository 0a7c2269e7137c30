"""A run's frozen configuration: what it was made from, decided once."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import polars as pl

from smotext_assets.graph.generator_in_use import generator_in_use
from smotext_assets.graph.resources import GeneratorResource
from smotext_assets.graph.table_io import Table
from smotext_assets.store import Store
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
            generator was adapted to another corpus.
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
    differs = {
        name: (frozen[name], value)
        for name, value in {**given, **now}.items()
        if frozen[name] != value
    }
    if differs:
        told = "; ".join(f"{name} was {old!r}, is {new!r}" for name, (old, new) in differs.items())
        raise ValueError(f"the run {run} is frozen and {told}: start a run with another key")
    return frozen


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
