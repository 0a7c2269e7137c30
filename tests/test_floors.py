"""The order of the house: who may import whom, read from the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Floors from the ground: a room imports from floors below its own, and from faces alone.
FLOORS = {
    "smotext_core": [
        {"schemas", "streams"},
        {"texts", "neighbors"},
        {"xrag", "mixing"},
        {"training", "filters", "efficacy", "reviews"},
        {"privacy", "sampler"},  # its gates are decided by efficacy too
        {"card"},
        {"export"},
    ],
    "smotext_assets": [
        {"store"},
        {"graph", "forgetting"},
        {"stages"},
        {"automation"},
        {"definitions"},
        {"cli"},
    ],
}


def rooms(package: str) -> dict[str, list[Path]]:
    """The files of each folder of a package, and of each file beside them."""
    found: dict[str, list[Path]] = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT / package).parts
        if parts != ("__init__.py",):
            found.setdefault(parts[0].removesuffix(".py"), []).append(path)
    return found


def imports(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Line, module and names of every import in a file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield node.lineno, node.module or "", [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, []


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor(package: str) -> None:
    placed = [room for floor in FLOORS[package] for room in floor]
    assert sorted(placed) == sorted(rooms(package))


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_import_from_floors_below_and_from_faces_alone(package: str) -> None:
    floor_of = {room: n for n, floor in enumerate(FLOORS[package]) for room in floor}
    faults = []
    for room, paths in rooms(package).items():
        for path in paths:
            for line, module, _ in imports(path):
                top, _, rest = module.partition(".")
                other, _, inner = rest.partition(".")
                if top not in FLOORS or (top == package and other in ("", room)):
                    continue
                at = f"{path.relative_to(ROOT)}:{line} imports {module}"
                if inner:
                    faults.append(f"{at}, past the face {top}.{other}")
                if top == package and floor_of[other] >= floor_of[room]:
                    faults.append(f"{at}, which is not below it")
                if package == "smotext_core" and top == "smotext_assets":
                    faults.append(f"{at}, which is above it")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("package", FLOORS)
def test_every_folder_says_what_belongs_in_it_and_what_it_gives(package: str) -> None:
    for room, paths in rooms(package).items():
        for face in (path for path in paths if path.name == "__init__.py"):
            tree = ast.parse(face.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), face
            given = next(
                ast.literal_eval(node.value)
                for node in tree.body
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            )
            names = [name for _, module, names in imports(face) for name in names
                     if module.startswith(f"{package}.{room}.")]  # fmt: skip
            assert sorted(given) == sorted(set(names)), face


def test_benchmarks_and_docs_use_the_faces() -> None:
    for folder in ("benchmarks", "docs", "examples"):
        for path in (ROOT / folder).glob("*.py"):
            for line, module, _ in imports(path):
                assert module.split(".")[0] not in FLOORS or module.count(".") < 2, (path, line)


def test_no_file_is_too_long_to_be_one_thing() -> None:
    for package in FLOORS:
        for paths in rooms(package).values():
            for path in paths:
                lines = path.read_text(encoding="utf-8").count("\n")
                assert lines <= 345, f"{path.relative_to(ROOT)} has {lines} lines: split it"
