"""The Optax optimizer of a recipe."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from zoo._adapters.low_rank import FACTORS
from zoo._registry.recipes import Recipe

MOMENTUM = 0.9


def learning_rate(recipe: Recipe, updates: int) -> optax.Schedule:
    """Returns the learning rate as a function of the update, for a run of `updates` updates."""
    peak, warmup = recipe.learning_rate, recipe.warmup_steps
    rest = max(1, updates - warmup)
    decay = {
        "constant": optax.constant_schedule(peak),
        "linear": optax.linear_schedule(peak, 0.0, rest),
        "cosine": optax.cosine_decay_schedule(peak, rest),
    }[recipe.decay]
    if not warmup:
        return decay
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), decay], [warmup])


def optimizer(recipe: Recipe, updates: int, head: Sequence[str] = ()) -> optax.GradientTransformation:
    """Returns the recipe's optimizer with its schedule and gradient clipping.

    Args:
        recipe: The training recipe.
        updates: Number of updates of the whole run.
        head: Layers that `backbone_rate` does not apply to.
    """
    rate = learning_rate(recipe, updates)
    if recipe.optimizer == "adamw":
        made = optax.adamw(rate, weight_decay=recipe.weight_decay)
    else:
        # As the field does: the decay is part of the gradient, and so of the momentum.
        decay = optax.add_decayed_weights(recipe.weight_decay)
        made = optax.chain(decay, optax.sgd(rate, MOMENTUM, nesterov=True))
    if recipe.clip_norm:
        made = optax.chain(optax.clip_by_global_norm(recipe.clip_norm), made)
    if recipe.frozen or recipe.backbone_rate == 1:
        return made

    def backbone(params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: jax.tree.map(lambda _, here=name not in head: here, params[name]) for name in params}

    return optax.chain(made, optax.masked(optax.scale(recipe.backbone_rate), backbone))


def trained(params: Mapping[str, Any], recipe: Recipe, head: Sequence[str]) -> dict[str, Any]:
    """Returns the params that are not frozen: only these get gradients and optimizer state."""
    return {name: layer for name, layer in params.items() if not recipe.frozen or name in (*head, FACTORS)}
