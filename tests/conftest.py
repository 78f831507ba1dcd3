import os
import signal

# Most programs here run once: compiling them well takes longer than running them. What users run, CI's second
# run tests, with 0. Before JAX is imported, which reads it; processes that tests start inherit it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Workers and PyTorch's threads would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import pytest

# A job in the background starts with Ctrl-C ignored, and so would the children that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_functions():
    """Else a process that runs every test holds gigabytes of executables in the end."""
    yield
    jax.clear_caches()


def pytest_collection_modifyitems(items):
    """Puts files with long tests first: with `--dist loadfile`, no worker is left with one in the end."""
    long = {item.path for item in items if item.get_closest_marker("costly")}
    items.sort(key=lambda item: item.path not in long)
