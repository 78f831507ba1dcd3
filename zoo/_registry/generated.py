"""Entries that a script makes of another library's records: a JSON file beside the manifest, a line an entry.

It has the manifest's schema. Needs the standard library only, as manifest_schema: the wheel is built with it.
"""

import json
from collections import ChainMap, Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from zoo._errors import ManifestError
from zoo._registry import compiled, manifest_schema
from zoo._registry.entry import Entry
from zoo._registry.manifest_schema import Manifest

FILES = ("timm_manifest.json",)  # of scripts/timm_entries.py


def read(path: Path) -> Manifest:
    """Returns the entries in such a file, all of them checked.

    Raises:
        ManifestError: it is no JSON, or breaks its schema; every problem is listed.
    """
    problems: list[str] = []
    made: Manifest = manifest_schema.check_manifest(_content(path, problems), "", problems)
    if problems:
        raise manifest_schema.broken(path, problems)
    return made


def lazy(path: Path) -> Manifest:
    """Returns the same, but an entry is checked only when it is asked for: there are a thousand of them.

    Raises:
        ManifestError: it is no JSON.
    """
    problems: list[str] = []
    found = _content(path, problems)
    if problems:
        raise manifest_schema.broken(path, problems)
    records, families = {}, found["families"]
    for name, fields in found["models"].items():
        whole = {**families[fields["family"]], **fields, "name": name}
        records[name] = {field: value for field, value in whole.items() if value is not None}
    for plain, tag in found["default_tags"].items():
        records[plain] = {**records[f"{plain}.{tag}"], "name": plain}
    pretrained = frozenset(name for name, fields in records.items() if "weights" in fields)
    return Manifest(models=compiled.LazyEntries(path, records), pretrained=pretrained)


def _content(path: Path, problems: list[str]) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = Counter(name for name, _ in pairs)
        problems.extend(f"{name!r} stands there twice" for name, count in names.items() if count > 1)
        return dict(pairs)

    try:
        return json.loads(path.read_bytes(), object_pairs_hook=once)
    except ValueError as error:
        raise ManifestError(f"{str(path)!r} is no JSON: {error}.") from error


def with_generated(path: Path, manifest: Manifest, read: Callable[[Path], Manifest] = lazy) -> Manifest:
    """Returns a manifest with the entries of the generated files beside it.

    Args:
        path: Where the manifest is.
        manifest: The entries that it has.
        read: Reads such a file: `read`, or `lazy`.

    Raises:
        ManifestError: such a file is broken, or has a name that the manifest has.
    """
    for place in map(path.with_name, FILES):
        if not place.is_file():
            continue
        made = read(place)
        twice = manifest.models.keys() & made.models.keys()
        if twice:
            names = ", ".join(sorted(twice))
            raise ManifestError(f"{str(place)!r} and {path.name} both have {names}; take it out of one.")
        # Of the chain's maps, the last one's names come first.
        models = ChainMap[str, Entry](cast("Any", made.models), dict(manifest.models))
        pretrained = manifest.pretrained | made.pretrained
        manifest = replace(manifest, models=MappingProxyType(models), pretrained=pretrained)
    return manifest
