"""The manifest entry of a published model."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from converters.errors import CheckpointError
from converters.io import atomic_write
from zoo._errors import ManifestError, PublishError
from zoo._registry import manifest as _manifest
from zoo._registry.entry import Entry, Weights
from zoo._saving import save

SOME = "1" * 40  # a commit, until there is one


@dataclass(frozen=True)
class ManifestEntry:
    """An entry to be added to a manifest.

    Attributes:
        entry: The entry as in config.json.
        repo: The repository that it is published in.
        manifest: The file to add it to; None if the user pastes it.
        home: A temporary directory.
    """

    entry: Entry
    repo: str
    manifest: Path | None
    home: Path

    @classmethod
    def of(cls, entry: Entry, repo: str, manifest: Path | None, home: Path) -> Self | None:
        """Checks that the manifest accepts the entry, and returns it; None for a module outside the zoo.

        Raises:
            PublishError: the manifest does not accept the entry.
        """
        if entry.family is None:
            if manifest:
                raise PublishError(f"a manifest has no place for {entry.name!r}: it is a module of your own.")
            return None
        listed = cls(entry, repo, manifest, home)
        if manifest:
            listed._extended(manifest, SOME)
        return listed

    def text(self, commit: str) -> str:
        """Returns the entry as YAML for a manifest, named after the repository."""
        weights = self.entry.weights
        assert weights is not None
        pinned = Weights(
            weights.sha256, size=weights.size, file=weights.file, repo=self.repo, revision=commit
        )
        fields: dict[str, Any] = {
            "config": {},
            **json.loads(save.to_json(replace(self.entry, weights=pinned))),
        }
        del fields["name"]
        # JSON is YAML, with all the quotes that some hash will need one day.
        lines = [f"    {field}: {json.dumps(value, ensure_ascii=False)}\n" for field, value in fields.items()]
        return f"  {self.repo.partition('/')[2].lower()}:\n{''.join(lines)}"

    def write(self, commit: str) -> str:
        """Adds the entry to the manifest, if there is one, and returns its YAML."""
        if self.manifest:
            try:
                content = self._extended(self.manifest, commit)
                with atomic_write(self.manifest, overwrite=True) as file:
                    file.write(content)
            except (PublishError, CheckpointError) as error:
                raise PublishError(
                    f"{self.repo!r} was published at {commit}, but {error} Paste the entry yourself:\n"
                    f"{self.text(commit)}"
                ) from error
        return self.text(commit)

    def _extended(self, manifest: Path, commit: str) -> bytes:
        """Returns the manifest's bytes with the entry appended, after a trial read.

        Raises:
            PublishError: the manifest with the entry is invalid.
        """
        before = manifest.read_bytes() if manifest.exists() else b"models:\n"
        content = before + (b"" if before.endswith(b"\n") else b"\n") + self.text(commit).encode()
        trial = self.home / "manifest.yaml"
        trial.write_bytes(content)
        try:
            _manifest.read(trial)
        except ManifestError as error:
            problems = str(error).partition("\n")[2]
            raise PublishError(f"{str(manifest)!r} does not take the entry:\n{problems}\n") from None
        return content
