"""The pictures of docs/architecture.md against the imports.

They show the fewest arrows that say the same: an import goes where arrows lead, and each arrow is an import.
`python -m tests.test_architecture` prints the arrows that the pictures need.
"""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ARROW = re.compile(r"^ +(\w+) --> (\w+)$", re.MULTILINE)
EVERYWHERE = {"__init__", "__main__", "_errors", "_model", "_package", "_processes", "_progress", "errors"}
OTHERS = {"cli", "metrics", "training"}  # what is public and no architecture


def room(module: str, package: str) -> str | None:
    """The picture's name for a module; None for one that it leaves out."""
    top, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    if top == package:
        there = (ROOT / top / name).is_dir() or (ROOT / top / f"{name}.py").is_file()
        if not name or not there or name in EVERYWHERE:
            return None
        architecture = package == "zoo" and not name.startswith("_") and name not in OTHERS
        return "architectures" if architecture else name
    return "converters" if top == "converters" else None


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(package: str) -> dict[str, set[str]]:
    """Each room of a package, with the rooms that it imports."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / package).rglob("*.py"):
        here = room(".".join(path.relative_to(ROOT).with_suffix("").parts), package)
        if here:
            there = {room(name, package) for name in imported(path)}
            found.setdefault(here, set()).update(there - {here, None})
    return found


def reached(arrows: dict[str, set[str]], start: str) -> set[str]:
    return {start}.union(*(reached(arrows, name) for name in arrows.get(start, ())))


def fewest(arrows: dict[str, set[str]]) -> set[tuple[str, str]]:
    """The arrows without those that others lead around."""
    return {
        (a, b)
        for a, there in arrows.items()
        for b in there
        if not any(b in reached(arrows, c) for c in there - {b})
    }


@pytest.mark.parametrize("package", ["zoo", "converters"])
def test_the_picture_shows_the_imports(package):
    text = (ROOT / "docs" / "architecture.md").read_text()
    (picture,) = re.findall(rf"```mermaid\nflowchart TD\n +%% {package}\n(.*?)```", text, re.DOTALL)
    arrows = imports(package)
    tuple(TopologicalSorter(arrows).static_order())  # refuses a circle
    assert set(ARROW.findall(picture)) == fewest(arrows)


def test_the_tree_names_every_room():
    text = (ROOT / "docs" / "architecture.md").read_text()
    for package in ("zoo", "converters"):
        rooms = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
        assert {name for name in rooms if f"{name}/" not in text} == set()


if __name__ == "__main__":
    for each in ("zoo", "converters"):
        print(f"    %% {each}", *(f"    {a} --> {b}" for a, b in sorted(fewest(imports(each)))), sep="\n")
