"""Failures of JAX's backend, as one sentence each."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from zoo.cli.backend import trouble


def test_too_little_memory_is_said_with_what_to_do():
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jnp.zeros((1 << 45,))
    assert trouble(caught.value) == (
        "the memory of the device is not enough (Out of memory allocating 140737488355328 bytes); "
        "give fewer or smaller inputs at a time, or choose a smaller model."
    )


def test_too_little_memory_for_numpy_is_said_too():
    assert trouble(MemoryError("Unable to allocate 3 TiB")) == (
        "this machine's memory is not enough (Unable to allocate 3 TiB); "
        "give fewer or smaller inputs at a time, or choose a smaller model."
    )


def test_a_platform_that_does_not_start_is_named_with_the_reason():
    said = "Unable to initialize backend 'tpu': INTERNAL: no libtpu.so (set JAX_PLATFORMS='' to choose)"
    assert trouble(RuntimeError(said)) == (
        "JAX cannot start on 'tpu' (INTERNAL: no libtpu.so); JAX_PLATFORMS=cpu computes on the processor."
    )


@pytest.mark.parametrize("error", [RuntimeError("of a program"), AssertionError(), ValueError("x")])
def test_other_errors_are_none_of_the_backend(error):
    assert trouble(error) is None


# In a process of its own: a platform is chosen once.
def test_a_platform_without_a_device_is_named():
    code = (
        "import jax; from zoo.cli.backend import trouble\n"
        "try: jax.devices()\nexcept Exception as error: print(trouble(error))"
    )
    environment = {**os.environ, "JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "JAX_PLATFORMS=cpu computes on the processor." in found.stdout
    assert "cuda" in found.stdout
