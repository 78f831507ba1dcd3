"""Takes the layers out of a body that makes them where it calls them, as NNX makes them before."""

import ast
import builtins
from collections.abc import Mapping, Sequence, Set
from typing import Any

from converters.errors import ConversionError
from converters.porting.dialects import Dialect
from converters.porting.informed import INPUTS
from converters.porting.writing.blocks import Block, Chain, Item, names_of
from converters.porting.writing.holders import CALLABLE
from converters.porting.writing.paths import parts_of
from converters.porting.writing.trees import copied, dotted, text

MODE = ("train", "use_running_average", "deterministic")  # keywords of calls, which NNX's layers know
GLOBAL = {"nn", "nnx", "jnp", "jax", "np", "partial", "rngs"}


class Lifter(ast.NodeTransformer):
    """Puts attributes into the place of what makes layers, and keeps these.

    Args:
        dialect: Flax's way of writing modules, linen or NNX.
        classes: Names of the classes of the file.
        fields: Names of the fields of the class.

    Attributes:
        top: The body with its layers.
        uses_mode: If true, the body itself asks whether it is in training.
        uses_rngs: If true, it draws random numbers itself.
    """

    def __init__(self, dialect: Dialect, classes: Mapping[str, bool], fields: Set[str]) -> None:
        self._dialect, self._classes, self._fields = dialect, classes, fields
        self.top = Block()
        self._chain: Chain = (self.top,)
        self._known: dict[tuple[Any, ...], Item] = {}
        self.uses_mode = self.uses_rngs = False

    # Blocks.

    def visit_For(self, node: ast.For) -> ast.For:
        node.iter = self.visit(node.iter)
        head = ast.For(target=copied(node.target), iter=copied(node.iter), body=[], orelse=[])
        node.body = self._inside(Block(head=head), node.body)
        return node

    def visit_If(self, node: ast.If) -> ast.If:
        if "train" in names_of(node.test):  # what only training runs is made, too
            self.generic_visit(node)
            return node
        head = ast.If(test=copied(node.test), body=[], orelse=[])
        node.body = self._inside(Block(head=head), node.body)
        if node.orelse:
            node.orelse = self._inside(Block(head=head, otherwise=True), node.orelse)
        node.test = self.visit(node.test)
        return node

    def _inside(self, block: Block, body: list[ast.stmt]) -> list[ast.stmt]:
        self._chain[-1].content.append(block)
        self._chain = (*self._chain, block)
        made = [self.visit(each) for each in body]
        self._chain = self._chain[:-1]
        return made

    # Layers and arrays.

    def visit_Call(self, node: ast.Call) -> ast.expr:
        match node.func:
            case ast.Attribute(value=ast.Name(id="self"), attr="param"):
                name, initializer, shape = node.args
                made = ast.Call(func=initializer, args=[_parsed("rngs.params()"), shape], keywords=[])
                return self._array(name, ast.Call(func=_parsed("nnx.Param"), args=[made], keywords=[]))
            case ast.Attribute(value=ast.Name(id="self"), attr="make_rng"):
                self.uses_rngs = True
                return _parsed(f"self.rngs.{ast.literal_eval(node.args[0])}()")
        if self._makes(node):
            return self._layer(node)
        if isinstance(node.func, ast.Call) and _always(node.func):
            node.keywords = [ast.keyword(arg="deterministic", value=ast.Constant(value=False))]
        elif isinstance(node.func, ast.Call | ast.Name):
            node.keywords = [each for each in node.keywords if not _is_mode(each)]
        self.generic_visit(node)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        match node.value:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr="variable"), args=args):
                self._variable(args)  # it is only written
                return ast.Pass()
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr="put_variable"), args=args):
                _, name, value = args
                shown = tuple(each.shown for each in parts_of(name))
                item = next(each for (_, path), each in self._known.items() if path == shown)
                item.readers.append(ast.Name(id="?", ctx=ast.Load()))
                target = ast.Subscript(value=item.readers[-1], slice=ast.Constant(value=...), ctx=ast.Store())
                return ast.Assign(targets=[target], value=self.visit(value))
        self.generic_visit(node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        match node:
            case ast.Attribute(
                value=ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr="variable"), args=args),
                attr="value",
            ):
                return self._variable(args)
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id != "train" or hasattr(node, "value"):
            return node
        self.uses_mode = True
        return _parsed("not self.deterministic")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=ast.Name(id="train")):
                self.uses_mode = True
                return _parsed("self.deterministic")
        self.generic_visit(node)
        return node

    def _makes(self, node: ast.Call) -> bool:
        return any(each.arg == "name" for each in node.keywords) and dotted(node.func)[:3] != "jax"

    def _layer(self, node: ast.Call) -> ast.expr:
        function = dotted(node.func)
        known = function.startswith("nn.") or function in ("BatchNorm", "Recurrent")
        name = next(each.value for each in node.keywords if each.arg == "name")
        dropout = any(each.arg == "dropout_rate" for each in node.keywords)
        node.keywords = [e for e in node.keywords if e.arg != "name" and e.arg != "deterministic"]
        if dropout:
            node.keywords.append(ast.keyword(arg="deterministic", value=ast.Constant(value=False)))
        if function == "nn.MultiHeadDotProductAttention":
            node.keywords.append(ast.keyword(arg="decode", value=ast.Constant(value=False)))
        for each in [node, *(part for part in node.args if isinstance(part, ast.Call))]:
            self._told(each)
        kind = CALLABLE if known else function
        return self._held(name, node, kind)

    def _told(self, call: ast.Call) -> None:
        """Puts the inputs' features first, and the random streams last."""
        function = dotted(call.func)
        told = function in self._dialect.inputs
        first = [each for each in call.keywords if each.arg == INPUTS and told]
        if first and not self._dialect.inputs[function]:
            call.args.insert(0, first[0].value)
            call.keywords.remove(first[0])
        elif first:  # after what comes first in linen
            call.keywords.remove(first[0])
            call.keywords.insert(1, first[0])
        if self._classes.get(function, True) and function != "nn.RNN":
            call.keywords.append(ast.keyword(arg="rngs", value=ast.Name(id="rngs", ctx=ast.Load())))

    def _variable(self, args: Sequence[ast.expr]) -> ast.expr:
        collection, name, function, *rest = args
        kind = "nnx.BatchStat" if text(collection) == "'batch_stats'" else "nnx.Variable"
        made = ast.Call(func=function, args=rest, keywords=[])
        return self._array(name, ast.Call(func=_parsed(kind), args=[made], keywords=[]))

    def _array(self, name: ast.expr, made: ast.Call) -> ast.expr:
        kind = f"{text(made.func)}[jax.Array]"
        held = self._held(name, made, kind)
        return ast.Subscript(value=held, slice=ast.Constant(value=...), ctx=ast.Load())

    def _held(self, name: ast.expr, made: ast.expr, kind: str) -> ast.expr:
        """Notes what a name holds, and returns the expression that will become the attribute."""
        made = _Fields(self._fields).visit(made)
        reader = ast.Name(id="?", ctx=ast.Load())
        path = parts_of(_Fields(self._fields, keep=True).visit(name))
        key = (text(made), tuple(each.shown for each in path))
        static = not any(part.node for part in path)
        if static and key in self._known:  # called again, or in a loop
            self._known[key].readers.append(reader)
            return reader
        item = Item(path=path, made=made, kind=kind, blocks=self._chain, readers=[reader])
        self._check(item)
        self._known[key] = item
        self._chain[-1].content.append(item)
        return reader

    def _check(self, item: Item) -> None:
        """Refuses a layer that is made of what only a call knows."""
        loops = {name for block in item.settled() for name in block.variables()}
        known = loops | GLOBAL | self._fields | {*dir(builtins)}
        unknown = {each for each in names_of(item.made) - known if not each.lstrip("_")[:1].isupper()}
        if unknown:
            raise ConversionError(
                f"a layer is made of {', '.join(sorted(unknown))}, which only its call knows: "
                f"{text(item.made)}; NNX makes layers before they are called"
            )


class Running(ast.NodeTransformer):
    """Leaves out what a body asks while it makes its arrays; NNX has made them before it runs."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        match node.values:
            case [test, asked] if text(asked) in ("self.is_initializing()", "not self.is_initializing()"):
                return test
        return node

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        return node.body if text(node.test) == "not self.is_initializing()" else node


class _Fields(ast.NodeTransformer):
    """Reads fields as the arguments that they are given by."""

    def __init__(self, fields: Set[str], *, keep: bool = False) -> None:
        self._fields, self._keep = fields, keep

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if name in self._fields:
                return node if self._keep else ast.Name(id=name, ctx=ast.Load())
        self.generic_visit(node)
        return node


def as_arguments(node: Any, fields: Set[str]) -> Any:
    """Returns an expression in which fields are arguments of `__init__`."""
    return _Fields(fields).visit(copied(node))


def _parsed(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def _is_mode(keyword: ast.keyword) -> bool:
    return keyword.arg in MODE and text(keyword.value) in ("train", "not train")


def _always(call: ast.Call) -> bool:
    """Returns whether a layer drops in eval mode, too."""
    return any(each.arg == "deterministic" and text(each.value) == "False" for each in call.keywords)
