"""How the two packages hang together: who imports whom, and under which names.

`python -m tests.test_structure` prints the longest chain of imports: its length is the number of floors.
"""

import ast
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("converters", "zoo")
# What zoo may import from: everything else of converters is its own.
DOORS = {
    "converters",
    *(f"converters.{name}" for name in ("checkpoints", "errors", "inspection", "layers")),
    *(f"converters.{name}" for name in ("state_dict", "tensors")),
    *(f"converters.{name}" for name in ("formats", "io", "linen", "matching", "nnx")),
}


def modules(*packages: str) -> dict[str, Path]:
    """Returns the modules of the packages by their dotted names."""
    found = {}
    for path in (path for package in packages for path in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, *, late: bool = True) -> Iterator[tuple[str, str]]:
    """Yields module and name of each import, with an empty name for whole modules.

    Args:
        path: A file.
        late: If true, yields imports inside functions, and for type checkers alone, too.
    """
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        if late or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.If):
            pending += ast.iter_child_nodes(node)
        elif isinstance(node, ast.If):
            pending += node.orelse if "TYPE_CHECKING" in ast.dump(node.test) else ast.iter_child_nodes(node)


def graph(*packages: str) -> dict[str, set[str]]:
    """Returns which modules of the packages each of them imports when it is imported itself."""
    known = modules(*packages)
    found: dict[str, set[str]] = {}
    for module, path in known.items():
        targets = (
            f"{origin}.{name}" if f"{origin}.{name}" in known else origin
            for origin, name in imports(path, late=False)
        )
        found[module] = {target for target in targets if target in known and target != module}
    return found


def longest_chain(edges: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Returns the longest chain of imports, the module without any first.

    Raises:
        AssertionError: there is a cycle.
    """
    under_way: list[str] = []

    @functools.cache
    def chain(module: str) -> tuple[str, ...]:
        assert module not in under_way, f"a cycle: {' -> '.join([*under_way, module])}"
        under_way.append(module)
        below = max(map(chain, sorted(edges[module])), key=len, default=())
        under_way.pop()
        return (*below, module)

    return max(map(chain, edges), key=len)


def everywhere() -> Iterator[tuple[str, str, str]]:
    """Yields the importing module, the module that it imports from, and the name, for both packages."""
    for module, path in modules(*PACKAGES).items():
        for origin, name in imports(path):
            if origin.partition(".")[0] in PACKAGES:
                yield module, origin, name


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_no_private_name_is_imported_from_another_module():
    rooms = {module for module in modules("zoo") if is_private(module.rpartition(".")[2])}
    found = [
        f"{module}: from {origin} import {name}"
        for module, origin, name in everywhere()
        if is_private(name) and f"{origin}.{name}" not in rooms
    ]
    assert found == []


def test_no_private_name_or_module_crosses_the_packages():
    found = [
        f"{module}: from {origin} import {name}"
        for module, origin, name in everywhere()
        if module.partition(".")[0] != origin.partition(".")[0]
        and any(map(is_private, (*origin.split("."), name)))
    ]
    assert found == []


def test_zoo_enters_converters_by_its_doors_only():
    found = [
        f"{module}: from {origin} import {name}"
        for module, origin, name in everywhere()
        if module.partition(".")[0] == "zoo" and origin.startswith("converters") and origin not in DOORS
    ]
    assert found == []


def test_a_door_hands_on_what_zoo_takes():
    handed_on = {
        module: set(ast.literal_eval(node.value))
        for module, path in modules("converters").items()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    }
    found = [
        f"{module}: from {origin} import {name}"
        for module, origin, name in everywhere()
        if module.partition(".")[0] == "zoo" and origin in handed_on and name not in {"", *handed_on[origin]}
    ]
    assert found == []


def test_converters_knows_no_zoo():
    assert [each for each in everywhere() if each[0].startswith("converters") and "zoo" in each[1:]] == []
    assert not any(
        origin.partition(".")[0] == "zoo"
        for path in modules("converters").values()
        for origin, _ in imports(path)
    )


def test_no_imports_go_in_a_circle():
    longest_chain(graph(*PACKAGES))


if __name__ == "__main__":
    for packages in (("converters",), PACKAGES):
        chain = longest_chain(graph(*packages))
        print(f"{' and '.join(packages)}: {len(chain)} floors: {' < '.join(chain)}")
