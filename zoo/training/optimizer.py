"""The Optax side of a recipe."""

import optax

from zoo.training.recipes import Recipe

MOMENTUM = 0.9


def learning_rate(recipe: Recipe, updates: int) -> optax.Schedule:
    """Update -> learning rate, over a run of that many updates."""
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


def optimizer(recipe: Recipe, updates: int) -> optax.GradientTransformation:
    """The recipe's optimizer with its schedule; gradients are clipped before."""
    rate = learning_rate(recipe, updates)
    if recipe.optimizer == "adamw":
        made = optax.adamw(rate, weight_decay=recipe.weight_decay)
    else:
        # As the field does: the decay is part of the gradient, and so of the momentum.
        decay = optax.add_decayed_weights(recipe.weight_decay)
        made = optax.chain(decay, optax.sgd(rate, MOMENTUM, nesterov=True))
    return optax.chain(optax.clip_by_global_norm(recipe.clip_norm), made) if recipe.clip_norm else made
