"""The tree of an NNX module under linen's names: children, variables, and the module at a path.

Layers in a list `blocks` are `blocks_0`, `blocks_1` in linen's paths, and so in files.
"""

from collections.abc import Iterator
from typing import Any

from flax import nnx

Path = tuple[str, ...]
PARAMS = "params"


def children(node: nnx.Module) -> Iterator[tuple[str, nnx.Module]]:
    """Yields the modules right below one, with the names that linen has for them."""
    for attribute, value in vars(node).items():
        yield from _modules(attribute, value)


def _modules(name: str, value: Any) -> Iterator[tuple[str, nnx.Module]]:
    if isinstance(value, nnx.List):
        for index, item in enumerate(value):
            yield from _modules(f"{name}_{index}", item)
    elif isinstance(value, nnx.Dict):
        for key, item in value.items():
            yield from _modules(f"{name}_{key}", item)
    elif isinstance(value, nnx.Module):
        yield name, value


def find(node: nnx.Module, path: Path) -> Any:
    """Returns the module at a path of linen's, or a function in its place; None if there is neither."""
    found: Any = node
    for name in path:
        if not isinstance(found, nnx.Module):
            return None
        own = vars(found).get(name)
        found = own if callable(own) else dict(children(found)).get(name)
    return found


def variables(node: nnx.Module, path: Path = ()) -> Iterator[tuple[Path, nnx.Variable[Any]]]:
    """Yields the variables at and below a module by linen's paths, collection first; no random streams."""
    for name, value in vars(node).items():
        if isinstance(value, nnx.Variable) and not isinstance(value, nnx.RngState):
            yield (collection(type(value)), *path, name), value
    for name, child in children(node):
        yield from variables(child, (*path, name))


def collection(kind: type[nnx.Variable[Any]]) -> str:
    """Returns linen's name for the collection of a type of variable."""
    if issubclass(kind, nnx.Param):
        return PARAMS
    name: str = nnx.variable_name_from_type(kind, allow_register=True)
    return name


def variable(kind: str, value: Any) -> nnx.Variable[Any]:
    """Returns the variable of a value from one of linen's collections."""
    made: nnx.Variable[Any] = nnx.variable_type_from_name(kind, allow_register=True)(value)
    return made
