"""Positions of Whisper's encoder."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

LONGEST = 10_000  # of the waves of `sinusoids`, over 2 pi


def sinusoids(key: jax.Array, shape: tuple[int, int], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Returns (length, width) sines, then cosines, of ever longer waves: the encoder's positions at first."""
    length, width = shape
    rates = LONGEST ** -(np.arange(width // 2) / max(width // 2 - 1, 1))
    angles = np.arange(length)[:, None] * rates
    return jnp.asarray(np.concatenate([np.sin(angles), np.cos(angles)], axis=1), dtype)
