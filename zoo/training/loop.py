"""One epoch of training as one compiled program."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from zoo._inference import xla
from zoo._loading.heads import head_layers
from zoo._model import Model
from zoo._registry.recipes import Recipe
from zoo.training.augment import flip, shift
from zoo.training.data import Examples
from zoo.training.optimizer import optimizer, trained
from zoo.training.partitioning import SINGLE_DEVICE, Partitioner
from zoo.training.state import TrainState
from zoo.training.tasks import TASKS, Variables, as_input

Measures: TypeAlias = dict[str, jax.Array]
Epoch: TypeAlias = Callable[[TrainState, Examples], tuple[TrainState, Measures]]
Gradients: TypeAlias = tuple[Variables, Measures, Variables]
ORDER, NOISE, MOVES, FLIPS = range(4)  # what random keys are for


def compile_epoch(
    model: Model,
    recipe: Recipe,
    count: int,
    partitioner: Partitioner = SINGLE_DEVICE,
    out_shardings: Any = None,
) -> Epoch:
    """Compiles an epoch: state and all examples, on the device, to the next state and each update's measures.

    Args:
        model: Model to train; its entry says how pixels become its input.
        recipe: Training recipe.
        count: Number of examples.
        partitioner: Placement of params and batches on devices.
        out_shardings: Shardings of the results, from the partitioner.
    """
    steps = count // recipe.batch_size
    made = optimizer(recipe, steps * recipe.epochs, head_layers(model.entry))
    step = make_step(model, recipe, made, partitioner)

    def epoch(state: TrainState, examples: Examples) -> tuple[TrainState, Measures]:
        key = state.random(ORDER, state.step)
        order = jax.random.permutation(key, count)[: steps * recipe.batch_size]
        return jax.lax.scan(
            lambda state, rows: step(state, Examples(*(array[rows] for array in examples))),
            state,
            order.reshape(steps, recipe.batch_size),
        )

    return jax.jit(epoch, out_shardings=out_shardings, compiler_options=xla.compiler_options())


def make_step(
    model: Model,
    recipe: Recipe,
    optimizer: optax.GradientTransformation,
    partitioner: Partitioner = SINGLE_DEVICE,
) -> Callable[[TrainState, Examples], tuple[TrainState, Measures]]:
    """Returns the function of one update: a state and a batch to the next state and the measures."""
    gradients = _gradients(model, recipe, partitioner)

    def step(state: TrainState, batch: Examples) -> tuple[TrainState, Measures]:
        batch = partitioner.constrain(batch)
        if recipe.shift:
            moved = shift(state.random(MOVES, state.step), jnp.asarray(batch.inputs), recipe.shift)
            batch = batch._replace(inputs=moved)
        if recipe.flip:
            mirrored = flip(state.random(FLIPS, state.step), jnp.asarray(batch.inputs), recipe.flip)
            batch = batch._replace(inputs=mirrored)
        grads, measures, changed = gradients(state.variables, batch, state.random(NOISE, state.step))
        before = trained(state.variables["params"], recipe, head_layers(model.entry))
        updates, opt_state = optimizer.update(grads, state.opt_state, before)
        params = optax.apply_updates(before, updates)
        state = state.replace(
            step=state.step + 1,
            variables={**state.variables, **changed, "params": {**state.variables["params"], **params}},
            opt_state=opt_state,
            average=_averaged(state, params, recipe.ema_decay),
        )
        return state, measures

    return step


def _gradients(
    model: Model, recipe: Recipe, partitioner: Partitioner
) -> Callable[[Variables, Examples, jax.Array], Gradients]:
    """Returns the function of a batch's mean gradients, its mean measures, and the changed collections."""
    measure, module = TASKS[recipe.task].measure, model.module
    if recipe.dtype != "float32":
        module = module.clone(dtype=jnp.dtype(recipe.dtype))

    @xla.channels_last_convolutions
    def part(variables: Variables, examples: Examples, key: jax.Array) -> Gradients:
        def loss(params: Variables) -> tuple[jax.Array, tuple[Measures, Variables]]:
            inputs = as_input(examples, model.entry)
            whole = {**variables, "params": {**variables["params"], **params}}
            measured, changed = measure(module, whole, inputs, key, recipe, train=True)
            means = {name: values.mean() for name, values in measured.items()}
            return means["loss"], (means, changed)

        params = trained(variables["params"], recipe, head_layers(model.entry))
        grads, (means, changed) = jax.grad(loss, has_aux=True)(params)
        return grads, means, changed

    if recipe.accumulate_steps == 1:
        return part

    def whole(variables: Variables, batch: Examples, key: jax.Array) -> Gradients:
        def add(changed: Any, inputs: tuple[Examples, jax.Array]) -> tuple[Any, Any]:
            examples, key = inputs
            grads, means, changed = part({**variables, **changed}, partitioner.constrain(examples), key)
            return changed, (grads, means)

        parts = recipe.accumulate_steps
        split = jax.tree.map(lambda array: array.reshape(parts, -1, *array.shape[1:]), batch)
        others = {name: value for name, value in variables.items() if name != "params"}
        changed, each = jax.lax.scan(add, others, (split, jax.random.split(key, parts)))
        grads, means = jax.tree.map(lambda values: values.mean(0), each)
        return grads, means, changed

    return whole


def _averaged(state: TrainState, params: Variables, longest: float) -> Any:
    if state.average is None:
        return None
    # Early on the average is shorter, so that it does not remember the initial params.
    keep = jnp.minimum(longest, (1 + state.step) / (10 + state.step))
    return optax.incremental_update(params, state.average, 1 - keep)
