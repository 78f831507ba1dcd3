"""Classes of Flax from the bodies of scopes: one for each class of torch, where they do alike things."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from converters.errors import ConversionError
from converters.porting.dialects import LINEN, Dialect
from converters.porting.emit import Code
from converters.porting.expressions import expression, literal
from converters.porting.graph import Value
from converters.porting.methods import Method
from converters.porting.writing import bodies, branches, lists, loops, merging, trees
from converters.porting.writing.columns import MISSING
from converters.porting.writing.defaults import completed
from converters.porting.writing.fields import Fields
from converters.porting.writing.heads import head
from converters.porting.writing.merging import Body
from converters.porting.writing.trees import Function


@dataclass(eq=False, kw_only=True)
class Made:
    """A class.

    Attributes:
        name: Its name in the source; "" for one that is written into those that call it.
        body: Its statements.
        fields: Its fields.
        parameters: Numbers of the parameters that it uses.
        uses_train: If true, it does other things in training.
        typed: If true, it has the field `dtype`; known when its statements are written.
    """

    name: str
    body: Body
    fields: Fields
    parameters: list[int]
    uses_train: bool
    typed: bool = False

    @property
    def defaults(self) -> dict[str, Any]:
        """Returns the defaults of its fields."""
        return {each.name: _shown(each.default) for each in self.fields.fields if each.default is not MISSING}


def _shown(value: Any) -> Any:
    return value.name if isinstance(value, Function) else value


@dataclass(eq=False)
class Classes:
    """The classes of a whole module, in the order in which they need each other."""

    dialect: Dialect = LINEN
    made: list[Made] = field(default_factory=list)
    methods: list[Made] = field(default_factory=list)  # of the root's class
    of: dict[Code, Made] = field(default_factory=dict)

    def add(self, root: Code) -> Made:
        """Makes the classes of a body and of those in it."""
        for group in _groups([*_all(root)]):
            for code in group:
                self._prepare(code)
                loops.looped(code, self.dialect, tables=len(group) == 1)
            self._decide(group, root)
        return self.of[root]

    def _prepare(self, code: Code) -> None:
        """Writes the statements of a body as they will be, but for numbers and names of variables."""
        for each in code.statements:
            each.expression = self._called(code, each.expression)
        code.result = self._called(code, code.result)
        bodies.tidy(code)
        for each in code.statements:
            completed(each.expression)
        assert code.result is not None
        completed(code.result)
        if any(each.when is not None or branches.is_choice(each) for each in code.statements):
            branches.branched(code)
        else:
            lists.grown(code)

    def _called(self, code: Code, node: Any) -> Any:
        """Returns an expression with the classes of children in it."""
        return _Calls(self, code).visit(node)

    def _decide(self, group: Sequence[Code], root: Code) -> None:
        clusters: list[Body] = []
        for code in group:
            found = merging.body(code)
            for each in clusters:
                if _signature(each.codes[0]) == _signature(code) and merging.equal(_first(each), found):
                    _join(each, found)
                    break
            else:
                clusters.append(found)
        for each in self._merged(clusters):
            self._make(each, root)

    def _merged(self, clusters: list[Body]) -> list[Body]:
        """Returns fewer bodies, of which some have optional parts."""
        made: list[Body] = []
        for each in sorted(clusters, key=lambda each: -len(each.rows)):
            for index, other in enumerate(made):
                if _signature(each.codes[0]) != _signature(other.codes[0]):
                    continue
                found = merging.merged(other, each)
                if found is not None and _explained(found):
                    made[index] = found
                    break
            else:
                made.append(each)
        return made

    def _make(self, body: Body, root: Code) -> None:
        merging.finish(body)
        body.rows = bodies.nested(body.rows, bodies.counted(body.rows))
        first = body.codes[0]
        method = first.scope.module.method if isinstance(first.scope.module, Method) else ""
        trivial = len(body.rows) == 1 and first is not root and not method and _inline(body)
        if not merging.connected(body):
            raise ConversionError(f"the body of {type(root.scope.module).__name__} does not hold together")
        fields = Fields(body=body) if trivial else Fields.of(body)
        if first is root:
            head(fields)
        made = Made(
            name="" if trivial else method or self._name(first),
            body=body,
            fields=fields,
            parameters=[*range(len(first.parameters))] if first is root or method else _used(body),
            uses_train=any(code.uses_train for code in body.codes),
        )
        self.of.update(dict.fromkeys(body.codes, made))
        if not trivial:
            (self.methods if method else self.made).append(made)

    def _name(self, code: Code) -> str:
        base = type(code.scope.module).__name__
        taken = {each.name for each in self.made}
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}{number}"
        return name


class _Calls(ast.NodeTransformer):
    """Puts classes in place of children."""

    def __init__(self, classes: Classes, code: Code) -> None:
        self._classes, self._code = classes, code

    def visit_Call(self, node: ast.Call) -> Any:
        child = getattr(node.func, "child", None) or getattr(node, "calls", None)
        self.generic_visit(node)
        if hasattr(node, "child"):
            return self._class(node)
        if child is None:
            return node
        made = self._classes.of[child]
        self._code.uses_train |= made.uses_train
        if not made.name:
            return self._inlined(child, node.args)
        node.args = [node.args[at] for at in made.parameters]
        train = ast.keyword(arg="train", value=ast.Name(id="train", ctx=ast.Load()))
        node.keywords = [train] if made.uses_train else []
        return node

    def _class(self, node: Any) -> ast.expr:
        """Returns the call that makes the module of a child; a method is the root's own."""
        made = self._classes.of[node.child]
        if made in self._classes.methods:
            return expression(f"self.{made.name}")
        name = str(node.path).removeprefix(f"{node.parent_path}." if node.parent_path else "")
        keywords = [_keyword(*each) for each in made.fields.given(node.child)]
        return ast.Call(
            func=ast.Name(id=made.name, ctx=ast.Load()),
            args=[],
            keywords=[*keywords, ast.keyword(arg="name", value=ast.Constant(value=name))],
        )

    def _inlined(self, child: Code, arguments: Sequence[ast.expr]) -> ast.expr:
        parameters = bodies.given(child).values()
        found: ast.expr = trees.replaced(child.result, dict(zip(parameters, arguments, strict=True)))
        return found


def _keyword(name: str, value: Any, default: Any) -> ast.keyword:
    function = isinstance(value, Function)
    node: Any = ast.parse(value.name, mode="eval").body if function else literal(value, name)
    node.role, node.default = name, default
    return ast.keyword(arg=name, value=node)


def _children(code: Code) -> Iterator[Code]:
    for tree in [*(each.expression for each in code.statements), code.result]:
        assert tree is not None
        for node in ast.walk(tree):
            child = getattr(node, "child", None) or getattr(node, "calls", None)
            if child is not None:
                yield child


def _all(code: Code) -> dict[Code, None]:
    """Returns the bodies inside a body, and it itself last."""
    found: dict[Code, None] = {}
    for each in _children(code):
        found |= _all(each)
    return {**found, code: None}


def _groups(codes: Sequence[Code]) -> list[list[Code]]:
    """Returns the bodies by class of torch, in an order in which those inside others come first."""
    height: dict[Code, int] = {}
    for code in codes:
        height[code] = 1 + max((height[each] for each in _children(code)), default=0)
    kinds: dict[Code, Any] = {code: type(code.scope.module) for code in codes}
    try:
        order = _sorted(kinds)
    except CycleError:  # modules that hold others of their own class
        kinds = {code: (type(code.scope.module), height[code]) for code in codes}
        order = _sorted(kinds)
    return [[code for code in codes if kinds[code] == each] for each in order]


def _sorted(kinds: dict[Code, Any]) -> list[Any]:
    """Returns kinds of bodies, those inside others first."""
    graph: dict[Any, dict[Any, None]] = {}
    for code, kind in kinds.items():
        graph.setdefault(kind, {}).update({kinds[each]: None for each in _children(code)})
    return [*TopologicalSorter(graph).static_order()]


def _signature(code: Code) -> tuple[Any, ...]:
    """Returns the parameters' names, and which of them are one value."""
    values = [*bodies.given(code).values()]
    return (*code.parameters, *map(values.index, values))


def _first(body: Body) -> Body:
    code = body.codes[0]
    return Body(codes=[code], rows=[{code: row[code]} for row in body.rows])


def _join(one: Body, two: Body) -> None:
    one.codes += two.codes
    for a, b in zip(one.rows, two.rows, strict=True):
        a.update(b)


def _explained(body: Body) -> bool:
    """Returns whether the names of layers can be written for all bodies."""
    try:
        trial = merging.copied(body)
        merging.finish(trial)
        Fields.of(trial)
    except ConversionError:
        return False
    return True


def _inline(body: Body) -> bool:
    """Returns whether a body is one expression without arrays of its own."""
    for code in body.codes:
        shown = body.rows[0][code].expression
        names = {
            each.id for each in ast.walk(shown) if isinstance(each, ast.Name) and not hasattr(each, "value")
        }
        if (
            trees.has_layer(shown)
            or "self" in names
            or len(trees.references(shown)) > 1 + len(code.parameters)
        ):
            return False
        code.result = shown
    return True


def _used(body: Body) -> list[int]:
    """Returns the numbers of the parameters that some of the bodies read."""
    used: set[Value] = set()
    for row in body.rows:
        for each in row.values():
            used |= {*trees.references(each)}
    found = []
    for at in range(len(body.codes[0].parameters)):
        parameters = [[*bodies.given(code).values()] for code in body.codes]
        again = all(each[at] in each[:at] for each in parameters)
        if not again and any(each[at] in used for each in parameters):
            found.append(at)
    return found
