"""The blocks of mobile networks, with timm's names, and the words that stand for them.

Words are those of MnasNet's authors and timm (https://github.com/tensorflow/tpu, models/official/mnasnet),
with numbers of channels instead of ratios: "ir r2 k5 s2 m72 c40 se24" is two inverted residuals to 40
channels, with 72 of them inside.
"""

import re
from itertools import accumulate
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from zoo._errors import ZooError
from zoo._nn.convolutions import SqueezeExcite, Units, run, stochastic_depth
from zoo._nn.layers import ACTIVATIONS, LayerScale
from zoo._nn.pooling import shrunk

Sizes = tuple[int, ...]


class Block(NamedTuple):
    """A block.

    Attributes:
        kind: One of KINDS.
        channels: Number of channels of the output ("c").
        inside: Number of channels inside ("m"); 0 is that of the input.
        k, a, p: Sides of the kernels of a layer, in pixels; with several, each has its part of the channels
            (Tan and Le, https://arxiv.org/abs/1907.09595); a 0 leaves the layer out. Which layer: see KINDS.
        stride: Step of one of the kernels ("s"), the first of k, a and p that is there.
        squeezed: Number of channels that squeeze-and-excite has inside ("se"); 0 leaves that out.
        heads, head_dim: Number of heads of attention, and the size of each ("h", "d").
        key_stride: By how much the map of keys and values is smaller ("v"), by kernels of the size k.
        activation: Name of the activation; by default the network's.
        skip: If true, there is a residual connection where shapes allow it ("skip", "noskip").
    """

    kind: str
    channels: int = 0
    inside: int = 0
    k: Sizes = (3,)
    a: Sizes = (1,)
    p: Sizes = (1,)
    stride: int = 1
    squeezed: int = 0
    heads: int = 0
    head_dim: int = 0
    key_stride: int = 1
    activation: str = ""
    skip: bool = True

    def sizes(self, step: "Step") -> Sizes:
        """Returns the sides of the kernels of a step."""
        sizes: Sizes = getattr(self, step.size) if step.size else (1,)
        return sizes

    @property
    def steps(self) -> list["Step"]:
        """The steps that it has."""
        return [step for step in KINDS[self.kind] if any(self.sizes(step))]

    @property
    def strided(self) -> str:
        """The size whose step has the stride."""
        return next((name for name in "kap" if any(getattr(self, name))), "")


class Step(NamedTuple):
    """A convolution and its norm.

    Attributes:
        conv: Name of the convolution.
        norm: Name of the norm.
        to: Field of the block with the number of its outputs; without one, it is of each channel by itself.
        size: Field of the block with the sides of its kernels; without one they are 1.
        activates: If true, an activation follows.
    """

    conv: str
    norm: str
    to: str = ""
    size: str = ""
    activates: bool = True


# Kind -> its steps. Squeeze-and-excite comes before that to the block's channels, if several are to be there.
KINDS = {
    # separable: https://arxiv.org/abs/1704.04861, section 3.1; "dsa" as there, "ds" without the activation
    "ds": (
        Step("conv_dw", "bn1", size="k"),
        Step("conv_pw", "bn2", to="channels", size="p", activates=False),
    ),
    "dsa": (Step("conv_dw", "bn1", size="k"), Step("conv_pw", "bn2", to="channels", size="p")),
    # inverted: https://arxiv.org/abs/1801.04381, section 3.3
    "ir": (
        Step("conv_pw", "bn1", to="inside", size="a"),
        Step("conv_dw", "bn2", size="k"),
        Step("conv_pwl", "bn3", to="channels", size="p", activates=False),
    ),
    # fused: https://arxiv.org/abs/2003.02838, section 3.1
    "er": (
        Step("conv_exp", "bn1", to="inside", size="k"),
        Step("conv_pwl", "bn2", to="channels", size="p", activates=False),
    ),
    "cn": (Step("conv", "bn1", to="channels", size="k"),),
    # universal: https://arxiv.org/abs/2404.10518, section 4
    "uir": (
        Step("dw_start_conv", "dw_start_bn", size="a", activates=False),
        Step("pw_exp_conv", "pw_exp_bn", to="inside"),
        Step("dw_mid_conv", "dw_mid_bn", size="k"),
        Step("pw_proj_conv", "pw_proj_bn", to="channels", activates=False),
        Step("dw_end_conv", "dw_end_bn", size="p", activates=False),
    ),
    "mqa": (),  # attention, without such steps
}
# Kind -> what it is without further words, as in timm; universal blocks have no kernels but those named.
USUAL = {kind: Block(kind, skip=kind not in ("cn", "dsa")) for kind in KINDS}
USUAL["uir"] = Block("uir", k=(0,), a=(0,), p=(0,))
_NUMBERS = {
    "s": "stride",
    "m": "inside",
    "c": "channels",
    "se": "squeezed",
    "h": "heads",
    "d": "head_dim",
    "v": "key_stride",
}


def blocks_of(text: str) -> list[Block]:
    """Returns the blocks that a text stands for: as many as its "r" says, of which the first has the stride.

    Raises:
        ZooError: it has other words, or none for the channels.
    """
    kind, *words = text.split() or [""]
    count, options = 1, dict[str, Any]()
    for word in words:
        found = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)*)", word)
        name, sizes = found.groups() if found else (word, "")
        if word in ACTIVATIONS:
            options["activation"] = word
        elif word in ("skip", "noskip"):
            options["skip"] = word == "skip"
        elif name in ("k", "a", "p"):
            options[name] = tuple(map(int, sizes.split(".")))
        elif name in _NUMBERS and sizes.isdecimal():
            options[_NUMBERS[name]] = int(sizes)
        elif name == "r" and sizes.isdecimal():
            count = int(sizes)
        else:
            raise ZooError(f"stages: {word!r} in {text!r}; expected {_EXPECTED}.")
    first = USUAL.get(kind, Block(kind))._replace(**options)
    sized = first.heads and first.head_dim and first.stride == 1 if kind == "mqa" else first.channels
    if kind not in KINDS or not (sized and first.channels and count and (first.stride == 1 or first.strided)):
        raise ZooError(f"stages: {text!r}; expected one of {', '.join(KINDS)}, then {_EXPECTED}.")
    return [first, *[first._replace(stride=1)] * (count - 1)]


_EXPECTED = (
    "words as k3 (kernel), s2 (stride), m96 (channels inside), c24 (channels), se24 (squeezed ones), r2 "
    "(blocks), skip, noskip or an activation"
)


def parts(channels: int, count: int) -> list[int]:
    """Returns numbers of channels, as equal as can be, of which the first has the rest."""
    return [channels - channels // count * (count - 1), *[channels // count] * (count - 1)]


def mixed(convs: Any, x: jax.Array) -> jax.Array:
    """Applies each of several convolutions to its part of the channels."""
    ends = [*accumulate(parts(x.shape[-1], len(convs)))][:-1]
    pieces = jnp.split(x, ends, axis=-1)
    return jnp.concatenate([conv(piece) for conv, piece in zip(convs, pieces, strict=True)], axis=-1)


class Options(NamedTuple):
    """Options that all blocks share.

    Attributes:
        units: Kind of convolutions, norms and activations.
        squeeze_activation: Name of that inside squeeze-and-excite; by default the block's.
        gate: Name of the one at its end.
        shrinking: What takes the place of a stride, one of zoo._nn.pooling.SHRINKING.
        layer_scale: Initial value of the scales of universal blocks and attention; 0 leaves them out.
    """

    units: Units
    squeeze_activation: str
    gate: str
    shrinking: str
    layer_scale: float


class MobileBlock(nn.Module):
    """A block of any kind."""

    block: Block
    inputs: int
    options: Options
    drop_rate: float = 0.0

    def setup(self) -> None:
        block, units, width = self.block, self._units, self.inputs
        for step in block.steps:
            if step.to == "channels" and block.squeezed:
                self.se = SqueezeExcite(
                    width,
                    block.squeezed,
                    activation=self.options.squeeze_activation or units.activation,
                    gate=self.options.gate,
                    dtype=units.dtype,
                )
            before, width = width, (getattr(block, step.to) or width) if step.to else width
            sizes = block.sizes(step)
            stride = block.stride if self._strides(step) and not self.options.shrinking else 1
            convs = [
                units.conv(outputs, size, stride, groups=1 if step.to else inputs)
                for size, inputs, outputs in zip(
                    sizes, parts(before, len(sizes)), parts(width, len(sizes)), strict=True
                )
            ]
            setattr(self, step.conv, convs if len(convs) > 1 else convs[0])
            setattr(self, step.norm, units.norm())
        scale = self.options.layer_scale if block.kind == "uir" else 0.0
        self.layer_scale = LayerScale(block.channels, scale)
        self.drop_path = stochastic_depth(self.drop_rate)

    @property
    def _units(self) -> Units:
        units = self.options.units
        return units._replace(activation=self.block.activation or units.activation)

    def _strides(self, step: Step) -> bool:
        return self.block.stride > 1 and step.size == self.block.strided

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, inputs) -> (batch, height / stride, width / stride, channels)."""
        block, out = self.block, x
        for step in block.steps:
            if step.to == "channels" and block.squeezed:
                out = self.se(out)
            convs = getattr(self, step.conv)
            out = mixed(convs, out) if isinstance(convs, (list, tuple)) else convs(out)
            out = getattr(self, step.norm)(out, use_running_average=not train)
            out = self._units.act(out) if step.activates else out
            out = shrunk(out, self.options.shrinking) if self._strides(step) else out
        out = self.layer_scale(out)
        if not (block.skip and block.stride == 1 and self.inputs == block.channels):
            return out
        dropped: jax.Array = run(self.drop_path, out, train=train)
        return x + dropped
