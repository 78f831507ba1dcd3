"""Estimates a training step's memory and operations by tracing it, without computing or allocating."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax import lax
from jax.extend import core

from zoo._registry.entry import Input
from zoo._registry.recipes import Recipe
from zoo._variables import init
from zoo._variables.tree import unflatten
from zoo.training.data import Examples
from zoo.training.optimizer import optimizer
from zoo.training.tasks import TASKS, Variables, as_input

_JAXPRS = (core.Jaxpr, core.ClosedJaxpr)


class Sizes(NamedTuple):
    """Sizes of one training step, in bytes except for `params` and `operations`.

    Attributes:
        params: Number of parameters.
        variables: All collections.
        gradients: Gradients of the params.
        optimizer: State of the optimizer.
        activations: Arrays that the forward pass keeps for the backward pass.
        operations: Multiplications and additions of matrix products and convolutions, including padding.
    """

    params: int
    variables: int
    gradients: int
    optimizer: int
    activations: int
    operations: int

    @property
    def state(self) -> int:
        """Bytes of the variables, the gradients and the optimizer's state."""
        return self.variables + self.gradients + self.optimizer

    def moved(self, devices: int, *, fsdp: bool) -> int:
        """Returns the bytes that each device sends in a step of data parallelism.

        A ring all-reduce sends the gradients around twice. With `fsdp` the params are gathered for the
        forward pass and again for the backward pass, and the gradients are sent around once.
        """
        return (3 if fsdp else 2) * self.gradients * (devices - 1) // devices

    def deeper(self, other: "Sizes", blocks: int) -> "Sizes":
        """Extrapolates to `blocks` more blocks; `other` has one more, and all are alike."""
        return Sizes(*(one + blocks * (more - one) for one, more in zip(self, other, strict=True)))


def sizes(module: nn.Module, inputs: Sequence[Input], recipe: Recipe, examples: Examples) -> Sizes:
    """Estimates the sizes of a step.

    Args:
        module: The module, of any size; its variables are not created.
        inputs: Its inputs, as in an entry.
        recipe: The training recipe.
        examples: A batch, or its `jax.ShapeDtypeStruct`s.
    """
    measure, key = TASKS[recipe.task].measure, jax.random.key(0)
    variables = unflatten(init.shapes(module, inputs))
    params = variables.pop("params")

    def loss(params: Variables, others: Variables, examples: Examples) -> tuple[jax.Array, Variables]:
        whole = {**others, "params": params}
        measured, changed = measure(module, whole, as_input(examples, None), key, recipe, train=True)
        return measured["loss"].mean(), changed

    def forward(params: Variables, *args: Any) -> list[Any]:
        return jax.tree.leaves(jax.vjp(lambda params: loss(params, *args), params, has_aux=True)[1])

    arguments = (params, variables, examples)
    return Sizes(
        params=sum(leaf.size for leaf in jax.tree.leaves(params)),
        variables=_bytes((params, variables)),
        gradients=_bytes(params),
        optimizer=_bytes(jax.eval_shape(optimizer(recipe, 1).init, params)),
        activations=_kept(jax.make_jaxpr(forward)(*arguments).jaxpr),
        operations=_operations(jax.make_jaxpr(jax.grad(loss, has_aux=True))(*arguments).jaxpr),
    )


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _kept(jaxpr: core.Jaxpr) -> int:
    """Returns the bytes of a jaxpr's outputs that are not among its inputs or constants."""
    known = {*map(id, jaxpr.invars), *map(id, jaxpr.constvars)}
    made = {id(atom): atom.aval for atom in jaxpr.outvars if isinstance(atom, core.Var)}
    return _bytes([aval for var, aval in made.items() if var not in known])


def _operations(jaxpr: core.Jaxpr) -> int:
    count = 0
    for equation in jaxpr.eqns:
        made: Any = equation.outvars[0].aval if equation.outvars else None
        if equation.primitive is lax.dot_general_p:
            (contracted, _), _ = equation.params["dimension_numbers"]
            summed: Any = equation.invars[0].aval
            count += 2 * made.size * math.prod(summed.shape[axis] for axis in contracted)
        elif equation.primitive is lax.conv_general_dilated_p:
            kernel: Any = equation.invars[1].aval
            features = equation.params["dimension_numbers"].rhs_spec[0]
            count += 2 * made.size * kernel.size // kernel.shape[features]
        times = equation.params.get("length", 1)  # of a scan
        count += times * sum(map(_operations, _inside(equation)))
    return count


def _inside(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    for value in jax.tree.leaves([*equation.params.values()], is_leaf=lambda each: isinstance(each, _JAXPRS)):
        if isinstance(value, _JAXPRS):
            yield value.jaxpr if isinstance(value, core.ClosedJaxpr) else value
