"""What a run asks of its store grows with its labels, not with their square."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from smotext_assets.cli.summary import print_runs
from smotext_assets.graph.partitions import range_tags
from smotext_assets.store.files import Folder
from smotext_assets.store.tables import Store
from tests.assets.conftest import BY_LABEL_AND_RUN, FakeGeneratorResource, Home, write_corpus
from tests.fakes import VOCABULARY


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Files that were asked for, names that listings gave, and listings by table."""
    found: Counter[str] = Counter()
    get, opened, listed = Folder.get, Folder.open, Folder.list
    partitions = Store._listed

    def counted_get(self: Folder, name: str) -> bytes | None:
        found["files"] += 1
        return get(self, name)

    def counted_open(self: Folder, name: str) -> Any:
        found["files"] += 1
        return opened(self, name)

    def counted_list(self: Folder, prefix: str) -> dict[str, float]:
        names = listed(self, prefix)
        found["names"] += len(names)
        return names

    def counted_partitions(self: Store, table: str) -> Any:
        found[f"listings of {table}"] += 1
        return partitions(self, table)

    monkeypatch.setattr(Folder, "get", counted_get)
    monkeypatch.setattr(Folder, "open", counted_open)
    monkeypatch.setattr(Folder, "list", counted_list)
    monkeypatch.setattr(Store, "_listed", counted_partitions)
    yield found
    found.clear()


def ran(folder: Path, asked: Counter[str], *, n_labels: int) -> dict[str, Counter[str]]:
    """What each stage of a run of so many labels asked for."""
    folder.mkdir()
    rng = random.Random(0)
    names = [f"label-{number:02}" for number in range(n_labels)]
    own = {name: rng.sample(VOCABULARY, 6) for name in names}
    rows = [
        (" ".join(rng.choices(own[name], k=6) + rng.sample(VOCABULARY, 6)), name)
        for _ in range(8)
        for name in names
    ]
    corpus, home = write_corpus(folder / "corpus.csv", rows), Home(folder / "home")
    found: dict[str, Counter[str]] = {}

    def make(stage: str, **options: Any) -> None:
        asked.clear()
        assert home.materialize(corpus, [stage], **options).success
        found[stage] = asked.copy()

    for stage in ("raw_corpus", "labelled_texts"):
        make(stage)
    make("embeddings", tags=range_tags(names))
    home.instance.add_dynamic_partitions("smotext_run", ["r1"])
    train = home.store.read("labelled_texts").filter(split="train")
    totals = {slug: n + 2 for slug, n in train.group_by("slug").len().iter_rows()}
    ops = {"class_pairs": {"config": {"totals": totals}}}
    for stage in BY_LABEL_AND_RUN:
        config = {"ops": ops} if stage in ops else {}
        make(stage, tags=range_tags([f"{name}|r1" for name in names]), run_config=config)
    make("evaluation", partition_key="r1", run_config={"ops": {"evaluation": {"config": FAST}}})
    for stage in ("privacy_audit", "dataset_card"):
        make(stage, partition_key="r1")
    asked.clear()
    print_runs(home.store, Console(quiet=True), generator=FakeGeneratorResource(generator="fake"))
    found["status"] = asked.copy()
    return found


FAST = {"n_seeds": 2}


def test_requests_grow_with_labels_and_listings_do_not(tmp_path: Path, asked: Counter[str]) -> None:
    few, more, most = (
        ran(tmp_path / str(n_labels), asked, n_labels=n_labels) for n_labels in (3, 6, 9)
    )
    for stage in few:
        for what in ("files", "names"):
            counts = [of[stage][what] for of in (few, more, most)]
            first, second = (b - a for a, b in pairwise(counts))
            assert second <= first + 2, (stage, what, counts)
        listed = {name: n for name, n in most[stage].items() if name.startswith("listings")}
        assert listed == {name: few[stage][name] for name in listed}, stage
