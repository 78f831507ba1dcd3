"""The Optax side of a recipe."""

import optax

from zoo.training.recipes import Recipe


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
    """AdamW with the recipe's schedule, its gradients clipped before."""
    adamw = optax.adamw(learning_rate(recipe, updates), weight_decay=recipe.weight_decay)
    return optax.chain(optax.clip_by_global_norm(recipe.clip_norm), adamw) if recipe.clip_norm else adamw
