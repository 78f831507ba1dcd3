"""Distances of images as people see them, by the features of a classifier: LPIPS.

Zhang et al., https://arxiv.org/abs/1801.03924; version 0.1 of the authors' package.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from zoo import alexnet, squeezenet, vgg
from zoo._errors import ZooError
from zoo._nn.convolutions import run
from zoo._nn.images import checked_images
from zoo._nn.options import check_choices

TORCH_NAMES = {"lpips": ((r"^(lin\d)\.", r"\1.model.1."),)}  # with torchvision's names inside `net`
BACKBONES = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
IGNORED = {
    r"net\.classifier\..*": "the classifier",
    r"scaling_layer\..*": "means and deviations of pixels, which are in the code",
    r"lins\..*": "linear layers once more",
}

# The published module keeps them in float32.
_SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)
_SCALE = np.array([0.458, 0.448, 0.450], np.float32)
_EPSILON = 1e-10


class _Net(NamedTuple):
    """Recipe of a backbone: its builder, the indices of its layers that count, the smallest images."""

    create: Callable[..., Any]
    taps: tuple[int, ...]
    smallest: int  # height and width, in pixels


_NETS = {
    "alex": _Net(alexnet.create, (1, 4, 7, 9, 11), 31),
    "vgg": _Net(partial(vgg.create, depth=16), (3, 8, 15, 22, 29), 16),
    "squeeze": _Net(partial(squeezenet.create, variant="1.1"), (1, 4, 7, 9, 10, 11, 12), 17),
}


class LPIPS(nn.Module):
    """Weighted squared differences of a classifier's normalized features, averaged over the pixels."""

    backbone: str
    dropout: float
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        net = _NETS[self.backbone]
        self.net = net.create(dtype=self.dtype)
        self.drop = nn.Dropout(self.dropout)
        for index in range(len(net.taps)):
            setattr(self, f"lin{index}", nn.Conv(1, (1, 1), use_bias=False, dtype=self.dtype))

    def __call__(self, a: jax.Array, b: jax.Array, *, train: bool = False) -> jax.Array:
        """Two batches of (batch, height, width, 3) images in [-1, 1] -> (batch,) distances of each pair.

        They are 0 for equal images, and have a gradient of 0 there. `train` is of the linear layers' dropout;
        a loss leaves it False.

        Raises:
            ZooError: images of another shape, of different shapes, or too small.
        """
        _, taps, smallest = _NETS[self.backbone]
        shape = (None, None, 3)
        a, b = (checked_images(x, shape, smallest=smallest, name=name) for x, name in ((a, "a"), (b, "b")))
        if a.shape != b.shape:
            raise ZooError(f"images of shapes {a.shape} and {b.shape}; expected pairs of one shape.")
        total: Any = 0.0
        for index, pair in enumerate(zip(self._features(a, taps), self._features(b, taps), strict=True)):
            first, second = map(_normalized, pair)
            difference = self.drop((first - second) ** 2, deterministic=not train)
            total += getattr(self, f"lin{index}")(difference).mean((1, 2, 3))
        distances: jax.Array = total
        return distances

    def _features(self, x: jax.Array, taps: tuple[int, ...]) -> list[jax.Array]:
        """Returns the classifier's maps after the given layers."""
        dtype = self.dtype or jnp.result_type(x)
        x, found = (x - jnp.asarray(_SHIFT, dtype)) / jnp.asarray(_SCALE, dtype), []
        for index in range(taps[-1] + 1):
            x = run(self.net.features[index], x, train=False)
            if index in taps:
                found.append(x)
        return found


def _normalized(x: jax.Array) -> jax.Array:
    """Returns maps whose vectors of channels have length 1, or 0 where all channels are."""
    squares = (x**2).sum(-1, keepdims=True)
    # The root has no gradient at 0, which ReLUs often give.
    length = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
    return x / (length + _EPSILON)


def create(*, net: str = "alex", dropout: float = 0.5, dtype: DTypeLike | None = None) -> LPIPS:
    """Builds a network of distances; the default is the authors'.

    Args:
        net: The classifier inside, one of BACKBONES: "alex" for measuring, "vgg" as a loss.
        dropout: Rate of dropout before each linear layer, in training of these layers.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such classifier.
    """
    check_choices(net=(net, BACKBONES))
    return LPIPS(backbone=net, dropout=dropout, dtype=dtype)
