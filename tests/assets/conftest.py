"""The graph on a generator without weights: its resource, homes on disk, one finished run."""

import csv
import hashlib
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import dagster as dg
import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray

from smotext_assets.cli import command as cli
from smotext_assets.definitions import definitions
from smotext_assets.graph.engine import Engine
from smotext_assets.graph.partitions import labels, runs
from smotext_assets.graph.resources import (
    Corpus,
    Exports,
    GeneratorResource,
    Progress,
    StoreResource,
    Warehouse,
)
from smotext_assets.graph.table_io import TableIOManager
from smotext_assets.store.tables import Store
from smotext_core.xrag.search import Candidates
from tests.conftest import S3_BUCKET
from tests.fakes import FakeGenerator, fake_corpus

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

COUNTS = {"astronomy": 24, "cooking": 12, "medicine": 8}
BY_LABEL_AND_RUN = [
    "class_pairs",
    "interpolated_vectors",
    "decoded_texts",
    "found_texts",
    "synthetic_texts",
    "synthetic_table",
]


class Calls:
    """What the fake generator was asked for, and the word that its encoder cannot bear."""

    encoded: ClassVar[list[str]] = []
    decoded = 0
    poison: str | None = None


class CountingGenerator(FakeGenerator):
    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        for text in texts:
            if Calls.poison and Calls.poison in text:
                raise RuntimeError(f"the encoder stumbled over {Calls.poison}")
        if progress is not None:  # by `embeddings`; the evaluation encodes edited texts without
            Calls.encoded += texts
        return super().encode(texts, progress=progress)

    def decode_candidates(self, vectors: NDArray[np.float32], **options: Any) -> Candidates:
        Calls.decoded += len(vectors)
        before = list(Calls.encoded)
        found = super().decode_candidates(vectors, **options)
        Calls.encoded = before  # its own candidates are not texts that someone embedded
        return found


class FakeGeneratorResource(GeneratorResource):
    dimension: int = 32

    @property
    def fingerprint(self) -> str:
        return self.load().fingerprint[:16]

    @property
    def encoder_fingerprint(self) -> str:
        return f"fake-encoder-{self.dimension}"

    @property
    def models(self) -> tuple[str, str]:
        return "fake encoder", "fake decoder"

    @property
    def licence(self) -> str:
        return "CC0-1.0"

    @property
    def normalized(self) -> bool:
        return True

    def load(self) -> CountingGenerator:  # type: ignore[override]  # no weights, the same methods
        return CountingGenerator(self.dimension)


class Home:
    """A SMOTEXT_HOME and its Dagster instance; `main` is the command on the fake generator."""

    def __init__(
        self, folder: Path, *, store: str | None = None, environment: Mapping[str, str] = {}
    ) -> None:
        self.folder, self.environment = folder, environment
        self.root = store or str(folder / "store")
        self.warehouse = folder / "warehouse.duckdb"
        self.instance = dg.DagsterInstance.ephemeral()
        self.engine = Engine()

    @property
    def store(self) -> Store:
        return Store(self.root)

    def main(self, *arguments: str) -> int:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("CORPUS", "UNLABELLED", "GENERATOR", "WAREHOUSE"):
                patch.delenv(f"SMOTEXT_{name}", raising=False)
            patch.setenv("SMOTEXT_HOME", str(self.folder))
            patch.setenv("SMOTEXT_STORE", self.root)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            patch.setattr(cli, "dagster_instance", lambda: self.instance)
            patch.setattr("smotext_assets.definitions.GeneratorResource", FakeGeneratorResource)
            return cli.main(arguments)

    def resources(self, corpus: Path, *, dimension: int = 32) -> dict[str, Any]:
        store, warehouse = StoreResource(root=self.root), Warehouse(path=str(self.warehouse))
        return {
            "io_manager": TableIOManager(store=store, warehouse=warehouse),
            "store": store,
            "corpus": Corpus(source=str(corpus)),
            "unlabelled": Corpus(source="", label=None),
            "generator": FakeGeneratorResource(generator="fake", dimension=dimension),
            "warehouse": warehouse,
            "exports": Exports(to=str(self.folder / "exports")),
            "progress": Progress(),
            "engine": self.engine,
        }

    def materialize(
        self, corpus: Path, names: Sequence[str], *, dimension: int = 32, **options: Any
    ) -> dg.ExecuteInProcessResult:
        """As a click on Materialize does."""
        graph = definitions(self.resources(corpus, dimension=dimension))
        return graph.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in names],
            raise_on_error=False,
            **options,
        )

    def files(self, *, without: Sequence[str] = ()) -> dict[str, str]:
        """sha256 of every file in the store, by name."""
        return {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(Path(self.root).rglob("*"))
            if path.is_file()
            and path.name != ".lock"
            and (name := path.relative_to(self.root).as_posix()).partition("/")[0] not in without
        }

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of the warehouse, by table."""
        with duckdb.connect(self.warehouse, read_only=True) as connection:
            names = [name for (name,) in connection.execute("SHOW TABLES").fetchall()]
            return {
                name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names
            }

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self.warehouse, read_only=True) as connection:
            return connection.execute(sql).fetchall()


def copy_of(home: Home, folder: Path) -> Home:
    copied = Home(folder / "copy")
    shutil.copytree(home.folder, copied.folder)
    for definition in (labels, runs):
        keys = home.instance.get_dynamic_partitions(str(definition.name))
        copied.instance.add_dynamic_partitions(str(definition.name), keys)
    return copied


def write_corpus(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)
    return path


def corpus_rows(counts: Mapping[str, int] = COUNTS) -> list[tuple[str, str]]:
    return list(zip(*fake_corpus(counts), strict=True))


def failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Why partitions failed, by key."""
    found: dict[str, str] = {}
    for event in result.all_node_events:
        if event.is_step_failure and event.step_failure_data.user_failure_data:
            data = event.step_failure_data.user_failure_data
            found |= data.metadata["failed_partitions"].value  # type: ignore[arg-type]
    return found


@pytest.fixture(autouse=True)
def calls() -> type[Calls]:
    Calls.encoded, Calls.decoded, Calls.poison = [], 0, None
    return Calls


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.csv", corpus_rows())


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Home:
    """A home with the finished run r1 of the fake corpus. Look, don't touch: copy it to change."""
    home = Home(tmp_path_factory.mktemp("finished") / "home")
    assert home.main("run", str(corpus), "--run", "r1", "--seed", "7") == 0
    return home


@pytest.fixture
def s3_home(tmp_path: Path, s3_endpoint: str, s3_client: "S3Client") -> Home:
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    return Home(
        tmp_path / "home",
        store=f"s3://{S3_BUCKET}/{uuid.uuid4().hex}",
        environment={
            **credentials,
            "AWS_ENDPOINT_URL": s3_endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        },
    )
