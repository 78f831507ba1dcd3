"""Reads the registry: weights_manifest.yaml and the generated files beside it in a checkout, the compiled
form of all of them in an installed package.

A directory that `zoo.save` wrote has one entry of the same form in its config.json.
"""

from functools import cache
from pathlib import Path

from converters.errors import CheckpointError
from converters.io import InputFile, named_errors
from zoo._errors import ManifestError
from zoo._registry import compiled, entry_schema, generated, manifest_schema, packaged
from zoo._registry.entry import Entry
from zoo._registry.manifest_schema import Manifest

MAX_SIZE = 1_000_000
CONFIG = "config.json"


def read(path: Path | None = None) -> Manifest:
    """Returns the manifest in a YAML file, or the one that comes with the package.

    Raises:
        ManifestError: it breaks its schema; every problem is listed.
    """
    return _packaged() if path is None else manifest_schema.parse(path, content_of(path))


def read_saved(directory: Path) -> Entry:
    """Returns the entry in the config.json of a directory that `zoo.save` wrote.

    Raises:
        ManifestError: it breaks its schema; every problem is listed.
    """
    return parse_saved(directory / CONFIG, read_config(directory))


def read_config(directory: Path) -> bytes:
    """Returns the content of a directory's config.json."""
    return content_of(directory / CONFIG)


def parse_saved(path: Path, content: bytes) -> Entry:
    """Returns the entry in the content of such a config.json; errors name the path."""
    entry: Entry = manifest_schema.checked(path, content, entry_schema.SAVED)
    return entry


@cache
def _packaged() -> Manifest:
    path = packaged.manifest_path()
    if path.suffix == ".json":
        return compiled.read(path, path.read_bytes())
    return generated.with_generated(path, read(path))


def content_of(path: Path) -> bytes:
    """Returns the bytes of a manifest or a config.json.

    Raises:
        ManifestError: it is no regular file, cannot be read, or is too large.
    """
    try:
        with named_errors(path):
            file = InputFile(path)
            if file.size > MAX_SIZE:
                raise CheckpointError(f"has {file.size:,} bytes; the limit is {MAX_SIZE:,}")
            return file.read(0, file.size)
    except CheckpointError as error:
        raise ManifestError(str(error)) from error
