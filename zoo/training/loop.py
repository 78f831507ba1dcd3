"""One epoch of training as one compiled program, which can be watched and stopped."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from zoo._adapters.low_rank import merged
from zoo._inference import xla
from zoo._loading.heads import head_layers
from zoo._model import Model
from zoo._processes import from_primary
from zoo._registry.recipes import Recipe
from zoo.training.augment import flip, shift
from zoo.training.data import Examples
from zoo.training.interrupts import compiled, finished
from zoo.training.optimizer import optimizer, trained
from zoo.training.partitioning import SINGLE_DEVICE, Partitioner
from zoo.training.state import TrainState
from zoo.training.tasks import TASKS, Variables, as_input

Measures: TypeAlias = dict[str, jax.Array]
Watch: TypeAlias = Callable[[int, Mapping[str, np.ndarray]], None]
Gradients: TypeAlias = tuple[Variables, Measures, Variables]
ORDER, NOISE, MOVES, FLIPS = range(4)  # what random keys are for
PART = 1.0  # seconds of training between two looks at it
GROWTH = 8  # times as many updates at most as before, until they take as long


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A pass over all examples: one compiled program, which runs in parts of about a second.

    How the parts are cut changes no bit of the result.

    Attributes:
        steps: Number of updates.
        begin: Jitted function of a state and the examples: a copy of the state, the rows of each batch
            (steps, batch_size), and measures (steps,) to fill.
        update: Jitted function that makes the updates from one up to another, and fills in their measures.
        pace: Number of updates of a part.
    """

    steps: int
    begin: jax.stages.Wrapped
    update: jax.stages.Wrapped
    pace: "Pace"

    def __call__(
        self, state: TrainState, examples: Examples, watch: Watch = lambda done, measures: None
    ) -> tuple[TrainState, Measures]:
        """Returns the next state and each update's measures.

        Args:
            state: The state before the epoch.
            examples: All examples, on the devices.
            watch: Called after each part with the number of updates so far and their measures.
        """
        state, order, measures = compiled(self.begin, state, examples)(state, examples)
        done = 0
        update = compiled(self.update, state, measures, examples, order, np.int32(0), np.int32(0))
        while done < self.steps:
            start, end = time.monotonic(), min(self.steps, done + self.pace.updates)
            state, measures = finished(
                update(state, measures, examples, order, np.int32(done), np.int32(end))
            )
            self.pace.follow(end - done, time.monotonic() - start)
            done = end
            watch(done, {name: np.asarray(values)[:done] for name, values in measures.items()})
        return state, measures


class Pace:
    """The number of updates that take about a second, on which all processes of a run agree."""

    def __init__(self) -> None:
        self.updates = 1

    def follow(self, updates: int, seconds: float) -> None:
        """Chooses the next number from the time that some updates have taken."""
        fitting = int(updates * PART / max(seconds, 1e-6))
        self.updates = from_primary(max(1, min(fitting, GROWTH * updates)))


def compile_epoch(
    model: Model,
    recipe: Recipe,
    count: int,
    partitioner: Partitioner = SINGLE_DEVICE,
    out_shardings: Any = None,
) -> Epoch:
    """Returns the program of an epoch, which its first call compiles.

    Args:
        model: Model to train; its entry says how pixels become its input.
        recipe: Training recipe.
        count: Number of examples.
        partitioner: Placement of params and batches on devices.
        out_shardings: Shardings of the results, from the partitioner.
    """
    size = recipe.batch_size
    steps = count // size
    made = optimizer(recipe, steps * recipe.epochs, head_layers(model.entry))
    # Jitted, so that it is traced once for its measures' names and for the loop.
    step = jax.jit(make_step(model, recipe, made, partitioner), inline=True)

    def begin(state: TrainState, examples: Examples) -> tuple[TrainState, jax.Array, Measures]:
        key = state.random(ORDER, state.step)
        order = jax.random.permutation(key, count)[: steps * size].reshape(steps, size)
        _, measures = jax.eval_shape(step, state, _rows(examples, order[0]))
        empty = {name: jnp.zeros(steps, each.dtype) for name, each in measures.items()}
        # A copy, since updates write over the state that they are given, and the caller may be saving it.
        return jax.tree.map(jnp.copy, state), order, empty

    def update(
        state: TrainState,
        measures: Measures,
        examples: Examples,
        order: jax.Array,
        start: jax.Array,
        end: jax.Array,
    ) -> tuple[TrainState, Measures]:
        def one(index: jax.Array, before: tuple[TrainState, Measures]) -> tuple[TrainState, Measures]:
            state, measures = before
            state, measured = step(state, _rows(examples, order[index]))
            return state, {name: measures[name].at[index].set(value) for name, value in measured.items()}

        after: tuple[TrainState, Measures] = jax.lax.fori_loop(start, end, one, (state, measures))
        return after

    placed, replicated = out_shardings or (None, None)
    options = xla.compiler_options()
    return Epoch(
        steps=steps,
        begin=jax.jit(begin, out_shardings=out_shardings and (placed, replicated, replicated)),
        update=jax.jit(update, out_shardings=out_shardings, donate_argnums=(0, 1), compiler_options=options),
        pace=Pace(),
    )


def _rows(examples: Examples, rows: jax.Array) -> Examples:
    return Examples(*(array[rows] for array in examples))


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
            whole = merged({**variables, "params": {**variables["params"], **params}}, recipe.lora_scale)
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
