"""The text of a manifest: one block for each model, in an order, which an insertion keeps."""

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from zoo._registry import strict_yaml
from zoo._registry.entry import Entry, FrozenMapping, fields_of

# What a flow mapping can hold without quotes, unless it would be read as something else than text.
PLAIN = re.compile(r"[A-Za-z0-9_./][\w./@+-]*(:(?=\S)[\w./@+-]+)*( [\w./@+-]+)*", re.ASCII)
START = re.compile(r'^  "?([\w.-]+)"?:', re.ASCII)
FAMILY = re.compile(r'^    "?family"?: "?(\w+)', re.ASCII)
INSIDE = re.compile(r"   +[^\s#]")  # a line of a block, no comment


class Block(NamedTuple):
    """A model's lines in a manifest, from `start` to before `end`."""

    name: str
    family: str
    start: int
    end: int


def order(name: str, family: str) -> tuple[Any, ...]:
    """Returns what models are ordered by: family, then name, numbers in names by their value."""
    return family, [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def misplaced(models: Mapping[str, Entry]) -> list[str]:
    """Returns sentences about the models that do not stand where `order` puts them."""
    names = [entry.name for entry in models.values() if not _is_tagged(entry.name, models)]
    return [
        f"models.{second} stands after {first}; order by family, then name"
        for first, second in pairwise(names)
        if order(first, str(models[first].family)) > order(second, str(models[second].family))
    ]


def _is_tagged(name: str, models: Mapping[str, Entry]) -> bool:
    """Returns whether the name is a model's and a tag."""
    return any(name[: match.start()] in models for match in re.finditer(r"\.", name))


def text(name: str, entry: Entry, defaults: Mapping[str, Any] = FrozenMapping()) -> str:
    """Returns a model's block: the fields in which the entry differs from its family's defaults."""
    fields = {"family": entry.family, "config": {}, **fields_of(entry)}
    del fields["name"]
    for field, default in defaults.items():
        if fields.get(field) == default:
            del fields[field]
        elif field not in fields and (entry.weights or field != "layout"):
            fields[field] = None
    lines = [f"    {field}: {_flow(value)}\n" for field, value in fields.items()]
    return f"  {name}:\n{''.join(lines)}"


def _flow(value: Any) -> str:
    """Returns the value in YAML's flow style, without the quotes that it does not need."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and strict_yaml.read(value.encode(), []) == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    return f"{{{', '.join(f'{key}: {_flow(item)}' for key, item in fields_of(value).items())}}}"


def insert(content: str, block: str) -> str:
    """Returns the manifest's text with a block in its place; comments and empty lines stay where they are."""
    lines, new = content.splitlines(keepends=True), _blocks(block.splitlines(keepends=True), 0)[0]
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    models = next((number for number, line in enumerate(lines) if line.startswith("models:")), None)
    if models is None:
        return "".join([*lines, "models:\n", block])
    blocks = _blocks(lines, models + 1)
    place = order(new.name, new.family)
    before = [each for each in blocks if order(each.name, each.family) < place]
    after = [each for each in blocks if order(each.name, each.family) > place]
    if before and (before[-1].family == new.family or not after or after[0].family != new.family):
        at, gap = before[-1].end, "" if before[-1].family == new.family else "\n"
        return "".join([*lines[:at], gap, block, *lines[at:]])
    at = after[0].start if after else models + 1
    gap = "\n" if after and after[0].family != new.family else ""
    return "".join([*lines[:at], block, gap, *lines[at:]])


def _blocks(lines: list[str], first: int) -> list[Block]:
    """Returns the blocks of the models from the first line on, without the comments between them."""
    end = next((at for at in range(first, len(lines)) if re.match(r"[^\s#]", lines[at])), len(lines))
    starts = [at for at in range(first, end) if START.match(lines[at])]
    return [_block(lines, start, stop) for start, stop in pairwise([*starts, end])]


def _block(lines: list[str], start: int, end: int) -> Block:
    while end > start + 1 and not INSIDE.match(lines[end - 1]):
        end -= 1
    name = START.match(lines[start])
    family = next((found[1] for line in lines[start:end] if (found := FAMILY.match(line))), "")
    return Block(name[1] if name else "", family, start, end)
