"""Each family in NNX against linen and against PyTorch, in float64: outputs, gradients, running statistics."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

import zoo
from tests.cases import CASES, Case
from tests.equivalence import (
    FORWARD,
    Result,
    check_gradients,
    difference,
    flax_gradients,
    run_flax,
    run_torch,
)
from tests.test_equivalence import channels_first, prepare
from zoo._nnx.build import build, linen_variables
from zoo._variables.tree import flatten, unflatten

pytestmark = pytest.mark.costly

ONE_OF_EACH = ("mlp", "cnn", "vae", "resnet14, groups", "vit", "bert", "gpt2", "transformer")


def test_every_family_is_here():
    assert {CASES[name].family for name in ONE_OF_EACH} == {case.family for case in CASES.values()}


@pytest.fixture(scope="module", params=ONE_OF_EACH)
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def models(case) -> SimpleNamespace:
    """The linen module, its variables, PyTorch's twin, and the NNX module."""
    found = prepare(case)
    with jax.enable_x64(True):
        found.nnx = build(found.module, found.variables, case.inputs, nnx.Rngs(0, **case.rngs))
    return found


def run_nnx(
    module: nnx.Module, inputs: Sequence[np.ndarray], cotangents: Sequence[np.ndarray], *, train: bool
) -> Result:
    """Outputs, gradients of the params by linen's paths, and running statistics; the module stays as it is."""
    with jax.enable_x64(True):
        graph, params, rest = nnx.split(module, nnx.Param, ...)

        def forward(params: Any) -> Any:
            called = nnx.merge(graph, params, rest, copy=True)
            out = called(*inputs, train=train)
            return tuple(jax.tree.leaves(out)), flatten(linen_variables(called))

        outputs, pull, changed = jax.vjp(forward, params, has_aux=True)
        (gradients,) = pull(tuple(map(jax.numpy.asarray, cotangents)))
        found = linen_variables(nnx.merge(graph, gradients, rest, copy=True))
        return jax.tree.map(np.asarray, Result(outputs, found, (), changed), is_leaf=lambda _: False)


def noise_apart(case: Case, leaves: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """What does not depend on the numbers that a VAE draws, which differ between the libraries."""
    return leaves[1:] if case.rngs else leaves


def test_in_eval_mode_it_gives_the_very_numbers_of_linen(case, models):
    with jax.enable_x64(True):
        theirs = models.module.apply(models.variables, *case.inputs, rngs=case.rngs)
        for found, expected in zip(
            noise_apart(case, jax.tree.leaves(models.nnx(*case.inputs))),
            noise_apart(case, jax.tree.leaves(theirs)),
            strict=True,
        ):
            np.testing.assert_array_equal(found, expected)


def test_its_arrays_are_linens_in_number_order_and_values(models):
    assert [*flatten(unflatten(linen_variables(models.nnx)))] == [*flatten(models.variables)]
    assert nnx.state(models.nnx, nnx.Param) and all(
        np.array_equal(array, flatten(models.variables)[path])
        for path, array in linen_variables(models.nnx).items()
    )
