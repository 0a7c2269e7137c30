"""What a run made, for a terminal."""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smotext_assets.graph import ByLabel, GeneratorResource, generator_in_use, run_config
from smotext_assets.stages import stale_rows
from smotext_assets.store import Manifest, Store, damaged, read_if_sound, read_sound
from smotext_core.filters import COMPETENCE, FOUND, SURPLUS
from smotext_core.privacy import held_back
from smotext_core.reviews import MIN_VERDICTS, NOT_REACHED, RAISED, REACHED, TOO_FEW
from smotext_core.schemas import GATES, READER_CALIBRATION, SYNTHETIC_TEXTS
from smotext_core.xrag import described


def label_counts(store: Store, run: str) -> pl.DataFrame:
    """Per label of a run: label, real (train texts), wanted, made, refused, main_reason."""
    wanted = run_config(store, run)["wanted"]
    train_of = ByLabel(store.read("labelled_texts").filter(pl.col("split") == "train"))
    gates, _ = read_sound(store, "gates", {"run": run}, schema=GATES)
    held, rows = set(held_back(gates)["label"]), []
    for partition in store.partitions("synthetic_table"):
        if partition["run"] != run:
            continue
        slug = partition["label"]
        real = train_of.get(slug)
        table = read_if_sound(store, "synthetic_table", partition)
        rejected = read_if_sound(store, "rejected_texts", partition)
        label = real["label"][0] if real.height else slug
        made = None if table is None else table.height
        refused: int | None = None
        reason: str | None = "a table is damaged"
        if rejected is not None:
            bad = rejected.filter(~pl.col("reason").is_in(list(SURPLUS)))
            counts = bad["reason"].value_counts().sort("count", "reason", descending=True)
            refused, reason = bad.height, counts["reason"][0] if counts.height else None
        reason = "held back by a gate" if label in held else reason  # as on the card
        rows.append((label, real.height, wanted.get(slug, 0), made, refused, reason))
    counts_of = dict.fromkeys(("real", "wanted", "made", "refused"), pl.Int64)
    schema = {"label": pl.String, **counts_of, "main_reason": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("real", "label")


def print_summary(store: Store, warehouse: Path, run: str, console: Console) -> None:
    """The run's labels, three new texts with their parents, and where to look next."""
    if store.manifest("runs", {"run": run}) is None:
        return
    table = Table(title=f"run {run}", title_justify="left")
    for name in ("label", "real", "wanted", "made", "refused", "mostly because"):
        left = name in ("label", "mostly because")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    counts = label_counts(store, run)
    for cells in counts.iter_rows():
        table.add_row(*[Text("" if cell is None else str(cell)) for cell in cells])
    console.print(table)
    published, damage = read_sound(store, "synthetic_table", {"run": run}, schema=SYNTHETIC_TEXTS)
    if found := published.filter(origin=FOUND).height:
        console.print(f"{found} of the rows are real texts, found among the unlabelled ones")
    judged, more = read_sound(store, "gates", {"run": run}, schema=GATES)
    _print_damage([*damage, *more, *damaged(store, "rejected_texts", {"run": run})], console)
    held = held_back(judged)
    for label, gates in held.group_by("label", maintain_order=True).agg("gate").iter_rows():
        console.print(
            Text(
                f"held back  {label}: {', '.join(gates)}. Its rows are in the store's "
                "synthetic_texts; to publish them: the same command with "
                "--publish-anyway 'SLUG=REASON'",
                style="yellow",
            ),
            soft_wrap=True,
        )
    for line in _by_readers(store, run):
        console.print(Text(line), soft_wrap=True)
    texts = dict(store.read("labelled_texts").select("text_id", "text").iter_rows())
    for row in _samples(counts, published).iter_rows(named=True):
        console.print(Text(f"\n{row['label']}  ", style="bold") + Text(row["sample_id"], "dim"))
        console.print(Text(f"  {row['text']}"))
        for parent, weight in zip(row["parent_ids"], row["weights"], strict=True):
            console.print(Text(f"  {weight:.2f} × {parent}: {texts[parent]}", style="dim"))
    card = f"{store.root}/dataset_card/{run}.html"
    for line in (  # whole, so that a path can be copied
        f"\nrows     {warehouse} (tables synthetic_texts, lineage, rejected_texts)",
        f"card     {card}",
        "lineage  make dev, then Assets → View global asset lineage",
    ):
        console.print(Text(line), soft_wrap=True)


def _by_readers(store: Store, run: str) -> list[str]:
    """What readers' verdicts made of each label's minima, a line a label, where it was asked."""
    found = store.read_all("reader_calibration", {"run": run}, schema=READER_CALIBRATION)
    lines = []
    for row in found.iter_rows(named=True):
        at = f"round trip {row['min_round_trip']:.3f}"
        if row["min_label_confidence"] is not None:
            at += f", label confidence {row['min_label_confidence']:.3f}"
        of = f"{row['accepted']} of {row['read']} read texts accepted"
        if row["share"] is not None:
            of += f", {row['share']:.0%} ({row['low']:.0%} to {row['high']:.0%})"
        told = {
            RAISED: f"minima raised to {at}: {of}",
            REACHED: f"minima stay at {at}: {of}",
            NOT_REACHED: f"minima stay at {at}: {of}; none higher leave {MIN_VERDICTS} read texts "
            f"of which {row['asked']:.0%} are",
            TOO_FEW: f"minima stay at {at}: {row['read']} texts drawn at random were read, "
            f"{MIN_VERDICTS} are needed",
        }
        lines.append(f"readers  {row['label']}: {told[row['outcome']]}")
    return lines


def _samples(counts: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The closest text of each of the three rarest labels that got rows."""
    rarest = counts.filter(pl.col("made") > 0)["label"].head(3)
    return pl.concat(
        [
            SYNTHETIC_TEXTS.to_frame(),
            *(
                rows.filter(pl.col("label") == label)
                .sort("round_trip_cosine", "sample_id", descending=[True, False])
                .head(1)
                for label in rarest
            ),
        ]
    )


def print_adaptation(store: Store, console: Console) -> None:
    """What adaptation of the generator in use gained, and what it learnt by heart."""
    row = store.read("generator").row(0, named=True)

    def change(name: str) -> str:
        shown = (row[f"{name}_{when}"] for when in ("before", "after"))
        return " → ".join("–" if value is None else f"{value:.3f}" for value in shown)

    told = f"adapted in {row['adapt_steps']} steps"
    if not row["adapt_steps"]:
        told = "trained, and not taken: texts come back no nearer (--adapt STEPS takes it anyway)"
    console.print(
        f"{told}. On texts it was not trained on: round-trip cosine "
        f"{change('cosine')}, NLL {change('nll')}. Texts that repeat nine words of a train text: "
        f"{change('memorised')} from its own vector, {change('memorised_mixed')} from a mixed one",
        highlight=False,
    )


def _rows_by_run(store: Store, table: str) -> tuple[dict[str, list[int]], list[str]]:
    """Rows of each label's partition, by run: one listing of the table, whatever runs there are.
    And of each damaged manifest what is wrong with it."""

    def look(partition: dict[str, str]) -> Manifest | str | None:
        try:
            return store.manifest(table, partition)
        except ValueError as error:
            return str(error)

    partitions = store.partitions(table)
    with ThreadPoolExecutor(8) as pool:  # a bucket answers slowly, but many at once
        manifests = list(pool.map(look, partitions))
    found: dict[str, list[int]] = defaultdict(list)
    for partition, manifest in zip(partitions, manifests, strict=True):
        if isinstance(manifest, Manifest):  # not deleted since it was listed
            found[partition["run"]].append(manifest.rows)
    return found, [told for told in manifests if isinstance(told, str)]


def _print_damage(told: Sequence[str], console: Console) -> None:
    for line in told:
        console.print(Text(f"damaged  {line}", style="red"), soft_wrap=True)


def print_runs(store: Store, console: Console, *, generator: GeneratorResource) -> None:
    """The corpus's train texts by label; a line per run: what was frozen, rows wanted, made and
    not taken, be they refused or good and not needed; then which labels gates hold back, by what
    was measured, and which were made from an older corpus or by another generator.

    Damaged tables of labels are told with their remedy, and do not stop the others."""
    manifest = store.manifest("labelled_texts")
    if manifest is not None:
        train = store.read("labelled_texts").filter(pl.col("split") == "train")
        counts = train["slug"].value_counts().sort("count", "slug").rows()
        shown = ", ".join(f"{slug} {count}" for slug, count in counts)
        console.print(Text(f"corpus {manifest.sha256[:8]}, train texts: {shown}"), soft_wrap=True)
    runs = store.partitions("runs")
    if not runs:
        line = f"{store.root}: no run yet; `smotext run` makes one"
        console.print(Text(line), soft_wrap=True)
        return
    table = Table(title=store.root, title_justify="left")
    for name in ("run", "labels", "wanted", "made", "not taken", "seed", "generator", "corpus"):
        table.add_column(name, overflow="fold")
    made, damage = _rows_by_run(store, "synthetic_table")
    # by their manifests: whoever reads a table's files finds what is damaged in them
    rest, more = _rows_by_run(store, "rejected_texts")
    damage += more
    for partition in runs:
        run = partition["run"]
        try:
            frozen = run_config(store, run)
        except (ValueError, FileNotFoundError) as error:
            damage.append(str(error))
            continue
        current = manifest is not None and manifest.sha256 == frozen["corpus_sha256"]
        cells = (
            run,
            f"{len(made.get(run, []))} of {len(frozen['wanted'])}",
            sum(frozen["wanted"].values()),
            sum(made.get(run, [])),
            sum(rest.get(run, [])),
            frozen["seed"],
            f"{frozen['generator']} {frozen['generator_fingerprint'][:8]}",
            "current" if current else "older",
        )
        table.add_row(*[Text(str(cell)) for cell in cells])
    console.print(table)
    console.print(Text(f"generator: {described(generator.name)}"), soft_wrap=True)
    try:
        used = generator_in_use(store, generator).fingerprint
    except (ValueError, OSError):  # it is not at hand
        used = None
    judged, more = read_sound(store, "gates", schema=GATES)
    _print_damage([*damage, *more], console)
    held = held_back(judged)
    for run, label, gates in (
        held.group_by("run", "label", maintain_order=True).agg(pl.struct("gate", "value", "limit"))
    ).iter_rows():
        told = ", ".join(
            gate["gate"]
            + ("" if gate["value"] is None else f" {gate['value']:.3g}, limit {gate['limit']:.3g}")
            for gate in gates
        )
        cure = ": adapt the generator (--adapt 80) or take one of the corpus's language"
        cure = cure if any(gate["gate"] == COMPETENCE for gate in gates) else ""
        console.print(Text(f"held back  {run}: {label} ({told}){cure}"), soft_wrap=True)
    stale = stale_rows(store, generator_fingerprint=used)
    for run, reason, slugs in (
        stale.group_by("run", "reason", maintain_order=True).agg("label").iter_rows()
    ):
        console.print(Text(f"stale  {run}: {reason} ({', '.join(slugs)})"), soft_wrap=True)
