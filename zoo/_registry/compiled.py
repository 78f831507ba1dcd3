"""The manifest as JSON, as the wheel carries it: an entry is built only when it is asked for."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo._errors import ManifestError
from zoo._registry import blocks, entry_schema, manifest_schema, schema
from zoo._registry.entry import Entry, FrozenMapping, fields_of
from zoo._registry.manifest_schema import Manifest

RECORD = schema.record(Entry, {"name": schema.TEXT, **entry_schema.FIELDS}, required=("name", "num_params"))


class Lines(Mapping[str, Any]):
    """Records by name, each a line of JSON, parsed when it is asked for."""

    def __init__(self, lines: list[bytes]) -> None:
        # "name":{...},
        self._lines = {line[1 : line.index(b'"', 1)].decode(): line for line in lines}

    def __getitem__(self, name: str) -> Any:
        line = self._lines[name]
        return json.loads(line[line.index(b":") + 1 :].removesuffix(b","))

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, name: object) -> bool:
        return name in self._lines


class LazyEntries(Mapping[str, Entry]):
    """Entries by name, each checked and built at its first use."""

    def __init__(self, path: Path, records: Mapping[str, Any]) -> None:
        self._path, self._records = path, records
        self._built: dict[str, Entry] = {}

    def __getitem__(self, name: str) -> Entry:
        if name not in self._built:
            problems: list[str] = []
            entry = RECORD(self._record(name), f"models.{name}", problems)
            if problems:
                raise manifest_schema.broken(self._path, problems)
            self._built[name] = entry
        return self._built[name]

    def _record(self, name: str) -> Any:
        try:
            return self._records[name]
        except ValueError as error:
            raise _damaged(self._path) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, name: object) -> bool:
        return name in self._records


END = b"}}"


def dump(manifest: Manifest) -> bytes:
    """Returns the compiled form: every entry whole, defaults and tags resolved; JSON, an entry a line."""
    models = manifest.models
    plain = sorted({*models} - manifest.pretrained)
    order = sorted(models, key=lambda name: blocks.order(name, str(models[name].family)))
    head = _json({"model_types": dict(manifest.model_types), "plain": plain}).removesuffix("}")
    lines = ",\n".join(f"{_json(name)}:{_json(fields_of(models[name]))}" for name in order)
    return f'{head},"models":{{\n{lines}\n{END.decode()}'.encode()


def _json(value: Any) -> str:
    return json.dumps(value, default=fields_of, ensure_ascii=False, separators=(",", ":"))


def read(path: Path, content: bytes) -> Manifest:
    """Returns the manifest in what `dump` gave; errors name the path.

    Raises:
        ManifestError: it is damaged; what is wrong with an entry is found when that is asked for.
    """
    try:
        head, *lines, end = content.split(b"\n")
        found = json.loads(head.removesuffix(b'"models":{') + b'"end":0}')
        models, model_types = Lines(lines), FrozenMapping(found["model_types"])
        pretrained = frozenset({*models} - {*found["plain"]})
        if end != END:
            raise ValueError("it is cut off")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path) from error
    return Manifest(models=LazyEntries(path, models), model_types=model_types, pretrained=pretrained)


def _damaged(path: Path) -> ManifestError:
    return ManifestError(f"{str(path)!r} is no compiled manifest; install flax-zoo again.")
