"""The generator that decodes: the one configured, or what adaptation to the corpus made of it."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from smotext_assets.graph.resources import GeneratorResource
from smotext_assets.store import LOCK_TIMEOUT_S, Store, file_lock
from smotext_core.xrag import file_sha256, manifest_fingerprint, read_manifest

if TYPE_CHECKING:
    from smotext_core.xrag import Generator


class InUse(NamedTuple):
    """The generator that decodes."""

    name: str
    fingerprint: str
    adapted: str | None  # where in the store its files are
    fault: str | None  # why it must not decode


def generator_in_use(store: Store, configured: GeneratorResource) -> InUse:
    """The adapted generator of the asset's record, else the configured one."""
    manifest = store.manifest("generator")
    if manifest is None or manifest.metadata["adapted"] is None:
        return InUse(configured.name, configured.fingerprint, None, None)
    record, corpus = manifest.metadata, store.manifest("labelled_texts")
    fault = None
    if record["from"] != configured.fingerprint:
        fault = f"from the generator {record['from']}, now {configured.fingerprint} is configured"
    elif corpus is None or record["corpus"] != corpus.sha256:
        fault = "to another corpus, whose train texts may be test texts now"
    if fault:
        fault = (
            f"the generator in use was adapted {fault}: materialise generator again, with the "
            "adapt_steps wanted or 0"
        )
    name, fingerprint = f"{configured.name}-adapted", str(record["fingerprint"])
    return InUse(name, fingerprint, str(record["adapted"]), fault)


def load_in_use(store: Store, configured: GeneratorResource, used: InUse) -> "Generator":
    """Load it; of an adapted one a copy in the workspace, checked against its fingerprint.

    Raises:
        ValueError: it was adapted to something else than there is now, or the store's files are
            not those that were written.
        FileNotFoundError: they are gone.
    """
    if used.fault:
        raise ValueError(used.fault)
    if used.adapted is None:
        return configured.load()
    workspace = Path(configured.workspace).expanduser().absolute()
    folder = workspace / used.fingerprint
    with file_lock(workspace / f"{used.fingerprint}.lock", timeout_s=LOCK_TIMEOUT_S):
        if not _is_whole(folder, used.fingerprint):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            names = json.loads(store.read_bytes(f"{used.adapted}/generator.json"))["sha256"]
            for name in ("generator.json", *names):
                (folder / name).write_bytes(store.read_bytes(f"{used.adapted}/{name}"))
        if not _is_whole(folder, used.fingerprint):
            raise ValueError(
                f"the files in {store.root}/{used.adapted} are not those of the generator "
                f"{used.fingerprint}: they were changed or damaged; delete that folder and "
                "materialise generator again"
            )
    return of_folder(folder, configured).load()


def of_folder(folder: Path, configured: GeneratorResource) -> GeneratorResource:
    """The generator in `folder`, run as the configured one is."""
    return GeneratorResource(
        generator=str(folder), device=configured.device, dtype=configured.dtype
    )


def _is_whole(folder: Path, fingerprint: str) -> bool:
    try:
        manifest = read_manifest(str(folder))
        return manifest_fingerprint(manifest) == fingerprint and all(
            file_sha256(folder / name) == sha256 for name, sha256 in manifest["sha256"].items()
        )
    except (ValueError, OSError):
        return False
