"""Parts that GoogLeNet and Inception v3 share."""

from collections.abc import Iterable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.convolutions import run
from zoo._nn.layers import BatchNorm
from zoo._registry.entry import Photos

HALF = 0.5  # mean and standard deviation of pixels that the published networks were trained with


class ConvNorm(nn.Module):
    """A convolution, batch norm and ReLU.

    Attributes:
        channels: Number of channels of the output.
        size: Height and width of the kernel, in pixels.
        stride: Step between its places, in pixels.
        padding: Pixels of padding above and below, and on the left and right.
        deviation: Standard deviation of the kernel's initial numbers.
        dtype: Dtype to compute in.
    """

    channels: int
    size: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    deviation: float = 0.01
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        self.conv = nn.Conv(
            self.channels,
            self.size,
            self.stride,
            [(pixels, pixels) for pixels in self.padding],
            use_bias=False,
            kernel_init=nn.initializers.normal(self.deviation),
            dtype=self.dtype,
        )
        self.bn = BatchNorm(epsilon=1e-3, dtype=self.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, any) -> (batch, rows, columns, channels)."""
        out: jax.Array = run([self.conv, self.bn, nn.relu], x, train=train)
        return out


def centered(x: jax.Array) -> jax.Array:
    """Returns images that were normalized as ImageNet's usually are as those of [-1, 1]: transform_input.

    So the published networks, which were trained with those, take the pixels that all others take.
    """
    x = jnp.asarray(x)  # NumPy's float64 is float32 from here on, unless JAX has that
    mean, std = (jnp.asarray(values, x.dtype) for values in (Photos.mean, Photos.std))
    return x * (std / HALF) + (mean - HALF) / HALF


def check_colors(transform_input: bool, in_channels: int) -> None:
    """Checks that images that are to be centered have colors.

    Raises:
        ZooError: they have not.
    """
    if transform_input and in_channels != 3:
        raise ZooError(
            f"transform_input=True is for images of 3 channels, not of {in_channels}; "
            "pass transform_input=False."
        )


def check_blocks(blocks: Sequence[str], known: Iterable[str]) -> None:
    """Checks that blocks are some of those that are known, in their order.

    Raises:
        ZooError: they are not.
    """
    if list(blocks) != [name for name in known if name in blocks]:
        raise ZooError(f"blocks={tuple(blocks)}: expected some of {', '.join(known)}, in this order.")
