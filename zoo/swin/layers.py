"""The blocks of a Swin transformer, with torchvision's names."""

import math
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype
from jax.typing import DTypeLike

from zoo._nn.attention import attention, weights_dropout
from zoo._nn.convolutions import run, stochastic_depth
from zoo._nn.layers import ACTIVATIONS
from zoo._nn.windows import Window, join, offsets, partition, position_bias, region_bias

# torchvision's truncated normal ends at 100 standard deviations, timm's as well.
INIT = nn.initializers.normal(0.02)
Dense = partial(nn.Dense, kernel_init=INIT)
LayerNorm = partial(nn.LayerNorm, use_fast_variance=False)
LARGEST_SCALE = 100.0  # of cosine attention


class Sizes(NamedTuple):
    """Options that all blocks share."""

    version: int
    mlp_ratio: float
    key_bias: bool
    epsilon: float
    dropout: float
    attention_dropout: float


class UnbiasedKeys(nn.Dense):
    """Queries, keys and values of version 2, whose keys get no bias, though torchvision's files have one."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features), self.param_dtype)
        bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        query, key, value = jnp.split(bias, 3)
        out: jax.Array = x @ kernel + jnp.concatenate([query, jnp.zeros_like(key), value])
        return out


class WindowAttention(nn.Module):
    """Self-attention inside windows, which are shifted by `shift`, with biases for relative places.

    Version 2 (https://arxiv.org/abs/2111.09883, section 3.2 and 3.3) compares queries and keys by their
    cosine, and computes the biases of the logarithms of the offsets, in units of `trained_window`.
    """

    sizes: Sizes
    width: int
    heads: int
    window: Window
    shift: Window
    trained_window: Window
    dtype: DTypeLike | None

    def setup(self) -> None:
        sizes, dtype = self.sizes, self.dtype
        self.qkv: nn.Module
        count = math.prod(2 * size - 1 for size in self.window)
        if sizes.version == 1:
            self.qkv = Dense(3 * self.width, dtype=dtype)
            self.relative_position_bias_table = self.param(
                "relative_position_bias_table", INIT, (count, self.heads)
            )
        else:
            self.qkv = self._unbiased_keys()
            scale = nn.initializers.constant(math.log(10))
            self.logit_scale = self.param("logit_scale", scale, (self.heads, 1, 1))
            self.cpb_mlp = [
                Dense(512, dtype=self._wide),
                nn.relu,
                Dense(self.heads, use_bias=False, dtype=self._wide),
            ]
        self.proj = Dense(self.width, dtype=dtype)
        self.weights_drop = nn.Dropout(sizes.attention_dropout)
        self.drop = nn.Dropout(sizes.dropout)

    @property
    def _wide(self) -> DTypeLike:
        """Dtype of the biases, which are up to 16 and of parameters alone."""
        return jnp.promote_types(self.dtype or jnp.result_type(float), jnp.float32)

    def _unbiased_keys(self) -> nn.Module:
        if self.sizes.key_bias:
            return UnbiasedKeys(3 * self.width, kernel_init=INIT, dtype=self.dtype)
        self.q_bias = self.param("q_bias", nn.initializers.zeros, (self.width,))
        self.v_bias = self.param("v_bias", nn.initializers.zeros, (self.width,))
        return Dense(3 * self.width, use_bias=False, dtype=self.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, channels) -> the same shape; zeros fill the last windows."""
        height, width = x.shape[1:3]
        pads = [(0, -side % size) for side, size in zip((height, width), self.window, strict=True)]
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        sides = (x.shape[1], x.shape[2])
        attend = partial(self._attend, train=train)
        # One window has nothing to be shifted to.
        each = zip(self.shift, self.window, sides, strict=True)
        down, across = (by if size < side else 0 for by, size, side in each)
        bias = self._position_bias()[None]
        if not (down or across):
            x = join(attend(partition(x, self.window), bias), self.window, sides)
            return x[:, :height, :width]
        regions = region_bias(sides, self.window, (down, across))
        bias = bias + jnp.asarray(regions, bias.dtype)[:, None]
        x = jnp.roll(x, (-down, -across), (1, 2))
        x = join(attend(partition(x, self.window), bias), self.window, sides)
        return jnp.roll(x, (down, across), (1, 2))[:, :height, :width]

    def _attend(self, x: jax.Array, bias: jax.Array, *, train: bool) -> jax.Array:
        """(batch, windows, pixels, channels) -> the same shape; the bias has an axis of windows, too."""
        batch, windows, pixels, _ = x.shape
        qkv = self.qkv(x)
        if self.sizes.version == 2 and not self.sizes.key_bias:
            biases = jnp.concatenate([self.q_bias, jnp.zeros_like(self.q_bias), self.v_bias])
            qkv = qkv + biases.astype(qkv.dtype)
        qkv = qkv.reshape(batch * windows, pixels, 3, self.heads, -1)
        query, key, value = jnp.moveaxis(qkv, 2, 0)
        scale = None
        if self.sizes.version == 2:
            factors = jnp.exp(jnp.minimum(self.logit_scale, math.log(LARGEST_SCALE)))
            query = _unit(query) * factors[:, 0].astype(query.dtype)
            key, scale = _unit(key), 1.0
        dropout = weights_dropout(self.weights_drop, train=train)
        bias = jnp.broadcast_to(bias, (batch, windows, *bias.shape[1:])).reshape(-1, *bias.shape[1:])
        out = attention(query, key, value, scale=scale, bias=bias, dropout=dropout).reshape(x.shape)
        dropped: jax.Array = self.drop(self.proj(out), deterministic=not train)
        return dropped

    def _position_bias(self) -> jax.Array:
        """Returns (heads, pixels, pixels)."""
        if self.sizes.version == 1:
            return position_bias(self.relative_position_bias_table, self.window)
        table = jnp.asarray(log_offsets(self.window, self.trained_window))
        table = table.astype(self._wide)
        table = run(self.cpb_mlp, table, train=False)
        return 16 * nn.sigmoid(position_bias(table, self.window))


def _unit(x: jax.Array) -> jax.Array:
    """Scales vectors to length 1, as torch.nn.functional.normalize."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))  # in float16 the smallest square would be 0
    return (wide / jnp.sqrt(jnp.maximum(jnp.sum(wide * wide, -1, keepdims=True), 1e-24))).astype(x.dtype)


def log_offsets(window: Window, trained: Window) -> np.ndarray:
    """Returns the (offsets, 2) inputs of version 2's biases, computed in float32, as files keep them."""
    unit = np.maximum(np.array(trained) - 1, 1).astype(np.float32)
    scaled = offsets(window).astype(np.float32) / unit * np.float32(8)
    # NumPy's logarithms in float32 are not the nearest numbers, as PyTorch's are.
    exact = np.log2((np.abs(scaled) + np.float32(1)).astype(np.float64))
    logarithms: np.ndarray = exact.astype(np.float32) / np.float32(3)
    logarithms *= np.sign(scaled)
    return logarithms


class Block(nn.Module):
    """Attention in windows, then an MLP, each with a residual connection.

    Norms come before them in version 1, after them in version 2.
    """

    sizes: Sizes
    width: int
    heads: int
    window: Window
    shift: Window
    trained_window: Window
    stochastic_depth_rate: float
    dtype: DTypeLike | None

    def setup(self) -> None:
        sizes, dtype = self.sizes, self.dtype
        self.norm1 = LayerNorm(sizes.epsilon, dtype=dtype)
        self.attn = WindowAttention(
            sizes=sizes,
            width=self.width,
            heads=self.heads,
            window=self.window,
            shift=self.shift,
            trained_window=self.trained_window,
            dtype=dtype,
        )
        self.stochastic_depth = stochastic_depth(self.stochastic_depth_rate)
        self.norm2 = LayerNorm(sizes.epsilon, dtype=dtype)
        self.mlp = [
            Dense(int(self.width * sizes.mlp_ratio), dtype=dtype),
            ACTIVATIONS["gelu"],
            nn.Dropout(sizes.dropout),
            Dense(self.width, dtype=dtype),
            nn.Dropout(sizes.dropout),
        ]

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, channels) -> the same shape."""
        for norm, inner in ((self.norm1, self.attn), (self.norm2, self.mlp)):
            layers = [norm, inner] if self.sizes.version == 1 else [inner, norm]
            x = x + run([*layers, self.stochastic_depth], x, train=train)
        return x


class PatchMerging(nn.Module):
    """Halves height and width and doubles the channels; zeros go below and right of odd sides."""

    sizes: Sizes
    width: int
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.reduction = Dense(2 * self.width, use_bias=False, dtype=self.dtype)
        self.norm = LayerNorm(self.sizes.epsilon, dtype=self.dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) -> (batch, height / 2, width / 2, 2 * channels)."""
        x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
        # Of the four pixels, the lower one of a column follows the upper one.
        x = jnp.concatenate([x[:, down::2, across::2] for across in (0, 1) for down in (0, 1)], axis=-1)
        return self.reduction(self.norm(x)) if self.sizes.version == 1 else self.norm(self.reduction(x))
