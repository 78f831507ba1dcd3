"""Loops over lists of layers in place of loops over their places, and without variables that nobody reads."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from converters.porting.writing.blocks import names_of
from converters.porting.writing.trees import copied, text

LONGEST_TABLE = 60  # characters of what a comprehension goes through
NAMES = ("layer", "block", "module", "part")  # of what a loop goes through


def collected(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Writes lists that are filled item by item at once."""
    found: list[ast.stmt] = []
    at = 0
    while at < len(statements):
        first = statements[at]
        empty = _filled(first)
        end = at + 1
        parts: list[ast.expr] = []
        loops = 0
        while empty and end < len(statements) and (part := _appended(statements[end], empty)) is not None:
            loops += isinstance(part, ast.GeneratorExp)
            parts.append(part)
            end += 1
        if not parts or not isinstance(first, ast.Assign | ast.AnnAssign):
            found.append(_inner(first))
            at += 1
            continue
        assert isinstance(first.value, ast.Call)
        first.value.args = [_display(parts)]
        found.append(first)
        at = end
    return found


def _inner(statement: ast.stmt) -> ast.stmt:
    if isinstance(statement, ast.For | ast.If):
        statement.body = collected(statement.body)
        statement.orelse = collected(statement.orelse)
    return statement


def _display(parts: list[ast.expr]) -> ast.expr:
    match parts:
        case [ast.GeneratorExp(elt=item, generators=generators)]:
            return ast.ListComp(elt=item, generators=generators)
    starred: list[ast.expr] = [
        ast.Starred(value=each, ctx=ast.Load()) if isinstance(each, ast.GeneratorExp) else each
        for each in parts
    ]
    return ast.List(elts=starred, ctx=ast.Load())


def _filled(statement: ast.stmt) -> str:
    """Returns the text of the list that a statement makes empty; "" if it makes none."""
    match statement:
        case (
            ast.Assign(targets=[target], value=ast.Call(func=function, args=[]))
            | ast.AnnAssign(target=target, value=ast.Call(func=function, args=[]))
        ) if text(function) == "nnx.List":
            return text(target)
    return ""


def _appended(statement: ast.stmt, held: str) -> ast.expr | None:
    """Returns what a statement appends to a list, of a loop as a generator."""
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=value, attr="append"), args=[item])):
            return item if text(value) == held else None
        case ast.For(target=target, iter=iterable, body=[inner]) if len(text(iterable)) <= LONGEST_TABLE:
            made = _appended(inner, held)
            if made is None or isinstance(made, ast.GeneratorExp):
                return None
            turn = ast.comprehension(target=target, iter=iterable, ifs=[], is_async=0)
            return ast.GeneratorExp(elt=made, generators=[turn])
    return None


def lean(statements: Sequence[ast.stmt]) -> None:
    """Drops the variables of loops that nobody reads."""
    for each in statements:
        for node in ast.walk(each):
            if isinstance(node, ast.For):
                used = {name for part in node.body for name in names_of(part)}
                node.target, node.iter = _lean(node.target, node.iter, used)


def _lean(target: ast.expr, iterable: ast.expr, used: set[str]) -> tuple[ast.expr, ast.expr]:
    match target, iterable:
        case (
            ast.Tuple(elts=[ast.Name(id=count) as counter, inner]),
            ast.Call(func=ast.Name(id="enumerate"), args=[ast.Tuple() as table, *start]),
        ):
            if count not in used:
                return _lean(inner, table, used)
            if not names_of(inner) & used:
                return counter, _range(len(table.elts), *start)
            inner, rest = _lean(inner, table, used)
            made = ast.Call(func=ast.Name(id="enumerate", ctx=ast.Load()), args=[rest, *start], keywords=[])
            return ast.Tuple(elts=[counter, inner], ctx=ast.Store()), made
        case ast.Tuple(elts=names), ast.Tuple(elts=rows) if all(isinstance(e, ast.Tuple) for e in rows):
            kept = [at for at, each in enumerate(names) if names_of(each) & used]
            if not kept:
                return ast.Name(id="_", ctx=ast.Store()), _range(len(rows))
            return _columns(names, rows, kept)
        case ast.Name(id=name), ast.Tuple(elts=rows) if name not in used:
            return ast.Name(id="_", ctx=ast.Store()), _range(len(rows))
        case ast.Name(id=name), ast.Call(func=ast.Name(id="range")) if name not in used:
            return ast.Name(id="_", ctx=ast.Store()), iterable
    return target, iterable


def _columns(names: list[ast.expr], rows: list[Any], kept: list[int]) -> tuple[ast.expr, ast.expr]:
    if len(kept) == 1:
        only = [each.elts[kept[0]] for each in rows]
        return names[kept[0]], ast.Tuple(elts=only, ctx=ast.Load())
    table: list[ast.expr] = [ast.Tuple(elts=[each.elts[at] for at in kept], ctx=ast.Load()) for each in rows]
    target = ast.Tuple(elts=[names[at] for at in kept], ctx=ast.Store())
    return target, ast.Tuple(elts=table, ctx=ast.Load())


def _range(count: int, start: ast.expr | None = None) -> ast.expr:
    first = start.value if isinstance(start, ast.Constant) else 0
    assert isinstance(first, int)
    bounds = [first, first + count] if first else [count]
    args: list[ast.expr] = [ast.Constant(value=each) for each in bounds]
    return ast.Call(func=ast.Name(id="range", ctx=ast.Load()), args=args, keywords=[])


def direct(statements: list[ast.stmt], sizes: Mapping[str, str]) -> list[ast.stmt]:
    """Writes loops over lists themselves, and as a loop what calls one layer of a list after the other.

    Args:
        statements: The body.
        sizes: Lengths of the lists as the body writes them, by the lists' expressions.
    """
    statements = [_looped(each, sizes) for each in statements]
    for held, size in sizes.items():
        if size.isdecimal() and int(size) > 1:
            statements = _runs(statements, held, int(size))
    return statements


def _looped(statement: ast.stmt, sizes: Mapping[str, str]) -> ast.stmt:
    if isinstance(statement, ast.For | ast.If):
        statement.body = [_looped(each, sizes) for each in statement.body]
    match statement:
        case ast.For(target=ast.Name(id=count), iter=ast.Call(func=ast.Name(id="range"), args=args)):
            held = {*_indexed(statement.body, count)}
            uses = sum(e.id == count for part in statement.body for e in _names(part))
            if len(held) != 1 or (only := next(iter(held))) not in sizes:
                return statement
            start, end = (args[0], args[1]) if len(args) > 1 else (ast.Constant(value=0), args[0])
            if text(end) != sizes[only] or uses != len([*_indexed(statement.body, count)]):
                return statement
            name = _free(statement)
            statement.body = [_replaced(part, f"{only}[{count}]", name) for part in statement.body]
            begin = "" if text(start) == "0" else f"[{text(start)}:]"
            statement.iter = ast.parse(f"{only}{begin}", mode="eval").body
            statement.target = ast.Name(id=name, ctx=ast.Store())
    return statement


def _names(node: ast.AST) -> Iterator[ast.Name]:
    return (each for each in ast.walk(node) if isinstance(each, ast.Name))


def _indexed(body: Sequence[ast.stmt], count: str) -> Iterator[str]:
    """Yields the lists whose places a loop's variable is, as often as they are read there."""
    for part in body:
        for node in ast.walk(part):
            match node:
                case ast.Subscript(value=value, slice=ast.Name(id=name)) if name == count:
                    yield text(value)


def _free(statement: ast.stmt) -> str:
    taken = {each.id for each in _names(statement)}
    return next(each for each in NAMES if each not in taken)


def _replaced(node: Any, shown: str, name: str) -> Any:
    """Returns a tree with a variable in place of an expression."""

    class Replacing(ast.NodeTransformer):
        def visit_Subscript(self, found: ast.Subscript) -> ast.expr:
            if text(found) == shown:
                return ast.Name(id=name, ctx=ast.Load())
            self.generic_visit(found)
            return found

    return Replacing().visit(copied(node))


def _runs(statements: list[ast.stmt], held: str, size: int) -> list[ast.stmt]:
    """Writes as one loop statements that differ in the place in a list that they call, of which it is all."""
    for start in range(len(statements)):
        shown = [_turned(each, held) for each in statements[start:]]
        if not shown or shown[0] is None or shown[0][0] != 0:
            continue
        reached, end, body = 0, start, shown[0][1]
        for turn in shown:
            if turn is None or turn[0] != reached or text(turn[1]) != text(body):
                break
            reached, end = turn[2] or size, end + 1
        if reached == size and end - start > 1:
            name = next(iter(names_of(body) & {*NAMES}), "layer")
            made = ast.For(
                target=ast.Name(id=name, ctx=ast.Store()),
                iter=ast.parse(held, mode="eval").body,
                body=[body],
                orelse=[],
            )
            return [*statements[:start], made, *statements[end:]]
    return statements


def _turned(statement: ast.stmt, held: str) -> tuple[int, ast.stmt, int | None] | None:
    """Returns which places of a list a statement calls: the first, the statement for one, the one behind.

    That is None for all that are left.
    """
    match statement:
        case ast.For(target=ast.Name(), iter=ast.Subscript(value=value, slice=ast.Slice() as part), body=[b]):
            if text(value) == held and isinstance(part.lower, ast.Constant):
                return int(str(part.lower.value)), b, None
        case ast.Assign(targets=[ast.Name(id=target)]):
            places = [*_places(statement, held)]
            if len(places) == 1 and f"{held}[{places[0]}]({target})" in text(statement):
                shown = f"{held}[{places[0]}]"
                return places[0], _replaced(statement, shown, _free(statement)), places[0] + 1
    return None


def _places(statement: ast.stmt, held: str) -> Iterator[int]:
    for node in ast.walk(statement):
        match node:
            case ast.Subscript(value=value, slice=ast.Constant(value=int() as place)) if text(value) == held:
                yield place
