"""Compiled programs of one process, found by the next."""

import os
import subprocess
import sys

import jax
import pytest

from zoo._inference import compilation_cache

PROGRAM = """
import jax, zoo
from jax._src import monitoring
found = []
monitoring.register_event_listener(lambda name, **rest: found.append(name))
zoo.compilation_cache()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
print(jax.jit(lambda x: x * 3)(2.0), "/jax/compilation_cache/cache_hits" in found)
"""


def test_the_next_process_compiles_nothing(tmp_path):
    environment = os.environ | {"ZOO_CACHE": str(tmp_path)}
    for hit in ("False", "True"):
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["6.0", hit]
    assert any((tmp_path / "compiled").iterdir())


@pytest.mark.parametrize(("cache", "kept"), [("new", True), ("file/below", False)])
def test_the_command_line_sets_it_where_it_can_be_written(cache, kept, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for name in compilation_cache._settings(tmp_path, 0):
        monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if k != name.upper()})
        assert name in jax.config.values
    monkeypatch.setitem(os.environ, "ZOO_CACHE", str(tmp_path / cache))
    compilation_cache.set_environment()
    assert ("JAX_COMPILATION_CACHE_DIR" in os.environ) == kept
    assert not (tmp_path / "new").exists()
