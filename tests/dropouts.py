"""Dropout and stochastic depth that drop the same in both frameworks: what is at certain places."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import flax.linen as nn
import jax
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def _factors(shape: tuple[int, ...], rate: float) -> np.ndarray:
    """Zeros where numbers are dropped, 1 / (1 - rate) elsewhere; depends on nothing but shape and rate."""
    kept = np.random.default_rng(math.prod(shape)).random(shape) >= rate
    return kept / (1 - rate)


def _torch_dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    return x * torch.from_numpy(_factors(tuple(x.shape), p)) if training and p else x


def _torch_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attends as torch.nn.functional.scaled_dot_product_attention is documented to, in Python."""
    logits = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        zeros = torch.zeros(attn_mask.shape, dtype=logits.dtype)
        boolean = attn_mask.dtype == torch.bool
        logits = logits + (zeros.masked_fill(~attn_mask, -math.inf) if boolean else attn_mask)
    return _torch_dropout(logits.softmax(-1), dropout_p) @ value


def _flax_dropout(
    self: nn.Dropout, inputs: jax.Array, deterministic: bool | None = None, rng: jax.Array | None = None
) -> jax.Array:
    if nn.merge_param("deterministic", self.deterministic, deterministic) or not self.rate:
        return inputs
    shape = tuple(1 if axis in self.broadcast_dims else size for axis, size in enumerate(inputs.shape))
    return inputs * _factors(shape, self.rate)


def _flax_dropout_of_maps(
    self: nn.Dropout, inputs: jax.Array, deterministic: bool | None = None
) -> jax.Array:
    """Drops what PyTorch drops of (batch, channels, height, width)."""
    if nn.merge_param("deterministic", self.deterministic, deterministic) or not self.rate:
        return inputs
    batch, height, width, channels = inputs.shape
    return inputs * np.moveaxis(_factors((batch, channels, height, width), self.rate), 1, -1)


def _torch_bernoulli(self: Tensor, p: float = 0.5) -> Tensor:
    """Fills the mask of torchvision's StochasticDepth, or of timm's DropPath, which divide it by p."""
    return self.copy_(torch.from_numpy(_factors(tuple(self.shape), 1 - p) > 0))


@contextmanager
def same_dropout(*, maps: bool = False) -> Iterator[None]:
    """Inside, both frameworks drop the same; with `maps`, of maps with their channels first in PyTorch."""
    with (
        patch.object(F, "dropout", _torch_dropout),
        patch.object(F, "scaled_dot_product_attention", _torch_attention),
        patch.object(nn.Dropout, "__call__", _flax_dropout_of_maps if maps else _flax_dropout),
        patch.object(Tensor, "bernoulli_", _torch_bernoulli),
    ):
        yield


def _torch_dropout2d(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    return x * torch.from_numpy(_factors((*x.shape[:2], 1, 1), p)) if training else x


def _normal(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(math.prod(shape)).normal(size=shape)


def _flax_normal(key: jax.Array, shape: tuple[int, ...], dtype: object = float) -> jax.Array:
    return jax.numpy.asarray(_normal(shape), dtype)


def _flax_bernoulli(key: jax.Array, p: float, shape: tuple[int, ...]) -> jax.Array:
    return jax.numpy.asarray(_factors(tuple(shape), 1 - p) > 0)


@contextmanager
def same_draws() -> Iterator[None]:
    """Inside, both frameworks drop the same and draw the same numbers."""
    with (
        same_dropout(),
        patch.object(F, "dropout2d", _torch_dropout2d),
        patch.object(torch, "randn_like", lambda x: torch.from_numpy(_normal(tuple(x.shape)))),
        patch.object(jax.random, "normal", _flax_normal),
        patch.object(jax.random, "bernoulli", _flax_bernoulli),
    ):
        yield
