"""Rotary position embeddings: Su et al., https://arxiv.org/abs/2104.09864."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def frequencies(count: int, base: float) -> np.ndarray:
    """Returns frequencies that fall from 1, in as many equal steps of their logarithm, to almost 1 / base."""
    falling: np.ndarray = base ** -(np.arange(count) / count)
    return falling


def rotate(x: jax.Array, angles: ArrayLike, *, halves: bool) -> jax.Array:
    """Rotates pairs of features of queries or keys by the angles of their positions.

    Args:
        x: (batch, length, heads, head_dim); the first ones, if there are more than places, stay as they are.
        angles: (places, head_dim / 2), or (heads, places, head_dim / 2), in radians.
        halves: If true, feature i is paired with feature i + head_dim / 2; else neighbors are a pair.

    Returns:
        The same shape, and dtype.
    """
    angles = jnp.asarray(angles)
    angles = angles[:, None] if angles.ndim == 2 else jnp.moveaxis(angles, 0, 1)
    before = x.shape[1] - angles.shape[0]
    turned = turn(x[:, before:], jnp.cos(angles), jnp.sin(angles), halves=halves)
    return jnp.concatenate([x[:, :before], turned], axis=1)


def turn(x: jax.Array, cos: jax.Array, sin: jax.Array, *, halves: bool = True) -> jax.Array:
    """Turns pairs of the last numbers by angles whose cosines and sines these are.

    Args:
        x: (..., head_dim)
        cos: (..., pairs), broadcasts to x; numbers behind the first 2 * pairs are left as they are.
        sin: The same shape.
        halves: If true, a pair is a number of the first half and its counterpart in the second; else two
            neighbors.

    Returns:
        The same shape, and dtype.
    """
    wide, size = jnp.promote_types(x.dtype, jnp.float32), 2 * cos.shape[-1]
    cos, sin, own = cos.astype(wide), sin.astype(wide), x[..., :size]
    first, second = _pairs(own.astype(wide), halves=halves)
    parts = (first * cos - second * sin, second * cos + first * sin)
    joined = jnp.concatenate(parts, -1) if halves else jnp.stack(parts, -1).reshape(own.shape)
    return jnp.concatenate([joined.astype(x.dtype), x[..., size:]], axis=-1)


def _pairs(x: jax.Array, *, halves: bool) -> tuple[jax.Array, jax.Array]:
    if not halves:
        return x[..., ::2], x[..., 1::2]
    first, second = jnp.split(x, 2, axis=-1)
    return first, second
