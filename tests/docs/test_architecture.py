"""The picture of docs/architecture.md: what it draws is there, and it is drawn from its source."""

import re
from pathlib import Path
from xml.etree import ElementTree

from smotext_assets.definitions import defs

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"


def drawn() -> set[str]:
    """The words of each box of the picture, blanks left out."""
    root = ElementTree.parse(IMAGES / "architecture.svg").getroot()  # our own file
    boxes = [e for e in root.iter() if (e.get("class") or "").startswith("node ")]
    return {"".join("".join(box.itertext()).split()) for box in boxes}


def test_the_picture_shows_what_its_source_names() -> None:
    source = (IMAGES / "architecture.mmd").read_text()
    assert "(images/architecture.svg)" in (ROOT / "docs" / "architecture.md").read_text()
    chains = [line for line in source.splitlines() if re.search(r"-->|-\.->|---", line)]
    ends = {end.strip() for line in chains for end in re.split(r"-->|-\.->|---", line)}
    titles = dict(re.findall(r"(\w+)\[\(?([^\])]+)\)?\]", source))
    names = {re.split(r"[\[(]", end)[0] for end in ends} - {"stages"}  # the frame around them
    assert drawn() == {"".join(titles.get(name, name).split()) for name in names}


def test_the_picture_shows_assets_and_folders_that_are_there() -> None:
    assets = {spec.key.path[-1] for spec in defs.resolve_all_asset_specs()}
    for box in drawn():
        for name in box.split(":")[0].split(","):
            core = ROOT / name.replace("core/", "smotext_core/", 1)
            store = ROOT / "smotext_assets" / f"{name}.py"
            assert name in assets or core.is_dir() or store.is_file(), name
