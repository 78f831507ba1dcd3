"""Layers and functions that Flax lacks, or whose numbers differ from PyTorch's."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zoo._errors import ZooError


def _gelu(x: jax.Array) -> jax.Array:
    """Computes the exact GELU, through erf; Flax's default is the tanh approximation."""
    return nn.gelu(x, approximate=False)


def _gelu_fast(x: jax.Array) -> jax.Array:
    """Computes the tanh approximation with ten digits of sqrt(2 / pi), as transformers' of this name."""
    return 0.5 * x * (1 + jnp.tanh(0.7978845608 * x * (1 + 0.044715 * x * x)))


def _gelu_bloom(x: jax.Array) -> jax.Array:
    """Computes the tanh approximation with eight digits of sqrt(2 / pi), as transformers' BLOOM."""
    return 0.5 * x * (1 + jnp.tanh(0.79788456 * x * (1 + 0.044715 * x * x)))


def _gelu_10(x: jax.Array) -> jax.Array:
    """Computes the exact GELU, at most 10 (https://arxiv.org/abs/2004.09602)."""
    return jnp.clip(_gelu(x), -10, 10)


def _quick_gelu(x: jax.Array) -> jax.Array:
    """Computes the sigmoid approximation of GELU (https://arxiv.org/abs/1606.08415, section 2)."""
    return x * nn.sigmoid(1.702 * x)


def _laplace(x: jax.Array) -> jax.Array:
    """Computes the Laplace function that approximates relu2 (https://arxiv.org/abs/2209.10655, section 3)."""
    return 0.5 * (1 + jax.lax.erf((x - 0.707107) / (0.282095 * math.sqrt(2))))


def _mish(x: jax.Array) -> jax.Array:
    """Computes Mish (https://arxiv.org/abs/1908.08681)."""
    return x * jnp.tanh(nn.softplus(x))


def _relu2(x: jax.Array) -> jax.Array:
    """Computes the square of ReLU (https://arxiv.org/abs/2109.08668)."""
    return jnp.square(nn.relu(x))


def _linear(x: jax.Array) -> jax.Array:
    """Returns the input."""
    return x


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "relu2": _relu2,
    "relu6": nn.relu6,
    "leaky_relu": nn.leaky_relu,
    "elu": nn.elu,
    "gelu": _gelu,
    "gelu_10": _gelu_10,
    "gelu_bloom": _gelu_bloom,
    "gelu_fast": _gelu_fast,
    "gelu_tanh": nn.gelu,
    "quick_gelu": _quick_gelu,
    "silu": nn.silu,
    "hard_sigmoid": nn.hard_sigmoid,
    "hard_swish": nn.hard_swish,
    "mish": _mish,
    "tanh": nn.tanh,
    "sigmoid": nn.sigmoid,
    "laplace": _laplace,
    "linear": _linear,
}


def check_activation(name: str) -> str:
    """Returns the name; a family's `create` thereby refuses an unknown one before any shape is computed.

    Raises:
        ZooError: no activation of that name.
    """
    if name not in ACTIVATIONS:
        raise ZooError(f"no activation named {name!r}; choose one of {', '.join(sorted(ACTIVATIONS))}")
    return name


class BatchNorm(nn.BatchNorm):
    """Batch norm that trains as PyTorch's: its running variance is unbiased, n / (n - 1) times the batch's.

    Ioffe and Szegedy, https://arxiv.org/abs/1502.03167; defaults and layout are torch.nn.BatchNorm2d's.
    """

    momentum: float = 1 - 0.1
    epsilon: float = 1e-5
    use_fast_variance: bool = False

    def __call__(
        self, x: jax.Array, use_running_average: bool | None = None, *, mask: jax.Array | None = None
    ) -> jax.Array:
        """Any input whose last axis is the channels -> the same shape.

        Raises:
            ZooError: training on one value a channel, which has no variance.
        """
        average = nn.merge_param("use_running_average", self.use_running_average, use_running_average)
        before: jax.Array = self.get_variable("batch_stats", "var")
        out: jax.Array = super().__call__(x, use_running_average, mask=mask)
        if average or self.is_initializing():
            return out
        # Flax has just written the biased one.
        after: jax.Array = self.get_variable("batch_stats", "var")
        self.put_variable("batch_stats", "var", unbiased(self, before, after, x, mask))
        return out


def unbiased(
    layer: Any, before: jax.Array, after: jax.Array, x: jax.Array, mask: jax.Array | None
) -> jax.Array:
    """Returns the running variance that PyTorch keeps, from the one that Flax does.

    Args:
        layer: A batch norm of linen or NNX.
        before: Running variance before the batch.
        after: Flax's after it: momentum * before + (1 - momentum) * the batch's variance.
        x: The batch.
        mask: True for values that count; None where all do.

    Raises:
        ZooError: one value a channel, which has no variance.
    """
    count = x.size / x.shape[layer.axis] if mask is None else mask.sum()
    if layer.axis_name is not None:
        count = jax.lax.psum(count, layer.axis_name, axis_index_groups=layer.axis_index_groups)
    if isinstance(count, float) and count < 2:
        raise ZooError(f"batch norm in training needs more than one value a channel, got input {x.shape}")
    scaled: jax.Array = after + (after - layer.momentum * before) / (count - 1)
    return scaled


class LayerScale(nn.Module):
    """A factor for each channel, small at first (https://arxiv.org/abs/2103.17239, section 2), or none."""

    width: int
    value: float

    def setup(self) -> None:
        if self.value:
            self.gamma = self.param("gamma", nn.initializers.constant(self.value), (self.width,))

    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., width) -> the same shape."""
        return x * self.gamma.astype(x.dtype) if self.value else x


def pixel_shuffle(x: jax.Array, stride: int) -> jax.Array:
    """(batch, height, width, channels * stride**2) -> (batch, height * stride, width * stride, channels).

    As torch.nn.PixelShuffle: Shi et al., https://arxiv.org/abs/1609.05158.
    """
    batch, height, width, _ = x.shape
    parts = x.reshape(batch, height, width, -1, stride, stride)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(batch, height * stride, width * stride, -1)


def doubled(x: jax.Array) -> jax.Array:
    """(batch, height, width, channels) -> (batch, 2 * height, 2 * width, channels): each pixel four times."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def bilinear(x: jax.Array, sides: tuple[int, int]) -> jax.Array:
    """(batch, height, width, channels) -> (batch, *sides, channels), as torch.nn.functional.interpolate."""
    if sides == x.shape[1:3]:
        return x
    down, across = (
        jnp.asarray(_linear_weights(*each), x.dtype) for each in zip(x.shape[1:3], sides, strict=True)
    )
    return jnp.einsum("yY,xX,bYXc->byxc", down, across, x, precision="highest")


def _linear_weights(old: int, new: int) -> np.ndarray:
    """Returns the (new, old) weights of an axis; beyond the edge the outermost pixel goes on."""
    at = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    weights: np.ndarray = np.maximum(1 - np.abs(at[:, None] - np.arange(old)), 0)
    return weights


def bicubic(old: int, new: int, *, align_corners: bool = False, antialias: bool = False) -> np.ndarray:
    """Returns the (new, old) weights by which torch.nn.functional.interpolate resizes an axis.

    Keys, "Cubic convolution interpolation for digital image processing" (1981), whose free parameter `a` is
    -0.5 with antialias and -0.75 without.
    """
    step = (old - 1) / max(new - 1, 1) if align_corners else old / new
    # Where the new pixels' centres are among the old ones.
    centres = np.arange(new) * step if align_corners else (np.arange(new) + 0.5) * step - 0.5
    reach = max(step, 1.0) if antialias else 1.0
    weights = _cubic((np.arange(-2, old + 2) - centres[:, None]) / reach, -0.5 if antialias else -0.75)
    inner: np.ndarray = weights[:, 2:-2]
    if antialias:
        inner /= inner.sum(axis=1, keepdims=True)
        return inner
    # Beyond the edge the outermost pixel goes on.
    inner[:, 0] += weights[:, :2].sum(axis=1)
    inner[:, -1] += weights[:, -2:].sum(axis=1)
    return inner


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    x = np.abs(distance)
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
