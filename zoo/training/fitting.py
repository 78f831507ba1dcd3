"""Settings that suit the number of examples, where the user chooses none.

The defaults of finetuning are made for thousands of examples: with 48 of them, batches of 32 are one update
an epoch, and 20 epochs of those end before the learning rate has reached its peak.
"""

import logging
import math
from collections.abc import Collection
from dataclasses import replace

from zoo._registry.recipes import Recipe

EPOCH = 8  # updates of an epoch at least, in smaller batches where the examples are few
# Updates of a run at least, in more epochs: few examples need as many updates as more do, or else the result
# is left to the seed (https://arxiv.org/abs/2006.04884, section 5).
RUN = 300
SMALLEST = 4  # examples of a batch: of fewer, a batch norm's statistics are noise
WARMUP = 0.1  # of all updates at most, in which the learning rate rises
LEFT_OUT = 0.01  # of the examples at most, that fill no batch and are left out of an epoch

_log = logging.getLogger("zoo")


def fitted(recipe: Recipe, examples: int, *, given: Collection[str] = (), multiple: int = 1) -> Recipe:
    """Returns the recipe with batches, epochs, patience and warm-up for so many examples.

    Batches are no larger than the recipe's, and leave an epoch EPOCH updates; epochs are no fewer than the
    recipe's, and leave the run RUN updates, with patience in proportion; the warm-up is no longer than the
    recipe's, nor than WARMUP of the run.

    Args:
        recipe: The recipe for many examples.
        examples: Number of examples to train on.
        given: Names of the fields that stay as they are.
        multiple: Number that divides the size of a batch, such as that of devices which share it.
    """
    if "batch_size" not in given:
        recipe = replace(recipe, batch_size=_batch_size(recipe.batch_size, examples, multiple))
    steps = max(1, examples // recipe.batch_size)
    if "epochs" not in given:
        epochs = max(recipe.epochs, math.ceil(RUN / steps))
        if "patience" not in given:
            recipe = replace(recipe, patience=round(recipe.patience * epochs / recipe.epochs))
        recipe = replace(recipe, epochs=epochs)
    if "warmup_steps" not in given:
        longest = int(WARMUP * steps * recipe.epochs)
        recipe = replace(recipe, warmup_steps=min(recipe.warmup_steps, longest))
    return recipe


def _batch_size(largest: int, examples: int, multiple: int) -> int:
    """Returns a size from three quarters of the largest suitable one on, which leaves out few examples."""
    most = min(largest, max(examples // EPOCH, SMALLEST), examples)
    most = max(most // multiple, 1) * multiple
    sizes = [size for size in range(most, 0, -1) if size % multiple == 0 and 4 * size >= 3 * most]
    few = LEFT_OUT * examples
    # The largest that leaves out few, or else one that leaves out the fewest.
    return next((size for size in sizes if examples % size <= few), min(sizes, key=lambda s: examples % s))


def check(recipe: Recipe, examples: int) -> None:
    """Logs what a recipe does that nobody wants: examples left out, a learning rate that only rises."""
    size = recipe.batch_size
    updates, left_out = examples // size * recipe.epochs, examples % size
    better = _batch_size(size, examples, recipe.accumulate_steps)
    if left_out > LEFT_OUT * examples and examples % better < left_out / 2:
        _log.warning(
            "%d of %d examples are left out of each epoch, others each time: they fill no batch of %d; "
            "a batch_size of %d leaves out %d",
            *(left_out, examples, size, better, examples % better),
        )
    if recipe.warmup_steps >= updates:
        _log.warning(
            "the learning rate still rises when the run ends: warmup_steps=%d of %d updates; choose fewer, "
            "or more epochs",
            *(recipe.warmup_steps, updates),
        )
