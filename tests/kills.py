"""A run of thousands of rows on the fake generator, killed again and again until it is through.

The worker writes a line to a log whenever it begins a batch or puts a file. Some milliseconds after
a line drawn at random it gets SIGKILL, from a thread of its own: another process could be late on a
busy machine, and find it through.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.assets.conftest import write_corpus
from tests.fakes import fake_corpus

REPOSITORY = Path(__file__).parents[1]
TABLES = ("embeddings", "class_pairs", "interpolated_vectors", "decoded_texts")
WORKER = """
import hashlib, os, signal, sys, threading
from pathlib import Path

import smotext_assets.stages.decoding
import smotext_assets.stages.embeddings
from smotext_assets.store.bucket import Bucket
from smotext_assets.store.files import Folder
from smotext_assets.graph.resources import StoreResource
from tests.assets import conftest
from tests.assets.conftest import CountingGenerator, Home

folder, root, corpus, samples, encoded, decoded, after, delay_s = sys.argv[1:]
smotext_assets.stages.embeddings.BATCH = int(encoded)
smotext_assets.stages.decoding.BATCH = int(decoded)
log = os.open(f"{folder}/log", os.O_WRONLY | os.O_APPEND)
lines = 0

def tell(*words):
    global lines
    os.write(log, (" ".join(map(str, words)) + "\\n").encode())
    lines += 1
    if lines == int(after):
        kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
        threading.Timer(float(delay_s), kill).start()

class Told(CountingGenerator):
    def encode(self, texts, **options):
        name = hashlib.sha256("|".join(texts).encode()).hexdigest()[:16]
        tell("encode", name, len(texts))
        return super().encode(texts, **options)

    def decode_candidates(self, vectors, **options):
        tell("decode", options["seeds"][0], len(vectors))
        self.encode, before = super().encode, self.encode  # its own candidates are not told
        try:
            return super().decode_candidates(vectors, **options)
        finally:
            self.encode = before

conftest.CountingGenerator = Told
for kind in (Folder, Bucket):
    def put(self, name, data, before=kind.put):
        tell("put", name.rpartition("/")[2])
        before(self, name, data)
    kind.put = put

home = Home(Path(folder), store=root)
go = lambda names, **options: home.materialize(Path(corpus), names, **options).success
assert go(["raw_corpus", "labelled_texts"])
assert go(["embeddings"], partition_key="medicine")
home.instance.add_dynamic_partitions("smotext_run", ["r1"])
texts = StoreResource(root=root).open().read("labelled_texts")
real = texts.filter(split="train", slug="medicine").height
asked = {"seed": 7, "oversample": 1.0, "totals": {"medicine": real + int(samples)}}
ops = {"class_pairs": {"config": asked}, "decoded_texts": {"config": {"n_candidates": 1}}}
names = ["class_pairs", "interpolated_vectors", "decoded_texts"]
assert go(names, partition_key="medicine|r1", run_config={"ops": ops})
"""


@dataclass
class Killed:
    """What the attempts did: batches begun in each, in order, and how long the whole took."""

    kills: int = 0
    attempts: list[list[str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def redone(self) -> list[int]:
        """Batches that each attempt began though one before it had begun them."""
        seen: set[str] = set()
        counts = []
        for batches in self.attempts:
            counts.append(sum(batch in seen for batch in batches))
            seen.update(batches)
        return counts


@dataclass(frozen=True)
class Work:
    """How much: texts to embed, rows to decode, and how many of them make a batch."""

    texts: int = 10_000
    samples: int = 10_000
    encoded: int = 1024
    decoded: int = 256

    def corpus(self, folder: Path) -> Path:
        counts = {"medicine": self.texts, "cooking": 40}
        rows = list(zip(*fake_corpus(counts), strict=True))
        return write_corpus(folder / "corpus.csv", rows)


def run_killed(
    folder: Path,
    work: Work,
    *,
    corpus: Path,
    store: str,
    kills: int,
    seed: int = 0,
    environment: Mapping[str, str] = {},
) -> Killed:
    """Run the work, killing it `kills` times; the last attempt is left alone.

    Raises:
        RuntimeError: an attempt failed by itself.
    """
    rng, done, began = random.Random(seed), Killed(), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    numbers = map(str, (work.samples, work.encoded, work.decoded))
    command = [sys.executable, "-c", WORKER, str(folder), store, str(corpus), *numbers]
    steps = work.texts // work.encoded + work.samples // work.decoded
    reach = max(2, round(2 * steps / (kills + 1)))  # most lines of new work before a kill
    while True:
        log.write_bytes(b"")
        after, delay_s = 6 + rng.randrange(reach), rng.uniform(0, 0.03)
        if done.kills == kills:
            after = 0  # never
        worker = subprocess.Popen(
            [*command, str(after), str(delay_s)],
            cwd=REPOSITORY,
            env={
                **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), **environment,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        _, errors = worker.communicate(timeout=400)
        told = [line.rsplit(" ", 1)[0] for line in log.read_text().splitlines()]
        done.attempts.append([line for line in told if line.startswith(("encode", "decode"))])
        if worker.returncode == -signal.SIGKILL:
            done.kills += 1
        elif worker.returncode:
            raise RuntimeError(errors.decode()[-3000:])
        else:  # through; a kill that came too late is one that `kills` tells as missing
            done.seconds = time.monotonic() - began
            return done
