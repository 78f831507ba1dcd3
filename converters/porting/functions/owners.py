"""Functions that are called with the arrays of a layer: they are that layer."""

from converters.porting.emit import Emitter
from converters.porting.graph import Value


def owner(e: Emitter, kind: type | tuple[type, ...], **arrays: Value | None) -> str | None:
    """Returns the name, in the scope, of the layer that all the arrays belong to; None if there is none.

    Args:
        e: The emitter.
        kind: Class of the layer.
        arrays: By the attributes that the layer has them in; those that are None are not looked at.
    """
    found = set()
    for attribute, array in arrays.items():
        if array is None:
            continue
        path, _, name = array.parameter.rpartition(".")
        if name != attribute or array in e.known():
            return None
        found.add(path)
    if len(found) != 1:
        return None
    (path,) = found
    prefix = f"{e.code.scope.path}." if e.code.scope.path else ""
    if not path or not path.startswith(prefix):
        return None
    return path.removeprefix(prefix) if e.is_a(path, kind) else None
