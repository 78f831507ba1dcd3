"""A class with several methods: its layers are made in `setup`, since only one method can make them."""

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn

from converters.errors import ConversionError
from converters.porting.writing import layout, source
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
    layers = _Layers({*order, "setup"}, {*defaults})
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
        classes: Names of the file's own classes.
    """

    def __init__(self, taken: set[str], classes: set[str]) -> None:
        self._taken, self._classes = taken | OWNED, classes
        self._attributes: dict[str, str] = {}  # by what they are
        self._loops: list[list[tuple[str, ast.expr]]] = []  # lists of layers that a loop goes through
        self._local: set[str] = set()
        self.statements: list[ast.stmt] = []

    def moved(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Returns the statements of a method with attributes in place of layers."""
        nodes = [node for each in statements for node in ast.walk(each)]
        self._local = {node.id for node in nodes if isinstance(node, ast.Name)}
        made: list[ast.stmt] = [self.visit(each) for each in statements]
        return [each for each in made if not _is_itself(each)]

    def visit_For(self, node: ast.For) -> ast.For:
        if self._loops:
            raise ConversionError("several methods: layers in a loop within a loop; port the methods apart")
        self._loops.append([])
        targets = {each.id for each in ast.walk(node.target) if isinstance(each, ast.Name)}
        node.body = [self._visit_in_loop(each, node) for each in node.body]
        lists = self._loops.pop()
        if not lists:
            return node
        used = any(name in targets for each in node.body for name in _names(each))
        variables: list[ast.expr] = [ast.Name(id=name, ctx=ast.Store()) for name, _ in lists]
        through = [each for _, each in lists]
        if used:
            variables, through = [node.target, *variables], [node.iter, *through]
        node.target = variables[0] if len(variables) == 1 else ast.Tuple(elts=variables, ctx=ast.Store())
        strict = ast.keyword(arg="strict", value=ast.Constant(value=True))
        several = ast.Call(func=ast.Name(id="zip", ctx=ast.Load()), args=through, keywords=[strict])
        node.iter = through[0] if len(through) == 1 else several
        return node

    def _visit_in_loop(self, node: ast.stmt, loop: ast.For) -> ast.stmt:
        self._loop = loop
        made: ast.stmt = self.visit(node)
        return made

    def visit_Call(self, node: ast.Call) -> Any:
        if self._makes_layer(node) or dotted(node.func) in ARRAYS:
            return self._attribute(node)
        self.generic_visit(node)
        return node

    def _makes_layer(self, node: ast.Call) -> bool:
        name = dotted(node.func)
        kind = getattr(nn, name.removeprefix("nn."), None) if name.startswith("nn.") else None
        return name in self._classes or (isinstance(kind, type) and issubclass(kind, nn.Module))

    def _attribute(self, node: ast.Call) -> ast.expr:
        """Returns what stands in place of an expression that makes a layer or an array."""
        shown = text(node)
        if not self._loops or not {*_names(node)} & {*_names(self._loop.target)}:
            self._check(node, {*GLOBALS, *self._classes})
            if shown not in self._attributes:
                self._attributes[shown] = self._declared(node, _hint(node))
            return _own(self._attributes[shown])
        self._check(node, {*GLOBALS, *self._classes, *_names(self._loop.target)})
        several = ast.ListComp(
            elt=copied(node),
            generators=[
                ast.comprehension(
                    target=copied(self._loop.target), iter=copied(self._loop.iter), ifs=[], is_async=0
                )
            ],
        )
        shown = text(several)
        if shown not in self._attributes:
            self._attributes[shown] = self._declared(several, _hint(node))
        variable = _class_word(node)
        while variable in self._local:
            variable += "_"
        self._local.add(variable)
        self._loops[-1].append((variable, _own(self._attributes[shown])))
        return ast.Name(id=variable, ctx=ast.Load())

    def _check(self, node: ast.expr, known: set[str]) -> None:
        for name in _names(node):
            if name not in known:
                raise ConversionError(
                    f"several methods: {text(node)} is made of {name!r}, an array of one method, so that it "
                    "cannot be shared; port the methods apart"
                )

    def _declared(self, node: Any, hint: str) -> str:
        """Writes the statement that makes an attribute, and returns its name."""
        number, attribute = 1, hint
        while attribute in self._taken:
            number += 1
            attribute = f"{hint}_{number}"
        self._taken.add(attribute)
        if isinstance(node, ast.Call) and dotted(node.func) not in ARRAYS:
            node.keywords = [each for each in node.keywords if not _says(each, attribute)]
        target = ast.Attribute(value=ast.Name(id="self", ctx=ast.Load()), attr=attribute, ctx=ast.Store())
        self.statements.append(ast.Assign(targets=[target], value=node))
        return attribute


def _says(keyword: ast.keyword, name: str) -> bool:
    value = keyword.value
    return keyword.arg == "name" and isinstance(value, ast.Constant) and value.value == name


def _own(attribute: str) -> ast.Attribute:
    return ast.Attribute(value=ast.Name(id="self", ctx=ast.Load()), attr=attribute, ctx=ast.Load())


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
