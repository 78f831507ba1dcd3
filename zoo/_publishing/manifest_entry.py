"""The manifest's entry of what was published."""

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
    """An entry on its way into a manifest.

    Attributes:
        entry: As config.json has it.
        repo: Where it is published.
        manifest: The file that gets it; None where it is for pasting.
        home: A directory for a moment.
    """

    entry: Entry
    repo: str
    manifest: Path | None
    home: Path

    @classmethod
    def of(cls, entry: Entry, repo: str, manifest: Path | None, home: Path) -> Self | None:
        """The entry, once the manifest was found to take it; None for a module of one's own.

        Raises:
            PublishError: the manifest does not take it.
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
        """The entry, named after the repository, as it stands in a manifest."""
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
        """The entry, after the manifest got it, where there is one."""
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
        """The manifest's bytes with the entry at the end, which its reader takes.

        Raises:
            PublishError: it does not.
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
