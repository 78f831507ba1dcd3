"""Files on the Hugging Face Hub, kept in the Hub's own cache.

Its layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache. The body of a file is fetched by
`download` and not by huggingface_hub, which waits as long as a server asks it to.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from zoo._errors import WeightsError
from zoo._hub import cache, errors, metadata
from zoo._hub.checksum import GIT, SHA256, Checksum
from zoo._hub.download import Request, check_move
from zoo._hub.errors import RefusedError
from zoo._hub.remote_file import Download
from zoo._hub.retry import Retries
from zoo._hub.settings import COMMIT, Token, endpoint
from zoo._registry.entry import UNATTESTED, Weights

MAIN = "main"  # the branch that an unattested revision is looked up at
HOME = "set HF_HOME to a directory that you can write to"


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A `file` in a `repo` at a `revision`, which is a commit, or not attested and then pinned at first use.

    Attributes:
        name: Name of the model, for messages.
        weights: Address and expected checksum.
        token: Token of the Hub.
        limit: Largest size, in bytes; None for any.
    """

    name: str
    weights: Weights
    token: Token = field(default=None, repr=False)
    limit: int | None = None
    _known: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)
    _asked: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def address(self) -> str:
        return str(self.weights)

    def checksum(self) -> Checksum:
        known = cache.pinned(self.address, Checksum.of(self.weights))
        snapshot = self._snapshot()
        if known.complete or not (snapshot.is_symlink() and snapshot.is_file()):
            return known
        # Another program's, which names blobs by the hash that the Hub gave.
        return _named(snapshot.readlink().name, snapshot.stat().st_size, known) or known

    def directory(self) -> Path:
        return cache.ensure_directory(self._blobs(), HOME)

    def blob_path(self) -> Path | None:
        checksum = self.checksum()
        return self._blobs() / checksum.digest if checksum.complete else None

    def _blobs(self) -> Path:
        return folder(str(self.weights.repo)) / "blobs"

    def cached(self) -> Path | None:
        # Whether it exists, not whether the link does, which may lead nowhere.
        if not (self.checksum().complete and self._snapshot().is_file()):
            return None
        self._pin(str(self.commit))
        return self._snapshot()

    @property
    def commit(self) -> str | None:
        """The commit of the file: the manifest's or the pinned one; None before the Hub was asked."""
        found = commit_of(self.weights)
        return self._asked[0] if found is None and self._asked else found

    def _pin(self, commit: str) -> None:
        """Keeps the commit of an unattested revision for all files of the repository."""
        if self.weights.revision == UNATTESTED:
            self._asked[:] = [commit]
            with suppress(WeightsError, OSError):  # of a cache that may only be read: it is looked up again
                cache.pin_commit(str(self.weights.repo), commit)

    def _snapshot(self) -> Path:
        return self._at_commit("snapshots")

    def _at_commit(self, kind: str) -> Path:
        weights = self.weights
        return folder(str(weights.repo)) / kind / (self.commit or UNATTESTED) / str(weights.file)

    def check_exists(self) -> None:
        """Asks the Hub about the file; a download that follows at once asks no more.

        Raises:
            MissingError: the repository has no such file.
            NetworkError: there is no answer.
        """
        self._known[:] = [Retries().run(self.ask)]

    def absent(self) -> bool:
        """Returns whether the cache records that the repository has no such file at this commit."""
        from huggingface_hub import errors as hub_errors
        from huggingface_hub import get_cached_repo_tree

        if self.commit is None:
            return False
        if self._no_exist().is_file():
            return True
        trees = folder(str(self.weights.repo)) / "trees"
        if not (trees / f"{self.commit}.json").is_file():  # the client logs what it cannot read
            return False
        try:
            listed = get_cached_repo_tree(str(self.weights.repo), revision=self.commit)
        except (hub_errors.CachedRepoTreeNotFoundError, hub_errors.HFValidationError):
            return False
        return all(each.path != self.weights.file for each in listed)

    def note_absent(self) -> None:
        """Records that the file does not exist, for good since a commit never changes."""
        if self.commit is not None:
            _note(self._no_exist(), "")

    def _no_exist(self) -> Path:
        return self._at_commit(".no_exist")

    def prepare(self) -> Download | None:
        errors.check_online(errors.fetch_advice(self.name))
        answer = self._known.pop() if self._known else Retries().run(self.ask)
        checksum = self.checksum()
        if not checksum.complete:
            named = _named(str(answer.etag), answer.size, checksum)
            if named is None:
                raise RefusedError(
                    f"{endpoint()} gives no hash of it, nor does the manifest, so it cannot be verified"
                )
            checksum = named
        if (answer.size or 0) >= cache.WORTH:
            _sweep()
        if (self._blobs() / checksum.digest).is_file():  # of another commit
            self._enter(checksum)
            return None
        answers = [answer]
        return Download(lambda: self.request(answers.pop() if answers else self.ask()), checksum)

    def ask(self) -> Any:
        """Fetches the file's metadata from the Hub, in one attempt."""
        weights, commit = self.weights, self.commit
        answer = metadata.ask(str(weights.repo), commit or MAIN, str(weights.file), self.token)
        if answer.commit_hash != (commit or answer.commit_hash):
            raise RefusedError(
                f"{endpoint()} gives it at commit {answer.commit_hash}, and not at the one asked for"
            )
        self._pin(answer.commit_hash)
        if self.limit is not None and (answer.size or 0) > self.limit:
            raise RefusedError(f"it has {answer.size:,} bytes; the limit is {self.limit:,}")
        return answer

    def request(self, answer: Any) -> Request:
        """Returns the request for the file's bytes, from its metadata."""
        from huggingface_hub.utils import build_hf_headers

        headers = {str(name): str(value) for name, value in build_hf_headers(token=self.token).items()}
        try:
            url = urljoin(_url(self.weights, str(answer.commit_hash)), answer.location)
            own = urlsplit(url)[:2] == urlsplit(endpoint())[:2]
        except ValueError as error:
            raise errors.explain(error) from None
        check_move(endpoint(), url)
        if not own:
            # A signed address of a store, which is no business of the token's.
            headers.pop("authorization", None)
        return Request(url, headers, expires=not own)

    def keep(self, file: BinaryIO, found: Checksum) -> None:
        cache.keep(file, self._blobs() / found.digest)
        self._enter(found)

    def _enter(self, found: Checksum) -> None:
        """Links a blob under the file's name at the commit, and pins its hash."""
        _link(self._snapshot(), self._blobs() / found.digest)
        if not Checksum.of(self.weights).complete:
            cache.pin(self.address, found)

    def remove(self) -> None:
        snapshot = self._snapshot()
        cache.unpin_commit(str(self.weights.repo))
        blob = snapshot.resolve()
        snapshot.unlink(missing_ok=True)
        others = (folder(str(self.weights.repo)) / "snapshots").rglob("*")
        if not any(other.is_symlink() and other.resolve() == blob for other in others):
            blob.unlink(missing_ok=True)


def _sweep() -> None:
    """Removes what interrupted downloads left of any repository, and nobody came back to."""
    for blobs in _root().glob("models--*/blobs"):
        with suppress(OSError):  # another user's
            cache.sweep(blobs)


def snapshots() -> list[tuple[str, str, Path]]:
    """Returns the repositories in the Hub's cache: name, commit and directory of each snapshot."""
    found = []
    for path in sorted(_root().glob("models--*--*/snapshots/*")):
        repo = path.parts[-3].removeprefix("models--").replace("--", "/", 1)
        if COMMIT.fullmatch(path.name):
            found.append((repo, path.name, path))
    return found


def folder(repo: str) -> Path:
    """Returns a repository's directory in the Hub's cache."""
    return _root() / f"models--{repo.replace('/', '--')}"


def _root() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached_commit(repo: str, revision: str) -> str | None:
    """Returns the commit that a branch or tag pointed to when it was last looked up, if cached."""
    try:
        commit = (folder(repo) / "refs" / revision).read_text()
    except (OSError, ValueError):
        return None
    return commit if COMMIT.fullmatch(commit) else None


def commit_of(weights: Weights) -> str | None:
    """Returns the commit of weights on the Hub; of an unattested one that is pinned or of other programs."""
    if weights.revision != UNATTESTED:
        return weights.revision
    repo = str(weights.repo)
    return cache.pinned_commit(repo) or cached_commit(repo, MAIN)


def remember(repo: str, revision: str, commit: str) -> None:
    """Records the commit that a branch or tag points to, as the Hub's own client does."""
    if cached_commit(repo, revision) != commit:
        _note(folder(repo) / "refs" / revision, commit)


def _note(path: Path, text: str) -> None:
    """Writes a small cache file that saves a request; skipped where the cache is read-only."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _url(weights: Weights, commit: str) -> str:
    from huggingface_hub import hf_hub_url

    return hf_hub_url(str(weights.repo), str(weights.file), revision=commit)


def _named(etag: str, size: int | None, begins: Checksum) -> Checksum | None:
    """Reads an ETag: the sha256 of a large file or git's blob id of a small one; None for any other."""
    kinds = {SHA256: False, GIT: True}
    if not re.fullmatch("[0-9a-f]+", etag) or len(etag) not in kinds or size is None:
        return None
    return Checksum(etag, size if begins.size is None else begins.size, kinds[len(etag)])


def _link(snapshot: Path, blob: Path) -> None:
    """Links a snapshot's file to the blob; moves the blob there if the file system has no links."""
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    snapshot.unlink(missing_ok=True)
    try:
        snapshot.symlink_to(os.path.relpath(blob, snapshot.parent))
    except OSError:
        os.replace(blob, snapshot)
