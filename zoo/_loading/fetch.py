"""Fetches weights into the caches before they are needed, lists what is there, and removes it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from converters.errors import ConverterError
from zoo._errors import WeightsError, ZooError
from zoo._hub import remote_file
from zoo._hub.settings import Token
from zoo._loading import resolve, text_settings, weights
from zoo._loading.located import Located
from zoo._registry import manifest


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
    content, path = weights.content_of(located)
    size = content.size + sum(remote_file.read(shard)[0].size for shard in weights.shards(located))
    if located.entry.takes_tokens and located.weights.repo:
        text_settings.text_files(located)
    return Cached(name, size, str(path))


def cached(pattern: str = "*") -> list[Cached]:
    """The fetched weights of the manifest's models whose name matches; loading is what checks them."""
    models = manifest.read().models
    names = resolve.list_models(pattern, pretrained=True)
    found = (_found(name, Located(entry=models[name])) for name in names)
    return [each for each in found if each]


def remove(name: str) -> Cached:
    """Takes a model's weights out of the cache; other names of the same file lose it, too.

    Raises:
        WeightsError: they are not in one.
    """
    located = resolve.resolve(name)
    taken = _found(name, located)
    if taken is None:
        raise WeightsError(f"{name!r} has nothing in the cache; `zoo fetch --list` shows what is there.")
    for source in _files(located):
        remote_file.remove(source)
    return taken


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
