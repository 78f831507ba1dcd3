"""Adds models to a manifest that people edit: a block in its place, every other byte as it was."""

from pathlib import Path

from converters.errors import CheckpointError
from converters.io import atomic_write
from zoo._errors import ManifestError
from zoo._registry import blocks, manifest, manifest_schema, packaged, strict_yaml
from zoo._registry.entry import Entry
from zoo._registry.manifest_schema import Manifest

EMPTY = {"models": None}


def editable() -> Path:
    """Returns the manifest of the checkout.

    Raises:
        ManifestError: the package is installed, and its manifest compiled.
    """
    path = packaged.manifest_path()
    if path.suffix == ".json":
        raise ManifestError(
            f"{str(path)!r} is compiled, and cannot be edited: an installed package has no "
            "weights_manifest.yaml; work in a checkout, or name a YAML file with --manifest."
        )
    return path


def block(entry: Entry, known: Manifest | None = None) -> str:
    """Returns the entry as a block, to be pasted into the manifest.

    Args:
        entry: The model's record.
        known: The manifest whose defaults the block leaves out; without it, every field is written, and those
            without a value are `null` where the zoo's own manifest has a default.
    """
    defaults = (known or manifest.read()).families.get(str(entry.family), {})
    return blocks.text(entry.name, entry, defaults, whole=known is None)


def with_room_for(path: Path, name: str) -> Manifest:
    """Returns the manifest in a file, which may be missing, if it can have a model of that name.

    Raises:
        ManifestError: it is no valid manifest, or the name is taken, malformed or reads as a tag.
    """
    content = _content(path)
    # A manifest to be has no models yet.
    known = (
        Manifest(models={})
        if strict_yaml.read(content, []) == EMPTY
        else manifest_schema.parse(path, content)
    )
    problems: list[str] = []
    manifest_schema.NAME(name, "the name", problems)
    if problems:
        raise ManifestError(f"{problems[0]}.")
    if name in known.models:
        raise ManifestError(
            f"{str(path)!r} has a model {name!r} already; choose another name, or take that one out first."
        )
    for model in blocks.owners(name, known.models):
        raise ManifestError(
            f"{name!r} is the name of a tag of {model!r}; add it to the tags of {model!r} by hand, or choose "
            "another name."
        )
    return known


def extended(path: Path, entry: Entry) -> bytes:
    """Returns the content of a manifest with one more model, re-read strictly.

    Raises:
        ManifestError: it is no valid manifest, it has a model of that name, or does not take this one.
    """
    known = with_room_for(path, entry.name)
    more = blocks.insert(_content(path).decode(), block(entry, known)).encode()
    try:
        found = manifest_schema.parse(path, more)
    except ManifestError as error:
        problems = str(error).partition("\n")[2]
        raise ManifestError(f"{str(path)!r} does not take the entry:\n{problems}") from None
    if {**found.models} != {**known.models, entry.name: entry} or len(more) > manifest.MAX_SIZE:
        raise ManifestError(
            f"{str(path)!r} does not take the entry: read again it would be another one, or too large."
        )
    return more


def _content(path: Path) -> bytes:
    return manifest.content_of(path) if path.exists() else b"models:\n"


def add(path: Path, entry: Entry) -> str:
    """Adds a model to a manifest, which is created if there is none, and returns its block.

    Raises:
        ManifestError: it does not take the model, or cannot be written; it is as it was.
    """
    content = extended(path, entry)
    try:
        with atomic_write(path, overwrite=True) as file:
            file.write(content)
    except CheckpointError as error:
        raise ManifestError(str(error)) from error
    return block(entry, manifest.read(path))
