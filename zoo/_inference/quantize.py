"""Models whose weights have eight or four bits each, for inference in a fraction of the memory."""

from dataclasses import replace
from functools import partial
from typing import Literal

import jax

from zoo._errors import ZooError
from zoo._loading.given import Given, model_of
from zoo._model import Model
from zoo._registry.entry import FrozenMapping
from zoo._variables import quantized
from zoo._variables.tree import flatten, unflatten

_WORDS = {8: "eight", 4: "four"}


def quantize(
    model: Given, *, bits: Literal[8, 4] = 8, group: int = 32, embeddings: bool | None = None
) -> Model:
    """Returns the model with kernels of eight or four bits: a quarter or a sixth of float32's bytes.

    The module stays, and so does all that is done with the model: calls, generation, saving, loading. A layer
    computes with its weights as floating-point numbers again, each off by at most half of a step. Of eight
    bits, that is 1/254 of the largest in its column of a kernel, or in its row of an embedding; of four, 1/14
    of the largest of its group there. Biases, norms and small kernels stay as they are. It is for inference:
    there are no gradients of whole numbers.

    Args:
        model: A model, or a name, as for `load`, whose weights are then loaded.
        bits: Bits of each number.
        group: Number of inputs of a kernel's column that share a step, if there are four bits: even, at least
            16. A kernel that it does not divide has smaller groups, or eight bits.
        embeddings: If true, tables of embeddings become small, too; by default if there are eight bits.

    Examples:
        >>> model = zoo.quantize(zoo.load("gpt_shakespeare", pretrained=True))
        >>> zoo.save(model, "small")

    Raises:
        ZooError: its layers do not take such weights, it has none to make smaller, or an option is wrong.
    """
    if bits not in (8, 4):
        raise ZooError(f"bits={bits!r}: weights have 8 bits, or 4.")
    if group < quantized.SMALLEST or group % 2:
        raise ZooError(
            f"group={group!r}: take an even number from {quantized.SMALLEST} on, such as 32 or 128."
        )
    model = model_of(model)
    precision = quantized.Precision(bits, group, bits == 8 if embeddings is None else embeddings)
    before = flatten(model.variables)
    after = {path: quantized.quantize(path, array, precision) for path, array in before.items()}
    if not any(after[path] is not before[path] for path in before):
        raise ZooError(f"{model.name!r} has no weights that {_WORDS[bits]} bits would make smaller.")
    entry = model.entry
    if entry is not None:
        located = model.origin.located
        entry = replace(
            entry,
            weights=None,
            layout=None,
            metrics=FrozenMapping(),
            source=f"zoo.quantize of {entry.name}",
            base_model=located.public_name if located else entry.base_model,
        )
    made = Model(model.module, unflatten(after), entry, model.notes, model.origin)
    _check_call(made)
    return made


def _check_call(model: Model) -> None:
    """Checks that a call takes the weights, where the model's inputs are known.

    Raises:
        ZooError: a layer computes with them in a way that such arrays do not have.
    """
    if model.entry is None or not model.entry.inputs:
        return
    inputs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in model.entry.inputs]
    try:
        # One key: a stream that has none of its own is drawn from that of the params.
        jax.eval_shape(
            partial(model.module.apply, rngs={"params": jax.random.key(0)}), model.variables, *inputs
        )
    except (TypeError, AttributeError, ValueError) as error:
        raise ZooError(
            f"{model.name!r} has layers that change their kernels before they use them, and cannot have "
            f"them in fewer bits: {error}"
        ) from error
