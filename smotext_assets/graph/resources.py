"""What stages are given: the corpus, the store, the warehouse, the generator, their inputs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import dagster as dg
from pydantic import Field, PrivateAttr

from smotext_assets.store import Bucket, Store, s3_errors
from smotext_core.xrag import load_generator, manifest_fingerprint, read_manifest

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from smotext_core.xrag import Generator


class Corpus(dg.ConfigurableResource["Corpus"]):
    """Where texts come from, the labelled or the unlabelled ones."""

    source: str = Field(
        description="A file of CSV, JSON, JSON lines, Parquet or a spreadsheet, by path or s3:// "
        "address; a folder, a glob or s3://bucket/prefix/ of such files; help_desk, "
        "help_desk:unlabelled or clinic_notes, which come with smotext; 20newsgroups; or hf:NAME, "
        "a Hugging Face dataset. Empty, of the unlabelled ones: there are none."
    )
    text: str = Field(default="text", description="The column of texts.")
    label: str | None = Field(
        default="label", description="The column of labels; null: of texts without labels."
    )
    document_id: str | None = Field(default=None, description="The column of ids.")
    newsgroups: bool = Field(
        default=False, description="Strip headers, quotes and footers of newsgroup posts."
    )
    delimiter: str | None = Field(
        default=None, description="Between the fields of CSV; default: found from the bytes."
    )
    encoding: str | None = Field(
        default=None, description="Of CSV and JSON; default: found from the bytes."
    )
    explode: str | None = Field(
        default=None,
        description="A row for each label of a cell that is a list, or has several parted by this "
        "character, such as ';'. Default: a list is refused.",
    )

    @property
    def reading(self) -> dict[str, Any]:
        """How the source is read: options of `read_corpus`."""
        return self.model_dump(exclude={"source"})


class StoreResource(dg.ConfigurableResource["StoreResource"]):
    """Where the tables of record are. Credentials for S3 are found as boto3 finds them."""

    root: str = Field(description="A folder, or s3://bucket/prefix.")
    endpoint_url: str | None = Field(default=None, description="An S3 service other than AWS.")
    region_name: str | None = Field(default=None, description="The bucket's region.")
    group_readable: bool = Field(
        default=False,
        description="Whether the group may read quarantined tables in a folder, and the warehouse.",
    )
    _s3: Any = PrivateAttr(default=None)

    def __reduce__(self) -> tuple[Any, ...]:  # to a worker: the schema Dagster adds cannot travel
        return _rebuilt, (type(self), self.model_dump())

    def open(self) -> Store:
        if not self.root.startswith("s3://"):
            return Store(self.root, group_readable=self.group_readable)
        with s3_errors(self.root, "s3:ListBucket"):  # a profile may be named that is not there
            client = self._client()
        return Store(self.root, client=client, group_readable=self.group_readable)

    def open_bytes(self, address: str) -> IO[bytes]:
        """The object at s3://bucket/key, in a nameless file.

        Raises:
            FileNotFoundError: there is no such object.
            OSError, ValueError: see `s3_errors`.
        """
        bucket, _, key = address.removeprefix("s3://").partition("/")
        with s3_errors(address, "s3:GetObject"):
            file = Bucket(self._client(), bucket, "").open(key)
        if file is None:
            raise FileNotFoundError(f"{address}: the bucket {bucket} has no such object")
        return file

    def beside(self, root: str) -> "StoreResource":
        """The same service and region at another folder or s3://bucket/prefix."""
        return StoreResource(
            root=root, endpoint_url=self.endpoint_url, region_name=self.region_name
        )

    def delta_options(self) -> dict[str, str]:
        """What deltalake must be told to find the bucket; empty for a folder."""
        if not self.root.startswith("s3://"):
            return {}
        import boto3

        session = boto3.Session(region_name=self.region_name)
        found = session.get_credentials()
        told = found.get_frozen_credentials() if found else None
        options = {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": session.region_name,
            "AWS_ACCESS_KEY_ID": told and told.access_key,
            "AWS_SECRET_ACCESS_KEY": told and told.secret_key,
            "AWS_SESSION_TOKEN": told and told.token,
            "AWS_ALLOW_HTTP": "true" if (self.endpoint_url or "").startswith("http:") else None,
        }
        return {name: value for name, value in options.items() if value}

    def list_objects(self, address: str, *, deep: bool = False) -> dict[str, str]:
        """Size and ETag of each object below s3://bucket/prefix/, by the rest of its key.

        Of the folders there only those named key=value are looked into, unless it is `deep`.

        Raises:
            OSError, ValueError: see `s3_errors`.
        """
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        found: dict[str, str] = {}
        folders = [prefix]
        delimiter = "" if deep else "/"
        with s3_errors(address, "s3:ListBucket"):
            pages = self._client().get_paginator("list_objects_v2")
            for folder in folders:  # it grows
                for page in pages.paginate(Bucket=bucket, Prefix=folder, Delimiter=delimiter):
                    for item in page.get("Contents", []):
                        found[item["Key"].removeprefix(prefix)] = f"{item['Size']}:{item['ETag']}"
                    folders += [
                        below["Prefix"]
                        for below in page.get("CommonPrefixes", [])
                        if "=" in below["Prefix"].removeprefix(folder)
                    ]
        return found

    def _client(self) -> "S3Client":
        """One for the resource, which lives as long as a run: a new one costs .2 s of CPU."""
        if self._s3 is not None:
            return cast("S3Client", self._s3)
        from dagster_aws.s3 import S3Resource  # boto3: only where something is in a bucket

        self._s3 = S3Resource(
            endpoint_url=self.endpoint_url,
            region_name=self.region_name,
            max_attempts=8,  # of boto3's "standard" mode, with pauses of 1 s to 20 s
        ).get_client()
        return cast("S3Client", self._s3)


class Warehouse(dg.ConfigurableResource["Warehouse"]):
    """The DuckDB file that people query."""

    path: str = Field(description="Rebuilt beside the old one and swapped in.")

    @property
    def file(self) -> Path:
        return Path(self.path).expanduser().absolute()


class Exports(dg.ConfigurableResource["Exports"]):
    """Where data sets for others go."""

    to: str = Field(description="A folder, or s3://bucket/prefix.")
    follows: bool = Field(
        default=False, description="Whether each card is followed by an export, without being asked"
    )


class GeneratorResource(dg.ConfigurableResource["GeneratorResource"]):
    """The encoder and decoder. Loaded once a process, when a partition first needs it."""

    generator: str = Field(
        description="small, mini, xrag-7b, xrag-moe@COMMIT, or a generator folder."
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="Where the models run.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="What they compute in. auto: float32; bfloat16 of a language model kept "
        "elsewhere and its encoder on a GPU, and of small's on a processor that multiplies it.",
    )
    workspace: str = Field(
        default=".smotext/generators",
        description="A local folder of checkpoints of adaptation and of copies of what is adapted",
    )

    def __reduce__(self) -> tuple[Any, ...]:  # to a worker: the schema Dagster adds cannot travel
        return _rebuilt, (type(self), self.model_dump())

    @property
    def name(self) -> str:
        """As configured; of a folder, its name alone."""
        return Path(self.generator).name

    @property
    def fingerprint(self) -> str:
        """Of the files, without loading them."""
        return manifest_fingerprint(read_manifest(self.generator))

    @property
    def encoder_fingerprint(self) -> str:
        return str(read_manifest(self.generator)["encoder"]["fingerprint"])

    @property
    def models(self) -> tuple[str, str]:
        """The names of the encoder and of the language model."""
        manifest = read_manifest(self.generator)
        lm = manifest.get("lm") or {"name": manifest["name"]}
        return str(manifest["encoder"]["name"]), str(lm["name"])

    @property
    def licence(self) -> str:
        return str(read_manifest(self.generator)["licence"])

    @property
    def normalized(self) -> bool:
        return bool(read_manifest(self.generator)["encoder"]["normalized"])

    def load(self) -> "Generator":
        return _loaded(self.generator, self.device, None if self.dtype == "auto" else self.dtype)


def _rebuilt(kind: Any, fields: dict[str, Any]) -> Any:
    return kind(**fields)


@cache
def _loaded(generator: str, device: Literal["cpu", "cuda"], dtype: str | None) -> "Generator":
    return load_generator(generator, device=device, dtype=dtype)


class Progress(dg.ConfigurableResource["Progress"]):
    """How far a long partition is: lines in the run's log."""

    @contextmanager
    def track(
        self, context: dg.AssetExecutionContext, what: str, total: int
    ) -> Iterator[Callable[[int], None]]:
        """Yields a function to call with the number of rows just done."""
        done, said = 0, 0

        def advance(rows: int) -> None:
            nonlocal done, said
            done += rows
            if done == total or done - said >= total / 4:
                said = done
                context.log.info(f"{what}: {done} of {total}")

        yield advance
