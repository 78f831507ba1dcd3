"""Expressions as documents, which say where their lines may break."""

import ast
import math

from converters.porting.writing.documents import (
    SOFT,
    Broken,
    Document,
    Group,
    Indented,
    Line,
    bracketed,
    joined,
    rendered,
)

FEW_DIGITS = 8  # of a number that a person writes

OPERATORS: dict[type, tuple[str, int]] = {
    ast.Or: ("or", 1),
    ast.And: ("and", 2),
    ast.Not: ("not ", 3),
    ast.Eq: ("==", 4),
    ast.NotEq: ("!=", 4),
    ast.Lt: ("<", 4),
    ast.LtE: ("<=", 4),
    ast.Gt: (">", 4),
    ast.GtE: (">=", 4),
    ast.Is: ("is", 4),
    ast.IsNot: ("is not", 4),
    ast.In: ("in", 4),
    ast.NotIn: ("not in", 4),
    ast.BitOr: ("|", 5),
    ast.BitXor: ("^", 6),
    ast.BitAnd: ("&", 7),
    ast.LShift: ("<<", 8),
    ast.RShift: (">>", 8),
    ast.Add: ("+", 9),
    ast.Sub: ("-", 9),
    ast.Mult: ("*", 10),
    ast.Div: ("/", 10),
    ast.FloorDiv: ("//", 10),
    ast.Mod: ("%", 10),
    ast.MatMult: ("@", 10),
    ast.USub: ("-", 11),
    ast.UAdd: ("+", 11),
    ast.Invert: ("~", 11),
    ast.Pow: ("**", 12),
}
CONDITION, ATOM = 0, 13  # how tightly a conditional expression binds, and what needs no parentheses


def document(node: ast.expr, tight: int = CONDITION) -> Document:
    """Returns an expression.

    Args:
        node: The expression.
        tight: Binding strength of its surroundings.
    """
    made, own = _parts(node)
    return ("(", made, ")") if own < tight else made


def _parts(node: ast.expr) -> tuple[Document, int]:
    match node:
        case ast.Constant() | ast.JoinedStr():
            return text(node), ATOM
        case ast.Name():
            return node.id, ATOM
        case ast.Attribute() | ast.Call() | ast.Subscript():
            return (Group(linked(node, SOFT)) if links(node) > 1 else linked(node, "")), ATOM
        case ast.Tuple():
            return _tuple([document(each) for each in node.elts]), ATOM
        case ast.List():
            return bracketed("[", [document(each) for each in node.elts], "]", lined=False), ATOM
        case ast.Dict():
            pairs = [(text(k), ": ", document(v)) for k, v in zip(node.keys, node.values, strict=True) if k]
            return bracketed("{", pairs, "}", lined=False), ATOM
        case ast.ListComp():
            return _comprehension("[", node.elt, node.generators[0], "]"), ATOM
        case ast.GeneratorExp():
            return _comprehension("(", node.elt, node.generators[0], ")"), ATOM
        case ast.Starred():
            return ("*", document(node.value, ATOM)), ATOM
        case ast.IfExp():
            parts = document(node.body, 1), document(node.test, 1), document(node.orelse, 1)
            return Group((parts[0], Line(), "if ", parts[1], Line(), "else ", parts[2])), CONDITION
    return _operation(node)


def links(node: ast.expr) -> int:
    """Returns how many methods of what calls or indices give an expression has."""
    links = 0
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        inner = node.func if isinstance(node, ast.Call) else node.value
        links += isinstance(node, ast.Attribute) and isinstance(inner, ast.Call | ast.Subscript)
        node = inner
    return links


def linked(node: ast.expr, between: Document) -> Document:
    """Returns attributes, calls and indices, with something before each method of a call's or index's."""
    match node:
        case ast.Attribute(value=value):
            method = isinstance(value, ast.Call | ast.Subscript)
            return (linked(value, between), between if method else "", f".{node.attr}")
        case ast.Call():
            items = [*map(document, node.args), *map(_keyword, node.keywords)]
            return (linked(node.func, between), bracketed("(", items, ")", lined=True))
        case ast.Subscript():
            found = _indices(node.slice)
            alone = not isinstance(node.slice, ast.Tuple)  # a comma would make a tuple of it
            only = Group(("[", Indented((SOFT, *found)), SOFT, "]"))
            inner = only if alone else bracketed("[", found, "]", lined=False)
            return (linked(node.value, between), inner)
    return document(node, ATOM)


def assigned(node: ast.expr) -> Document:
    """Returns what is assigned to, whose brackets break after those of the right side."""
    if not isinstance(node, ast.Tuple):
        return document(node)
    items = [document(each) for each in node.elts]
    made = (joined(items, (",", Line())), Broken(","))
    return Group((Broken("("), Indented((SOFT, made)), SOFT, Broken(")")))


def _comprehension(opening: str, item: ast.expr, turn: ast.comprehension, closing: str) -> Document:
    loop = ("for ", assigned(turn.target), " in ", document(turn.iter))
    return Group((opening, Indented((SOFT, document(item), Line(), loop)), SOFT, closing))


def _operation(node: ast.expr) -> tuple[Document, int]:
    match node:
        case ast.BinOp(op=ast.Pow()):
            left, right = document(node.left, ATOM), document(node.right, 11)
            between = "**" if simple(node.left) and simple(node.right) else " ** "
            return (left, between, right), 12
        case ast.BinOp():
            own = OPERATORS[type(node.op)][1]
            return Group(tuple(_chain(node, own))), own
        case ast.UnaryOp():
            symbol, own = OPERATORS[type(node.op)]
            return (symbol, document(node.operand, own)), own
        case ast.BoolOp():
            symbol, own = OPERATORS[type(node.op)]
            items = [document(each, own + 1) for each in node.values]
            return Group(joined(items, (Line(), f"{symbol} "))), own
        case ast.Compare():
            found: list[Document] = [document(node.left, 5)]
            for op, each in zip(node.ops, node.comparators, strict=True):
                found += [Line(), f"{OPERATORS[type(op)][0]} ", document(each, 5)]
            return Group(tuple(found)), 4
    return ast.unparse(ast.fix_missing_locations(node)), CONDITION


def _chain(node: ast.BinOp, tight: int) -> list[Document]:
    """Returns operands that bind alike, each with its operator; lines break before all of these."""
    symbol, own = OPERATORS[type(node.op)]
    if isinstance(node.left, ast.BinOp) and OPERATORS[type(node.left.op)][1] == own:
        before = _chain(node.left, tight)
    else:
        before = [document(node.left, own)]
    return [*before, Line(), f"{symbol} ", document(node.right, own + 1)]


def _tuple(items: list[Document]) -> Document:
    if len(items) == 1:
        return ("(", items[0], ",)")
    return bracketed("(", items, ")", lined=False)


def _keyword(node: ast.keyword) -> Document:
    return (f"{node.arg}=" if node.arg else "**", document(node.value))


def _indices(node: ast.expr) -> list[Document]:
    items = node.elts if isinstance(node, ast.Tuple) and node.elts else [node]
    return [_slice(each) if isinstance(each, ast.Slice) else document(each) for each in items]


def _slice(node: ast.Slice) -> Document:
    """Returns a slice; around its colon are spaces unless the bounds are names and numbers."""
    bounds = [node.lower, node.upper]
    space = "" if all(each is None or simple(each, attributes=False) for each in bounds) else " "
    made: list[Document] = [(document(node.lower), space)] if node.lower is not None else []
    made.append(":")
    if node.upper is not None:
        made.append((space, document(node.upper)))
    if node.step is not None:
        made.append((f"{space}:{space}", document(node.step)))
    return tuple(made)


def simple(node: ast.expr, *, attributes: bool = True) -> bool:
    """Returns whether an expression is a number or a name."""
    match node:
        case ast.UnaryOp(operand=operand):
            return simple(operand, attributes=attributes)
        case ast.Attribute(value=value):
            return attributes and simple(value)
        case ast.Constant(value=value):
            return isinstance(value, int | float)
    return isinstance(node, ast.Name)


def text(node: ast.expr) -> str:
    """Returns a constant, or a text with expressions in it."""
    match node:
        case ast.Constant(value=str() as value):
            return f'"{_escaped(value)}"'
        case ast.Constant(value=value):
            return "..." if value is ... else number(value)
        case ast.JoinedStr():
            return f'f"{"".join(map(_formatted, node.values))}"'
    return ast.unparse(ast.fix_missing_locations(node))


def _formatted(node: ast.expr) -> str:
    """Returns a part of a text with expressions in it."""
    match node:
        case ast.Constant(value=value):
            return _escaped(str(value)).replace("{", "{{").replace("}", "}}")
        case ast.JoinedStr(values=values):
            return "".join(map(_formatted, values))
        case ast.FormattedValue(value=value):
            return f"{{{rendered(document(value), 1000, 0)}}}"
    raise AssertionError(ast.dump(node))


def _escaped(value: str) -> str:
    return repr(value)[1:-1].replace("\\'", "'").replace('"', '\\"')


def number(value: object) -> str:
    """Returns a number, or a tuple of numbers."""
    if isinstance(value, tuple):
        return f"({', '.join(map(number, value))}{',' if len(value) == 1 else ''})"
    shown = repr(_rounded(value)) if isinstance(value, float) else repr(value)
    if isinstance(value, float) and "e" in shown:
        digits, _, exponent = shown.partition("e")
        return f"{digits}e{int(exponent)}"
    return f'float("{shown}")' if shown in ("inf", "-inf", "nan") else shown


def _rounded(value: float) -> float:
    """Returns 0.075 for 0.07500000000000001, which is what arithmetic makes of it."""
    short = float(f"{value:.{FEW_DIGITS}g}")
    return short if math.isclose(short, value, rel_tol=1e-14) else value
