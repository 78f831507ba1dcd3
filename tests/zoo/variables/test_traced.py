"""Traces: by shapes alone, and remembered where a module is what its fields say."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import zoo
from converters.linen import shapes_only
from zoo._registry.entry import Input
from zoo._variables import init
from zoo._variables.traced import remembered

INPUTS = (Input(name="x", shape=(2, 3), dtype="float32"),)


class Asking(nn.Module):
    """Asks for parameters in several ways."""

    features: int = 4

    @nn.compact
    def __call__(self, x):
        def own(key, size):
            return jnp.zeros((size, 2), jnp.bfloat16)

        self.param("own", own, 5)
        self.param("default", nn.initializers.normal(), (7,))
        self.param("kept", nn.initializers.normal(dtype=jnp.bfloat16), (7,))
        self.param("half", nn.initializers.orthogonal(), (3, 3), jnp.float16)
        return nn.Dense(self.features)(x)


def test_shapes_without_initialisers_are_those_of_initialisers():
    x = jnp.zeros((2, 3))

    def made():
        return Asking().init(jax.random.key(0), x)

    def asked():
        with shapes_only():
            return made()

    assert jax.eval_shape(asked) == jax.eval_shape(made)


def test_a_layer_asks_for_its_values_again_after_shapes_alone():
    layer = nn.Dense(4)
    jax.eval_shape(lambda: _shapes_of(layer))
    assert "param" not in vars(layer)


def _shapes_of(layer):
    with shapes_only():
        return layer.init(jax.random.key(0), jnp.zeros((2, 3)))


@pytest.fixture
def traces():
    """A remembered function, and the modules that it was called for."""
    found = []

    @remembered
    def trace(module, inputs):
        found.append(module)
        return jax.dtypes.canonicalize_dtype(float)

    return trace, found


def test_a_module_of_the_zoo_is_traced_once_for_each_config_and_width_of_numbers(traces):
    trace, found = traces
    first, other = (zoo.mlp.create(hidden=(size,)) for size in (3, 4))
    again = zoo.mlp.create(hidden=(3,))
    assert trace(first, INPUTS) == trace(again, INPUTS) == jnp.float32
    with jax.enable_x64(True):
        assert trace(again, INPUTS) == jnp.float64
    trace(other, INPUTS)
    trace(zoo.mlp.create(hidden=(3,), dtype="bfloat16"), INPUTS)
    trace(first, (*INPUTS, *INPUTS))
    assert len(found) == 5


def test_a_module_of_ones_own_is_traced_each_time(traces):
    trace, found = traces
    for _ in range(2):
        trace(Asking(), INPUTS)
    assert len(found) == 2


def test_what_a_caller_does_to_shapes_is_not_remembered():
    module = zoo.mlp.create(hidden=(3,))
    init.shapes(module, INPUTS).clear()
    assert init.shapes(module, INPUTS)
