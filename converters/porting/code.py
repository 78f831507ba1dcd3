"""The statements of a module's body, and the orders of axes that its arrays have in memory."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from converters.errors import ConversionError
from converters.porting.graph import Scope, Value, values

Order: TypeAlias = tuple[int, ...]  # for each axis in memory, the axis that it is in PyTorch
Result: TypeAlias = tuple[ast.expr, Order]  # an array's expression, with the order of its axes


@dataclass(eq=False, kw_only=True)
class Statement:
    """An assignment.

    Attributes:
        targets: Values that are assigned to; several if the expression gives several.
        expression: The right side.
        statement: Number of the torch statement that it comes from.
        when: True if only training does it, False if only eval mode does, None if both do.
        arrays: If true, it calls a layer that has arrays, which have to be there after either mode.
    """

    targets: list[Value]
    expression: ast.expr
    statement: int
    when: bool | None = None
    arrays: bool = False


@dataclass(eq=False, kw_only=True)
class Code:
    """A module's body, before its class is decided.

    Attributes:
        scope: The call that it comes from.
        parameters: Names of the arguments, with what they stand for.
        statements: In order.
        result: Expression that it returns.
        uses_train: If true, it does other things in training.
        uses_random: If true, it draws random numbers in eval mode, too.
        constants: Arrays that the weights do not have, by name, for the buffers that hold them.
        orders: Order of the axes of each value of the output, and of what training returns in its stead.
        stands: Values of the parameters that are no tensors but lists of them, say.
        nameless: Names of layers that PyTorch has none for, with what makes them.
    """

    scope: Scope
    parameters: dict[str, Any]
    statements: list[Statement] = field(default_factory=list)
    result: ast.expr | None = None
    uses_train: bool = False
    uses_random: bool = False
    constants: dict[str, Any] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    stands: dict[str, Value] = field(default_factory=dict)
    nameless: dict[str, str] = field(default_factory=dict)


def plain(ndim: int) -> Order:
    """Returns PyTorch's own order of axes."""
    return tuple(range(ndim))


def channels_last(ndim: int) -> Order:
    """Returns the order of images in Flax: the axis 1 comes last."""
    return (0, *range(2, ndim), 1)


def last(order: Order, axis: int) -> Order:
    """Returns an order with one of PyTorch's axes moved to the end."""
    return (*(each for each in order if each != axis), axis)


def agree(name: str, calls: Sequence[Code]) -> None:
    """Refuses a module that does other things in another call; its arrays can be in one class only."""
    if len({_shown(each) for each in calls}) > 1:
        raise ConversionError(
            f"{name} is called several times and does other things in another call, with the same arrays; "
            "port the modules inside it one by one, or give it the same kinds of arguments."
        )


def _shown(code: Code) -> str:
    """Returns a text that is equal for bodies that do the same."""
    seen: dict[Value, str] = {}
    shown = []
    for value in values(list(code.parameters.values())):
        seen.setdefault(value, f"value{len(seen)}")
    for each in code.statements:
        for target in each.targets:
            seen.setdefault(target, f"value{len(seen)}")
        for node in ast.walk(each.expression):
            if isinstance(node, ast.Name) and hasattr(node, "value"):
                node.id = seen.setdefault(node.value, f"value{len(seen)}")
            elif hasattr(node, "child"):
                shown.append(_shown(node.child))
        shown += [ast.dump(each.expression), str(each.when)]
    return "\n".join(shown)
