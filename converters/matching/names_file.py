"""Names and rules as a TOML file, which people can check and change:

names = [
  ['^layers\\.(\\d+)\\.', 'net.\\1.'],
]

[[rules]]
rule = "Fuse"
tensor = "net.*.qkv.*"
parts = ["net.*.q.*", "net.*.k.*", "net.*.v.*"]
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from converters.errors import ConversionError
from converters.io.atomic import atomic_write
from converters.io.files import InputFile, named_errors
from converters.matching.rules import Fuse, Keep, Orthogonalize, Reshape, Rule, Split, Transpose, Unflatten

RULES: dict[str, Any] = {
    rule.__name__: rule for rule in (Fuse, Split, Unflatten, Reshape, Transpose, Keep, Orthogonalize)
}
TYPES: dict[Any, tuple[str, bool, type]] = {  # of a rule's fields: in words, whether a list, of what
    str: ("text", False, str),
    int: ("a whole number", False, int),
    bool: ("true or false", False, bool),
    tuple[str, ...]: ("a list of texts", True, str),
    tuple[int, ...]: ("a list of whole numbers", True, int),
}
MAX_SIZE = 1_000_000
HEAD = """\
# Pairs of (regular expression, replacement), applied in order, which make PyTorch's names from Flax's; rules.
# Check each line: what the names and shapes of two models do not show was guessed.
"""


def write_names(
    path: str | os.PathLike[str], names: Sequence[tuple[str, str] | Rule], *, overwrite: bool = False
) -> None:
    """Writes names pairs and rules, such as an error's `draft`, to a file for `read_names`.

    Raises:
        CheckpointError: the file exists or cannot be written.
        ConversionError: a rule is none of this package's, or the arguments are in another order.
    """
    if isinstance(names, str | os.PathLike) or not isinstance(path, str | os.PathLike):
        raise ConversionError(
            "write_names(path, names) takes the file first, then the pairs and rules; "
            f"found {type(path).__name__}, then {type(names).__name__}"
        )
    text = f"{HEAD}\n{to_toml(names)}\n"
    with atomic_write(Path(path), overwrite=overwrite) as file:
        file.write(text.encode())


def to_toml(names: Sequence[tuple[str, str] | Rule]) -> str:
    """Returns names pairs and rules as the lines of a file.

    Raises:
        ConversionError: a rule is none of this package's.
    """
    lines = [f"  [{_literal(pair[0])}, {_literal(pair[1])}]," for pair in names if isinstance(pair, tuple)]
    lines = ["names = [", *lines, "]"]
    for rule in names:
        if not isinstance(rule, tuple):
            if type(rule).__name__ not in RULES:
                raise ConversionError(f"a names file holds {', '.join(RULES)}, found {rule!r}")
            lines += ["", "[[rules]]", f'rule = "{type(rule).__name__}"']
            lines += [f"{name} = {_quoted(value)}" for name, value in vars(rule).items() if value != ()]
    return "\n".join(lines)


def _literal(text: str) -> str:
    """In single quotes, where backslashes mean themselves, as far as that can be."""
    return f"'{text}'" if "'" not in text and text.isprintable() else _quoted(text)


def _quoted(value: Any) -> str:
    """JSON's texts, numbers and lists are TOML's, too, but for a control character it does not escape."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")


def read_names(path: str | os.PathLike[str]) -> tuple[tuple[str, str] | Rule, ...]:
    """The names pairs and rules of a file, for `names=`.

    Raises:
        CheckpointError: the file cannot be read.
        ConversionError: it is not such a file; every problem is listed.
    """
    with named_errors(path):
        file = InputFile(path)
        content = file.read(0, min(file.size, MAX_SIZE + 1))
    problems: list[str] = []
    found = [*_parsed(content, problems)]
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ConversionError(f"{os.fspath(path)!r} is no names file:{lines}")
    return tuple(found)


def _parsed(content: bytes, problems: list[str]) -> Iterator[tuple[str, str] | Rule]:
    if len(content) > MAX_SIZE:
        problems.append(f"it has more than {MAX_SIZE:,} bytes")
        return
    try:
        table = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        problems.append(f"not TOML: {error}")
        return
    problems += [f"{name}: unknown; a file has names and rules" for name in table.keys() - {"names", "rules"}]
    if not table:
        problems.append("it has neither names nor rules")
    for name, item in (("names", _pair), ("rules", _rule)):
        items = table.get(name, [])
        if isinstance(items, list):
            for index, value in enumerate(items):
                yield from item(value, f"{name}[{index}]", problems)
        else:
            problems.append(f"{name}: expected a list, found {items!r}")


def _pair(value: Any, at: str, problems: list[str]) -> Iterator[tuple[str, str]]:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(text, str) for text in value):
        problems.append(f"{at}: expected [regular expression, replacement], found {value!r}")
        return
    try:
        re.sub(value[0], value[1], "")  # which also looks for the groups that the replacement names
    except (re.error, IndexError) as error:
        problems.append(f"{at}: {value!r}: {error}")
        return
    yield value[0], value[1]


def _rule(value: Any, at: str, problems: list[str]) -> Iterator[Rule]:
    kind = value.get("rule") if isinstance(value, dict) else None
    if kind not in RULES:
        problems.append(f"{at}: expected rule = one of {', '.join(RULES)}, found {value!r}")
        return
    known = {field.name: field for field in fields(RULES[kind])}
    required = [name for name, field in known.items() if field.default is MISSING]
    given = {name: item for name, item in value.items() if name != "rule"}
    before = len(problems)
    problems += [f"{at}.{name}: {kind} has {', '.join(known)}" for name in given.keys() - known.keys()]
    problems += [f"{at}.{name}: missing" for name in required if name not in given]
    for name in given.keys() & known.keys():
        items = given[name] if isinstance(given[name], list) else [given[name]]
        expected, many, item = TYPES[known[name].type]
        if many != isinstance(given[name], list) or not all(type(each) is item for each in items):
            problems.append(f"{at}.{name}: expected {expected}, found {given[name]!r}")
    if len(problems) == before:
        yield RULES[kind](**{n: tuple(item) if isinstance(item, list) else item for n, item in given.items()})
