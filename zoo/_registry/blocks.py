"""The text of a manifest: a block for each model, in an order that an insertion keeps."""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from zoo._registry import strict_yaml
from zoo._registry.entry import Entry, fields_of
from zoo._registry.entry_schema import FIELDS
from zoo._registry.manifest_schema import TAGGED

# What needs no quotes inside braces and brackets, and what needs none as the rest of a line; unless it would
# be read as something else than text.
PLAIN = re.compile(r"[A-Za-z0-9_./][\w./@+-]*(:(?=\S)[\w./@+-]+)*( [\w./@+-]+)*", re.ASCII)
LINE = re.compile(r"[A-Za-z0-9_./][\w./@+,;()-]*(:(?=\S)[\w./@+,;()-]+)*( [\w./@+,;()-]+)*", re.ASCII)
START = re.compile(r'^  "?([\w.-]+)"?:', re.ASCII)
FAMILY = re.compile(r'^    "?family"?: "?(\w+)', re.ASCII)
INSIDE = re.compile(r"   +\S")  # a line of a block; a comment further left belongs to what follows
COMMENT = re.compile(r" *#")
TAGS = re.compile(r'    "?tags"?:')
DEEPER = re.compile(r"      ")  # a line of a block's tags
PLACE_FIRST = ("repo", "revision", "file", "url", "sha256", "size")  # the order of fields of weights


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
    names = [entry.name for entry in models.values() if not owners(entry.name, models)]
    return [
        f"models.{second} stands after {first}; order by family, then name"
        for first, second in pairwise(names)
        if order(first, str(models[first].family)) > order(second, str(models[second].family))
    ]


def owners(name: str, models: Mapping[str, Entry]) -> list[str]:
    """Returns the models that the name would be a tag of."""
    return [name[: dot.start()] for dot in re.finditer(r"\.", name) if name[: dot.start()] in models]


def text(name: str, entry: Entry, defaults: Mapping[str, Any], *, whole: bool = False) -> str:
    """Returns a model's block.

    Args:
        name: Name of the model.
        entry: The model's record, whose own name does not count.
        defaults: Its family's defaults; those that the entry lacks become `null`.
        whole: If true, fields that equal the defaults are written, too, for a manifest without them.
    """
    found = {"config": {}, **_fields(entry)}
    for field, default in defaults.items():
        if found.get(field) == default:
            if not whole:
                del found[field]
        elif field not in found and (entry.weights or field != "layout"):
            found[field] = None
    return _lines(name, found, indent=2)


def tag_text(tag: str, entry: Entry, model: Entry, *, whole: bool = False) -> str:
    """Returns the lines of a model's further weights.

    Args:
        tag: Name of these weights among the model's.
        entry: Their record.
        model: The model's record.
        whole: If true, fields that equal the model's are written, too, which may be those of another tag.
    """
    found, others = _fields(entry), _fields(model)
    fields = {field: found.get(field) for field in TAGGED if field in found or field in others}
    same = [field for field in fields if field != "weights" and fields[field] == others.get(field)]
    return _lines(tag, {name: fields[name] for name in fields if whole or name not in same}, indent=6)


def _fields(entry: Entry) -> dict[str, Any]:
    """Returns the fields of an entry that are not empty; those of its weights in the usual order."""
    found = fields_of(entry)
    if entry.weights:
        weights = fields_of(entry.weights)
        found["weights"] = {field: weights[field] for field in PLACE_FIRST if field in weights}
    return found


def _lines(name: str, found: Mapping[str, Any], *, indent: int) -> str:
    """Returns a name, and below it each field in a line."""
    lines = [f"{' ' * indent}  {name}: {_flow(found[name], LINE)}\n" for name in FIELDS if name in found]
    return f"{' ' * indent}{_flow(name)}:\n{''.join(lines)}"


def _flow(value: Any, plain: re.Pattern[str] = PLAIN) -> str:
    """Returns the value in YAML's flow style; text that the pattern matches has no quotes."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, float) and "e" in repr(value):
        mantissa, exponent = repr(value).split("e")
        # As readers of YAML 1.1 need it, too: with a point and a sign.
        return f"{mantissa}{'' if '.' in mantissa else '.0'}e{int(exponent):+d}"
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, str):
        same = plain.fullmatch(value) and strict_yaml.read(value.encode(), []) == value
        return value if same else json.dumps(value, ensure_ascii=False)
    return f"{{{', '.join(f'{_flow(key)}: {_flow(item)}' for key, item in _told(value).items())}}}"


def _told(value: Any) -> dict[str, Any]:
    """Returns the fields of a mapping or of a part of an entry, without those that have their default."""
    defaults = {each.name: each.default for each in fields(value)} if is_dataclass(value) else {}
    return {name: item for name, item in fields_of(value).items() if defaults.get(name, MISSING) != item}


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
    while COMMENT.match(lines[at - 1]):  # it is about the model below
        at -= 1
    gap = "\n" if after and after[0].family != new.family else ""
    return "".join([*lines[:at], block, gap, *lines[at:]])


def insert_tag(content: str, model: str, tag: str) -> str:
    """Returns the manifest's text with the lines of a tag below the last one of the model."""
    lines = content.splitlines(keepends=True)
    models = next(number for number, line in enumerate(lines) if line.startswith("models:"))
    block = next(each for each in _blocks(lines, models + 1) if each.name == model)
    if not lines[block.end - 1].endswith("\n"):
        lines[block.end - 1] += "\n"
    inside = range(block.start + 1, block.end)
    first = next((at for at in inside if TAGS.match(lines[at])), None)
    if first is None:
        return "".join([*lines[: block.end], "    tags:\n", tag, *lines[block.end :]])
    end = next((at for at in inside if at > first and not DEEPER.match(lines[at])), block.end)
    return "".join([*lines[:end], tag, *lines[end:]])


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
