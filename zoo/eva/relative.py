"""Learned biases of attention for the relative places of patches."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from zoo._errors import ZooError
from zoo._nn.layers import bilinear
from zoo._nn.patches import Sides
from zoo._nn.windows import position_bias


class RelativeBias(nn.Module):
    """A number for each head and offset of two patches, and three for what concerns the class token.

    Bao et al., https://arxiv.org/abs/2106.08254, section 2.5; timm's and transformers' order.
    """

    grid: Sides
    heads: int
    resizing: str

    @property
    def offsets(self) -> Sides:
        """Number of offsets down and across."""
        return 2 * self.grid[0] - 1, 2 * self.grid[1] - 1

    def setup(self) -> None:
        shape = (math.prod(self.offsets) + 3, self.heads)
        self.table = self.param("table", nn.initializers.zeros, shape)

    def __call__(self, grid: Sides) -> jax.Array:
        """Returns (1, heads, tokens, tokens) biases for a grid of patches behind a class token.

        Raises:
            ZooError: another grid than in training, for which timm computes no biases.
        """
        table, (from_class, to_class, own) = self.table[:-3], self.table[-3:]
        if grid != self.grid:
            if self.resizing != "transformers":
                raise ZooError(
                    f"images of {grid} patches, down and across; expected {self.grid}, whose "
                    'relative places have biases: resize the images, or pass resizing="transformers".'
                )
            table = self._resized(table, grid)
        patches = position_bias(table, grid)
        count = patches.shape[-1]
        first = jnp.broadcast_to(from_class[:, None, None], (self.heads, 1, count))
        column = jnp.broadcast_to(to_class[:, None, None], (self.heads, count, 1))
        above = jnp.concatenate([own[:, None, None], first], axis=2)
        return jnp.concatenate([above, jnp.concatenate([column, patches], axis=2)], axis=1)[None]

    def _resized(self, table: jax.Array, grid: Sides) -> jax.Array:
        """Interpolates between offsets, as transformers."""
        sides = (2 * grid[0] - 1, 2 * grid[1] - 1)
        return bilinear(table.reshape(1, *self.offsets, -1), sides).reshape(-1, self.heads)
