"""The tree of an NNX module under linen's names: variables, and the module at a path.

Layers in a list `blocks` are `blocks_0`, `blocks_1` in linen's paths, and so in files.
"""

from collections.abc import Iterator
from typing import Any

from flax import nnx

from converters.nnx import held

Path = tuple[str, ...]
PARAMS = "params"


def find(node: nnx.Module, path: Path) -> Any:
    """Returns the module at a path of linen's, or a function in its place; None if there is neither."""
    found: Any = node
    for name in path:
        if not isinstance(found, nnx.Module):
            return None
        own = {called: item for called, _, item, _ in held(found) if not isinstance(item, nnx.Variable)}
        found = own.get(name)
    return found


def variables(node: nnx.Module, path: Path = ()) -> Iterator[tuple[Path, nnx.Variable[Any]]]:
    """Yields the variables at and below a module by linen's paths, collection first; no random streams."""
    for name, _, item, _ in held(node):
        if isinstance(item, nnx.Module):
            yield from variables(item, (*path, name))
        elif isinstance(item, nnx.Variable) and not isinstance(item, nnx.RngState):
            yield (collection(type(item)), *path, name), item


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
