"""The blocks of MLP-Mixer and ResMLP, with timm's names."""

from functools import partial
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from converters.layers import Leaf, Row
from zoo._nn.convolutions import stochastic_depth
from zoo._nn.layers import ACTIVATIONS, LayerScale

Dense = partial(nn.Dense, kernel_init=nn.initializers.xavier_uniform())


class Sizes(NamedTuple):
    """Sizes and options that all blocks share."""

    kind: str
    tokens: int
    width: int
    token_mlp: int
    feed_forward: int
    layer_scale: float
    activation: str
    epsilon: float
    dropout: float
    stochastic_depth: float

    def build_norm(self, dtype: DTypeLike | None) -> nn.Module:
        """Builds a norm, or what ResMLP has instead."""
        if self.kind == "resmlp":
            return Affine(self.width)
        return nn.LayerNorm(self.epsilon, use_fast_variance=False, dtype=dtype)


class Affine(nn.Module):
    """A factor and a bias for each channel."""

    width: int

    torch_row: ClassVar[Row] = {"alpha": Leaf("alpha"), "beta": Leaf("beta")}

    def setup(self) -> None:
        self.alpha = self.param("alpha", nn.initializers.ones, (1, 1, self.width))
        self.beta = self.param("beta", nn.initializers.zeros, (1, 1, self.width))

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, length, width) -> the same shape."""
        return x * self.alpha.astype(x.dtype) + self.beta.astype(x.dtype)


class FeedForward(nn.Module):
    """Two dense layers."""

    width: int
    feed_forward: int
    sizes: Sizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.fc1 = Dense(self.feed_forward, dtype=self.dtype)
        self.fc2 = Dense(self.width, dtype=self.dtype)
        self.drop1 = nn.Dropout(self.sizes.dropout)
        self.drop2 = nn.Dropout(self.sizes.dropout)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(..., width) -> the same shape."""
        x = self.drop1(ACTIVATIONS[self.sizes.activation](self.fc1(x)), deterministic=not train)
        dropped: jax.Array = self.drop2(self.fc2(x), deterministic=not train)
        return dropped


class Block(nn.Module):
    """Mixes each channel over the patches, then each patch's channels, with residual connections."""

    sizes: Sizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        sizes, dtype = self.sizes, self.dtype
        self.norm1, self.norm2 = sizes.build_norm(dtype), sizes.build_norm(dtype)
        self.mlp_tokens = FeedForward(sizes.tokens, sizes.token_mlp, sizes, dtype)
        self.linear_tokens = Dense(sizes.tokens, dtype=dtype)
        self.mlp_channels = FeedForward(sizes.width, sizes.feed_forward, sizes, dtype)
        self.ls1 = LayerScale(sizes.width, sizes.layer_scale)
        self.ls2 = LayerScale(sizes.width, sizes.layer_scale)
        self.stochastic_depth = stochastic_depth(sizes.stochastic_depth, axes=3)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, patches, width) -> the same shape."""
        across = self.norm1(x).swapaxes(1, 2)
        linear = self.sizes.kind == "resmlp"
        mixed = self.linear_tokens(across) if linear else self.mlp_tokens(across, train=train)
        x = x + self.stochastic_depth(self.ls1(mixed.swapaxes(1, 2)), deterministic=not train)
        out = self.ls2(self.mlp_channels(self.norm2(x), train=train))
        added: jax.Array = x + self.stochastic_depth(out, deterministic=not train)
        return added
