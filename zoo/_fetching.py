"""What `zoo fetch` does: weights into the caches before they are needed, what is in them, and out again."""

from typing import NamedTuple

from zoo import _loading, _manifest, _weights
from zoo._errors import WeightsError


class Cached(NamedTuple):
    """A model's weights on this machine."""

    name: str
    size: int
    path: str


def fetch(name: str, *, token: str | bool | None = None) -> Cached:
    """Sees to it that a model's weights are here and right.

    Raises:
        WeightsError: they cannot be had, or are not what they should be.
    """
    entry = _loading.find(name, token=token)
    content, path = _weights.content_of(entry, _loading.directory_of(name), token=token)
    return Cached(name, content.size, str(path))


def cached(pattern: str = "*") -> list[Cached]:
    """The fetched weights of the manifest's models whose name matches; loading is what checks them."""
    found = []
    for name in _loading.list_models(pattern, pretrained=True):
        source = _weights.source(_manifest.read().models[name])
        path = source.cached() if source else None
        if path:
            found.append(Cached(name, path.stat().st_size, str(path)))
    return found


def remove(name: str) -> Cached:
    """Takes a model's weights out of the cache; other names of the same file lose it, too.

    Raises:
        WeightsError: they are not in one.
    """
    source = _weights.source(_loading.find(name))
    path = source.cached() if source else None
    if source is None or path is None:
        raise WeightsError(f"{name!r} has nothing in the cache; `zoo fetch --list` shows what is there.")
    taken = Cached(name, path.stat().st_size, str(path))
    source.remove()
    return taken
