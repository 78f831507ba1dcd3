"""Rotary position embeddings of patches, which lie in two dimensions."""

import math
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from converters.layers import Leaf, Row
from zoo._nn.patches import Sides
from zoo._nn.rotary import frequencies


class Rotary(NamedTuple):
    """Places of patches, and the angles by which these turn queries and keys.

    Attributes:
        kind: "axial", "dinov3" or "mixed"; see `create`.
        base: Quotient of the largest frequency and, almost, the smallest one.
        trained: Grid of patches whose places others are stretched to, or none.
        offset: Place of the first patch.
        across_first: If true, the places across come before those down.
        rescale: Largest factor, and divisor, of the places in training; 1 leaves them.
    """

    kind: str
    base: float
    trained: Sides | None
    offset: float
    across_first: bool
    rescale: float

    @property
    def halves(self) -> bool:
        """True if a turned pair is a number of the first half and one of the second; see `rotate`."""
        return self.kind == "dinov3"

    def places(self, grid: Sides) -> np.ndarray:
        """Returns the (2, patches) coordinates of a grid's patches."""
        if self.kind == "dinov3":  # centers of the patches, in an image from -1 to 1
            down, across = (2 * (np.arange(size) + 0.5) / size - 1 for size in grid)
        else:
            sides = zip(grid, self.trained or grid, strict=True)
            down, across = ((np.arange(here) + self.offset) / here * there for here, there in sides)
        down, across = np.meshgrid(down, across, indexing="ij")
        return np.stack([across, down] if self.across_first else [down, across]).reshape(2, -1)

    def angles(self, grid: Sides, head_dim: int) -> np.ndarray:
        """Returns (patches, head_dim / 2) radians: half of them for each axis, the same frequencies."""
        turn = 2 * math.pi if self.kind == "dinov3" else 1.0
        each = self.places(grid)[..., None] * (turn * frequencies(head_dim // 4, self.base))
        return np.concatenate(list(each), axis=-1)


class MixedFrequencies(nn.Module):
    """Learned frequencies of both axes for each block's heads, along directions that are random at first.

    Heo et al., https://arxiv.org/abs/2403.13298, section 3.2.
    """

    depth: int
    heads: int
    head_dim: int
    rotary: Rotary

    torch_row: ClassVar[Row] = {"freqs": Leaf("freqs")}

    def setup(self) -> None:
        self.freqs = self.param("freqs", self._drawn)

    def _drawn(self, key: jax.Array) -> jax.Array:
        """Returns (2, depth, heads, head_dim / 2)."""
        sizes = jnp.asarray(frequencies(self.head_dim // 4, self.rotary.base))
        directions = jax.random.uniform(key, (self.depth, self.heads, 1), maxval=2 * math.pi)
        right_angles = [directions, directions + math.pi / 2]
        along = [
            jnp.concatenate([of_axis(each) * sizes for each in right_angles], -1)
            for of_axis in (jnp.cos, jnp.sin)
        ]
        return jnp.stack(along)

    def __call__(self, grid: Sides) -> jax.Array:
        """Returns (depth, heads, patches, head_dim / 2) radians for a grid of patches, down and across."""
        dtype = jnp.promote_types(self.freqs.dtype, jnp.float32)
        first, second = jnp.asarray(self.rotary.places(grid), dtype)[..., None]
        each = self.freqs.astype(dtype)[..., None, :]
        angles: jax.Array = first * each[0] + second * each[1]
        return angles
