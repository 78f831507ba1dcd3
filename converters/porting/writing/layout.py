"""Statements as text, laid out as ruff and black do."""

import ast
from collections.abc import Sequence

from converters.porting.writing.documents import (
    SOFT,
    Broken,
    Document,
    Group,
    Indented,
    bracketed,
    rendered,
)
from converters.porting.writing.phrases import OPERATORS, assigned, document, linked, links, simple

WIDTH = 100


def laid_out(statements: Sequence[ast.stmt], indent: int) -> list[str]:
    """Returns the lines of statements."""
    lines: list[str] = []
    for each in statements:
        lines += _statement(each, indent)
    return lines


def _statement(node: ast.stmt, indent: int) -> list[str]:
    match node:
        case ast.Assign(targets=[target], value=value):
            return _lines((assigned(target), " = ", _right(value)), indent)
        case ast.AnnAssign(target=target, annotation=kind, value=value) if value is not None:
            return _lines((document(target), ": ", document(kind), " = ", _right(value)), indent)
        case ast.Return(value=None):
            return _lines("return", indent)
        case ast.Return(value=value) if value is not None:
            return _lines(("return ", _right(value)), indent)
        case ast.Expr(value=value):
            return _lines(_right(value), indent)
        case ast.For(target=target, iter=iterable, body=body):
            head = _lines(("for ", assigned(target), " in ", _right(iterable), ":"), indent)
            return [*head, *laid_out(body, indent + 4)]
        case ast.If(test=test, body=body, orelse=orelse):
            lines = [*_lines(("if ", _right(test), ":"), indent), *laid_out(body, indent + 4)]
            return [*lines, *_lines("else:", indent), *laid_out(orelse, indent + 4)] if orelse else lines
    return [" " * indent + line for line in ast.unparse(ast.fix_missing_locations(node)).split("\n")]


def _lines(document: Document, indent: int) -> list[str]:
    return (" " * indent + rendered(document, WIDTH, indent)).split("\n")


def signature(head: str, items: Sequence[str], tail: str, indent: int) -> list[str]:
    """Returns the lines of a function's head."""
    return _lines((head, bracketed("(", items, ")", lined=True), tail), indent)


def _right(node: ast.expr) -> Document:
    """Returns an expression, in parentheses if it needs several lines and has no brackets to break in."""
    inner = document(node)
    if links(node) > 1:
        return _parenthesized(inner)
    match node:
        case ast.BinOp(left=left, op=op, right=right) if simple(left) and _ends_open(right):
            symbol, own = OPERATORS[type(op)]
            # Its methods keep their line, which no parentheses let break.
            made = linked(right, "") if links(right) else document(right, own + 1)
            return (document(left), f" {symbol} ", made)
        case ast.BinOp() | ast.IfExp() | ast.Compare() | ast.BoolOp():
            return _parenthesized(inner)
    return inner


def _parenthesized(inner: Document) -> Document:
    return Group((Broken("("), Indented((SOFT, inner)), SOFT, Broken(")")))


def _ends_open(node: ast.expr) -> bool:
    return isinstance(node, ast.Call | ast.Subscript | ast.Tuple | ast.List)
