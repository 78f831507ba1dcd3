"""Measures a model over a whole split of a data set."""

from collections.abc import Mapping
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from zoo._inference import xla
from zoo._inference.predict_all import predict_all
from zoo._model import Model
from zoo._registry.recipes import Recipe
from zoo.training.data import Dataset, Examples
from zoo.training.interrupts import compiled, finished
from zoo.training.partitioning import SINGLE_DEVICE, Partitioner
from zoo.training.tasks import LOGITS, TASKS, as_input

BATCH_SIZE = 512


def named(measured: Mapping[str, float], dataset: Dataset) -> dict[str, float]:
    """Renames the measures of a test set to the manifest's names."""
    return {f"{dataset.name}_test_{measure}": value for measure, value in measured.items()}


def evaluate(
    model: Model,
    examples: Examples,
    recipe: Recipe,
    *,
    batch_size: int = BATCH_SIZE,
    partitioner: Partitioner = SINGLE_DEVICE,
) -> dict[str, float]:
    """Returns the mean of each of the task's measures over all examples.

    The last batch is padded to the size of the others, without counting the padding, so that one program
    serves all. A VAE's noise is the same at each call.
    """
    count = len(examples.labels)
    size = partitioner.round_up(min(batch_size, count))
    sums = _sums(recipe, partitioner)
    measured = []
    for index, start in enumerate(range(0, count, size)):
        batch = partitioner.examples(
            Examples(*(_padded(array[start : start + size], size) for array in examples))
        )
        arguments = (model, batch, np.int32(index), np.int32(min(size, count - start)))
        # Compiled for the first batch; and not all batches at once, which no signal could end.
        measured.append(finished(compiled(sums, *arguments)(*arguments)))
    return {
        name: float(np.array([each[name] for each in measured], np.float64).sum() / count)
        for name in measured[0]
    }


def confusion(
    model: Model,
    examples: Examples,
    recipe: Recipe,
    *,
    batch_size: int = BATCH_SIZE,
    partitioner: Partitioner = SINGLE_DEVICE,
) -> np.ndarray:
    """Returns the confusion matrix (classes, classes): true classes by row, predicted ones by column."""
    logits_of = LOGITS[recipe.task]

    def taken(model: Model, inputs: jax.Array) -> jax.Array:
        known = as_input(Examples(inputs, inputs), model.entry).inputs
        logits: jax.Array = logits_of(*model, jnp.asarray(known), train=False, rngs={})[0]
        return logits.argmax(-1)

    inputs = np.asarray(examples.inputs)
    size = partitioner.round_up(min(batch_size, len(inputs)))
    outputs = predict_all(
        model, inputs, batch_size=size, mesh=partitioner.mesh, function=taken, report=lambda done: None
    )
    found = np.array([*outputs])
    classes = model.module.num_classes
    pairs = np.asarray(examples.labels) * classes + found
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _padded(array: np.ndarray | jax.Array, size: int) -> np.ndarray:
    array = np.asarray(array)
    return np.pad(array, [(0, size - len(array)), *[(0, 0)] * (array.ndim - 1)])


@cache
def _sums(recipe: Recipe, partitioner: Partitioner) -> jax.stages.Wrapped:
    """Returns the jitted sums of each measure over the first examples of a batch."""
    measure = TASKS[recipe.task].measure

    def sums(model: Model, batch: Examples, index: jax.Array, count: jax.Array) -> dict[str, jax.Array]:
        inputs = as_input(partitioner.constrain(batch), model.entry)
        key = jax.random.fold_in(jax.random.key(0), index)
        measured, _ = measure(*model, inputs, key, recipe, train=False)
        counted = jnp.arange(len(batch.labels)) < count
        return {name: jnp.where(counted, values, 0).sum() for name, values in measured.items()}

    return jax.jit(sums, out_shardings=partitioner.replicated, compiler_options=xla.compiler_options())
