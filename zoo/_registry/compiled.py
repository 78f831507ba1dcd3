"""The manifest as JSON, as the wheel carries it: an entry is built only when it is asked for."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo._errors import ManifestError
from zoo._registry import entry_schema, manifest_schema, schema
from zoo._registry.entry import Entry, FrozenMapping, fields_of
from zoo._registry.manifest_schema import Manifest

RECORD = schema.record(Entry, {"name": schema.TEXT, **entry_schema.FIELDS}, required=("name", "num_params"))


class LazyEntries(Mapping[str, Entry]):
    """Entries by name, each checked and built at its first use."""

    def __init__(self, path: Path, records: Mapping[str, Any]) -> None:
        self._path, self._records = path, records
        self._built: dict[str, Entry] = {}

    def __getitem__(self, name: str) -> Entry:
        if name not in self._built:
            problems: list[str] = []
            entry = RECORD(self._records[name], f"models.{name}", problems)
            if problems:
                raise manifest_schema.broken(self._path, problems)
            self._built[name] = entry
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, name: object) -> bool:
        return name in self._records


def dump(manifest: Manifest) -> bytes:
    """Returns the compiled form: every entry whole, defaults and tags resolved."""
    models = {name: fields_of(entry) for name, entry in manifest.models.items()}
    content = {"models": models, "model_types": dict(manifest.model_types)}
    return json.dumps(content, default=fields_of, ensure_ascii=False, separators=(",", ":")).encode()


def read(path: Path, content: bytes) -> Manifest:
    """Returns the manifest in what `dump` gave; errors name the path.

    Raises:
        ManifestError: it is damaged; what is wrong with an entry is found when that is asked for.
    """
    try:
        found = json.loads(content)
        models, model_types = dict(found["models"]), FrozenMapping(found["model_types"])
        pretrained = frozenset(name for name, fields in models.items() if "weights" in fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ManifestError(f"{str(path)!r} is no compiled manifest; install flax-zoo again.") from error
    return Manifest(models=LazyEntries(path, models), model_types=model_types, pretrained=pretrained)
