"""The code location of the outages: the real definitions; the encoder has no weights, notes whom it
encodes, and waits as long as its file says so."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smotext_assets.definitions import definitions, resources
from tests.assets.conftest import CountingGenerator, FakeGeneratorResource

FOLDER = Path(os.environ["SMOTEXT_HOME"])


class SlowGenerator(CountingGenerator):
    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        with (FOLDER / "encoded").open("a") as file:
            file.write(f"{os.getpid()} {len(texts)}\n")
        hold = FOLDER / "hold"
        while hold.exists() and hold.read_text() == str(len(texts)):
            time.sleep(0.1)
        return super().encode(texts, progress=progress)


class SlowGeneratorResource(FakeGeneratorResource):
    def load(self) -> SlowGenerator:
        return SlowGenerator(self.dimension)


defs = definitions({**resources(), "generator": SlowGeneratorResource(generator="fake")})
