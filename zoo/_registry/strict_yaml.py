"""The part of YAML that a manifest needs, read strictly: PyYAML's loaders take the last of two equal keys,
expand aliases without bound, and turn `12:30:45` or `0123456` into a number.

What a value is follows YAML 1.2: true, false, null, decimal numbers; everything else is text.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml

MAX_DEPTH = 16
CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}
INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,99})")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
# libyaml reads ten times faster; PyYAML is built without it on some platforms.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FORBIDDEN = {b"\xef\xbb\xbf": "a byte order mark", b"\0": "a NUL", b"\t": "a tab"}

Events: TypeAlias = Iterator[Any]


def read(content: bytes, problems: list[str]) -> object:
    """Returns the value of the only document, made of dict, list, str, int, float, bool and None.

    Each problem is appended to `problems`, after the path of keys that leads to it.
    """
    for mark, what in FORBIDDEN.items():
        if mark in content:
            line = content[: content.index(mark)].count(b"\n") + 1
            problems.append(f"line {line}: {what}; remove it")
    if problems:
        return None
    try:
        return _document(yaml.parse(content.decode("utf-8"), LOADER), problems)
    except UnicodeDecodeError as error:
        problems.append(f"not UTF-8 at byte {error.start}")
    except yaml.YAMLError as error:
        problems.append(" ".join(str(error).replace('in "<unicode string>", ', "at ").split()))
    return None


def _document(events: Events, problems: list[str]) -> object:
    next(events)  # the start of the stream
    start = next(events)
    if isinstance(start, yaml.StreamEndEvent):
        return None
    if start.version or start.tags:
        problems.append("a directive (%YAML or %TAG); remove it")
    value = _value(next(events), events, "", problems)
    next(events)  # the end of the document
    if problems:  # a document that was not understood may not have ended where it seems
        return value
    if not isinstance(next(events), yaml.StreamEndEvent):
        problems.append("more than one document; remove the second '---' and what follows")
    return value


def _value(event: Any, events: Events, path: str, problems: list[str], depth: int = 0) -> object:
    if isinstance(event, yaml.AliasEvent):
        problems.append(f"{path}: an alias (*{event.anchor}); write the value out")
        return None
    for what, found in (("an anchor (&", event.anchor), ("a tag (", event.tag)):
        if found is not None:
            problems.append(f"{path}: {what}{found}); remove it")
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event, path, problems)
    if depth == MAX_DEPTH:
        # Raised, so that a million brackets are not walked through.
        raise yaml.YAMLError(f"{path}: nested more than {MAX_DEPTH} deep")
    if isinstance(event, yaml.SequenceStartEvent):
        return _sequence(events, path, problems, depth + 1)
    return _mapping(events, path, problems, depth + 1)


def _sequence(events: Events, path: str, problems: list[str], depth: int) -> list[object]:
    items: list[object] = []
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        items.append(_value(event, events, f"{path}[{len(items)}]", problems, depth))
    return items


def _mapping(events: Events, path: str, problems: list[str], depth: int) -> dict[str, object]:
    fields: dict[str, object] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = _value(event, events, path, problems, depth)
        inner = f"{path}.{key}" if path else str(key)
        value = _value(next(events), events, inner, problems, depth)
        if not isinstance(key, str):
            problems.append(f"{path}: the key {key!r} is not text; quote it")
        elif key in fields:
            problems.append(f"{inner}: occurs twice")
        else:
            fields[key] = value
    return fields


def _scalar(event: Any, path: str, problems: list[str]) -> object:
    text: str = event.value
    if not event.implicit[0]:  # quoted
        return text
    if text in CONSTANTS:
        return CONSTANTS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    if not NUMBER.fullmatch(text):
        return text
    if not math.isfinite(number := float(text)):
        problems.append(f"{path}: {text} is no finite number; quote it if it is text")
    return number
