"""Compiled programs that several tests or processes share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Keeps what is compiled, so that equal programs of several tests are compiled once.

    For large programs alone: small ones are compiled as soon as they are looked up.
    """
    changed = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    before = {name: getattr(jax.config, name) for name in changed}
    compilation_cache.reset_cache()
    for name, value in changed.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def shared_by_processes(folder: Path) -> dict[str, str]:
    """Environment in which the first process compiles for all."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
