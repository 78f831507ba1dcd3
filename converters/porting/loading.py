"""The classes of a source that was written."""

import linecache
from types import ModuleType
from typing import Any


def loaded(source: str, root: str, file: str) -> Any:
    """Runs a source that this package wrote, and returns its root class.

    Args:
        source: Text of the file.
        root: Name of the class.
        file: Name that tracebacks show; the text is theirs to quote.
    """
    module: Any = ModuleType(root)
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    exec(compile(source, file, "exec"), module.__dict__)
    return getattr(module, root)
