"""Attributes, lists and dicts that hold the layers of a class, by the parts of their names."""

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flax import nnx

from converters.errors import ConversionError
from converters.porting.writing.blocks import Block, Chain, Item, number_in, turns
from converters.porting.writing.paths import Part
from converters.porting.writing.trees import copied

MODULE, LIST, DICT = "Module", "List", "Dict"
CALLABLE = "Callable[..., jax.Array]"
METHODS = {*dir(nnx.Dict)}  # which no key may be written as
OPEN = -1  # in place of a list's last places, if a field says how many there are
Between: TypeAlias = Callable[[str], ast.expr | None]


@dataclass(eq=False, kw_only=True)
class Holder:
    """A part of a name: a layer, or what holds layers whose names go on.

    Attributes:
        part: The part; None for the module itself.
        parent: What holds it.
        children: What it holds, in order.
        item: The layer, if it is one.
        kind: MODULE, LIST or DICT, if it is none.
        home: The innermost block that all of it is in.
        between: Gives what PyTorch has at a place of a list that holds no layer; None if that is unknown.
        declared: If true, its statement is written.
    """

    part: Part | None = None
    parent: "Holder | None" = None
    children: "list[Holder]" = field(default_factory=list)
    item: Item | None = None
    kind: str = MODULE
    home: Chain = ()
    between: Between = field(default=lambda path: None)
    declared: bool = False

    def items(self) -> Iterator[Item]:
        """Yields the layers."""
        if self.item is not None:
            yield self.item
        for each in self.children:
            yield from each.items()

    def all(self) -> "Iterator[Holder]":
        """Yields what it holds, at any depth, and itself first."""
        yield self
        for each in self.children:
            yield from each.all()

    def access(self, change: Callable[[ast.expr], ast.expr] = copied) -> ast.expr:
        """Returns the expression of it in the class's own code.

        Args:
            change: Gives what is written for expressions of its name.
        """
        if self.parent is None or self.part is None:
            return ast.Name(id="self", ctx=ast.Load())
        held, part = self.parent.access(change), self.part
        if self.parent.kind == LIST:
            at = change(part.index) if part.index is not None else ast.Constant(value=part.number)
            return ast.Subscript(value=held, slice=at, ctx=ast.Load())
        if part.attribute and (self.parent.kind == MODULE or part.shown not in METHODS):
            return ast.Attribute(value=held, attr=part.shown, ctx=ast.Load())
        return ast.Subscript(value=held, slice=change(part.key()), ctx=ast.Load())

    @property
    def path(self) -> tuple[Part, ...]:
        """Returns the parts of its name."""
        above = self.parent.path if self.parent is not None else ()
        return above if self.part is None else (*above, self.part)

    def annotation(self) -> str:
        """Returns its type."""
        if self.item is not None:
            return self.item.kind
        found = {each.annotation() for each in self.children}
        inner = found.pop() if len(found) == 1 else CALLABLE
        if found and any("nnx." in each for each in found):
            inner = "Any"
        return f"nnx.{self.kind}[{inner}]"


def tree(top: Block, between: Between, change: Callable[[ast.expr], ast.expr]) -> Holder:
    """Returns the module that holds the layers of a body.

    Args:
        top: The body.
        between: Gives what PyTorch has at a place of a list that holds no layer; None if that is unknown.
        change: Reads fields in an expression as the arguments of `__init__`.

    Raises:
        ConversionError: a name has several layers, and no condition chooses between them.
    """
    root = Holder(home=(top,), between=between)
    for item in [*top.items()]:
        at = root
        for part in item.path:
            at = _child(at, part, item)
        if at.item is None:
            at.item = item
        else:
            _join(at.item, item, change)
    for each in root.all():
        if each is not root:
            each.home = _common([item.settled(each.path) for item in each.items()])
    for each in root.all():
        if each.item is None:
            each.kind = _kind(each)
    return root


def _join(first: Item, other: Item, change: Callable[[ast.expr], ast.expr]) -> None:
    """Makes one layer of two of the same name, which is made by the condition under which the other runs."""
    common = _common([first.blocks, other.blocks])
    apart = other.blocks[len(common) :]
    if len(apart) != 1 or not isinstance(apart[0].head, ast.If):
        name = ".".join(each.shown for each in first.path)
        raise ConversionError(f"{name} is called with different settings, and NNX makes a layer once.")
    made = (first.made, other.made) if apart[0].otherwise else (other.made, first.made)
    if first.blocks != common:
        first.blocks[-1].content.remove(first)
        common[-1].content.insert(common[-1].content.index(first.blocks[len(common)]), first)
    other.blocks[-1].content.remove(other)
    first.made = ast.IfExp(test=change(apart[0].head.test), body=made[0], orelse=made[1])
    first.kind = first.kind if first.kind == other.kind else CALLABLE
    first.blocks, first.readers = common, [*first.readers, *other.readers]


def _child(holder: Holder, part: Part, item: Item) -> Holder:
    """Returns the child of a holder with a name; in other loops the same variable is another name."""
    loop = _loop_of(part, item.blocks)
    for each in holder.children:
        if each.part is not None and each.part.shown == part.shown and not part.counted:
            first = next(each.items())
            if loop is _loop_of(each.part, first.blocks):
                return each
    made = Holder(part=part, parent=holder, between=holder.between)
    holder.children.append(made)
    return made


def _loop_of(part: Part, blocks: Chain) -> Block | None:
    names = part.variables()
    return next((each for each in reversed(blocks) if each.variables() & names), None)


def _common(chains: Sequence[Chain]) -> Chain:
    """Returns the blocks that all are in."""
    found: list[Block] = []
    for each in zip(*chains, strict=False):
        if len({*each}) > 1:
            break
        found.append(each[0])
    return tuple(found)


def _kind(holder: Holder) -> str:
    numbers = [each.part for each in holder.children if each.part is not None]
    if holder.parent is None and all(each.attribute for each in numbers):
        return MODULE
    if any(each.number is None and each.index is None for each in numbers):
        return DICT
    if all(each.counted for each in numbers):
        return LIST
    return LIST if in_order(holder) is not None else DICT


def in_order(holder: Holder) -> list[int] | None:
    """Returns the places of a list's layers as they are declared one after the other; None if not so.

    The last may be OPEN, for as many as a field says. Between some there may be places without layers.
    """
    groups: list[tuple[Block | None, list[Holder]]] = []
    for each in holder.children:
        below = each.home[len(holder.home) :]
        if len(below) > 1 or (below and not isinstance(below[0].head, ast.For)):
            return None
        block = below[0] if below else None
        if block is not None and groups and groups[-1][0] is block:
            groups[-1][1].append(each)
        else:
            groups.append((block, [each]))
    places: list[int] = []
    for block, held in groups:
        number = held[0].part.number if held[0].part is not None else None
        if OPEN in places or (block is None and number is None):
            return None
        if block is None and number is not None:
            places.append(number)
        elif block is not None and not _looped(block, held, places):
            return None
    closed = [each for each in places if each != OPEN]
    gaps = {*range(closed[-1] if closed else 0)} - {*closed}
    direct = all(block is None for block, _ in groups)
    if closed != sorted({*closed}) or (gaps and not direct):
        return None
    known = all(filling(holder, each) is not None for each in gaps)
    return places if known else None


def filling(holder: Holder, place: int) -> ast.expr | None:
    """Returns what PyTorch has at a place of a list that holds no layer."""
    parts = [*(each.shown for each in holder.path), str(place)]
    return holder.between(".".join(parts))


def _looped(block: Block, held: Sequence[Holder], places: list[int]) -> bool:
    """Adds the places of the layers that a loop makes; returns whether they are known."""
    assert isinstance(block.head, ast.For)
    indices = [each.part.index for each in held if each.part is not None]
    rows = turns(block.head)
    if rows is None:
        first = _first(block.head.iter)
        if len(held) > 1 or first != len(places) or not isinstance(indices[0], ast.Name):
            return False
        places.append(OPEN)
        return True
    for row in rows:
        for index in indices:
            number = number_in(index, row) if index is not None else None
            if number is None:
                return False
            places.append(number)
    return True


def _first(iterable: ast.expr) -> Any:
    """Returns where a range begins."""
    match iterable:
        case ast.Call(func=ast.Name(id="range"), args=[_]):
            return 0
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=start), _]):
            return start
    return None
