"""Writes the class that stands in place of a module that cannot be ported, for a person to fill in."""

import ast
import json
import textwrap
from collections.abc import Mapping, Sequence

from converters.porting.code import Code, Order, channels_last, plain
from converters.porting.expressions import expression, literal, reference
from converters.porting.graph import Scope, Value, values

CALL = "not_ported"  # an expression, which takes the place of what the module would return


def stub(scope: Scope, orders: Mapping[Value, Order], outputs: Sequence[Value], reason: str) -> Code:
    """Returns the body that raises a NotImplementedError with the reason and the shapes.

    Args:
        scope: The call of the module.
        orders: Order of the axes of each array that it takes.
        outputs: The arrays that it gives.
        reason: Why it cannot be ported, with the place in the torch code.
    """
    inputs = {name: each for name, each in scope.inputs.items() if any(True for _ in values(each))}
    made = {each: channels_last(each.ndim) if _is_image(each) else plain(each.ndim) for each in outputs}
    taken = ", ".join(_shown(each, orders[each]) for each in values(inputs))
    given = ", ".join(_shown(each, order) for each, order in made.items())
    message = f"{type(scope.module).__name__} ({scope.path}) takes {taken} and gives {given}; {reason}"
    # With self and all that it takes: it stays a class of its own, with its parameters.
    names = [reference(each) for each in values(inputs)]
    called = ast.Call(func=expression(CALL), args=[expression("self"), literal(message), *names], keywords=[])
    return Code(scope=scope, parameters=inputs, result=called, orders=[*made.values()])


def raised(source: str) -> str:
    """Returns a source in which stubs raise what they say."""
    if CALL not in source:
        return source
    tree = ast.parse(source)
    lines = source.splitlines(keepends=True)
    for node in reversed([*ast.walk(tree)]):
        match node:
            case ast.Return(
                value=ast.Call(func=ast.Name(id=name), args=[_, ast.Constant(value=text), *_])
            ) if name == CALL:
                lines[node.lineno - 1 : node.end_lineno] = _statement(str(text), node.col_offset)
    return "".join(lines)


def _statement(message: str, indent: int) -> list[str]:
    """Returns the lines that raise an error with a message."""
    parts = textwrap.wrap(message, 90 - indent, drop_whitespace=False, break_long_words=False)
    inner = [f"{' ' * (indent + 4)}{json.dumps(each, ensure_ascii=False)}\n" for each in parts]
    return [f"{' ' * indent}raise NotImplementedError(\n", *inner, f"{' ' * indent})\n"]


def _is_image(value: Value) -> bool:
    return value.ndim >= 4 and value.floating


def _shown(value: Value, order: Order) -> str:
    sizes = ", ".join(str(value.shape[axis]) for axis in order)
    return f"({sizes}) {value.dtype}"
