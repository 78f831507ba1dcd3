"""Each family inside other modules: bound, and as a part of a larger one."""

import flax.linen as nn
import jax
import numpy as np
import pytest

import zoo
from tests.cases import CASES, ONE_OF_EACH, Case
from zoo._registry import families

pytestmark = pytest.mark.costly

# Between them, all that the modules are made of; the others follow in `make test-all`.
FIRST = ("mlp", "cnn", "vae", "resnet", "vit", "gpt2")


class Outer(nn.Module):
    """Something that hands its inputs on."""

    part: nn.Module

    def __call__(self, *inputs: jax.Array) -> object:
        return self.part(*inputs)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, id=family, marks=[] if family in FIRST else [pytest.mark.slow])
        for family, name in ONE_OF_EACH.items()
    ],
)
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def model(case) -> zoo.Model:
    module = families.named(case.family).create(**case.config)
    variables = jax.jit(module.init)({"params": jax.random.key(1), **case.rngs}, *case.inputs)
    return zoo.Model(module, variables)


@pytest.fixture(scope="module")
def outputs(case, model) -> list[np.ndarray]:
    return jax.tree.leaves(model(*case.inputs, rngs=case.rngs))


def same(case: Case, given: object, outputs: list[np.ndarray]) -> bool:
    """Compares outputs, all but the VAE's images, whose noise depends on where the module is."""
    leaves, first = jax.tree.leaves(given), 1 if case.rngs else 0
    assert [leaf.shape for leaf in leaves] == [output.shape for output in outputs]
    assert len(leaves) > first
    return all(map(np.array_equal, leaves[first:], outputs[first:]))


def test_bound_it_gives_its_variables_back(case, model, outputs):
    bound = model.module.bind(model.variables, rngs=case.rngs)
    assert all(map(np.array_equal, jax.tree.leaves(bound(*case.inputs)), outputs))
    module, variables = bound.unbind()
    assert module == model.module
    assert jax.tree.all(jax.tree.map(np.array_equal, dict(variables), dict(model.variables)))


def test_grafted_into_a_larger_module_it_gives_the_same(case, model, outputs):
    outer = Outer(model.module)
    variables = jax.jit(outer.init)({"params": jax.random.key(2), **case.rngs}, *case.inputs)
    grafted = zoo.graft(variables, model, at="part")
    given = outer.apply(grafted, *case.inputs, rngs=case.rngs)
    assert same(case, given, outputs)
