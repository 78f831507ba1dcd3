"""The blocks of a SegFormer, with the names of transformers' modules."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.attention import attention, weights_dropout
from zoo._nn.convolutions import conv, stochastic_depth
from zoo._nn.layers import ACTIVATIONS, BatchNorm, bilinear

INIT = nn.initializers.normal(0.02)
Dense = partial(nn.Dense, kernel_init=INIT)
LayerNorm = partial(nn.LayerNorm, 1e-5, use_fast_variance=False)  # transformers reads no other epsilon


class StageSizes(NamedTuple):
    """Sizes of a stage; the reduction is of the map that its attention reads, in each direction."""

    width: int
    heads: int
    reduction: int
    patch_size: int
    stride: int
    feed_forward: int


class Options(NamedTuple):
    """Options that all blocks share."""

    activation: str
    dropout: float
    attention_dropout: float
    dtype: DTypeLike | None


class PatchEmbeddings(nn.Module):
    """Patches that overlap, as vectors."""

    sizes: StageSizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        sizes = self.sizes
        self.proj = conv(sizes.width, sizes.patch_size, sizes.stride, bias=True, init=INIT, dtype=self.dtype)
        self.layer_norm = LayerNorm(dtype=self.dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) -> (batch, height / stride, width / stride, width)."""
        out: jax.Array = self.layer_norm(self.proj(x))
        return out


class SequenceReduction(nn.Module):
    """A smaller map, for keys and values."""

    sizes: StageSizes
    dtype: DTypeLike | None

    def setup(self) -> None:
        side = (self.sizes.reduction,) * 2
        self.sequence_reduction = nn.Conv(
            self.sizes.width, side, side, "VALID", dtype=self.dtype, kernel_init=INIT
        )
        self.layer_norm = LayerNorm(dtype=self.dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) -> (batch, height / reduction, width / reduction, channels)."""
        out: jax.Array = self.layer_norm(self.sequence_reduction(x))
        return out


class Attention(nn.Module):
    """Attention of every place to those of a smaller map."""

    sizes: StageSizes
    options: Options

    def setup(self) -> None:
        dense = partial(Dense, self.sizes.width, dtype=self.options.dtype)
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = dense(), dense(), dense(), dense()
        self.sequence_reduction = SequenceReduction(self.sizes, self.options.dtype)
        self.drop = nn.Dropout(self.options.attention_dropout)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, channels) -> the same shape."""

        def split(x: jax.Array) -> jax.Array:
            return x.reshape(x.shape[0], -1, self.sizes.heads, self.sizes.width // self.sizes.heads)

        read = self.sequence_reduction(x) if self.sizes.reduction > 1 else x
        found = attention(
            split(self.q_proj(x)),
            split(self.k_proj(read)),
            split(self.v_proj(read)),
            dropout=weights_dropout(self.drop, train=train),
        )
        out: jax.Array = self.o_proj(found.reshape(x.shape))
        return out


class DepthwiseConv(nn.Module):
    """A convolution of each channel by itself, which tells places apart."""

    width: int
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.dwconv = conv(self.width, 3, groups=self.width, bias=True, init=INIT, dtype=self.dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) -> the same shape."""
        out: jax.Array = self.dwconv(x)
        return out


class FeedForward(nn.Module):
    """Two dense layers with a convolution between them."""

    sizes: StageSizes
    options: Options

    def setup(self) -> None:
        dtype = self.options.dtype
        self.fc1 = Dense(self.sizes.feed_forward, dtype=dtype)
        self.dwconv = DepthwiseConv(self.sizes.feed_forward, dtype)
        self.fc2 = Dense(self.sizes.width, dtype=dtype)
        self.drop1, self.drop2 = nn.Dropout(self.options.dropout), nn.Dropout(self.options.dropout)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, channels) -> the same shape."""
        x = ACTIVATIONS[self.options.activation](self.dwconv(self.fc1(x)))
        x = self.fc2(self.drop1(x, deterministic=not train))
        dropped: jax.Array = self.drop2(x, deterministic=not train)
        return dropped


class Block(nn.Module):
    """Attention, then dense layers, each with a residual connection that may be dropped."""

    sizes: StageSizes
    options: Options
    drop_path: float

    def setup(self) -> None:
        norm = partial(LayerNorm, dtype=self.options.dtype)
        self.layernorm_before, self.layernorm_after = norm(), norm()
        self.attention = Attention(self.sizes, self.options)
        self.mlp = FeedForward(self.sizes, self.options)
        self.drop = nn.Dropout(self.options.dropout)
        self.path1, self.path2 = stochastic_depth(self.drop_path), stochastic_depth(self.drop_path)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, channels) -> the same shape."""
        branch = self.drop(self.attention(self.layernorm_before(x), train=train), deterministic=not train)
        x = x + self.path1(branch, deterministic=not train)
        branch = self.mlp(self.layernorm_after(x), train=train)
        out: jax.Array = x + self.path2(branch, deterministic=not train)
        return out


class Stage(nn.Module):
    """Patches of a map, blocks, and a norm."""

    sizes: StageSizes
    options: Options
    drop_paths: tuple[float, ...]
    remat: bool

    def setup(self) -> None:
        self.patch_embeddings = PatchEmbeddings(self.sizes, self.options.dtype)
        self.blocks = [Block(self.sizes, self.options, rate) for rate in self.drop_paths]
        self.layer_norm = LayerNorm(dtype=self.options.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, channels) -> (batch, height / stride, width / stride, width)."""

        def call(block: nn.Module, x: jax.Array) -> jax.Array:
            out: jax.Array = block(x, train=train)
            return out

        x = self.patch_embeddings(x)
        for block in self.blocks:
            x = (nn.remat(call) if self.remat else call)(block, x)
        out: jax.Array = self.layer_norm(x)
        return out


class Encoder(nn.Module):
    """The stages."""

    stage_sizes: tuple[StageSizes, ...]
    options: Options
    drop_paths: tuple[tuple[float, ...], ...]
    remat: bool

    def setup(self) -> None:
        self.stages = [
            Stage(sizes=sizes, options=self.options, drop_paths=rates, remat=self.remat)
            for sizes, rates in zip(self.stage_sizes, self.drop_paths, strict=True)
        ]

    def __call__(self, x: jax.Array, *, train: bool = False) -> list[jax.Array]:
        """(batch, height, width, channels) -> the map of each stage."""
        maps = []
        for stage in self.stages:
            x = stage(x, train=train)
            maps.append(x)
        return maps


class Projection(nn.Module):
    """A dense layer for one map."""

    width: int
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.proj = Dense(self.width, dtype=self.dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., channels) -> (..., width)."""
        out: jax.Array = self.proj(x)
        return out


class DecodeHead(nn.Module):
    """All maps in the first one's size, and the logits of each of its places."""

    stages: int
    width: int
    num_classes: int
    dropout: float
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.linear_projections = [Projection(self.width, self.dtype) for _ in range(self.stages)]
        self.linear_fuse = conv(self.width, 1, init=INIT, dtype=self.dtype)
        self.batch_norm = BatchNorm(dtype=self.dtype)
        self.drop = nn.Dropout(self.dropout)
        self.classifier = conv(self.num_classes, 1, bias=True, init=INIT, dtype=self.dtype)

    def __call__(self, maps: Sequence[jax.Array], *, train: bool = False) -> jax.Array:
        """Maps of all stages -> (batch, height, width, num_classes), of the first one's size."""
        sides = (maps[0].shape[1], maps[0].shape[2])
        found = [
            bilinear(project(each), sides)
            for project, each in zip(self.linear_projections, maps, strict=True)
        ]
        x = self.linear_fuse(jnp.concatenate(found[::-1], axis=-1))
        x = nn.relu(self.batch_norm(x, use_running_average=not train))
        logits: jax.Array = self.classifier(self.drop(x, deterministic=not train))
        return logits
