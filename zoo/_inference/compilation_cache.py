"""Programs that XLA has compiled, kept for the next process."""

import os
from pathlib import Path

from zoo._hub.place import root

MAX_BYTES = 2**30
SHORTEST = 0.2  # seconds that a program takes to compile; others are not kept


def compilation_cache(directory: str | os.PathLike[str] | None = None, *, max_bytes: int = MAX_BYTES) -> Path:
    """Makes JAX keep compiled programs in a directory, where the next process finds them.

    The command line does so, unless JAX_COMPILATION_CACHE_DIR is set. Programs are found by their operations,
    the versions of JAX and XLA, and the device; several processes may share a directory. To be called before
    anything is compiled.

    Args:
        directory: Directory of the programs; by default "compiled" in the zoo's cache.
        max_bytes: Size that it may have; programs that were not used for longest are removed.

    Returns:
        The directory.
    """
    import jax

    place = _default() if directory is None else Path(directory)
    for name, value in _settings(place, max_bytes).items():
        jax.config.update(name, value)
    return place


def set_environment() -> None:
    """Sets the variables by which JAX does so when it is imported, if the zoo's cache can be written to.

    A directory of the user's own keeps its limits: JAX cannot bound one that was filled without bounds.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    place = _default()
    existing = next(each for each in (place, *place.parents) if each.exists())
    if existing.is_dir() and os.access(existing, os.W_OK):
        for name, value in _settings(place, MAX_BYTES).items():
            os.environ.setdefault(name.upper(), str(value))


def _default() -> Path:
    return root() / "compiled"


def _settings(place: Path, max_bytes: int) -> dict[str, str | int | float]:
    return {
        "jax_compilation_cache_dir": os.fspath(place),
        "jax_compilation_cache_max_size": max_bytes,
        "jax_persistent_cache_min_compile_time_secs": SHORTEST,
    }
