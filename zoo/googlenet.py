"""GoogLeNet, the first Inception network, for images of at least 15 x 15 pixels.

Szegedy et al., https://arxiv.org/abs/1409.4842; with batch norm, and with 3x3 instead of 5x5
convolutions, as torchvision's.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._nn.convolutions import run
from zoo._nn.images import checked_images, image_inputs
from zoo._nn.inception import ConvNorm, centered, check_blocks, check_colors
from zoo._nn.options import check_choices
from zoo._nn.outputs import TrainingLogits
from zoo._nn.pooling import adaptive_avg_pool, flatten_channels_first, max_pool
from zoo._nn.stages import CLASSIFIER as CLASSIFIER
from zoo._nn.stages import CLASSIFYING as CLASSIFYING
from zoo._nn.stages import HEADS, Level, levels_of, stage_indices

HEAD, STEM = ("fc", "aux1", "aux2"), ("conv1/conv",)
TORCH_NAMES = {"torchvision": ()}  # every layer has its torchvision name
IGNORED = {r"aux[12]\..*": "auxiliary heads, which only aux_logits=True has"}
REPLACED_HEAD = {r"fc\..*": "the head"}
inputs = image_inputs

_SMALLEST = 15  # pixels, as torchvision says
_Dense = partial(nn.Dense, kernel_init=nn.initializers.normal(0.01))

# block -> channels of a 1x1 convolution, two pairs of a 1x1 and a 3x3 one, and one after pooling: table 1
BLOCKS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
_FIRST, _SECOND = 64, 192  # channels of the maps before the blocks
_OUTPUTS = (0, 2, 4, 5)  # those of a block's channels that it gives
_WINDOWS = {"3": 3, "4": 3, "5": 2}  # stage -> side of the windows of the pooling before it
_AUXILIARY = {"4a": "aux1", "4d": "aux2"}  # block -> the head that reads its output in training


class Inception(nn.Module):
    """Four branches side by side."""

    channels: tuple[int, int, int, int, int, int]
    dtype: DTypeLike | None

    def setup(self) -> None:
        unit = partial(ConvNorm, dtype=self.dtype)
        plain, reduced2, branch2, reduced3, branch3, pooled = self.channels
        same: dict[str, Any] = {"size": (3, 3), "padding": (1, 1)}
        self.branch1 = unit(plain)
        self.branch2 = [unit(reduced2), unit(branch2, **same)]
        self.branch3 = [unit(reduced3), unit(branch3, **same)]
        # A function comes first, so that the unit is branch4.1.
        self.branch4 = [partial(max_pool, size=3, stride=1, padding=1), unit(pooled)]

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, any) -> (batch, height, width, channels of all branches)."""
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return jnp.concatenate([run(branch, x, train=train) for branch in branches], axis=-1)


class AuxiliaryHead(nn.Module):
    """Logits from the middle of the network: section 5."""

    num_classes: int
    dropout: float
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.conv = ConvNorm(128, dtype=self.dtype)
        self.fc1 = _Dense(1024, dtype=self.dtype)
        self.fc2 = _Dense(self.num_classes, dtype=self.dtype)
        self.drop = nn.Dropout(self.dropout)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """(batch, height, width, any) -> (batch, num_classes)."""
        x = flatten_channels_first(self.conv(adaptive_avg_pool(x, 4, 4), train=train))
        out: jax.Array = run([self.fc1, nn.relu, self.drop, self.fc2], x, train=train)
        return out


class GoogLeNet(nn.Module):
    """Three convolutions, nine blocks `inception3a` to `inception5b`, and a dense layer."""

    blocks: tuple[str, ...]
    num_classes: int
    in_channels: int
    aux_logits: bool
    transform_input: bool
    dropout: float
    aux_dropout: float
    out_indices: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        unit = partial(ConvNorm, dtype=self.dtype)
        self.conv1 = unit(_FIRST, size=(7, 7), stride=2, padding=(3, 3))
        self.conv2 = unit(64)
        self.conv3 = unit(_SECOND, size=(3, 3), padding=(1, 1))
        for block in self.blocks:
            setattr(self, f"inception{block}", Inception(BLOCKS[block], self.dtype))
        for head in _AUXILIARY.values():
            setattr(self, head, AuxiliaryHead(self.num_classes, self.aux_dropout, self.dtype))
        self.drop = nn.Dropout(self.dropout)
        self.fc = _Dense(self.num_classes, dtype=self.dtype)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The maps that `out_indices` counts."""
        last = [BLOCKS[block] for block, after in pairwise((*self.blocks, "end")) if block[0] != after[0]]
        widths = [_FIRST, _SECOND, *(sum(sizes[index] for index in _OUTPUTS) for sizes in last)]
        return levels_of([2] * len(widths), widths)

    def __call__(self, x: jax.Array, *, train: bool = False) -> Any:
        """(batch, height, width, in_channels) images -> (batch, num_classes) logits.

        In training with `aux_logits`: TrainingLogits, the second auxiliary head's before the first's. Where
        num_classes is 0: (batch, 1024) features, the averages of the last block. With the head "maps": what
        the stages in `out_indices` give, each (batch, rows, columns, channels).

        Raises:
            ZooError: images of another shape, or too small.
        """
        x = checked_images(x, (None, None, self.in_channels), smallest=_SMALLEST)
        maps = [self.conv1(centered(x) if self.transform_input else x, train=train)]
        pool = partial(max_pool, stride=2, ceil_mode=True)
        x = run([self.conv2, self.conv3], pool(maps[0], 3), train=train)
        auxiliary: list[jax.Array] = []
        for before, block in pairwise(("conv3", *self.blocks)):
            if block[0] != before[0]:
                maps.append(x)
                x = pool(x, _WINDOWS[block[0]])
            x = getattr(self, f"inception{block}")(x, train=train)
            # At first even without training, so that the heads have their parameters.
            if block in _AUXILIARY and self.aux_logits and (train or self.is_initializing()):
                auxiliary.insert(0, getattr(self, _AUXILIARY[block])(x, train=train))
        if self.out_indices:
            maps.append(x)
            return tuple(maps[index] for index in self.out_indices)
        x = run(self.drop, x.mean((1, 2)), train=train)
        logits = self.fc(x) if self.num_classes else x
        return TrainingLogits(logits, tuple(auxiliary)) if train and auxiliary else logits


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
    dropout: float = 0.2,
    aux_dropout: float = 0.7,
    dtype: DTypeLike | None = None,
) -> GoogLeNet:
    """Builds a GoogLeNet; the defaults are torchvision's, without its auxiliary heads.

    Args:
        blocks: Those of BLOCKS that the network has, in their order.
        num_classes: Number of logits; 0 leaves the last layer, and the auxiliary heads, out.
        head: "classification" gives logits, "none" features, "maps" what several stages give; one of HEADS.
        out_indices: Stages whose outputs are the maps, counted from 2 as they are named less 1: 0 is the
            first convolution, 1 the third, 2 the blocks 3a and 3b; by default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        in_channels: Number of channels of the images.
        aux_logits: If true, two auxiliary heads give logits in training, too; they are of no use otherwise.
        transform_input: If true, images normalized as ImageNet's usually are become those of [-1, 1] first,
            which the published weights are for.
        dropout: Rate of dropout before the last layer.
        aux_dropout: Rate of dropout inside the auxiliary heads.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such block, head or stage, or transform_input for images without colors.
    """
    check_choices(head=(head, HEADS))
    check_blocks(blocks, BLOCKS)
    check_colors(transform_input, in_channels)
    return GoogLeNet(
        blocks=tuple(blocks),
        num_classes=num_classes if head == "classification" else 0,
        in_channels=in_channels,
        aux_logits=aux_logits and bool(num_classes) and head == "classification",
        transform_input=transform_input,
        dropout=dropout,
        aux_dropout=aux_dropout,
        out_indices=stage_indices(out_indices, out_features, 1 + len({block[0] for block in blocks}))
        if head == "maps"
        else (),
        dtype=dtype,
    )
