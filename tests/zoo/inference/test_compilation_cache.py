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
    monkeypatch.setattr(os, "environ", {"ZOO_CACHE": str(tmp_path / cache)})
    compilation_cache.set_environment()
    names = [name.lower() for name in os.environ if name != "ZOO_CACHE"]
    assert len(names) == (3 if kept else 0)
    assert all(name in jax.config.values for name in names)
    assert not (tmp_path / "new").exists()


def test_a_cache_that_may_only_be_read_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", {"ZOO_CACHE": str(tmp_path)})
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    compilation_cache.set_environment()
    assert list(os.environ) == ["ZOO_CACHE"]


def test_a_directory_of_the_users_own_keeps_its_limits(tmp_path, monkeypatch):
    own = {"ZOO_CACHE": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own")}
    monkeypatch.setattr(os, "environ", dict(own))
    compilation_cache.set_environment()
    assert os.environ == own
