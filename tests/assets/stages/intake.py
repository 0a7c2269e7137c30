"""The intake of a corpus in a process of its own, which tells what memory it took.

python -m tests.assets.stages.intake FOLDER ROWS: texts of 200 characters, with ids and 20 labels,
as CSV in the folder, which is SMOTEXT_HOME too, through raw_corpus and labelled_texts. Prints as
JSON the peak after each, in bytes above what the process had before.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from smotext_assets.definitions import definitions, resources
from smotext_assets.graph import Corpus

CHARACTERS = 200


def status(name: str) -> int:
    """Bytes of this process: VmRSS is what it has, VmHWM the most it has had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def lines(rows: int) -> Iterator[str]:
    yield "id,text,label\n"
    for row in range(rows):
        word = "".join(chr(97 + (row >> 4 * at) % 16) for at in range(6))
        text = " ".join([word, "abcdefghi jklmnopqr " * 12])[: CHARACTERS - 1]
        yield f"document {row:08d},{text}.,label {row % 20}\n"


def main(folder: Path, rows: int) -> None:
    path = folder / "corpus.csv"
    with path.open("w") as file:
        file.writelines(lines(rows))
    found = resources()
    found["corpus"] = Corpus(source=str(path), document_id="id")
    job = definitions(found).resolve_implicit_global_asset_job_def()
    peaks = {}
    before = status("VmRSS")
    with dg.DagsterInstance.ephemeral() as instance:
        for name in ("raw_corpus", "labelled_texts"):
            selection = [dg.AssetKey(name)]
            assert job.execute_in_process(instance=instance, asset_selection=selection).success
            peaks[name] = status("VmHWM") - before
    assert found["store"].open().manifest("labelled_texts").rows == rows
    print(json.dumps(peaks))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
