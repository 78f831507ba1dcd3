"""The block of mobile networks: more channels inside than at its ends."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax

from zoo._nn.convolutions import SqueezeExcite, Units, run, stochastic_depth


class Shape(NamedTuple):
    """Sizes of a block.

    Attributes:
        inputs: Number of its channels before.
        inside: Number of its channels inside.
        outputs: Number of its channels behind.
        size: Side of the kernel, in pixels.
        stride: Step of the kernel, in pixels; with a dilation it is 1 all the same.
        squeezed: Number of channels that squeeze-and-excite has inside; 0 leaves that out.
        fused: If true, one convolution of all channels stands for the two that widen and filter.
        dilation: Step between the pixels that the kernel sees.
    """

    inputs: int
    inside: int
    outputs: int
    size: int
    stride: int
    squeezed: int = 0
    fused: bool = False
    dilation: int = 1

    @property
    def step(self) -> int:
        """Stride of the kernel: 1 where it dilates instead."""
        return self.stride if self.dilation == 1 else 1

    @property
    def adds(self) -> bool:
        """True if the block has a residual connection, as none with a stride has, dilated or not."""
        return self.stride == 1 and self.inputs == self.outputs


class InvertedResidual(nn.Module):
    """A 1x1 convolution to more channels, one of each by itself, squeeze-and-excite, and 1x1 to fewer.

    Sandler et al., https://arxiv.org/abs/1801.04381, section 3; with squeeze-and-excite:
    https://arxiv.org/abs/1905.02244, figure 4; fused: https://arxiv.org/abs/2104.00298, figure 2.
    """

    shape: Shape
    units: Units
    gate: str = "sigmoid"
    squeeze_activation: str = "relu"
    drop_rate: float = 0.0

    def setup(self) -> None:
        shape, units = self.shape, self.units
        layers: list[Any] = []
        if shape.fused and shape.inside == shape.inputs:
            layers.append(units.unit(shape.outputs, shape.size, shape.stride))
        elif shape.fused:
            layers.append(units.unit(shape.inside, shape.size, shape.stride))
        else:
            if shape.inside != shape.inputs:
                layers.append(units.unit(shape.inside, 1))
            depthwise = {"groups": shape.inside, "dilation": shape.dilation}
            layers.append(units.unit(shape.inside, shape.size, shape.step, **depthwise))
        if shape.squeezed:
            layers.append(
                SqueezeExcite(
                    shape.inside,
                    shape.squeezed,
                    activation=self.squeeze_activation,
                    gate=self.gate,
                    dtype=units.dtype,
                )
            )
        if not shape.fused or shape.inside != shape.inputs:
            layers.append(units.linear(shape.outputs, 1))
        self.block = layers
        self.stochastic_depth = stochastic_depth(self.drop_rate)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, inputs) -> (batch, height / step, width / step, outputs)."""
        out: jax.Array = run(self.block, x, train=train)
        if not self.shape.adds:
            return out
        dropped: jax.Array = run(self.stochastic_depth, out, train=train)
        return x + dropped
