"""Place of the zoo's cache."""

import os
from pathlib import Path


def root() -> Path:
    """Returns the cache's directory."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("ZOO_CACHE") or Path(base, "flax-zoo")).expanduser()
