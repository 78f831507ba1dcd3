"""The blocks of a body, and what is declared in them."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from converters.porting.writing.paths import Part


@dataclass(eq=False, kw_only=True)
class Block:
    """Statements under one head.

    Attributes:
        head: The loop or condition; None for the body itself.
        otherwise: If true, it is what runs where the condition does not hold.
        content: Layers, and blocks, in order.
    """

    head: ast.For | ast.If | None = None
    otherwise: bool = False
    content: "list[Item | Block]" = field(default_factory=list)

    def items(self) -> "Iterator[Item]":
        """Yields the layers in it, also those in blocks inside it."""
        for each in self.content:
            if isinstance(each, Item):
                yield each
            else:
                yield from each.items()

    def variables(self) -> set[str]:
        """Returns the variables of a loop."""
        return names_of(self.head.target) if isinstance(self.head, ast.For) else set()


Chain: TypeAlias = tuple[Block, ...]  # a block after those around it


@dataclass(eq=False, kw_only=True)
class Item:
    """A layer, or an array of the module itself.

    Attributes:
        path: Parts of its name.
        made: Expression that makes it.
        kind: Its type, as an annotation.
        blocks: Where it is declared.
        readers: Expressions in the body that are to become the attribute that holds it.
    """

    path: tuple[Part, ...]
    made: ast.expr
    kind: str
    blocks: Chain
    readers: list[Any] = field(default_factory=list)

    def settled(self, parts: Sequence[Part] | None = None) -> Chain:
        """Returns the blocks up to the last loop that a name depends on: in others it is one thing.

        Args:
            parts: Its own name by default; or the first parts of that, as what holds it is called.
        """
        names = {each for part in (self.path if parts is None else parts) for each in part.variables()}
        needed = [at for at, each in enumerate(self.blocks) if each.variables() & names]
        last = needed[-1] if needed else -1
        loops = [at for at, e in enumerate(self.blocks) if isinstance(e.head, ast.For) and at > last]
        return self.blocks[: loops[0]] if loops else self.blocks


def names_of(node: ast.AST) -> set[str]:
    """Returns the variables in an expression."""
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def turns(loop: ast.For) -> list[dict[str, Any]] | None:
    """Returns what the variables of a loop are in each turn; None if fields decide how many there are."""
    try:
        rows = _iterated(loop.iter)
    except ValueError:
        return None
    return [_assigned(loop.target, row) for row in rows]


def _iterated(node: ast.expr) -> list[Any]:
    match node:
        case ast.Call(func=ast.Name(id="range"), args=args):
            return [*range(*map(ast.literal_eval, args))]
        case ast.Call(func=ast.Name(id="enumerate"), args=[table, *start]):
            return [*enumerate(_iterated(table), *map(ast.literal_eval, start))]
        case ast.Tuple(elts=rows):
            return [_literal(each) for each in rows]
    raise ValueError(ast.dump(node))


def _literal(node: ast.expr) -> Any:
    """Returns a constant; an expression where it is none."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return tuple(map(_literal, node.elts)) if isinstance(node, ast.Tuple) else node


def _assigned(target: ast.expr, value: Any) -> dict[str, Any]:
    match target:
        case ast.Name(id=name):
            return {name: value}
        case ast.Tuple(elts=targets):
            pairs = zip(targets, value, strict=True)
            return {name: each for one, part in pairs for name, each in _assigned(one, part).items()}
    raise ValueError(ast.dump(target))


def number_in(node: ast.expr, turn: dict[str, Any]) -> int | None:
    """Returns a number that is computed of a loop's variables; None if others are in it."""
    match node:
        case ast.Constant(value=int() as value):
            return value
        case ast.Name(id=name):
            found = turn.get(name)
            return found if isinstance(found, int) else None
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            one, two = number_in(left, turn), number_in(right, turn)
            if one is None or two is None:
                return None
            return one + two if isinstance(op, ast.Add) else one - two
    return None
