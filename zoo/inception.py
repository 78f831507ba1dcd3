"""Inception v3 for images of at least 75 x 75 pixels.

Szegedy et al., https://arxiv.org/abs/1512.00567; the names of its blocks are those of the authors' code.
With the pooling of TensorFlow's published graph it is the network of the Frechet inception distance.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.convolutions import run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.inception import ConvNorm, centered, check_blocks, check_colors
from zoo._nn.options import check_choices
from zoo._nn.outputs import TrainingLogits
from zoo._nn.pooling import max_pool
from zoo._nn.stages import CLASSIFIER as CLASSIFIER
from zoo._nn.stages import CLASSIFYING as CLASSIFYING
from zoo._nn.stages import HEADS, Level, levels_of, stage_indices

HEAD, STEM = ("fc", "AuxLogits"), ("Conv2d_1a_3x3/conv",)
TORCH_NAMES = {"torchvision": (), "timm": ()}  # every layer has its torchvision name
IGNORED = {r"AuxLogits\..*": "the auxiliary head, which only aux_logits=True has"}
REPLACED_HEAD = {r"fc\..*": "the head"}
inputs = image_inputs

_STEM = (32, 32, 64, 80, 192)  # channels of the convolutions before the blocks: table 1
_SMALLEST, _SMALLEST_TRAINED = 75, 299  # pixels; the auxiliary head needs a map of 17 x 17


class Unit(NamedTuple):
    """A convolution with its norm, by its name; padded by half its size, with a stride of 2 not at all."""

    name: str
    channels: int
    size: tuple[int, int] = (1, 1)
    stride: int = 1

    def build(self, dtype: DTypeLike | None) -> ConvNorm:
        """Builds it."""
        height, width = self.size
        return ConvNorm(
            self.channels,
            size=self.size,
            stride=self.stride,
            padding=(height // 2, width // 2) if self.stride == 1 else (0, 0),
            deviation=0.1,
            dtype=dtype,
        )


class Fork(NamedTuple):
    """Convolutions side by side."""

    units: tuple[Unit, ...]


def _average(x: jax.Array) -> Any:
    return nn.avg_pool(x, (3, 3), (1, 1), ((1, 1), (1, 1)))


def _average_inside(x: jax.Array) -> Any:
    """Averages as TensorFlow does, over the pixels of a window that are inside the image."""
    return nn.avg_pool(x, (3, 3), (1, 1), ((1, 1), (1, 1)), count_include_pad=False)


def _largest(x: jax.Array) -> jax.Array:
    return max_pool(x, 3, 1, padding=1)


def _halve(x: jax.Array) -> jax.Array:
    return max_pool(x, 3, 2)


Step: TypeAlias = Unit | Fork | Callable[[jax.Array], jax.Array]
Branches: TypeAlias = tuple[tuple[Step, ...], ...]
_SQUARE, _ROW, _COLUMN = (3, 3), (1, 7), (7, 1)


def _chain(name: str, *units: tuple[int, tuple[int, int]], stride: int = 1) -> tuple[Unit, ...]:
    """Returns a 1x1 convolution and others `name_1`, `name_2`, ..., the last of them with the stride."""
    last = len(units)
    return tuple(
        Unit(f"{name}_{index}", channels, size=size, stride=stride if index == last else 1)
        for index, (channels, size) in enumerate(units, start=1)
    )


def _a(pooled: int) -> Branches:
    """Returns the branches of figure 5, with one 5x5 convolution left."""
    return (
        (Unit("branch1x1", 64),),
        _chain("branch5x5", (48, (1, 1)), (64, (5, 5))),
        _chain("branch3x3dbl", (64, (1, 1)), (96, _SQUARE), (96, _SQUARE)),
        (_average, Unit("branch_pool", pooled)),
    )


def _c(inside: int) -> Branches:
    """Returns the branches of figure 6: convolutions of 7 x 7 pixels as such of rows and columns."""
    one = (1, 1)
    return (
        (Unit("branch1x1", 192),),
        _chain("branch7x7", (inside, one), (inside, _ROW), (192, _COLUMN)),
        _chain(
            "branch7x7dbl",
            *((inside, one), (inside, _COLUMN), (inside, _ROW), (inside, _COLUMN), (192, _ROW)),
        ),
        (_average, Unit("branch_pool", 192)),
    )


def _fork(name: str) -> Fork:
    return Fork((Unit(f"{name}a", 384, (1, 3)), Unit(f"{name}b", 384, (3, 1))))


_B: Branches = (
    (Unit("branch3x3", 384, size=_SQUARE, stride=2),),
    _chain("branch3x3dbl", (64, (1, 1)), (96, _SQUARE), (96, _SQUARE), stride=2),
    (_halve,),
)
_D: Branches = (
    _chain("branch3x3", (192, (1, 1)), (320, _SQUARE), stride=2),
    _chain("branch7x7x3", (192, (1, 1)), (192, _ROW), (192, _COLUMN), (192, _SQUARE), stride=2),
    (_halve,),
)
_E: Branches = (  # figure 7
    (Unit("branch1x1", 320),),
    (*_chain("branch3x3", (384, (1, 1))), _fork("branch3x3_2")),
    (*_chain("branch3x3dbl", (448, (1, 1)), (384, _SQUARE)), _fork("branch3x3dbl_3")),
    (_average, Unit("branch_pool", 192)),
)
BLOCKS = {
    "Mixed_5b": _a(32),
    "Mixed_5c": _a(64),
    "Mixed_5d": _a(64),
    "Mixed_6a": _B,
    "Mixed_6b": _c(128),
    "Mixed_6c": _c(160),
    "Mixed_6d": _c(160),
    "Mixed_6e": _c(192),
    "Mixed_7a": _D,
    "Mixed_7b": _E,
    "Mixed_7c": _E,
}
_HALVING = ("Mixed_6a", "Mixed_7a")


def _pooling(branches: Branches, pool: Step) -> Branches:
    """Returns the branches with another pooling instead of the average."""
    return tuple(tuple(pool if step is _average else step for step in branch) for branch in branches)


# Whose pooling -> the branches of each block. The graph of December 2015, from which the Frechet inception
# distance takes its features, has a maximum in its last block.
POOLINGS: Mapping[str, Mapping[str, Branches]] = {
    "torchvision": BLOCKS,
    "tensorflow": {
        name: _pooling(branches, _largest if name == "Mixed_7c" else _average_inside)
        for name, branches in BLOCKS.items()
    },
}
_AUXILIARY = "Mixed_6e"  # the block whose output the auxiliary head reads


def _channels(branches: Branches, inputs: int) -> int:
    """Returns the number of channels that branches give together."""
    last = [branch[-1] for branch in branches]
    units = [unit for step in last for unit in (step.units if isinstance(step, Fork) else [step])]
    return sum(unit.channels if isinstance(unit, Unit) else inputs for unit in units)


class Mixed(nn.Module):
    """Branches side by side; a unit's name is its attribute."""

    branches: Branches
    dtype: DTypeLike | None

    def setup(self) -> None:
        for step in (step for branch in self.branches for step in branch):
            for unit in step.units if isinstance(step, Fork) else [step]:
                if isinstance(unit, Unit):
                    setattr(self, unit.name, unit.build(self.dtype))

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, any) -> (batch, rows, columns, channels of all branches)."""
        outputs = []
        for branch in self.branches:
            y = x
            for step in branch:
                y = self._step(step, y, train)
            outputs.append(y)
        return jnp.concatenate(outputs, axis=-1)

    def _step(self, step: Step, x: jax.Array, train: bool) -> Any:
        if isinstance(step, Fork):
            return jnp.concatenate([self._step(unit, x, train) for unit in step.units], axis=-1)
        return getattr(self, step.name)(x, train=train) if isinstance(step, Unit) else step(x)


class AuxiliaryHead(nn.Module):
    """Logits from the middle of the network: section 4."""

    num_classes: int
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.conv0 = ConvNorm(128, deviation=0.1, dtype=self.dtype)
        self.conv1 = ConvNorm(768, size=(5, 5), dtype=self.dtype)
        self.fc = nn.Dense(self.num_classes, kernel_init=nn.initializers.normal(0.001), dtype=self.dtype)

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, 17 or more, 17 or more, any) -> (batch, num_classes)."""
        pool = partial(nn.avg_pool, window_shape=(5, 5), strides=(3, 3))
        return self.fc(run([pool, self.conv0, self.conv1], x, train=train).mean((1, 2)))


class Inception(nn.Module):
    """Five convolutions, eleven blocks `Mixed_5b` to `Mixed_7c`, and a dense layer."""

    blocks: tuple[str, ...]
    num_classes: int
    in_channels: int
    aux_logits: bool
    transform_input: bool
    dropout: float
    out_indices: tuple[int, ...]
    pooling: str = "torchvision"
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        unit = partial(ConvNorm, size=_SQUARE, deviation=0.1, dtype=self.dtype)
        self.Conv2d_1a_3x3 = unit(_STEM[0], stride=2)
        self.Conv2d_2a_3x3 = unit(_STEM[1])
        self.Conv2d_2b_3x3 = unit(_STEM[2], padding=(1, 1))
        self.Conv2d_3b_1x1 = unit(_STEM[3], size=(1, 1))
        self.Conv2d_4a_3x3 = unit(_STEM[4])
        for name in self.blocks:
            setattr(self, name, Mixed(POOLINGS[self.pooling][name], self.dtype))
        self.AuxLogits = AuxiliaryHead(self.num_classes, self.dtype)
        self.drop = nn.Dropout(self.dropout)
        self.fc = nn.Dense(self.num_classes, kernel_init=nn.initializers.normal(0.1), dtype=self.dtype)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        widths = [_STEM[2], _STEM[4], _STEM[4]]
        for name in self.blocks:
            width = _channels(BLOCKS[name], widths[-1])
            widths[len(widths) - (name not in _HALVING) :] = [width]
        return levels_of([2] * len(widths), widths)

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        In training with `aux_logits`: TrainingLogits. Where num_classes is 0: (batch, 2048) features, the
        averages of the last block. With the head "maps": what the stages in `out_indices` give, each (batch,
        rows, columns, channels).

        Raises:
            ZooError: images of another shape, or too small: in training with `aux_logits`, below 299 x 299.
        """
        trained = train and self.aux_logits
        smallest = _SMALLEST_TRAINED if trained else _SMALLEST
        x = checked_images(x, (None, None, self.in_channels), smallest=smallest)
        stem = [self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3]
        maps = [run(stem, centered(x) if self.transform_input else x, train=train)]
        maps.append(run([_halve, self.Conv2d_3b_1x1, self.Conv2d_4a_3x3], maps[0], train=train))
        x = _halve(maps[1])
        auxiliary: tuple[jax.Array, ...] = ()
        for name in self.blocks:
            maps += [x] if name in _HALVING else []
            x = getattr(self, name)(x, train=train)
            # At first even without training, so that the head has its parameters.
            if name == _AUXILIARY and self.aux_logits and (train or self.is_initializing()):
                auxiliary = (self.AuxLogits(x, train=train),)
        if self.out_indices:
            maps.append(x)
            return tuple(maps[index] for index in self.out_indices)
        x = run(self.drop, x.mean((1, 2)), train=train)
        logits = self.fc(x) if self.num_classes else x
        return TrainingLogits(logits, auxiliary) if trained else logits


def create(
    *,
    blocks: Sequence[str] = tuple(BLOCKS),
    num_classes: int = 1000,
    head: str = "classification",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    in_channels: int = 3,
    aux_logits: bool = False,
    transform_input: bool = False,
    dropout: float = 0.5,
    pooling: str = "torchvision",
    dtype: DTypeLike | None = None,
) -> Inception:
    """Builds an Inception v3; the defaults are torchvision's inception_v3, without its auxiliary head.

    Args:
        blocks: Those of BLOCKS that the network has, in their order.
        num_classes: Number of logits; 0 leaves the last layer, and the auxiliary head, out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps: 0 ends with Conv2d_2b_3x3, 1 with Conv2d_4a_3x3, the
            others end before a halving block or with the last one; by default that.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        aux_logits: If true, an auxiliary head gives logits in training, too; it is of no use otherwise.
        transform_input: If true, images normalized as ImageNet's usually are become those of [-1, 1] first,
            which the published weights are for.
        dropout: Rate of dropout before the last layer.
        pooling: One of POOLINGS: "torchvision", or "tensorflow" for the weights of the Frechet inception
            distance, which take images of 299 x 299 pixels in [-1, 1].
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such block, head, stage or pooling, or transform_input for images without colors.
    """
    check_choices(head=(head, HEADS), pooling=(pooling, POOLINGS))
    check_blocks(blocks, BLOCKS)
    check_colors(transform_input, in_channels)
    return Inception(
        blocks=tuple(blocks),
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        aux_logits=aux_logits and bool(num_classes) and head == "classification",
        transform_input=transform_input,
        dropout=dropout,
        out_indices=stage_indices(out_indices, out_features, 2 + sum(name in _HALVING for name in blocks))
        if head == "maps"
        else (),
        pooling=pooling,
        dtype=dtype,
    )
