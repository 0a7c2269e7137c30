"""`smotext warehouse`: what it prints, that it follows the store, and `--rebuild`."""

from pathlib import Path

import pytest

from tests.assets.conftest import Home, copy_of


def test_warehouse_follows_the_store_and_rebuilds(
    finished: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)
    before = home.tables()
    at = {"label": "medicine", "run": "r1"}
    gates = home.store.read("gates", at)
    home.store.write("gates", gates[:1], at)
    assert home.main("warehouse") == 0
    told = capfd.readouterr().out.split()
    assert told[0] == str(home.warehouse)
    assert told[told.index("synthetic_texts") - 1] == str(len(before["synthetic_texts"]))
    after = home.tables()
    assert len(before["gates"]) - len(after["gates"]) == gates.height - 1 > 0
    home.warehouse.write_bytes(b"no warehouse")
    assert home.main("warehouse") == 0
    assert home.tables() == after
    inode = home.warehouse.stat().st_ino
    assert home.main("warehouse") == 0
    assert home.warehouse.stat().st_ino == inode  # nothing had changed
    assert home.main("warehouse", "--rebuild") == 0
    assert home.warehouse.stat().st_ino != inode
    assert home.tables() == after


def test_warehouse_of_a_damaged_store_says_what_to_do(
    finished: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)
    manifest = home.store.manifest("labelled_texts")
    assert manifest is not None
    Path(home.root, manifest.path).write_bytes(b"damaged")
    before = home.tables()
    assert home.main("warehouse", "--rebuild") == 2
    assert "it was changed or damaged; materialise labelled_texts" in capfd.readouterr().err
    assert home.tables() == before
