"""A body whose layers are made in `__init__`, as NNX's are."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from converters.porting.dialects import Dialect
from converters.porting.writing import modes, turning
from converters.porting.writing.between import between
from converters.porting.writing.blocks import Block, names_of
from converters.porting.writing.classes import Made
from converters.porting.writing.declaring import Declarations
from converters.porting.writing.holders import LIST, MODULE, OPEN, Holder, in_order, tree
from converters.porting.writing.lifting import Lifter, Running, as_arguments
from converters.porting.writing.trees import become, copied, dotted, text

COUNT = "index = count()"


@dataclass(frozen=True, kw_only=True)
class Declared:
    """The two functions of a class.

    Attributes:
        base: The class that it extends.
        statements: Of `__init__`.
        call: Of `__call__`.
        uses_rngs: If true, it is made with random streams.
    """

    base: str
    statements: list[ast.stmt]
    call: list[ast.stmt]
    uses_rngs: bool


def declared(
    statements: Sequence[ast.stmt], made: Made, dialect: Dialect, classes: dict[str, bool]
) -> Declared:
    """Returns the statements of a body in two functions.

    Args:
        statements: The body, which makes layers where it calls them.
        made: Its class.
        dialect: Flax's way of writing modules, linen or NNX.
        classes: Names of the classes before, with whether random streams make them.
    """
    fields = {each.name for each in made.fields.fields}
    _apart(statements, fields)
    lifter = Lifter(dialect, classes, fields)
    body = Running().visit(ast.Module(body=[*statements], type_ignores=[])).body
    visited = [lifter.visit(each) for each in body]
    call: list[ast.stmt] = [each for each in visited if not isinstance(each, ast.Pass)]
    modules = [code.scope.module for code in made.body.codes]
    root = tree(lifter.top, partial(between, modules), partial(as_arguments, fields=fields))
    absent = _optional(root, call, fields)
    for holder in root.all():
        for reader in holder.item.readers if holder.item is not None else ():
            become(reader, holder.access())
    call = modes.alike(call)
    declarations = Declarations(root, fields)
    own = declarations.statements(lifter.top)
    turning.lean(own)
    own = _without(turning.collected(own), absent)
    if any("next(index)" in text(each) for each in own):
        own.insert(0, ast.parse(COUNT).body[0])
    call = turning.direct(call, _sizes(root))
    turning.lean(call)
    if not any("next(index)" in text(each) for each in call):
        call = [each for each in call if text(each) != COUNT]
    stored = [*_stored(call, fields, root, absent), *_state(lifter)]
    base, first = _base(root, declarations, own)
    renamed = _Package(dialect)
    return Declared(
        base=base,
        statements=[renamed.visit(each) for each in [*first, *stored, *own]],
        call=[renamed.visit(each) for each in call],
        uses_rngs=any("rngs" in names_of(each) for each in [*own, *stored, *first]),
    )


def _apart(statements: Sequence[ast.stmt], fields: set[str]) -> None:
    """Renames the variables of loops that are called as fields, which are arguments of `__init__`."""
    for each in statements:
        for loop in (node for node in ast.walk(each) if isinstance(node, ast.For)):
            for name in names_of(loop.target) & fields:
                for node in ast.walk(loop):
                    if isinstance(node, ast.Name) and node.id == name:
                        node.id = f"own_{name}"


def _optional(root: Holder, call: list[ast.stmt], fields: set[str]) -> dict[str, ast.expr]:
    """Returns the layers that are called as the field that says whether they are there, with the condition.

    They are None where they are not, and that is what the body asks for.
    """
    found: dict[str, ast.expr] = {}
    for holder in root.children:
        block = holder.home[-1] if len(holder.home) == 2 else None
        head = block.head if block is not None and not block.otherwise else None
        name = holder.part.shown if holder.part is not None else ""
        if isinstance(head, ast.If) and name in fields and text(head.test) == f"self.{name}":
            found[name] = copied(head.test)
    if found:
        for index, each in enumerate(call):
            call[index] = _Asking(found).visit(each)
    return found


class _Asking(ast.NodeTransformer):
    """Asks whether layers are there, in place of a field that says it."""

    def __init__(self, names: dict[str, ast.expr]) -> None:
        self._names = names

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=ast.Attribute(attr=name)) if self._named(node.operand):
                return ast.parse(f"self.{name} is None", mode="eval").body
        self.generic_visit(node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if self._named(node):
            return ast.parse(f"self.{node.attr} is not None", mode="eval").body
        self.generic_visit(node)
        return node

    def _named(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and node.attr in self._names and dotted(node)[:5] == "self."


def _without(statements: list[ast.stmt], absent: dict[str, ast.expr]) -> list[ast.stmt]:
    """Adds that layers are None where they are not there."""
    for each in statements:
        for name in absent:
            if isinstance(each, ast.If) and text(each.test) == name:
                target = ast.parse(f"self.{name}", mode="eval").body
                each.orelse.insert(0, ast.Assign(targets=[target], value=ast.Constant(value=None)))
                for at, inner in enumerate(each.body):
                    each.body[at] = _or_none(inner, f"self.{name}")
    return statements


def _or_none(statement: ast.stmt, target: str) -> ast.stmt:
    """Returns an assignment whose target may be None elsewhere."""
    match statement:
        case ast.AnnAssign(target=held, annotation=kind) if text(held) == target:
            statement.annotation = ast.BinOp(left=kind, op=ast.BitOr(), right=ast.Constant(value=None))
        case ast.Assign(targets=[held], value=ast.Call(func=function) as value) if text(held) == target:
            shown = ast.BinOp(left=function, op=ast.BitOr(), right=ast.Constant(value=None))
            place: Any = held
            return ast.AnnAssign(target=place, annotation=shown, value=value, simple=0)
    return statement


def _sizes(root: Holder) -> dict[str, str]:
    """Returns the lengths of the lists, as the body writes them: numbers, or what a field says."""
    found: dict[str, str] = {}
    for holder in root.all():
        if holder.kind == LIST and holder.item is None and (places := in_order(holder)) is not None:
            if places == [*range(len(places))]:
                found[text(holder.access())] = str(len(places))
            elif places[-1] == OPEN:
                found[text(holder.access())] = _end(holder.children[-1].home[-1])
    return found


def _end(block: Block) -> str:
    """Returns where the range of a loop ends."""
    match block.head:
        case ast.For(iter=ast.Call(func=ast.Name(id="range"), args=args)):
            return text(args[-1])
    return ""


def _stored(
    call: Sequence[ast.stmt], fields: set[str], root: Holder, absent: dict[str, ast.expr]
) -> list[ast.stmt]:
    """Returns the statements that keep the fields that the body reads."""
    held = {each.part.shown for each in root.children if each.part is not None}
    found: dict[str, None] = {}
    for each in call:
        for node in ast.walk(each):
            name = dotted(node).removeprefix("self.") if isinstance(node, ast.Attribute) else ""
            if (
                isinstance(node, ast.Attribute)
                and dotted(node) == f"self.{name}"
                and name in fields - {*absent}
            ):
                found[name] = None
    for name in held & {*found}:  # a layer is called as a field
        for each in call:
            _rename(each, name, held)
    own = {name: f"{name}_" if name in held else name for name in found}
    return [ast.parse(f"self.{kept} = {name}").body[0] for name, kept in own.items()]


def _rename(statement: ast.stmt, name: str, held: set[str]) -> None:
    """Reads a field under another name, where it is no call of the layer."""
    called = {id(node.func) for node in ast.walk(statement) if isinstance(node, ast.Call)}
    inside = {id(e.value) for e in ast.walk(statement) if isinstance(e, ast.Subscript | ast.Attribute)}
    for node in ast.walk(statement):
        named = isinstance(node, ast.Attribute) and dotted(node) == f"self.{name}"
        if isinstance(node, ast.Attribute) and named and id(node) not in called | inside:
            node.attr = f"{name}_"


def _state(lifter: Lifter) -> list[ast.stmt]:
    """Returns what a body needs that asks for the mode, or draws random numbers, itself."""
    lines = ["self.deterministic = False"] * lifter.uses_mode + ["self.rngs = rngs.fork()"] * lifter.uses_rngs
    return [statement for line in lines for statement in ast.parse(line).body]


def _base(root: Holder, declarations: Declarations, own: list[ast.stmt]) -> tuple[str, list[ast.stmt]]:
    """Returns what a class extends, and the call of that one's `__init__`."""
    if root.kind == MODULE:
        return "nnx.Module", []
    call: Any = ast.parse("super().__init__()").body[0]
    if root.kind == LIST and all(each.home == root.home for each in root.all()):
        call.value.args = [ast.List(elts=declarations.listed(root), ctx=ast.Load())]
        own.clear()
    return root.annotation(), [call]


class _Package(ast.NodeTransformer):
    """Writes the names of the dialect in place of linen's."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if not (isinstance(node.value, ast.Name) and node.value.id == "nn"):
            return node
        found = self._dialect.layers.get(f"nn.{node.attr}", f"{self._dialect.package}.{node.attr}")
        return ast.parse(found, mode="eval").body
