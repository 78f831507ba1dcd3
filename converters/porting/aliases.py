"""Tensors and the values that they hold: a change in place reaches every view of the same memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from converters.errors import ConversionError
from converters.porting.graph import Operation, Size, Value, mapped, values


@dataclass(eq=False, kw_only=True)
class Alias:
    """A tensor of the run.

    Attributes:
        tensor: The tensor; kept, else its id would be given to another.
        value: Value that it holds, as far as it is known.
        version: Number of changes of its memory at which `value` was right.
        parent: The tensor that it is a view of.
        origin: Value of the parent when the view was made.
        seen: Value of the parent when `value` was right.
        made: The operation that made the view.
    """

    tensor: torch.Tensor
    value: Value
    version: int = 0
    parent: "Alias | None" = None
    origin: Value | None = None
    seen: Value | None = None
    made: Operation | None = None


class Tensors:
    """The values of tensors.

    A change of a view is written back to the tensor that it shows a part of, at once; other views of that
    tensor are taken again when they are used.

    Args:
        write: Notes an operation that follows from a change in place, and gives the values of its outputs.
    """

    def __init__(self, write: Callable[[str, list[Any], dict[str, Any], torch.Tensor], Value]) -> None:
        self._write = write
        self._known: dict[int, Alias] = {}
        self._changes: dict[int, int] = {}

    def __contains__(self, tensor: torch.Tensor) -> bool:
        return id(tensor) in self._known

    def keep(self, tensor: torch.Tensor, value: Value) -> Value:
        """Notes the value of a tensor that has memory of its own."""
        self._known[id(tensor)] = Alias(tensor=tensor, value=value, version=self._version(tensor))
        return value

    def keep_view(self, tensor: torch.Tensor, value: Value, parent: torch.Tensor, made: Operation) -> Value:
        """Notes the value of a view."""
        self.keep(tensor, value)
        alias, above = self._known[id(tensor)], self._known[id(parent)]
        alias.parent, alias.made = above, made
        alias.origin = alias.seen = above.value
        return value

    def get(self, tensor: torch.Tensor) -> Value:
        """Returns the value of a tensor that is known."""
        return self._fresh(self._known[id(tensor)])

    def held(self, tensor: torch.Tensor) -> list[Value]:
        """Returns the values of a tensor and of what it is a view of, the innermost first."""
        alias = self._known[id(tensor)]
        return [each.value for each in (alias, *self._above(alias))]

    def change(self, tensor: torch.Tensor, value: Value, place: str) -> None:
        """Notes what a tensor holds after a change in place, and writes it back where it is a view.

        Raises:
            ConversionError: it is a view that cannot be written back.
        """
        alias = self._known[id(tensor)]
        above = [*self._above(alias)]
        for each in above:
            self._fresh(each)
        memory = _memory(tensor)
        self._changes[memory] = self._changes.get(memory, 0) + 1
        alias.value, alias.version = value, self._changes[memory]
        below = alias
        for each in above:
            each.value = self._written_back(below, each, place)
            each.version = self._changes[memory]
            # The view is as new as what it is written to.
            below.seen = each.value
            below = each

    def _above(self, alias: Alias) -> Iterator[Alias]:
        while alias.parent is not None:
            alias = alias.parent
            yield alias

    def _version(self, tensor: torch.Tensor) -> int:
        return self._changes.get(_memory(tensor), 0)

    def _fresh(self, alias: Alias) -> Value:
        """Returns the value of a tensor, taken again from what it is a view of if that has changed."""
        if alias.parent is not None and alias.version != self._version(alias.tensor):
            held = self._fresh(alias.parent)
            if held is not alias.seen:
                alias.value = self._again(alias, held)
                alias.seen = held
        alias.version = self._version(alias.tensor)
        return alias.value

    def _again(self, view: Alias, held: Value) -> Value:
        """Returns what a view shows of a tensor that holds something else now."""
        made, parent = view.made, view.parent
        assert made is not None
        assert parent is not None
        if _same_places(view.tensor, parent.tensor):
            return held
        if len([*values(made.output)]) > 1:  # of several parts, the one
            return self._write("__getitem__", [held, tuple(_slices(view))], {}, view.tensor)
        if made.module is not None:  # Flatten and Unflatten
            sizes = [Size(size, ("axis", view.value, axis)) for axis, size in enumerate(view.value.shape)]
            return self._write("reshape", [held, tuple(sizes)], {}, view.tensor)
        arguments = mapped(made.arguments, lambda each: held if each is view.origin else each)
        return self._write(made.function, arguments, dict(made.keywords), view.tensor)

    def _written_back(self, view: Alias, whole: Alias, place: str) -> Value:
        """Returns what a tensor holds after a view of it has changed."""
        made, tensor = view.made, view.tensor
        assert made is not None
        if _same_places(tensor, whole.tensor):
            return view.value
        sizes = [Size(size, ("axis", whole.value, axis)) for axis, size in enumerate(whole.value.shape)]
        match made.function:
            case "__getitem__":
                arguments = [whole.value, made.arguments[1], view.value]
                return self._write("__setitem__", arguments, {}, whole.tensor)
            case "select" | "unbind" | "split" | "chunk" | "narrow" | "tensor_split":
                return self._write(
                    "__setitem__", [whole.value, tuple(_slices(view)), view.value], {}, whole.tensor
                )
            case "view" | "reshape" | "flatten" | "unflatten" | "squeeze" | "unsqueeze" | "Flatten":
                return self._write("reshape", [view.value, tuple(sizes)], {}, whole.tensor)
            case "transpose" | "swapaxes" | "t" | "mT" | "T":
                arguments = [view.value, *(made.arguments[1:] or (0, 1))]
                return self._write("transpose", arguments, {}, whole.tensor)
            case "permute":
                dims = made.arguments[1:]
                dims = dims[0] if isinstance(dims[0], tuple | list) else dims
                order = [each % tensor.ndim for each in dims]
                back = [order.index(axis) for axis in range(len(order))]
                return self._write("permute", [view.value, back], {}, whole.tensor)
        raise ConversionError(
            f"{place}changes a view in place, made by `{made.function}`, which cannot be followed to the "
            "tensor that it shows; make a copy there (`.clone()`), or write a new tensor."
        )


def _memory(tensor: torch.Tensor) -> int:
    """Returns what tells memory apart; sparse tensors, and those of `torch.vmap`, have none to share."""
    return int(tensor.untyped_storage()._cdata) if torch._C._has_storage(tensor) else id(tensor)


def shares(one: torch.Tensor, two: torch.Tensor) -> bool:
    """Returns whether a change of one tensor may change the other."""
    return _memory(one) == _memory(two)


def _same_places(one: torch.Tensor, two: torch.Tensor) -> bool:
    return (one.shape, one.stride(), one.storage_offset()) == (two.shape, two.stride(), two.storage_offset())


def _slices(view: Alias) -> list[Any]:
    """Returns the index that takes a view, one of the parts of a tensor, from that tensor."""
    made, parent = view.made, view.parent
    assert made is not None
    assert parent is not None
    whole, part = parent.tensor, view.tensor
    if made.function in ("select", "unbind"):
        dim = made.keywords.get("dim", made.arguments[1] if len(made.arguments) > 1 else 0) % whole.ndim
        number = (part.storage_offset() - whole.storage_offset()) // whole.stride(dim)
        return [slice(None)] * dim + [number]
    index: list[Any] = []
    offset = part.storage_offset() - whole.storage_offset()
    for axis, size in enumerate(part.shape):
        if size == whole.shape[axis]:
            index.append(slice(None))
        else:
            start = offset // whole.stride(axis)
            index.append(slice(start, start + size))
    return index
