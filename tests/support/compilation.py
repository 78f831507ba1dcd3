"""Compiled programs that several processes of a test share."""

from pathlib import Path


def shared_by_processes(folder: Path) -> dict[str, str]:
    """Environment in which the first process compiles for all, in half the time without optimization."""
    return {
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
