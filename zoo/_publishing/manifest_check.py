"""Checks a manifest against the modules that its entries describe; reports all problems at once."""

from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeAlias

from converters.errors import ConverterError
from zoo._errors import ManifestError, UnknownModelError, ZooError
from zoo._hub import hash_records, remote_file
from zoo._loading import weights
from zoo._loading.build import build
from zoo._loading.located import Located
from zoo._registry import blocks, families, manifest, packaged
from zoo._registry.entry import Entry
from zoo._registry.manifest_schema import Manifest
from zoo._variables import init
from zoo._variables.tree import count_params, unflatten

Counts: TypeAlias = dict[tuple[Any, ...], int]  # by family, config and inputs


def check(path: Path | None = None, patterns: Collection[str] = (), *, files: bool = False) -> list[str]:
    """Checks a manifest: its schema, the order of its models, and that each entry is true of its module.

    Args:
        path: A YAML file; by default the manifest of the checkout, or of the installed package.
        patterns: Names, or patterns such as `resnet*`; by default all that people edit: generated entries are
            checked by the script that makes them.
        files: If true, size and hash of the weights that are on this machine are verified.

    Returns:
        The names of the entries that were checked.

    Raises:
        ManifestError: something is wrong; every problem is listed.
        UnknownModelError: no name matches a pattern.
    """
    found, edited = manifest.read(path), _edited(path)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in found.models):
            raise UnknownModelError(f"no model's name matches {pattern!r}; `zoo list` shows all.")
    names = [name for name in found.models if any(fnmatchcase(name, each) for each in patterns)]
    names = names if patterns else [*edited.models]
    counts: Counts = {}
    wrong = (problem for name in names for problem in _wrong(name, found, counts, files=files))
    problems = [*_disorder(edited), *wrong]
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        place = str(path or packaged.manifest_path())
        raise ManifestError(f"{place!r} has {len(problems)} problem{'s' * (len(problems) > 1)}:{lines}")
    return names


def _edited(path: Path | None) -> Manifest:
    """Returns the manifest that people edit; in an installed package, that and the generated entries."""
    place = path or packaged.manifest_path()
    return manifest.read(path) if place.suffix == ".json" else manifest.read(place)


def _disorder(found: Manifest) -> Iterator[str]:
    try:
        yield from blocks.misplaced(found.models)
    except ManifestError:
        return  # a compiled entry that is damaged, which its own check reports
    if list(found.families) != sorted(found.families):
        yield f"families: they stand as {', '.join(found.families)}; order them by name"


def _wrong(name: str, found: Manifest, counts: Counts, *, files: bool) -> Iterator[str]:
    """Yields the problems of one entry."""
    try:
        entry = found.models[name]
        yield from (f"models.{name}.{problem}" for problem in contradictions(entry, counts))
        if files:
            yield from (f"models.{name}.weights: {problem}" for problem in _damaged(entry))
    except (ZooError, ConverterError) as error:
        yield f"models.{name}: {error}"


def contradictions(entry: Entry, counts: Counts) -> Iterator[str]:
    """Yields the facts of the entry that its module contradicts."""
    families.torch_names(entry)  # refuses an unknown layout
    module, _ = build(entry)
    key = entry.family, entry.config, entry.inputs
    if key not in counts:  # entries that differ in their weights only share it
        counts[key] = count_params(unflatten(init.shapes(module, entry.inputs)))
    if counts[key] != entry.num_params:
        yield f"num_params: the module has {counts[key]}, the entry says {entry.num_params}"
    if entry.classes and not packaged.classes_path(entry.classes).is_file():
        yield f"classes: there is no file {str(packaged.classes_path(entry.classes))!r}"
        return
    names, logits = entry.class_names, getattr(module, "num_classes", None)
    if len(set(names)) != len(names):
        yield "classes: a name occurs twice"
    if names and logits not in (None, len(names)):
        yield f"classes: there are {len(names)} names for {logits} classes"


def _damaged(entry: Entry) -> Iterator[str]:
    """Yields the differences of the weights from the entry, if they are bundled or in a cache."""
    if entry.weights is None:
        return
    located = Located(entry=entry)
    source = weights.source(located)
    if source is None:
        weights.content_of(located)
    elif path := remote_file.cached_path(source):
        problem, _, _ = hash_records.problem_of(path, source.checksum(), verify=True)
        if problem:
            yield f"{str(path)!r} {problem}"
