"""Attention among the pixels of a map, as in the hybrid networks of MobileNetV4."""

from functools import partial

import flax.linen as nn
import jax

from zoo._nn.attention import attention
from zoo._nn.convolutions import Units, conv, stochastic_depth
from zoo._nn.layers import LayerScale
from zoo.mobile.blocks import Block, Options

_INIT = nn.initializers.xavier_uniform()


class MultiQueryAttention(nn.Module):
    """Attention whose heads share keys and values, of a map with fewer pixels or not.

    Shazeer, https://arxiv.org/abs/1911.02150; Qin et al., https://arxiv.org/abs/2404.10518, section 5.
    """

    block: Block
    inputs: int
    units: Units

    def setup(self) -> None:
        block, units = self.block, self.units
        dense = partial(conv, size=1, init=_INIT, dtype=units.dtype)
        self.query_proj = dense(block.heads * block.head_dim)
        self.key_proj, self.value_proj = dense(block.head_dim), dense(block.head_dim)
        self.key_down_conv, self.value_down_conv = (
            units.conv(self.inputs, block.k[0], block.key_stride, groups=self.inputs) for _ in range(2)
        )
        self.key_norm, self.value_norm = units.norm(), units.norm()
        self.output_proj = dense(block.channels)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, inputs) -> (batch, height, width, channels)."""
        keys = values = x
        if self.block.key_stride > 1:
            keys = self.key_norm(self.key_down_conv(x), use_running_average=not train)
            values = self.value_norm(self.value_down_conv(x), use_running_average=not train)
        query, key, value = (
            each.reshape(each.shape[0], -1, each.shape[-1] // self.block.head_dim, self.block.head_dim)
            for each in (self.query_proj(x), self.key_proj(keys), self.value_proj(values))
        )
        out: jax.Array = self.output_proj(attention(query, key, value).reshape(*x.shape[:3], -1))
        return out


class AttentionBlock(nn.Module):
    """A norm, attention, and a residual connection."""

    block: Block
    inputs: int
    options: Options
    drop_rate: float = 0.0

    def setup(self) -> None:
        self.norm = self.options.units.norm()
        self.attn = MultiQueryAttention(self.block, self.inputs, self.options.units)
        self.layer_scale = LayerScale(self.block.channels, self.options.layer_scale)
        self.drop_path = stochastic_depth(self.drop_rate)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, inputs) -> (batch, height, width, channels)."""
        out = self.attn(self.norm(x, use_running_average=not train), train=train)
        out = self.layer_scale(out)
        if not self.block.skip or self.inputs != self.block.channels:
            return out
        dropped: jax.Array = self.drop_path(out, deterministic=not train)
        return x + dropped
