"""Files at plain addresses, kept in the zoo's own cache by the hash of their content."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zoo._hub import cache
from zoo._hub.checksum import Checksum
from zoo._hub.download import Request, quoted
from zoo._hub.errors import check_online, fetch_advice
from zoo._hub.remote_file import Download
from zoo._registry.entry import Weights


@dataclass(frozen=True)
class UrlFile:
    """The file at an entry's `url`."""

    name: str
    weights: Weights

    @property
    def address(self) -> str:
        return str(self.weights.url).partition("?")[0]

    def checksum(self) -> Checksum:
        return cache.pinned(self.address, Checksum.of(self.weights))

    def directory(self) -> Path:
        return cache.ensure_directory(_files())

    def blob_path(self) -> Path | None:
        checksum = self.checksum()
        return _files() / checksum.digest if checksum.complete else None

    def cached(self) -> Path | None:
        home = self.blob_path()
        return home if home and home.is_file() else None

    def prepare(self) -> Download:
        check_online(fetch_advice(self.name))
        return Download(lambda: Request(quoted(str(self.weights.url))), self.checksum())

    def keep(self, file: BinaryIO, found: Checksum) -> None:
        cache.keep(file, _files() / found.digest)
        if not Checksum.of(self.weights).complete:
            cache.pin(self.address, found)

    def remove(self) -> None:
        (self.cached() or Path()).unlink(missing_ok=True)


def _files() -> Path:
    return cache.root() / "files"
