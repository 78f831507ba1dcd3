"""Trees of Python's syntax, in which a name may stand for a value of the run."""

import ast
import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from converters.porting.emit import Statement
from converters.porting.expressions import reference
from converters.porting.graph import Value
from converters.porting.writing.compound import Branch, Loop

# Functions of one array that a class may have as a field.
ACTIVATIONS = (
    *(
        "nn.relu",
        "nn.relu6",
        "nn.silu",
        "nn.sigmoid",
        "nn.hard_swish",
        "nn.hard_sigmoid",
        "nn.gelu",
        "nn.elu",
    ),
    *("nn.tanh", "nn.softplus", "nn.soft_sign", "nn.leaky_relu", "nn.selu", "nn.celu", "jnp.tanh"),
)
# What layers take as one number for all axes, or as numbers for each.
SIZES = ("strides", "padding", "kernel_dilation")
PLAIN = ("ctx", "type_comment", "kind")  # parts of a node that say nothing


@dataclass(eq=False, kw_only=True)
class Shape:
    """A tree without its constants and values, and these in order.

    Attributes:
        tokens: All that has to be equal in trees that are one.
        constants: Nodes of numbers, texts and activations.
        values: Values that names stand for.
    """

    tokens: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)


def shape(tree: Any) -> Shape:
    """Returns the shape of an expression or statement."""
    found = Shape()
    _walk(tree, found)
    return found


def together(shapes: Sequence[Shape]) -> Shape:
    """Returns the shape of several statements, one after the other."""
    return Shape(
        tokens=[token for each in shapes for token in each.tokens],
        constants=[node for each in shapes for node in each.constants],
        values=[value for each in shapes for value in each.values],
    )


def _walk(node: Any, found: Shape) -> None:
    match node:
        case Loop():
            found.tokens += ["loop", len(node.body), len(node.carried)]
            for part in (node.variables, node.expression):
                _walk(part, found)
            for turn in node.carried:
                found.values += turn
            for each in node.body:
                _walk(each, found)
            found.values += node.targets
        case Branch():
            found.tokens += ["branch", len(node.body), len(node.orelse), len(node.ends), node.fills]
            for end in node.ends:
                found.values += end
            for each in (*node.body, *node.orelse):
                _walk(each, found)
            found.values += node.targets
        case Statement():
            found.tokens.append(("assign", len(node.targets)))
            _walk(node.expression, found)
            found.values += node.targets
        case list():
            found.tokens.append(len(node))
            for each in node:
                _walk(each, found)
        case ast.AST():
            _walk_node(node, found)
        case _:
            found.tokens.append(node)


def _walk_node(node: ast.AST, found: Shape) -> None:
    if isinstance(node, ast.Name) and hasattr(node, "value"):
        found.tokens.append("value")
        found.values.append(node.value)
    elif getattr(node, "default", "") is None and (isinstance(node, ast.Constant) or is_activation(node)):
        found.tokens.append("optional")  # a field that may be None
        found.constants.append(node)
    elif (isinstance(node, ast.Constant) and kind(node.value)) or is_activation(node):
        found.tokens.append("sizes" if _is_sizes(node) else kind(constant(node)))
        found.constants.append(node)
    elif isinstance(node, ast.Call) and is_activation(node.func) and (len(node.args) != 1 or node.keywords):
        found.tokens += ["Call", ast.unparse(node.func)]
        _walk(node.args, found)
        _walk(node.keywords, found)
    else:
        found.tokens.append(type(node).__name__)
        for name, value in ast.iter_fields(node):
            if name not in PLAIN:
                _walk(value, found)


def _is_sizes(node: Any) -> bool:
    return getattr(node, "role", "") in SIZES and isinstance(constant(node), int | tuple)


def is_activation(node: Any) -> bool:
    """Returns whether a node names a function of one array, such as nn.relu."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (f"{node.value.id}.{node.attr}" in ACTIVATIONS)
    )


@dataclass(frozen=True)
class Function:
    """An activation as a constant."""

    name: str


def constant(node: Any) -> Any:
    """Returns the number, text or `Function` of a node."""
    return node.value if isinstance(node, ast.Constant) else Function(ast.unparse(node))


def kind(value: Any) -> str:
    """Returns the type of a constant that may differ between trees that are one; "" of one that may not."""
    match value:
        case bool() | int() | float() | str() | Function():
            return type(value).__name__
        case tuple() if value and all(isinstance(each, int | float) for each in leaves(value)):
            return "tuple" + repr(_nesting(value))
    return ""


def leaves(value: Any) -> Iterator[Any]:
    """Yields the numbers of nested tuples."""
    if isinstance(value, tuple):
        for each in value:
            yield from leaves(each)
    else:
        yield value


def _nesting(value: Any) -> Any:
    return tuple(map(_nesting, value)) if isinstance(value, tuple) else type(value).__name__


def digits_apart(text: str) -> tuple[str, list[int]]:
    """Returns a text with "#" for each number in it, and the numbers."""
    numbers = re.findall(r"\d+", text)
    plain = all(str(int(each)) == each for each in numbers)  # else 01 would become 1
    return (re.sub(r"\d+", "#", text), [int(each) for each in numbers]) if plain else (text, [])


def references(node: Any) -> list[Value]:
    """Returns the values that an expression or statement reads, in order; not those that it makes."""
    match node:
        case Loop():
            inner = {*made(node)}
            inside = [v for each in node.body for v in references(each) if v not in inner]
            return [*references(node.expression), *(turn[0] for turn in node.carried), *inside]
        case Branch():
            inner = {*made(node)}
            inside = [value for each in (*node.body, *node.orelse) for value in references(each)]
            inside += [value for _, *arms in node.ends for value in arms]
            return [value for value in inside if value not in inner]
        case Statement():
            return references(node.expression)
    return [each.value for each in ast.walk(node) if isinstance(each, ast.Name) and hasattr(each, "value")]


def made(statement: Statement) -> list[Value]:
    """Returns the values that a statement makes, those inside a loop first."""
    if isinstance(statement, Branch):
        inside = [value for each in (*statement.body, *statement.orelse) for value in made(each)]
        return [*inside, *(value for value in statement.targets if value not in inside)]
    if not isinstance(statement, Loop):
        return statement.targets
    inside = [value for each in statement.body for value in made(each)]
    return [
        *references(statement.variables),
        *(turn[1] for turn in statement.carried),
        *inside,
        *statement.targets,
    ]


class _Replacing(ast.NodeTransformer):
    def __init__(self, known: Mapping[Value, ast.expr]) -> None:
        self._known = known

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = getattr(node, "value", None)
        found = self._known.get(value) if isinstance(value, Value) else None
        return node if found is None else copied(found)


def replaced(node: Any, known: Mapping[Value, ast.expr]) -> Any:
    """Returns an expression or statement with others in place of some values that it reads."""
    if isinstance(node, Loop):
        node.body = [replaced(each, known) for each in node.body]
        node.carried = [
            (getattr(known.get(before), "value", before), inside, out) for before, inside, out in node.carried
        ]
    if isinstance(node, Branch):
        node.body = [replaced(each, known) for each in node.body]
        node.orelse = [replaced(each, known) for each in node.orelse]
        node.ends = [
            (end, getattr(known.get(one), "value", one), getattr(known.get(two), "value", two))
            for end, one, two in node.ends
        ]
        return node
    if isinstance(node, Statement):
        node.expression = replaced(node.expression, known)
        return node
    return _Replacing(known).visit(copied(node)) if known else node


def renamed(node: Any, known: Mapping[Value, Value]) -> Any:
    """Returns an expression or statement that reads other values."""
    return replaced(node, {old: reference(new) for old, new in known.items()})


def copied(node: Any) -> Any:
    """Returns a copy of a tree that shares what is no syntax."""
    if isinstance(node, list):
        return [copied(each) for each in node]
    if not isinstance(node, ast.AST):
        return node
    made = copy.copy(node)
    for name, value in ast.iter_fields(node):
        setattr(made, name, copied(value))
    return made


def is_layer(node: ast.AST) -> bool:
    """Returns whether an expression makes a layer and calls it."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Call)


def has_layer(node: ast.AST) -> bool:
    """Returns whether an expression calls a layer somewhere."""
    return any(is_layer(each) for each in ast.walk(node))


def dotted(node: ast.AST) -> str:
    """Returns the name of what is called, such as "nn.Conv"; "" if it is no name."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            return f"{name}.{attribute}"
    return ""


def text(node: ast.AST) -> str:
    """Returns an expression on one line."""
    return ast.unparse(ast.fix_missing_locations(copied(node)))


def copied_statement(statement: Statement) -> Statement:
    """Returns a copy of a statement with expressions of its own."""
    made = copy.copy(statement)
    made.expression = copied(statement.expression)
    if isinstance(made, Loop):
        made.variables = copied(made.variables)
        made.body = [copied_statement(each) for each in made.body]
    if isinstance(made, Branch):
        made.body, made.orelse = (
            [copied_statement(each) for each in arm] for arm in (made.body, made.orelse)
        )
    return made


def become(node: Any, other: Any) -> None:
    """Turns a node into another one, in place."""
    node.__class__ = other.__class__
    node.__dict__ = dict(other.__dict__)
