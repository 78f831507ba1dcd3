"""Random augmentations of training images, on the device."""

import jax
import jax.numpy as jnp


def shift(key: jax.Array, images: jax.Array, by: int) -> jax.Array:
    """Moves each of (batch, height, width, channels) images by up to `by` pixels, and fills with zeros."""
    padded = jnp.pad(images, ((0, 0), (by, by), (by, by), (0, 0)))
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * by + 1)

    def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (*corner, 0), images.shape[1:])

    return jax.vmap(crop)(padded, corners)


def flip(key: jax.Array, images: jax.Array, share: float) -> jax.Array:
    """Mirrors a random share of (batch, height, width, channels) images, left to right."""
    chosen = jax.random.bernoulli(key, share, (len(images), 1, 1, 1))
    return jnp.where(chosen, images[:, :, ::-1], images)
