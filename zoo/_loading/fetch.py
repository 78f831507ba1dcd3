"""Fetches weights into the caches before they are needed, lists what is there, and removes it."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from converters.errors import ConverterError
from zoo._errors import WeightsError, ZooError
from zoo._hub import hub_file, remote_file
from zoo._hub.settings import Token
from zoo._loading import repositories, resolve, text_settings, weights
from zoo._loading.load import backbone_of
from zoo._loading.located import Located
from zoo._registry import manifest
from zoo._registry.entry import UNATTESTED, Entry, Weights
from zoo._registry.listing import list_models
from zoo._registry.manifest import CONFIG


class Cached(NamedTuple):
    """A model's weights on this machine."""

    name: str
    size: int
    path: str


def fetch(name: str, *, token: Token = None) -> Cached:
    """Sees to it that a model's weights, and what makes tokens of texts, are here and right.

    Raises:
        WeightsError: they cannot be had, or are not what they should be.
    """
    located = resolve.resolve(name, token=token)
    backbone = backbone_of(located.entry)
    if backbone:
        weights.content_of(backbone)
    content, path = weights.content_of(located)
    size = content.size + sum(remote_file.read(shard)[0].size for shard in weights.shards(located))
    if located.entry.has_text_files and located.weights.repo:
        text_settings.text_files(located)
    return Cached(name, size, str(path))


def cached(pattern: str = "*") -> list[Cached]:
    """Returns the weights in the cache of the models and repositories whose name matches; unverified."""
    names = list_models(pattern, pretrained=True)
    models = manifest.read().models
    known = {name: Located(entry=models[name]) for name in names}
    known |= {name: each for name, each in _repositories().items() if fnmatchcase(name, pattern)}
    found = (_found(name, located) for name, located in known.items())
    return [each for each in found if each]


def _repositories() -> dict[str, Located]:
    """Returns the repositories in the Hub's cache that hold weights and are not the manifest's."""
    entries = manifest.read().models.values()
    ours = {(each.weights.repo, hub_file.commit_of(each.weights)) for each in entries if each.weights}
    found = {}
    for repo, commit, directory in hub_file.snapshots():
        file = _weights_in(directory)
        if file is None or (repo, commit) in ours:
            continue
        current = hub_file.cached_commit(repo, "main") == commit
        name = f"{repositories.SCHEME}{repo}" + ("" if current else f"@{commit}")
        weights = Weights(UNATTESTED, file=file, repo=repo, revision=commit)
        found[name] = Located(entry=Entry(name, 0, weights=weights))
    return found


def _weights_in(directory: Path) -> str | None:
    """Returns the path of a snapshot's weights, at its top or in a folder; None without config or weights."""
    for config in (directory / CONFIG, *sorted(directory.glob(f"*/{CONFIG}"))):
        for name in repositories.WEIGHTS if config.is_file() else ():
            if config.with_name(name).is_file():
                return config.with_name(name).relative_to(directory).as_posix()
    return None


def remove(name: str) -> Cached:
    """Removes a model's weights from the cache; other names of the same file lose it, too.

    Raises:
        WeightsError: they are not in one.
    """
    located = _repositories().get(name) or resolve.resolve(name)
    taken = _found(name, located) or _begun(name, located)
    if taken is None:
        raise WeightsError(f"{name!r} has nothing in the cache; `zoo fetch --list` shows what is there.")
    for source in _files(located):
        remote_file.remove(source)
    return taken


def _begun(name: str, located: Located) -> Cached | None:
    """Returns what an interrupted download left."""
    parts = [part for source in _files(located) for part in remote_file.parts(source)]
    return Cached(name, sum(part.stat().st_size for part in parts), str(parts[-1])) if parts else None


def of_each(
    verb: Callable[[str], Cached], names: Sequence[str]
) -> tuple[list[Cached], ZooError | ConverterError | None]:
    """Applies the verb to each name; collects the refusals instead of stopping at the first."""
    done: list[Cached] = []
    refused: list[ZooError | ConverterError] = []
    for name in names:
        try:
            done.append(verb(name))
        except (ZooError, ConverterError) as error:
            refused.append(error)
    if len(refused) > 1:
        lines = "".join(f"\n  {error}" for error in refused)
        return done, WeightsError(f"{len(refused)} of {len(names)} models are refused:{lines}")
    return done, refused[0] if refused else None


def _found(name: str, located: Located) -> Cached | None:
    paths = [path for source in _files(located) if (path := remote_file.cached_path(source))]
    return Cached(name, sum(path.stat().st_size for path in paths), str(paths[-1])) if paths else None


def _files(located: Located) -> list[remote_file.Source]:
    """Where an entry's files are fetched from; an index last, so that its shards are known until it goes."""
    first = weights.source(located)
    return [*weights.shards(located), first] if first else []
