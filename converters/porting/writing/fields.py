"""Fields of a class: the numbers that differ between its instances, and which optional parts they have."""

import ast
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
from torch import nn as torch_nn

from converters.errors import ConversionError
from converters.porting.emit import Code
from converters.porting.writing import trees
from converters.porting.writing.merging import Body
from converters.porting.writing.naming import RESERVED
from converters.porting.writing.trees import Function, Loop, constant, digits_apart

MISSING = object()  # the number of a statement that an instance does not have
OWNED = {*dir(nn.Module), "name", "parent", "training", *RESERVED}
MOST_OPTIONS = 3  # optional parts of a class
LARGEST_FACTOR = 8  # of a field, in what is written as a multiple of it


@dataclass(eq=False, kw_only=True)
class Field:
    """A field.

    Attributes:
        name: Its name.
        values: By instance; MISSING where an instance does not use it.
        default: MISSING if it has none.
        optional: If true, it may be None.
    """

    name: str
    values: list[Any]
    default: Any = MISSING
    optional: bool = False

    @property
    def annotation(self) -> str:
        """Returns its type."""
        known = next(each for each in self.values if each is not MISSING and each is not None)
        shown = _type(known)
        return f"{shown} | None" if self.optional else shown


@dataclass(eq=False, kw_only=True)
class Column:
    """A number that stands at one place of a class, for each instance."""

    values: list[Any]
    nodes: list[Any]
    row: int
    looped: bool

    @property
    def role(self) -> str:
        found = getattr(self.nodes[0], "role", "")
        return found if len(found) > 1 else ""

    @property
    def known(self) -> list[Any]:
        return [each for each in self.values if each is not MISSING]


@dataclass(eq=False, kw_only=True)
class Fields:
    """The fields of a class, and its conditions.

    Attributes:
        fields: In order.
        conditions: The condition of each row that not all instances have.
        counted: If true, layers are numbered in the order in which they are called.
    """

    body: Body
    fields: list[Field] = field(default_factory=list)
    conditions: dict[int, str] = field(default_factory=dict)
    counted: bool = False
    _flags: dict[tuple[bool, ...], str] = field(default_factory=dict)

    @classmethod
    def of(cls, body: Body) -> "Fields":
        """Chooses the fields.

        Raises:
            ConversionError: names of layers differ in a way that no condition explains.
        """
        made = cls(body=body)
        columns = made._columns()
        numbers = [each for each in columns if not isinstance(each.known[0], str)]
        chosen: dict[int, Field] = {}
        names = made._attributes([each for each in numbers if _varies(each)])
        names |= _of_several([each for each in numbers if _varies(each)], {*names.values()})
        derived: list[tuple[Column, ast.expr]] = []
        for partial, tuples in ((False, False), (True, False), (False, True), (True, True)):
            for column in numbers:
                kind = (MISSING in column.values, isinstance(column.known[0], tuple))
                if kind != (partial, tuples) or not (_varies(column) or made._known(column)):
                    continue
                if (expression := made._derived(column.values)) is not None and id(column) not in names:
                    derived.append((column, expression))
                else:
                    chosen[id(column)] = made._field(column, names)
        made._conditions(chosen, numbers)
        made._names([each for each in columns if isinstance(each.known[0], str)])
        for column, expression in derived:
            for node in column.nodes:
                _become(node, expression)
        for column in numbers:
            if (found := chosen.get(id(column))) is not None:
                for node in column.nodes:
                    _become_field(node, found.name)
        for each in made.fields:
            if each.default is MISSING and MISSING in each.values:  # some instances do not use it
                each.default = next(value for value in each.values if value is not MISSING)
        made.fields.sort(key=lambda each: each.default is not MISSING)
        return made

    def given(self, code: Code) -> list[tuple[str, Any, Any]]:
        """Returns name, value and default of the fields of one instance."""
        at = self.body.codes.index(code)
        found = []
        for each in self.fields:
            value = each.values[at]
            found.append((each.name, each.default if value is MISSING else value, each.default))
        return found

    def _columns(self) -> list[Column]:
        found = []
        codes = self.body.codes
        for index, row in enumerate(self.body.rows):
            shapes = {code: trees.shape(each).constants for code, each in row.items()}
            looped = isinstance(next(iter(row.values())), Loop)
            for place, nodes in enumerate(zip(*shapes.values(), strict=True)):
                values = [constant(shapes[c][place]) if c in row else MISSING for c in codes]
                found.append(Column(values=values, nodes=[*nodes], row=index, looped=looped))
        return found

    def _field(self, column: Column, names: Mapping[int, str]) -> Field:
        for each in self.fields:
            if _fits(each.values, column.values):
                each.values = [
                    b if a is MISSING else a for a, b in zip(each.values, column.values, strict=True)
                ]
                return each
        default = getattr(column.nodes[0], "default", MISSING)
        name = names.get(id(column)) or self._called(column, {*names.values()})
        made = Field(name=name, values=[*column.values], default=default, optional=default is None)
        self.fields.append(made)
        return made

    def _called(self, column: Column, kept: Set[str]) -> str:
        """Returns a name after what the number is, with the layer's where several are that."""
        role = _role(column)
        if role in kept or not self._free(role):
            statement = next(iter(self.body.rows[column.row].values()))
            named = f"{_layer(statement.expression)}_{role}"
            if not named.startswith("_") and self._free(named):
                return named
        return self._unused(role, kept)

    def _derived(self, values: Sequence[Any]) -> ast.expr | None:
        """Returns numbers as an expression of a field: a multiple, or a tuple of such; None if not."""
        known = [each for each in values if each is not MISSING]
        if all(type(each) is int for each in known):
            for each in self.fields:
                pairs = [(a, b) for a, b in zip(each.values, values, strict=True) if b is not MISSING]
                if (factor := _factor(pairs)) is not None:
                    return ast.parse(f"{factor} * self.{each.name}", mode="eval").body
        if not all(isinstance(each, tuple) and each for each in known):
            return None
        parts: list[ast.expr] = []
        for at in range(len(known[0])):
            column = [each if each is MISSING else each[at] for each in values]
            part = self._element(column)
            if part is None:
                return None
            parts.append(part)
        return ast.Tuple(elts=parts, ctx=ast.Load())

    def _element(self, column: Sequence[Any]) -> ast.expr | None:
        """Returns what stands in a tuple: a number, a field, or an expression of one."""
        known = [each for each in column if each is not MISSING]
        if len({*map(repr, known)}) == 1:
            return ast.Constant(value=known[0])
        for each in self.fields:
            pairs = [(a, b) for a, b in zip(each.values, column, strict=True) if b is not MISSING]
            if all(type(a) is type(b) and a == b for a, b in pairs):
                return ast.parse(f"self.{each.name}", mode="eval").body
        return self._derived(column)

    def _known(self, column: Column) -> bool:
        """Returns whether optional parts have a number that is no default, but a field's."""
        default = getattr(column.nodes[0], "default", MISSING)
        if MISSING not in column.values or default is MISSING or default == column.known[0]:
            return False
        return any(each.default == default and _fits(each.values, column.values) for each in self.fields)

    def _attributes(self, columns: Sequence[Column]) -> dict[int, str]:
        """Returns the attributes of the torch modules that have the numbers of a column."""
        settings = [_settings(code.scope.module) for code in self.body.codes]
        found: dict[int, str] = {}
        for column in columns:
            for name in sorted(settings[0], key=lambda each: each != column.role):
                pairs = [*zip([each.get(name) for each in settings], column.values, strict=True)]
                free = self._free(name) and name not in found.values()
                if free and all(b is MISSING or _same(a, b) for a, b in pairs):
                    found[id(column)] = name
                    break
        return found

    def _free(self, name: str) -> bool:
        taken = {each.name for each in self.fields} | {*self._flags.values()}
        return name.isidentifier() and not name.startswith("_") and name not in taken | OWNED

    def _unused(self, name: str, kept: Set[str] = frozenset()) -> str:
        made, number = name, 1
        while made in kept or not self._free(made):
            number += 1
            made = f"{name}{number}"
        return made

    def _conditions(self, chosen: dict[int, Field], columns: Sequence[Column]) -> None:
        """Chooses the condition of each optional row: a field that may be None, or a flag."""
        for index, row in enumerate(self.body.rows):
            has = tuple(code in row for code in self.body.codes)
            if all(has):
                continue
            opposite = tuple(not each for each in has)
            if has not in self._flags and opposite not in self._flags:
                self._flags[has] = self._optional(has, chosen, columns) or self._flag(has, index)
            flag = self._flags.get(has)
            self.conditions[index] = flag if flag is not None else _negated(self._flags[opposite])
        if len(self._flags) > MOST_OPTIONS:
            raise ConversionError("too many optional parts")

    def _optional(self, has: tuple[bool, ...], chosen: dict[int, Field], columns: Sequence[Column]) -> str:
        """Returns the condition that a field is given which only this optional part uses."""
        for column in columns:
            made = chosen.get(id(column))
            if made is None or made.optional or not isinstance(column.known[0], int | Function):
                continue
            if tuple(each is not MISSING for each in made.values) == has and made.default is MISSING:
                made.optional, made.default = True, None
                return f"self.{made.name} is not None"
        return ""

    def _flag(self, has: tuple[bool, ...], index: int) -> str:
        for settings in [[_parts(code.scope.module) for code in self.body.codes]]:
            for name in settings[0]:
                if tuple(each.get(name, False) for each in settings) == has and self._free(name):
                    return self._add_flag(name, has)
        hint = _hint(next(iter(self.body.rows[index].values())))
        again = any(hint == _hint(next(iter(row.values()))) for row in self.body.rows[index + 1 :])
        # As in an inverted residual, whose first convolution may be left out.
        return self._add_flag(self._unused("expand" if again and hint != "option" else hint), has)

    def _add_flag(self, name: str, has: tuple[bool, ...]) -> str:
        self.fields.append(Field(name=name, values=[*has], default=False))
        return f"self.{name}"

    def _names(self, columns: Sequence[Column]) -> None:
        """Writes names of layers that differ between instances."""
        different = [each for each in columns if _varies(each)]
        if not different:
            return
        if self._count(columns, different):
            self.counted = True
            return
        for column in different:
            self._choose(column)

    def _count(self, columns: Sequence[Column], different: Sequence[Column]) -> bool:
        """Numbers layers in the order in which they are called, if that is what their names do."""
        start = digits_apart(different[0].known[0])[0].partition("#")[0]
        family = [each for each in columns if digits_apart(each.known[0])[0].startswith(f"{start}#")]
        if not {*map(id, different)} <= {*map(id, family)} or any(each.looped for each in family):
            return False
        for at in range(len(self.body.codes)):
            found = [each.values[at] for each in family if each.values[at] is not MISSING]
            numbers = [digits_apart(each)[1][0] for each in found]
            if numbers != [*range(len(numbers))]:
                return False
        rests = [{each[len(start) :].lstrip("0123456789") for each in column.known} for column in family]
        if any(len(each) > 1 for each in rests):
            return False
        for column, rest in zip(family, rests, strict=True):
            made = ast.parse(f'f"{start}{{next(index)}}{rest.pop()}"', mode="eval").body
            for node in column.nodes:
                _become(node, made)
        return True

    def _choose(self, column: Column) -> None:
        """Writes one name where a condition holds, and the other where not."""
        for has, flag in self._flags.items():
            pairs = [*zip(column.values, has, strict=True)]
            yes, no = ({v for v, h in pairs if h is wanted and v is not MISSING} for wanted in (True, False))
            if len(yes) == len(no) == 1:
                made = ast.parse(f"{yes.pop()!r} if {flag} else {no.pop()!r}", mode="eval").body
                for node in column.nodes:
                    _become(node, made)
                return
        raise ConversionError(f"names {column.known!r}")


def _factor(pairs: Sequence[tuple[Any, Any]]) -> int | None:
    """Returns the small number of which all second numbers are that multiple of the first."""
    if len({a for a, _ in pairs if type(a) is int}) < 2 or not all(
        type(a) is type(b) is int and a > 1 for a, b in pairs
    ):
        return None
    found = {b // a for a, b in pairs if b % a == 0} if all(b % a == 0 for a, b in pairs) else set()
    return found.pop() if len(found) == 1 and 2 <= max(found) <= LARGEST_FACTOR else None


def _negated(flag: str) -> str:
    return flag.replace(" is not None", " is None") if flag.endswith(" is not None") else f"not {flag}"


def _varies(column: Column) -> bool:
    return len({repr(each) for each in column.known}) > 1


def _fits(one: Sequence[Any], two: Sequence[Any]) -> bool:
    """Returns whether two columns are one field: nowhere different, and somewhere the same."""
    pairs = [(a, b) for a, b in zip(one, two, strict=True) if a is not MISSING and b is not MISSING]
    return bool(pairs) and all(_same(a, b) for a, b in pairs)


def _same(a: Any, b: Any) -> bool:
    if isinstance(b, int) and isinstance(a, tuple) and a and len({*map(str, a)}) == 1:
        a = a[0]  # torch's (2, 2) is Flax's 2
    return type(a) is type(b) and bool(a == b)


def _settings(module: Any) -> dict[str, Any]:
    """Returns the numbers among the attributes of a torch module."""
    return {name: each for name, each in vars(module).items() if isinstance(each, int | float | tuple)}


def _parts(module: Any) -> dict[str, bool]:
    """Returns which of its attributes a torch module has: modules, and what is true or false."""
    flags = {name: each for name, each in vars(module).items() if isinstance(each, bool)}
    modules = {
        name: each is not None and not isinstance(each, torch_nn.Identity)
        for name, each in module._modules.items()
    }
    return {**flags, **modules}


def _of_several(columns: Sequence[Column], taken: Set[str]) -> dict[int, str]:
    """Returns names for features of two kinds: those that the last layer gives, and hidden ones."""
    found: dict[int, str] = {}
    for role in ("features", "out_channels"):
        alike = {
            repr(each.values): each for each in columns if each.role == role and MISSING not in each.values
        }
        if len(alike) < 2:
            continue
        first, *_, last = alike.values()
        pairs = [*zip(first.values, last.values, strict=True)]
        if _factor(pairs) is None and role not in taken:
            found[id(first)], found[id(last)] = f"hidden_{role.removeprefix('out_')}", role
        elif _factor(pairs) is None:
            found[id(first)] = f"hidden_{role.removeprefix('out_')}"
    return found


def _layer(expression: ast.expr) -> str:
    """Returns the last word of the name of the first layer in an expression; "" if that is a number."""
    for node in ast.walk(expression):
        if isinstance(node, ast.keyword) and node.arg == "name" and isinstance(node.value, ast.Constant):
            word = str(node.value.value).rpartition(".")[2]
            return word if word.isidentifier() else ""
    return ""


def _hint(statement: Any) -> str:
    """Returns a name for an optional part: that of its first layer, or its class's."""
    if isinstance(statement.expression, ast.Call) and trees.is_activation(statement.expression.func):
        return "activate"
    for node in ast.walk(statement.expression):
        if isinstance(node, ast.keyword) and node.arg == "name" and isinstance(node.value, ast.Constant):
            found = re.sub(r"[^a-z]*\d.*", "", str(node.value.value).lower()).replace(".", "_")
            if found and found.isidentifier() and found not in ("block", "layers", "conv"):
                return found
    for node in ast.walk(statement.expression):
        if isinstance(node, ast.Name) and node.id[:1].isupper():
            return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.id).lower()
    return "residual" if isinstance(statement.expression, ast.BinOp) else "option"


def _role(column: Column) -> str:
    known = next(each for each in column.known if each is not None)
    return column.role or ("activation" if isinstance(known, Function) else "value")


def _type(value: Any) -> str:
    if isinstance(value, Function):
        return "Callable[[jax.Array], jax.Array]"
    if isinstance(value, tuple):
        return f"tuple[{', '.join(_type(each) for each in value)}]"
    return type(value).__name__


def _become_field(node: Any, name: str) -> None:
    _become(node, ast.Attribute(value=ast.Name(id="self", ctx=ast.Load()), attr=name, ctx=ast.Load()))


def _become(node: Any, other: Any) -> None:
    """Turns a node into another one, in place."""
    node.__class__ = other.__class__
    node.__dict__ = dict(other.__dict__)
