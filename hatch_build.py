"""Compiles weights_manifest.yaml and the files beside it into the wheel's zoo/manifest.json.

A wrong manifest stops the build.
"""

import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledManifest(BuildHookInterface[Any]):
    """The build hook of the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Checks the manifest; adds its compiled form, except to an editable wheel, which reads the YAML."""
        content = _compiled(Path(self.root))
        if version != "editable":
            self._directory = TemporaryDirectory()
            path = Path(self._directory.name, "manifest.json")
            path.write_bytes(content)
            build_data["force_include"][str(path)] = "zoo/manifest.json"


def _compiled(root: Path) -> bytes:
    """Returns the compiled manifest, by the strict reader of the tree that is built."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "zoo"}
    for name in before:
        del sys.modules[name]
    # A package without its __init__, which would import JAX; the build needs PyYAML only.
    package = sys.modules["zoo"] = ModuleType("zoo")
    package.__path__ = [str(root / "zoo")]
    try:
        compiled, schema, generated = (
            import_module(f"zoo._registry.{name}") for name in ("compiled", "manifest_schema", "generated")
        )
        path = root / "weights_manifest.yaml"
        content: bytes = compiled.dump(
            generated.with_generated(path, schema.parse(path, path.read_bytes()), generated.read)
        )
        return content
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "zoo"]:
            del sys.modules[name]
        sys.modules.update(before)
