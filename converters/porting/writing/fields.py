"""Fields of a class: the numbers that differ between its instances."""

import ast
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from converters.porting.emit import Code
from converters.porting.informed import INPUTS
from converters.porting.writing import layer_names, options
from converters.porting.writing.columns import (
    MISSING,
    Choices,
    Column,
    Field,
    are_halves,
    columns_of,
    factor,
    fits,
    same,
)
from converters.porting.writing.defaults import FIRST
from converters.porting.writing.merging import Body
from converters.porting.writing.trees import copied


@dataclass(eq=False, kw_only=True)
class Fields(Choices):
    """The fields of a class, its conditions, and the expressions that have them."""

    @classmethod
    def of(cls, body: Body) -> "Fields":
        """Chooses the fields.

        Raises:
            ConversionError: names of layers differ in a way that no condition explains.
        """
        made = cls(body=body)
        columns = columns_of(body)
        numbers = [each for each in columns if not isinstance(each.known[0], str)]
        squares = {id(each): size for each in numbers if (size := _squared(each))}
        chosen, derived = made._chosen(numbers, {*squares})
        options.conditions(made, chosen, numbers)
        layer_names.named(made, [each for each in columns if isinstance(each.known[0], str)])
        for column in numbers:  # after the conditions, which read the numbers
            if (found := chosen.get(id(column))) is not None:
                derived[id(column)] = ast.parse(f"self.{found.name}", mode="eval").body
            if id(column) in derived:
                column.become(_repeated(derived[id(column)], squares.get(id(column), 0)))
        for each in made.fields:
            if each.default is MISSING and MISSING in each.values:  # some instances do not use it
                each.default = next(value for value in each.values if value is not MISSING)
        places = {
            id(chosen[id(each)]): at for at, each in reversed([*enumerate(numbers)]) if id(each) in chosen
        }
        made.fields.sort(
            key=lambda each: (
                each.default is not MISSING,
                each.name != INPUTS,
                each.name not in FIRST,
                places.get(id(each), len(numbers)),
            )
        )
        return made

    def _chosen(
        self, numbers: Sequence[Column], squares: Set[int]
    ) -> tuple[dict[int, Field], dict[int, ast.expr]]:
        """Returns the fields of the numbers that differ, and expressions of fields for others of them.

        Args:
            numbers: The columns.
            squares: Ids of those that are several equal numbers, of which others may be halves.
        """
        chosen: dict[int, Field] = {}
        derived: dict[int, ast.expr] = {}
        names = self._attributes([each for each in numbers if each.varies])
        names |= _of_several([each for each in numbers if each.varies], {*names.values()})
        for partial, tuples in ((False, False), (True, False), (False, True), (True, True)):
            for column in sorted(numbers, key=lambda each: (each.role == INPUTS, id(each) not in squares)):
                kind = (MISSING in column.values, any(isinstance(each, tuple) for each in column.known))
                if kind != (partial, tuples) or not (column.varies or self._known(column)):
                    continue
                equal = any(fits(each.values, column.values) for each in self.fields)
                expression = None if equal or id(column) in names else self._derived(column.values)
                if expression is not None:
                    derived[id(column)] = expression
                else:
                    chosen[id(column)] = self._field(column, names)
        return chosen, derived

    def given(self, code: Code) -> list[tuple[str, Any, Any]]:
        """Returns name, value and default of the fields of one instance."""
        at = self.body.codes.index(code)
        found = []
        for each in self.fields:
            value = each.values[at]
            found.append((each.name, each.default if value is MISSING else value, each.default))
        return found

    def _field(self, column: Column, names: Mapping[int, str]) -> Field:
        for each in self.fields:
            if fits(each.values, column.values):
                each.values = [
                    b if a is MISSING else a for a, b in zip(each.values, column.values, strict=True)
                ]
                return each
        default = getattr(column.nodes[0], "default", MISSING)
        if column.role == "padding" and 0 in column.values:  # as torch's convolutions have it
            default = 0
        name = names.get(id(column)) or self._called(column, {*names.values()})
        made = Field(name=name, values=[*column.values], default=default, optional=default is None)
        self.fields.append(made)
        return made

    def _called(self, column: Column, kept: Set[str]) -> str:
        """Returns a name after what the number is, with the layer's where several are that."""
        role = column.usual_name
        if role in kept or not self.free(role):
            statement = next(iter(self.body.rows[column.row].values()))
            named = f"{_layer(statement.expression)}_{role}"
            if not named.startswith("_") and self.free(named):
                return named
        return self.unused(role, kept)

    def _derived(self, values: Sequence[Any]) -> ast.expr | None:
        """Returns numbers as an expression of a field: a multiple, or a tuple of such; None if not."""
        known = [each for each in values if each is not MISSING]
        if all(type(each) is int for each in known):
            for each in self.fields:
                pairs = [(a, b) for a, b in zip(each.values, values, strict=True) if b is not MISSING]
                if (times := factor(pairs)) is not None:
                    return ast.parse(f"{times} * self.{each.name}", mode="eval").body
                if are_halves(pairs):
                    return ast.parse(f"self.{each.name} // 2", mode="eval").body
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
        return any(each.default == default and fits(each.values, column.values) for each in self.fields)

    def _attributes(self, columns: Sequence[Column]) -> dict[int, str]:
        """Returns the attributes of the torch modules that have the numbers of a column."""
        settings = [_settings(code.scope.module) for code in self.body.codes]
        found: dict[int, str] = {}
        for column in columns:
            for name in sorted(settings[0], key=lambda each: each != column.role):
                pairs = [*zip([each.get(name) for each in settings], column.values, strict=True)]
                free = self.free(name) and name not in found.values()
                if free and all(b is MISSING or same(a, b) for a, b in pairs):
                    found[id(column)] = name
                    break
        return found


def _squared(column: Column) -> int:
    """Turns a column of tuples of equal numbers into one of numbers; returns how many a tuple has, else 0."""
    sizes = {len(each) if isinstance(each, tuple) else 0 for each in column.known}
    size = sizes.pop() if len(sizes) == 1 else 0
    alike = all(len({*each}) == 1 and type(each[0]) is int for each in column.known) if size > 1 else False
    if not alike or not column.varies:
        return 0
    column.values = [each if each is MISSING else each[0] for each in column.values]
    return size


def _repeated(made: ast.expr, times: int) -> ast.expr:
    """Returns an expression as often as a tuple has it; itself if that is no tuple."""
    return ast.Tuple(elts=[copied(made) for _ in range(times)], ctx=ast.Load()) if times else made


def _settings(module: Any) -> dict[str, Any]:
    """Returns the numbers among the attributes of a torch module."""
    return {name: each for name, each in vars(module).items() if isinstance(each, int | float | tuple)}


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
        if factor(pairs) is None and role not in taken:
            found[id(first)], found[id(last)] = f"hidden_{role.removeprefix('out_')}", role
        elif factor(pairs) is None:
            found[id(first)] = f"hidden_{role.removeprefix('out_')}"
    return found


def _layer(expression: ast.expr) -> str:
    """Returns the last word of the name of the first layer in an expression; "" if that is a number."""
    for node in ast.walk(expression):
        if isinstance(node, ast.keyword) and node.arg == "name" and isinstance(node.value, ast.Constant):
            word = str(node.value.value).rpartition(".")[2]
            return word if word.isidentifier() else ""
    return ""
