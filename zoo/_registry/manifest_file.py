"""Adds models to a manifest that people edit: a block in its place, every other byte as it was."""

from dataclasses import replace
from pathlib import Path

from converters.errors import CheckpointError
from converters.io import atomic_write
from zoo._errors import ManifestError
from zoo._registry import blocks, manifest, manifest_schema, packaged, strict_yaml
from zoo._registry.entry import Entry, fields_of
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
        ManifestError: it is no valid manifest, or the name is taken or malformed.
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
    return known


def owner(known: Manifest, name: str) -> str | None:
    """Returns the model that `model.tag` is a tag of; None for the name of a model."""
    return next(iter(blocks.owners(name, known.models)), None)


def extended(path: Path, entry: Entry) -> bytes:
    """Returns the content of a manifest with one more model, re-read strictly.

    Raises:
        ManifestError: it is no valid manifest, it has a model of that name, or does not take this one.
    """
    known, content = with_room_for(path, entry.name), _content(path).decode()
    for whole in (False, True):
        more = _inserted(content, entry, known, whole=whole).encode()
        try:
            found = manifest_schema.parse(path, more)
        except ManifestError as error:
            problems = str(error).partition("\n")[2]
            raise ManifestError(f"{str(path)!r} does not take the entry:\n{problems}") from None
        if {**found.models} == {**known.models, entry.name: entry} and len(more) <= manifest.MAX_SIZE:
            return more
    raise ManifestError(
        f"{str(path)!r} does not take the entry: read again it would be another one, or too large."
    )


def _inserted(content: str, entry: Entry, known: Manifest, *, whole: bool) -> str:
    """Returns the manifest's text with the model, or with its tag of another one."""
    model = owner(known, entry.name)
    if model is None:
        return blocks.insert(content, block(entry, known))
    theirs = fields_of(replace(known.models[model], name=entry.name))
    shared = {*theirs, *fields_of(entry)} - {*manifest_schema.TAGGED}
    different = sorted(field for field in shared if theirs.get(field) != fields_of(entry).get(field))
    if different:
        raise ManifestError(
            f"{entry.name!r} is the name of a tag of {model!r}, and differs from it in "
            f"{', '.join(different)}; choose another name."
        )
    tag = entry.name.removeprefix(f"{model}.")
    return blocks.insert_tag(content, model, blocks.tag_text(tag, entry, known.models[model], whole=whole))


def _content(path: Path) -> bytes:
    return manifest.content_of(path) if path.exists() else b"models:\n"


def add(path: Path, entry: Entry, *, dry_run: bool = False) -> str:
    """Adds a model, or a tag of one, to a manifest, which is created if there is none; returns its lines.

    Args:
        path: A YAML file.
        entry: The model's record; `model.tag` is added to the tags of that model.
        dry_run: If true, the file is left as it is.

    Raises:
        ManifestError: it does not take the model, or cannot be written; it is as it was.
    """
    before, content = _content(path).decode(), extended(path, entry)
    if dry_run:
        return _added(before, content.decode())
    try:
        with atomic_write(path, overwrite=True) as file:
            file.write(content)
    except CheckpointError as error:
        raise ManifestError(str(error)) from error
    return _added(before, content.decode())


def _added(before: str, after: str) -> str:
    """Returns the lines that a manifest has more, which are in one piece."""
    old, new = before.splitlines(), after.splitlines()
    start = next((at for at, line in enumerate(old) if line != new[at]), len(old))
    return "\n".join(new[start : start + len(new) - len(old)]).strip("\n") + "\n"
