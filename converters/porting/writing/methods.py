"""A class with several methods: its layers are made in `setup`, since only one method can make them."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn

from converters.errors import ConversionError
from converters.porting.writing import layout, source
from converters.porting.writing.blocks import names_of, number_in, turns
from converters.porting.writing.classes import Made
from converters.porting.writing.columns import OWNED
from converters.porting.writing.trees import copied, dotted, text

ARRAYS = ("self.param", "self.variable")
GLOBALS = {"self", "nn", "jnp", "jax", "np", "partial", "int", "float", "bool", "range", "enumerate", "zip"}


def methods_source(root: Made, methods: Sequence[Made], defaults: source.Defaults) -> str:
    """Returns the text of the class of a module of which several methods are ported.

    Args:
        root: The class, whose body calls the methods.
        methods: Bodies of the methods.
        defaults: Defaults of the fields of the classes that they call.

    Raises:
        ConversionError: a layer is made of arrays, or in a loop within a loop.
    """
    order = [each.scope.module.method for each in root.body.codes[0].scope.operations if each.scope]
    layers = _Layers({*order, "setup"})
    parts = []
    for each in sorted(methods, key=lambda each: order.index(each.name)):
        statements = layers.moved(source.typed(source.statements(each, defaults), each, defaults))
        head = layout.signature(f"def {each.name}", source.arguments(each), source.returned(each), 4)
        parts.append([*head, *layout.laid_out(statements, 8)])
    call = source.statements(root, defaults)
    root.typed = any(each.typed for each in methods)
    head = layout.signature("def __call__", source.arguments(root), source.returned(root), 4)
    doc = '        """Calls all methods, so that `init` makes all parameters."""'
    parts.append([*head, doc, *layout.laid_out(call, 8)])
    setup = ["    def setup(self) -> None:", *layout.laid_out(layers.statements, 8)]
    if layers.statements:
        parts.insert(0, setup)
    return "\n\n".join(map("\n".join, [source.head(root), *parts]))


class _Layers(ast.NodeTransformer):
    """Moves layers and arrays out of methods, and collects the statements that make them.

    Args:
        taken: Names that no attribute may have.
    """

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken | OWNED
        self._held: dict[str, tuple[str, str]] = {}  # by name: what makes it, and what reads it
        self._loop: ast.For | None = None
        self._lists: dict[str, ast.expr] = {}  # what the loop goes through, by its variable
        self._local: set[str] = set()
        self.statements: list[ast.stmt] = []

    def moved(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Returns the statements of a method with attributes in place of layers."""
        nodes = [node for each in statements for node in ast.walk(each)]
        self._local = {node.id for node in nodes if isinstance(node, ast.Name)}
        made: list[ast.stmt] = [self.visit(each) for each in statements]
        return [each for each in made if not _is_itself(each)]

    def visit_For(self, node: ast.For) -> ast.For:
        if self._loop is not None:
            raise ConversionError("several methods: layers in a loop within a loop; port the methods apart")
        self._loop, self._lists = copied(node), {}
        node.body = [self.visit(each) for each in node.body]
        self._loop = None
        if not self._lists:
            return node
        used = {name for each in node.body for name in _names(each)} & names_of(node.target)
        variables: list[ast.expr] = [ast.Name(id=name, ctx=ast.Store()) for name in self._lists]
        through = [*self._lists.values()]
        if used:
            variables, through = [node.target, *variables], [node.iter, *through]
        node.target = variables[0] if len(variables) == 1 else ast.Tuple(elts=variables, ctx=ast.Store())
        strict = ast.keyword(arg="strict", value=ast.Constant(value=True))
        several = ast.Call(func=ast.Name(id="zip", ctx=ast.Load()), args=through, keywords=[strict])
        node.iter = through[0] if len(through) == 1 else several
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        if _makes_layer(node) or dotted(node.func) in ARRAYS:
            changing = names_of(self._loop.target) if self._loop is not None else set()
            return self._of_turns(node) if changing & {*_names(node)} else self._single(node)
        self.generic_visit(node)
        return node

    def _single(self, node: ast.Call) -> ast.expr:
        """Returns what stands in place of an expression that makes a layer or an array."""
        _check(node, set())
        name, made = _called(node), text(node)
        known = self._held.get(name)
        if known is None:
            known = self._held[name] = made, f"self.{self._declared(node, _hint(node))}"
        if known[0] != made:
            raise ConversionError(
                f"several methods: {name} is made as {known[0]} and as {made}, and a layer of Flax is made "
                "once; port the methods apart"
            )
        return _expression(known[1])

    def _of_turns(self, node: ast.Call) -> ast.expr:
        """Returns the variable that stands in a loop for the layers that its turns make."""
        loop = self._loop
        assert loop is not None
        _check(node, names_of(loop.target))
        rows = turns(loop)
        if rows is None:
            raise ConversionError(f"several methods: {text(loop.iter)} goes through layers; port them apart")
        single = [_InTurn(row).visit(copied(node)) for row in rows]
        held = self._listed(node, loop, single)
        variable = _class_word(node)
        while variable in self._local:
            variable += "_"
        self._local.add(variable)
        self._lists[variable] = held
        return ast.Name(id=variable, ctx=ast.Load())

    def _listed(self, node: ast.Call, loop: ast.For, single: Sequence[ast.Call]) -> ast.expr:
        """Returns the list of the layers that a loop's turns make, which are declared if none is known."""
        names = [_called(each) for each in single]
        if not any(name in self._held for name in names):
            turn = ast.comprehension(target=loop.target, iter=loop.iter, ifs=[], is_async=0)
            attribute = self._declared(ast.ListComp(elt=copied(node), generators=[turn]), _hint(node))
            for at, (name, each) in enumerate(zip(names, single, strict=True)):
                self._held[name] = text(each), f"self.{attribute}[{at}]"
        places = [self._single(each) for each in single]
        whole = text(places[0]).removesuffix("[0]")
        sizes = sum(shown.startswith(f"{whole}[") for _, shown in self._held.values())
        if [text(each) for each in places] == [f"{whole}[{at}]" for at in range(sizes)]:
            return _expression(whole)
        return ast.Tuple(elts=places, ctx=ast.Load())

    def _declared(self, node: Any, hint: str) -> str:
        """Writes the statement that makes an attribute, and returns its name."""
        number, attribute = 1, hint
        while attribute in self._taken:
            number += 1
            attribute = f"{hint}_{number}"
        self._taken.add(attribute)
        node = copied(node)
        if isinstance(node, ast.Call) and dotted(node.func) not in ARRAYS:
            node.keywords = [each for each in node.keywords if not _says(each, attribute)]
        target = ast.Attribute(value=ast.Name(id="self", ctx=ast.Load()), attr=attribute, ctx=ast.Store())
        self.statements.append(ast.Assign(targets=[target], value=node))
        return attribute


class _InTurn(ast.NodeTransformer):
    """Writes what a loop's variables are in one turn in their place."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row

    def visit_Name(self, node: ast.Name) -> ast.expr:
        found = self._row.get(node.id, node)
        return copied(found) if isinstance(found, ast.expr) else ast.Constant(value=found)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        number = number_in(node, {})
        return node if number is None else ast.Constant(value=number)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        self.generic_visit(node)
        parts = [each.value if isinstance(each, ast.FormattedValue) else each for each in node.values]
        known = [str(each.value) for each in parts if isinstance(each, ast.Constant)]
        return ast.Constant(value="".join(known)) if len(known) == len(parts) else node


def _makes_layer(node: ast.Call) -> bool:
    name = dotted(node.func)
    kind = getattr(nn, name.removeprefix("nn."), None) if name.startswith("nn.") else None
    return name[:1].isupper() or (isinstance(kind, type) and issubclass(kind, nn.Module))


def _check(node: ast.expr, known: set[str]) -> None:
    """Refuses what is made of the arrays of a method; classes are no arrays."""
    for name in _names(node):
        if name not in {*GLOBALS, *known} and not name[:1].isupper():
            raise ConversionError(
                f"several methods: {text(node)} is made of {name!r}, an array of one method, so that it "
                "cannot be shared; port the methods apart"
            )


def _called(node: ast.Call) -> str:
    """Returns the name of a layer or an array; what makes it where it has none."""
    named = next((each.value for each in node.keywords if each.arg == "name"), None)
    if dotted(node.func) in ARRAYS:
        named = node.args[dotted(node.func) == "self.variable"]
    return str(named.value) if isinstance(named, ast.Constant) else text(node)


def _says(keyword: ast.keyword, name: str) -> bool:
    value = keyword.value
    return keyword.arg == "name" and isinstance(value, ast.Constant) and value.value == name


def _expression(shown: str) -> ast.expr:
    return ast.parse(shown, mode="eval").body


def _names(node: ast.AST) -> Iterator[str]:
    return (each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def _hint(node: ast.Call) -> str:
    """Returns a name for an attribute: the layer's or array's own, or that of its class."""
    given = next((each.value for each in node.keywords if each.arg == "name"), None)
    if dotted(node.func) in ARRAYS:
        given = node.args[dotted(node.func) == "self.variable"]
    parts = given.values if isinstance(given, ast.JoinedStr) else [given]
    words = [str(each.value) for each in parts if isinstance(each, ast.Constant)]
    name = re.sub(r"\W+", "_", "_".join(words)).strip("_")
    return name if name.isidentifier() else f"layer_{name}" if name else _class_word(node)


def _class_word(node: ast.Call) -> str:
    word = dotted(node.func).rpartition(".")[2]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower()


def _is_itself(node: ast.stmt) -> bool:
    """Returns whether a statement gives a variable its own value."""
    return isinstance(node, ast.Assign) and text(node.targets[0]) == text(node.value)
