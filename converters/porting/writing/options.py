"""Optional parts of a class, and the conditions of their statements."""

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn as torch_nn

from converters.errors import ConversionError
from converters.porting.informed import INPUTS
from converters.porting.writing import trees
from converters.porting.writing.columns import MISSING, Choices, Column, Field
from converters.porting.writing.trees import Function

MOST_OPTIONS = 3  # optional parts of a class


def conditions(chosen: Choices, fields: Mapping[int, Field], columns: Sequence[Column]) -> None:
    """Chooses the condition of each optional row: a field that may be None, or a flag."""
    for index, row in enumerate(chosen.body.rows):
        has = tuple(code in row for code in chosen.body.codes)
        if all(has):
            continue
        opposite = tuple(not each for each in has)
        if has not in chosen.flags and opposite not in chosen.flags:
            chosen.flags[has] = _optional(has, fields, columns) or _flag(chosen, has, index)
        flag = chosen.flags.get(has)
        chosen.conditions[index] = flag if flag is not None else negated(chosen.flags[opposite])
    if len(chosen.flags) > MOST_OPTIONS:
        raise ConversionError("too many optional parts")


def _optional(has: tuple[bool, ...], fields: Mapping[int, Field], columns: Sequence[Column]) -> str:
    """Returns the condition that a field is given which only this optional part uses."""
    for column in columns:
        made = fields.get(id(column))
        if made is None or made.optional or not isinstance(column.known[0], int | Function):
            continue
        if column.role == INPUTS:  # which is no reason for a part
            continue
        if tuple(each is not MISSING for each in made.values) == has and made.default is MISSING:
            made.optional, made.default = True, None
            return f"self.{made.name} is not None"
    return ""


def _flag(chosen: Choices, has: tuple[bool, ...], index: int) -> str:
    for settings in [[_parts(code.scope.module) for code in chosen.body.codes]]:
        for name in settings[0]:
            if tuple(each.get(name, False) for each in settings) == has and chosen.free(name):
                return _add_flag(chosen, name, has)
    statement = next(iter(chosen.body.rows[index].values()))
    hint = _hint(statement)
    again = [row for row in chosen.body.rows[index + 1 :] if hint == _hint(next(iter(row.values())))]
    if again and hint != "option":
        others = {code for code, each in zip(chosen.body.codes, has, strict=True) if not each}
        # As in an inverted residual, whose first convolution may be left out; or one of two layers of a name.
        hint = _kind(statement) if {*again[0]} == others else "expand"
    return _add_flag(chosen, chosen.unused(hint), has)


def _kind(statement: Any) -> str:
    """Returns a name for a part after the class of its layer."""
    for node in ast.walk(statement.expression):
        if isinstance(node, ast.Call) and any(each.arg == "name" for each in node.keywords):
            return _snake(trees.dotted(node.func).rpartition(".")[2])
    return "option"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _add_flag(chosen: Choices, name: str, has: tuple[bool, ...]) -> str:
    chosen.fields.append(Field(name=name, values=[*has], default=False))
    return f"self.{name}"


def negated(flag: str) -> str:
    """Returns the condition that holds where another one does not."""
    return flag.replace(" is not None", " is None") if flag.endswith(" is not None") else f"not {flag}"


def _parts(module: Any) -> dict[str, bool]:
    """Returns which of its attributes a torch module has: modules, and what is true or false."""
    flags = {name: each for name, each in vars(module).items() if isinstance(each, bool)}
    modules = {
        name: each is not None and not isinstance(each, torch_nn.Identity)
        for name, each in module._modules.items()
    }
    return {**flags, **modules}


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
            return _snake(node.id)
    return "residual" if isinstance(statement.expression, ast.BinOp) else "option"
