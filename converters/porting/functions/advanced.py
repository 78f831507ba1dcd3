"""Indexing by arrays."""

import ast
from typing import Any

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Result, plain
from converters.porting.expressions import expression
from converters.porting.graph import Operation, Value


def by_arrays(e: Emitter, op: Operation, parts: list[Any], index: Any) -> Result:
    """Writes an index with arrays in it; one part for each axis, and None for new ones.

    Args:
        e: The scope.
        op: `__getitem__`.
        parts: Integers, slices, None, arrays and lists of integers.
        index: Writes basic parts: (emitter, parts) -> text and what its names stand for.
    """
    x = op.arguments[0]
    if any(isinstance(part, Value) and part.dtype in ("bool", "uint8") for part in parts):
        raise ConversionError(f"{e.where}indexing by truth values: the shape depends on the values")
    made: ast.expr = e.plain(x)
    if any(isinstance(part, int) and not isinstance(part, bool) for part in parts):
        # Torch takes integers first, whatever else there is; JAX would move the axes of arrays to the front.
        first = [part if isinstance(part, int) else slice(None) for part in parts if part is not None]
        text, named = index(e, first)
        made = expression(f"x[{text}]", x=made, **named)
        parts = [part for part in parts if not isinstance(part, int)]
    while parts and isinstance(parts[-1], slice) and parts[-1] == slice(None):
        parts = parts[:-1]
    shown = [expression("jnp.array(i)", i=part) if isinstance(part, list) else part for part in parts]
    text, named = index(e, shown)
    return expression(f"x[{text}]", x=made, **named), plain(op.output.ndim)
