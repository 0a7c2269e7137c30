"""What the labels of a run were made with: options that a run is not frozen with."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import dagster as dg

from smotext_assets.stages.decoding import DecodedTextsConfig
from smotext_assets.stages.publication import (
    SyntheticTableConfig,
    min_accepted_of,
    was_judged_by_evaluation,
)
from smotext_assets.store import JSON, Store, read_if_sound
from smotext_core.privacy import ACCEPTED, decided

Options: TypeAlias = "dict[str, dict[str, JSON]]"  # by asset, by name; defaults are left out


def options_of_labels(store: Store, run: str) -> dict[str, Options]:
    """By slug, what its rows were decoded, chosen and published with.

    Of synthetic_table `publish_anyway` is the label's reason. Rows of an older version tell less:
    their filters count as the default ones.
    """
    slugs = [at["label"] for at in store.partitions("decoded_texts") if at["run"] == run]
    with ThreadPoolExecutor(8) as pool:  # a bucket answers slowly, but many at once
        found = list(pool.map(lambda slug: _of_label(store, {"label": slug, "run": run}), slugs))
    return dict(zip(slugs, found, strict=True))


def options_of_corpus(store: Store) -> Options:
    """What the corpus was read and split with, and the generator adapted."""
    found: Options = {}
    for asset in ("raw_corpus", "labelled_texts", "generator"):
        manifest = store.manifest(asset)
        found[asset] = _recorded(manifest.metadata if manifest else {}, "options")
    return found


def _of_label(store: Store, at: dict[str, str]) -> Options:
    tables = ("decoded_texts", "found_texts", "synthetic_texts", "calibration")
    decoded, found, chosen, measured = (
        manifest.metadata if (manifest := store.manifest(table, at)) else {} for table in tables
    )
    decoding = _recorded(decoded, "options")
    if "options" not in decoded:  # of an older version: what was measured decodes alike
        decoding = _differing(DecodedTextsConfig(), _recorded(measured, "made_from"))
    return {
        "decoded_texts": decoding,
        "found_texts": _recorded(found, "options"),
        "synthetic_texts": _recorded(chosen, "options"),
        "synthetic_table": _published(store, at),
    }


def _published(store: Store, at: dict[str, str]) -> dict[str, JSON]:
    gates = read_if_sound(store, "gates", at)
    if gates is None:
        return {}
    limits: list[float] = gates.filter(gate=ACCEPTED)["limit"].to_list()
    options: dict[str, JSON] = {
        **({"min_accepted_share": limits[0]} if limits else {}),
        "min_accepted": min_accepted_of(store, at),
        "hold_where_it_hurts": was_judged_by_evaluation(gates) or None,
    }
    reasons = list(dict.fromkeys(decided(gates).values()))
    why: dict[str, JSON] = {"publish_anyway": "; ".join(reasons)} if reasons else {}
    return _differing(SyntheticTableConfig(), options) | why


def _recorded(metadata: Mapping[str, JSON], name: str) -> dict[str, JSON]:
    found = metadata.get(name)
    return found if isinstance(found, dict) else {}


def _differing(default: dg.Config, options: Mapping[str, JSON]) -> dict[str, JSON]:
    """Those of the asset's options that are not as by default."""
    usual = default.model_dump()
    return {
        name: options[name] for name in usual if name in options and options[name] != usual[name]
    }
