from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.inspection import Lift
from converters.linen.inspect import inspect_module
from tests.converters.models import Compact, Names, Nested, Scanned, Shared, Tied, X


def arrays(module: nn.Module, *inputs: Any, **options: Any) -> dict[str, Any]:
    return {str(array): array for array in inspect_module(module, *inputs, **options).arrays}


def test_origins_are_the_attributes_that_hold_the_layers() -> None:
    inspection = inspect_module(Names(), X)
    assert {"/".join(path): inspection.origins(path)[-1] for path in inspection.layers if path} == {
        "layer1_0": "layer1.0",
        "layer1_1": "layer1.1",
        "ln_1": "ln_1",
        "heads_a": "heads.a",
        "heads_b_0": "heads.b.0",
        "stem": "stem",
        "stem/layers_0": "0",
        "stem/layers_2": "2",
    }


def test_layers_of_compact_modules_have_no_origin() -> None:
    assert inspect_module(Compact(), X).origins(("layers_0",)) == [None]


def test_arrays_come_in_the_order_in_which_they_are_asked_for() -> None:
    assert list(arrays(Names(), X))[:6] == [
        "params/layer1_0/kernel",
        "params/layer1_0/bias",
        "params/layer1_1/kernel",
        "params/layer1_1/bias",
        "params/ln_1/scale",
        "params/ln_1/bias",
    ]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_axis_of_a_scan_is_found_where_shapes_do_not_tell(axis: int) -> None:
    found = arrays(Scanned(axis=min(axis, 1), stats_axis=1), X)
    assert found["params/blocks/Dense_0/kernel"].shape == (6, 6, 6)
    assert found["params/blocks/Dense_0/kernel"].lifts == (Lift(1, min(axis, 1), 6),)
    assert found["batch_stats/blocks/BatchNorm_0/mean"].lifts == (Lift(1, 1, 6),)


def test_lifts_inside_lifts_are_listed_outermost_first() -> None:
    found = arrays(Nested(), X)
    assert found["params/ensemble/Dense_0/kernel"].lifts == (Lift(1, 1, 6), Lift(1, 2, 6))
    assert found["params/ensemble/Dense_0/bias"].lifts == (Lift(1, 1, 6), Lift(1, 1, 6))


def test_a_lifted_module_at_the_root_is_seen() -> None:
    module = nn.vmap(
        nn.Dense, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, axis_size=3
    )(5)
    assert arrays(module, X)["params/kernel"].lifts == (Lift(0, 0, 3),)


def test_a_module_at_the_root_may_have_a_name() -> None:
    inspection = inspect_module(nn.Dense(3, name="head"), X)
    assert list(inspection.layers) == [()]


def test_a_shared_module_is_listed_once() -> None:
    assert list(arrays(Shared(), X)) == ["params/inner/kernel", "params/inner/bias"]
    assert list(arrays(Tied(), np.zeros((2, 3), int))) == [
        "params/embed/embedding",
        "params/body/kernel",
        "params/body/bias",
    ]


def test_partitioned_params_are_read_without_their_boxes() -> None:
    init = nn.with_partitioning(nn.initializers.ones, ("a", "b"))
    assert arrays(nn.Dense(3, kernel_init=init), X)["params/kernel"].shape == (6, 3)


def test_nothing_is_computed_or_allocated() -> None:
    """Ninety terabytes of kernel, and a constant that would be printed if it ran."""

    def explode(*_: Any) -> None:
        raise AssertionError("ran")

    class Huge(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            jax.debug.callback(explode, x)
            return nn.Dense(1 << 22)(x)

    shape = jax.ShapeDtypeStruct((1, 5_000_000), jnp.float32)
    assert arrays(Huge(), shape)["params/Dense_0/kernel"].shape == (5_000_000, 1 << 22)


def test_keyword_arguments_other_methods_and_rngs_are_passed_on() -> None:
    class Model(nn.Module):
        def setup(self) -> None:
            self.body = nn.Dense(3)
            self.drop = nn.Dropout(0.5)

        def encode(self, x: jax.Array, mask: jax.Array | None = None, *, train: bool) -> jax.Array:
            assert isinstance(train, bool)
            return self.drop(self.body(x * mask), deterministic=not train)

    found = arrays(
        Model(),
        X,
        kwargs={"train": True, "mask": jnp.ones((2, 6))},
        method="encode",
        rngs={"params": jax.random.key(0), "dropout": jax.random.key(1)},
    )
    assert list(found) == ["params/body/kernel", "params/body/bias"]


@pytest.mark.parametrize("inputs", [(), (X[0], X[0])])
def test_inputs_that_the_module_does_not_take_are_shown(inputs: Any) -> None:
    with pytest.raises(TypeError) as error:
        inspect_module(Names(), *inputs)
    assert error.value.__notes__[-1].startswith("converters ran init of Names on [")
