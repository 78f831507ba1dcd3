"""A run of a torch module as data: values, operations, and the module that did each of them."""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeAlias

import torch

from converters.errors import ConversionError

Place: TypeAlias = tuple[str, int]  # file and line of the torch code


@dataclass(eq=False, kw_only=True)
class Value:
    """A tensor at one moment of the run.

    Attributes:
        shape: Its shape, in PyTorch's order of axes.
        dtype: Name of its dtype, such as "float32".
        other_shape: Its shape in a second run, at other sizes.
        parameter: Full dotted name, if it is a parameter or buffer of the module.
        buffer: If true, it is a buffer.
        changes: If true, training changes it, as it does running statistics.
        constant: Its numbers, if neither the inputs nor the weights change them.
        other_constant: The same of the second run.
        name: Variable that the torch code assigns it to; "" if none.
    """

    shape: tuple[int, ...]
    dtype: str
    other_shape: tuple[int, ...] = ()
    parameter: str = ""
    buffer: bool = False
    changes: bool = False
    constant: Any = None
    other_constant: Any = None
    name: str = ""

    @property
    def ndim(self) -> int:
        """Returns the number of axes."""
        return len(self.shape)

    @property
    def floating(self) -> bool:
        """Returns whether its numbers are floating-point."""
        return "float" in self.dtype


class Size(int):
    """A size of an axis that remembers whose it is, through arithmetic on integers.

    Attributes:
        origin: ("axis", value, axis), or (operator, left, right) of sizes and integers.
    """

    origin: tuple[Any, ...]

    def __new__(cls, number: int, origin: tuple[Any, ...]) -> "Size":
        made = super().__new__(cls, number)
        made.origin = origin
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> "Size":
        return self

    def __index__(self) -> int:
        return int(self)

    def __neg__(self) -> "Size":
        return Size(-int(self), ("-", 0, self))

    def __repr__(self) -> str:
        return str(int(self))


def _operator(symbol: str, name: str) -> None:
    plain = getattr(int, f"__{name}__")
    reverse = getattr(int, f"__r{name}__")

    def forward(self: Size, other: Any) -> Any:
        found = plain(int(self), other)
        if type(found) is int and isinstance(other, int):
            return Size(found, (symbol, self, other))
        return found

    def backward(self: Size, other: Any) -> Any:
        found = reverse(int(self), other)
        if type(found) is int and isinstance(other, int):
            return Size(found, (symbol, other, self))
        return found

    setattr(Size, f"__{name}__", forward)
    setattr(Size, f"__r{name}__", backward)


for _symbol, _name in (("+", "add"), ("-", "sub"), ("*", "mul"), ("//", "floordiv"), ("%", "mod")):
    _operator(_symbol, _name)


@dataclass(eq=False, kw_only=True)
class Operation:
    """A call of a torch function or of a module, with its arguments as they were given.

    Attributes:
        function: Name of the function, such as "relu", or the class of a leaf module, such as "Conv2d".
        module: The module, if it is a leaf or has operations of its own.
        kind: The class that a leaf module is handled as, which is its own or a parent of it.
        path: The module's full dotted name; "" if the root does not hold it.
        arguments: By position: values, numbers, None and nestings of them.
        keywords: By name.
        output: The same of what it returned.
        place: Where in the torch code it is called.
        statement: Number of the run of the statement that calls it; what one statement did has one number.
        scope: Operations of a module that is no leaf.
        trained: The same operation in training, where that is known; itself, if only training does it.
        when: True if only training does it, False if only eval mode does, None if both do.
        follows: If true, it is no call, but follows from a change in place of another view.
        training: Mode of the module when it is called.
    """

    function: str
    arguments: Sequence[Any]
    keywords: Mapping[str, Any]
    output: Any = None
    place: Place = ("", 0)
    statement: int = 0
    module: Any = None
    kind: type | None = None
    path: str = ""
    scope: "Scope | None" = None
    trained: "Operation | None" = None
    when: bool | None = None
    follows: bool = False
    training: bool = False


@dataclass(eq=False, kw_only=True)
class Scope:
    """One call of a module that is no leaf.

    Attributes:
        path: Full dotted name of the module; "" for the root.
        module: The module.
        inputs: Names of the parameters of its `forward`, with what they were given.
        operations: In order.
        output: Value that `forward` returned.
        trained_output: The same in training, if that is another nesting; None otherwise.
        missing: Reason why it cannot be ported, in a port that leaves such modules out; "" if it can.
    """

    path: str
    module: Any
    inputs: dict[str, Any] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    output: Any = None
    trained_output: Any = None
    missing: str = ""


def leaves(tree: Any) -> Iterator[Any]:
    """Yields what a nesting of tuples, lists and mappings holds, depth first."""
    match tree:
        case tuple() | list():
            for each in tree:
                yield from leaves(each)
        case Mapping():
            for each in tree.values():
                yield from leaves(each)
        case slice():
            yield from leaves((tree.start, tree.stop, tree.step))
        case _:
            yield tree


def mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Returns a nesting of tuples, lists, mappings and slices with other things in it."""
    match tree:
        case tuple() if hasattr(tree, "_fields"):
            return type(tree)(*(mapped(each, change) for each in tree))
        case torch.Size():
            return tuple(mapped(each, change) for each in tree)
        case tuple() | list():
            return type(tree)(mapped(each, change) for each in tree)
        case Mapping():
            return {key: mapped(each, change) for key, each in tree.items()}
        case slice():
            return slice(*(mapped(each, change) for each in (tree.start, tree.stop, tree.step)))
    if is_dataclass(tree) and not isinstance(tree, type | Value):
        return {each.name: mapped(getattr(tree, each.name), change) for each in fields(tree)}
    return change(tree)


def values(tree: Any) -> Iterator[Value]:
    """Yields the values in a nesting."""
    return (each for each in leaves(tree) if isinstance(each, Value))


# Keywords that say nothing about the numbers.
NOTHING = {
    *("device", "layout", "pin_memory", "requires_grad", "memory_format"),
    *("non_blocking", "copy", "inplace", "out", "generator"),
}
ALIASES = {"axis": "dim", "keepdims": "keepdim", "fill_value": "value"}  # NumPy's names, and others
FIRST = {"input", "self", "tensors", "tensor"}  # torch's names of what comes first


def bound(op: Operation, names: str) -> dict[str, Any]:
    """Returns the arguments by name; names with a "=" have that default, which is a Python literal.

    Raises:
        ConversionError: an argument is missing, or there is one that the names do not have.
    """
    parts = [each.partition("=") for each in names.split()]
    known = [name for name, _, _ in parts]
    keywords = {_known(name, known): each for name, each in op.keywords.items()}
    unknown = sorted({*keywords} - {*known} - NOTHING)
    if "dtype" in unknown and _keeps_dtype(op):
        unknown.remove("dtype")
    if unknown or len(op.arguments) > len(known):
        raise ConversionError(f"{op.function} with {', '.join(unknown) or len(op.arguments)} is not known")
    found: dict[str, Any] = {}
    for index, (name, has, default) in enumerate(parts):
        if index < len(op.arguments):
            found[name] = op.arguments[index]
        elif name in keywords:
            found[name] = keywords[name]
        elif has:
            found[name] = ast.literal_eval(default)
        else:
            raise ConversionError(f"{op.function} without {name}")
    return found


def _known(name: str, known: Sequence[str]) -> str:
    """Returns the one of the names that a keyword means."""
    if name in known:
        return name
    return known[0] if name in FIRST else ALIASES.get(name, name)


def _keeps_dtype(op: Operation) -> bool:
    """Returns whether what an operation gives has the type of the first array that it takes."""
    first = next(values((op.arguments, op.keywords)), None)
    return first is None or all(each.dtype == first.dtype for each in values(op.output))


def input_of(op: Operation) -> Value:
    """Returns the first argument."""
    found = op.arguments[0] if op.arguments else next(iter(op.keywords.values()))
    assert isinstance(found, Value)
    return found
