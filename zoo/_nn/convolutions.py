"""Parts of convolutional networks: units of convolution and norm, squeeze-and-excite, stochastic depth."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from zoo._nn.depthwise import convolution
from zoo._nn.layers import ACTIVATIONS, BatchNorm

# Keeps the variance of gradients: He et al., https://arxiv.org/abs/1502.01852, section 2.2.
KAIMING = nn.initializers.variance_scaling(2, "fan_out", "normal")
# Variance 1 / (3 * inputs), that of torch.nn.Conv2d and torch.nn.Linear where a network chooses none.
torch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# Words of layers for the mode that they are in -> their value in training.
MODES = {"train": True, "deterministic": False, "use_running_average": False}


def run(layers: Any, x: jax.Array, *, train: bool) -> Any:
    """Applies a layer or function, or lists of them one after the other, as torch.nn.Sequential does."""
    if isinstance(layers, (list, tuple)):
        for layer in layers:
            x = run(layer, x, train=train)
        return x
    takes = inspect.signature(type(layers).__call__).parameters if isinstance(layers, nn.Module) else ()
    return layers(x, **{word: value == train for word, value in MODES.items() if word in takes})


def conv(
    channels: int,
    size: int | tuple[int, int],
    stride: int = 1,
    *,
    groups: int = 1,
    dilation: int = 1,
    bias: bool = False,
    same: bool = False,
    init: Any = KAIMING,
    dtype: DTypeLike | None,
) -> nn.Conv:
    """Builds a convolution.

    Args:
        channels: Number of its outputs.
        size: Height and width of the kernel, in pixels.
        stride: Step between its places, in pixels.
        groups: Number of groups of channels that do not see each other.
        dilation: Step between the pixels that the kernel sees.
        bias: If true, adds a bias, zero at first.
        same: If true, pads as TensorFlow does: by what the stride needs, where that is uneven one more at the
            end; otherwise by half the kernel on all sides, as PyTorch pads.
        init: Initializer of the kernel.
        dtype: Dtype to compute in.
    """
    sides = (size, size) if isinstance(size, int) else size
    return nn.Conv(
        channels,
        sides,
        strides=(stride, stride),
        padding="SAME" if same else [(dilation * (side // 2),) * 2 for side in sides],
        kernel_dilation=(dilation, dilation),
        feature_group_count=groups,
        use_bias=bias,
        kernel_init=init,
        dtype=dtype,
        conv_general_dilated=convolution,
    )


def normal(deviation: float | None) -> Any:
    """Returns the initializer of kernels of a standard deviation; None is KAIMING's."""
    return KAIMING if deviation is None else nn.initializers.normal(deviation)


class Units(NamedTuple):
    """Units of convolution, batch norm and activation, all of one kind.

    Attributes:
        activation: Name of the activation.
        epsilon: Epsilon of the norms.
        momentum: Part that a batch has in the running statistics, as PyTorch counts it.
        same: If true, pads as TensorFlow does; see `conv`.
        deviation: Standard deviation of kernels at first; by default KAIMING's.
        dtype: Dtype to compute in.
    """

    activation: str = "relu"
    epsilon: float = 1e-5
    momentum: float = 0.1
    same: bool = False
    deviation: float | None = None
    dtype: DTypeLike | None = None

    def act(self, x: jax.Array) -> jax.Array:
        """Applies the activation."""
        return ACTIVATIONS[self.activation](x)

    def conv(
        self, channels: int, size: int, stride: int = 1, *, groups: int = 1, dilation: int = 1
    ) -> nn.Conv:
        """Builds a convolution without a bias, which a norm would take away."""
        return conv(
            channels,
            size,
            stride,
            groups=groups,
            dilation=dilation,
            same=self.same,
            init=normal(self.deviation),
            dtype=self.dtype,
        )

    def norm(self, init: Callable[..., Any] = nn.initializers.ones) -> BatchNorm:
        """Builds a batch norm; `init` is the initializer of its scale."""
        return BatchNorm(epsilon=self.epsilon, momentum=1 - self.momentum, scale_init=init, dtype=self.dtype)

    def linear(self, channels: int, size: int, stride: int = 1, **options: int) -> list[Any]:
        """Builds a convolution, arguments as for `conv`, and its norm."""
        return [self.conv(channels, size, stride, **options), self.norm()]

    def unit(self, channels: int, size: int, stride: int = 1, **options: int) -> list[Any]:
        """Builds a convolution, arguments as for `conv`, its norm and the activation."""
        return [*self.linear(channels, size, stride, **options), self.act]


class SqueezeExcite(nn.Module):
    """Factors for the channels of an image, which a small network makes of their averages.

    Hu et al., https://arxiv.org/abs/1709.01507, section 3.
    """

    channels: int  # of the input
    squeezed: int  # inside
    activation: str = "relu"
    gate: str = "sigmoid"
    deviation: float | None = None  # of kernels at first, as for Units
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        init = normal(self.deviation)
        self.fc1 = conv(self.squeezed, 1, bias=True, init=init, dtype=self.dtype)
        self.fc2 = conv(self.channels, 1, bias=True, init=init, dtype=self.dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) -> the same shape."""
        inner = ACTIVATIONS[self.activation](self.fc1(x.mean((1, 2), keepdims=True)))
        return x * ACTIVATIONS[self.gate](self.fc2(inner))


def stochastic_depth(rate: float, axes: int = 4) -> nn.Dropout:
    """Builds the layer that leaves out a residual branch for some examples of a batch, in training.

    Huang et al., https://arxiv.org/abs/1603.09382; torchvision's mode "row", timm's DropPath. It draws by the
    RNG stream "dropout".

    Args:
        rate: Probability to leave an example's branch out; those that are kept are divided by 1 - rate.
        axes: Number of axes of its input, the batch first.
    """
    return nn.Dropout(rate, broadcast_dims=tuple(range(1, axes)))


def rising(rate: float, blocks: int) -> list[float]:
    """Returns rates of stochastic depth that rise from 0, of the first block, to `rate`, of the last."""
    return [rate * index / max(blocks - 1, 1) for index in range(blocks)]


def divisible(channels: float, divisor: int = 8, *, least: float = 0.9) -> int:
    """Returns the multiple of `divisor` next to a number of channels, and no less than that part of it.

    As MobileNet's authors round: https://github.com/tensorflow/models, slim/nets/mobilenet/mobilenet.py.
    """
    near = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return near if near >= least * channels else near + divisor
