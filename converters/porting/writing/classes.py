"""Classes of Flax from the bodies of scopes: equal but for numbers is one class, with these as fields."""

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from converters.porting.emit import Code
from converters.porting.expressions import expression
from converters.porting.writing import bodies


@dataclass(eq=False, kw_only=True)
class Made:
    """A class.

    Attributes:
        name: Its name in the source.
        instances: The bodies that it serves.
        numbers: For each instance, the numbers in its body.
        roles: Names that the numbers go by.
        fields: Name of the field for each number that differs; "" for the others.
    """

    name: str
    parameters: list[str]
    instances: list[Code] = field(default_factory=list)
    numbers: list[list[Any]] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Loop(ast.stmt):
    """A run of equal statements."""


class Classes:
    """The classes of a whole module, in the order in which Python needs them."""

    def __init__(self) -> None:
        self.made: dict[str, Made] = {}
        self._names: set[str] = set()
        self.of: dict[Code, Made] = {}

    def add(self, code: Code) -> Made:
        """Finds the classes of a body and of those in it."""
        for each in [*code.statements]:
            self._children(each.expression)
        assert code.result is not None
        self._children(code.result)
        bodies.tidy(code)
        parameters = bodies.name_values(code)
        code.body = self._looped(code)
        found = Skeleton(self)
        for statement in code.body:
            found.visit(statement)
        key = repr((type(code.scope.module).__name__, parameters, code.uses_train, found.tokens))
        if key not in self.made:
            self.made[key] = Made(name=self._name(code), parameters=parameters, roles=found.roles)
        made = self.made[key]
        made.instances.append(code)
        made.numbers.append(found.numbers)
        self.of[code] = made
        return made

    def _children(self, node: ast.AST) -> None:
        for each in ast.walk(node):
            if hasattr(each, "child") and each.child not in self.of:
                self.add(each.child)

    def _name(self, code: Code) -> str:
        base = type(code.scope.module).__name__
        name, number = base, 1
        while name in self._names:
            number += 1
            name = f"{base}{number}"
        self._names.add(name)
        return name

    def _looped(self, code: Code) -> list[ast.stmt]:
        """Returns the statements, with a loop for a run of equal ones."""
        made: list[tuple[ast.stmt, str, Any, int]] = []
        for each in code.statements:
            names = [code.names[target] for target in each.targets]
            left: ast.expr = (
                ast.Name(id=names[0], ctx=ast.Store())
                if len(names) == 1
                else ast.Tuple(elts=[ast.Name(id=n, ctx=ast.Store()) for n in names], ctx=ast.Store())
            )
            statement = ast.Assign(targets=[left], value=each.expression)
            prefix, number, key = self._running(statement)
            if made and prefix and made[-1][1:3] == (prefix, key):
                before, _, _, count = made[-1]
                first = before if isinstance(before, ast.For) else None
                start = number - count
                if start == _start(before):
                    made[-1] = (_loop(statement, prefix, start, count + 1), prefix, key, count + 1)
                    continue
                assert first is None or first
            made.append((statement, prefix, key, 1))
        assert code.result is not None
        return [*(each[0] for each in made), ast.Return(value=code.result)]

    def _running(self, statement: ast.Assign) -> tuple[str, int, Any]:
        """Returns the beginning and the number of the one child's name, and all else of the statement."""
        children = [n for n in ast.walk(statement) if hasattr(n, "child")]
        if len(children) != 1:
            return "", 0, None
        found = re.fullmatch(r"(.*\.|)(\d+)", self.child_name(children[0]))
        if found is None:
            return "", 0, None
        skeleton = Skeleton(self, names=False)
        skeleton.visit(statement)
        statement.start = int(found[2])
        return found[1] or ".", int(found[2]), (skeleton.tokens, skeleton.numbers)

    def child_name(self, node: Any) -> str:
        """Returns the name of a child, relative to its parent."""
        parent = node.parent_path
        return str(node.path.removeprefix(f"{parent}." if parent else ""))

    def decide(self) -> None:
        """Chooses the fields of every class."""
        for each in self.made.values():
            columns = [*zip(*each.numbers, strict=True)]
            known: dict[Any, str] = {}
            for column, role in zip(columns, each.roles, strict=True):
                key = repr(column)
                if len({repr(number) for number in column}) > 1 and key not in known:
                    known[key] = _field(each, column, role, {*known.values()})
                each.fields.append(known.get(key, ""))


def _start(statement: Any) -> int:
    return int(statement.start)


def _loop(statement: ast.Assign, prefix: str, start: int, count: int) -> ast.For:
    call = next(n for n in ast.walk(statement) if hasattr(n, "child"))
    call.loop = prefix
    made = ast.For(
        target=ast.Name(id="i", ctx=ast.Store()),
        iter=expression("range(n)", n=count)
        if not start
        else expression("range(a, n)", a=start, n=start + count),
        body=[statement],
        orelse=[],
    )
    made.start = start
    return made


def _field(made: Made, column: tuple[Any, ...], role: str, taken: set[str]) -> str:
    first = vars(made.instances[0].scope.module)
    for name in first:
        if name.isidentifier() and not name.startswith("_") and name not in taken and name != "training":
            if all(
                _same(vars(c.scope.module).get(name), v) for c, v in zip(made.instances, column, strict=True)
            ):
                return str(name)
    name, number = role or "value", 1
    while name in taken:
        number += 1
        name = f"{role}{number}"
    return name


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


class Skeleton(ast.NodeVisitor):
    """All of a body but its numbers, and the numbers."""

    def __init__(self, classes: Classes, *, names: bool = True) -> None:
        self._classes, self._with_names = classes, names
        self.tokens: list[Any] = []
        self.numbers: list[Any] = []
        self.roles: list[str] = []

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Constant) and is_number(node.value):
            self.tokens.append("#")
            self.numbers.append(node.value)
            self.roles.append(getattr(node, "role", ""))
            return
        if hasattr(node, "child"):
            made = self._classes.of[node.child]
            index = made.instances.index(node.child)
            self.tokens.append(("child", made.name, getattr(node, "loop", None)))
            if self._with_names and not hasattr(node, "loop"):
                self.tokens.append(self._classes.child_name(node))
            self.numbers += made.numbers[index]
            self.roles += made.roles
            return
        self.tokens.append(type(node).__name__)
        for name, value in ast.iter_fields(node):
            if name in ("ctx", "type_comment", "kind"):
                continue
            if isinstance(value, list):
                self.tokens.append(len(value))
                for each in value:
                    self.visit(each)
            elif isinstance(value, ast.AST):
                self.visit(value)
            else:
                self.tokens.append(value)


def is_number(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(map(is_number, value))
    return isinstance(value, int | float)
