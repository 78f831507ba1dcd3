"""Greedy decoding by a module's own `context` and `extend`, without anything of `zoo.generate`."""

import jax
import jax.numpy as jnp
import numpy as np

import zoo


def greedy(model: zoo.Model, ids: np.ndarray, mask: np.ndarray, count: int) -> np.ndarray:
    """(batch, length) texts of the encoder -> (batch, 1 + count) tokens of the decoder."""

    @jax.jit
    def first(start: jax.Array) -> tuple:
        context = model(ids, mask, method="context")
        options = {"method": "extend", "context": context}
        logits, caches = model(start, start * 0, jnp.ones((len(ids), 1, 1, 1), bool), None, 0, **options)
        room = [(0, 0), (0, count - 1), (0, 0)]
        return logits, jax.tree.map(lambda x: jnp.pad(x, [*[(0, 0)] * (x.ndim - 3), *room]), caches), context

    @jax.jit
    def step(last: jax.Array, tokens: jax.Array, caches: object, context: object) -> tuple:
        mask = jnp.broadcast_to(jnp.arange(count) <= last, (len(ids), 1, 1, count))
        places = jnp.full_like(tokens, last)
        return model(tokens, places, mask, caches, last, method="extend", context=context)

    tokens = [jnp.full((len(ids), 1), model.module.decoder_start_token_id)]
    logits, caches, context = first(tokens[0])
    for column in range(1, count + 1):
        tokens.append(logits.argmax(-1)[:, None])
        if column < count:
            logits, caches = step(jnp.asarray(column), tokens[-1], caches, context)
    return np.concatenate(tokens, axis=1)
