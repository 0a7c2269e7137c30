"""What a corpus takes of memory on its way in, by whole processes: no time is measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peaks are read where Linux tells them"
)


def peaks(folder: Path, rows: int) -> dict[str, int]:
    """Bytes above what the process had before, after each asset."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.assets.stages.intake", str(folder), str(rows)],
        env={**os.environ, "SMOTEXT_HOME": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_intake_holds_no_text(tmp_path: Path) -> None:
    few, many = peaks(tmp_path / "few", 100_000), peaks(tmp_path / "many", 300_000)
    # 356 MB where this was written; 815 where one frame held all texts
    assert many["labelled_texts"] < 550e6
    # bytes for each row more: 350 there, of which most are what is held whatever comes; 2,370
    assert many["labelled_texts"] - few["labelled_texts"] < 200_000 * 900
