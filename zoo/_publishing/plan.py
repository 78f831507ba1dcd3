"""The changes that a publication would make."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from converters.io import aligned_read
from zoo._errors import PublishError
from zoo._hub.checksum import SHA256, Checksum, checksum_of
from zoo._publishing.hub_api import Api, State
from zoo._registry.entry import FrozenMapping

KEPT = (".gitattributes",)  # the Hub's own


@dataclass(frozen=True, kw_only=True)
class File:
    """A planned file of the repository.

    Attributes:
        change: "added", "changed", "unchanged" or "removed".
        size: Size in bytes; 0 for a removed file, whose sha256 is empty.
    """

    path: str
    change: str
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A planned publication, for review.

    Attributes:
        url: The repository's page.
        creates: If true, the repository is created first.
        head: The repository's current commit; None for a repository that does not exist or was not seen.
        notes: Remarks about the files for the user.
    """

    repo: str
    url: str
    private: bool
    creates: bool
    head: str | None
    files: tuple[File, ...]
    tag: str | None
    notes: tuple[str, ...]

    def paths(self, *changes: str) -> tuple[str, ...]:
        """Returns the paths of the files with these changes."""
        return tuple(file.path for file in self.files if file.change in changes)


@dataclass(frozen=True, kw_only=True)
class Request:
    """The user's choices about the repository.

    Attributes:
        dry_run: If true, nothing is sent, so that no token is needed.
    """

    repo: str
    private: bool = True
    create: bool = False
    force: bool = False
    tag: str | None = None
    message: str | None = None
    manifest: Path | None = None
    dry_run: bool = False


def make_plan(
    api: Api,
    request: Request,
    state: State | None,
    files: Mapping[str, Path],
    *,
    verified: Mapping[str, str] = FrozenMapping(),
    notes: tuple[str, ...],
) -> Plan:
    """Plans the change of each path.

    Args:
        api: Access to the repository.
        request: The user's choices.
        state: The repository's content, if it has any.
        files: The files by path in the repository.
        verified: The sha256 of files that were verified just now, by path.
        notes: Remarks for the user.

    Raises:
        PublishError: existing files would be lost without `force`, or the tag is taken.
    """
    present = {path: digest for path, digest in (state.files if state else {}).items() if path not in KEPT}
    planned = [_file(path, file, present.get(path), verified.get(path)) for path, file in files.items()]
    planned += [File(path=path, change="removed") for path in sorted(present.keys() - files.keys())]
    plan = Plan(
        repo=request.repo,
        url=api.page,
        private=request.private,
        creates=state is None and request.create,
        head=state.commit if state else None,
        files=tuple(planned),
        tag=request.tag,
        notes=notes,
    )
    lost = [file for file in planned if file.change in ("changed", "removed")]
    if lost and not request.force:
        lines = "".join(f"\n  {file.change:<9}{file.path}" for file in lost)
        raise PublishError(
            f"{api.repo!r} has other content, and this would be lost:{lines}\n"
            "pass force=True, or choose another repository."
        )
    taken = api.tags().get(request.tag) if request.tag and state else None
    if taken and (taken != plan.head or plan.paths("added", "changed", "removed")):
        raise PublishError(f"{api.repo!r} has a tag {request.tag!r} already, at {taken}; choose another one.")
    return plan


def _file(path: str, file: Path, present: str | None, verified: str | None) -> File:
    if present is None or len(present) == SHA256:
        found = Checksum(verified, file.stat().st_size) if verified else checksum_of(file)
        same = present
    else:  # git's id, which the Hub has of small files
        content = aligned_read(file)
        found = Checksum(Checksum("").digest_of(content), content.size)
        same = found.digest if Checksum(present, content.size, git=True).problem_of(content) is None else ""
    change = "added" if present is None else "unchanged" if found.digest == same else "changed"
    return File(path=path, change=change, size=found.size or 0, sha256=found.digest)
