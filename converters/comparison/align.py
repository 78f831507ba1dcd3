"""Which torch module a Flax layer is, and how PyTorch arranges the axes of its numbers."""

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import numpy as np

from converters.comparison.report import Difference, difference
from converters.inspection import Inspection, Lift, Path
from converters.matching.links import Names, readings, tensor_name
from converters.matching.renaming import Renaming

CONVOLUTION = "_ConvNd"  # the parent of all convolutions of torch.nn


def pair_layers(
    inspection: Inspection, names: Names, prefix: str, modules: Collection[str]
) -> dict[Path, tuple[str, ...]]:
    """Flax layer -> its torch module's name, through the readings and names that tensors have too.

    A layer that `nn.scan` or `nn.vmap` lifted is several torch modules. A torch module is one Flax layer's:
    the outer one's, where a names pair leads there from a layer inside it as well. It has all the layers
    inside that one, too.
    """
    found: dict[Path, tuple[str, ...]] = {}
    rename = Renaming(names)
    for path in inspection.layers:
        lifts = _lifts(inspection, path)
        ways = sorted(readings(path, inspection.origins(path)), key=lambda way: way[0])
        for _, reading in ways if path else ():
            torch_names = tuple(
                prefix + tensor_name(reading, lifts, index, "weight", rename).removesuffix(".weight")
                for index in itertools.product(*(range(lift.size) for lift in lifts))
            )
            if all(name in modules for name in torch_names):
                if torch_names not in found.values():
                    found[path] = torch_names
                break
    return {path: names for path, names in found.items() if not _split(path, found)}


def _split(path: Path, found: Mapping[Path, tuple[str, ...]]) -> bool:
    """Returns whether a layer inside it is outside the torch module of its name: another thing, then."""
    outer = tuple(f"{name}." for name in found[path])
    inner = (names for other, names in found.items() if len(other) > len(path) and other[: len(path)] == path)
    return any(not name.startswith(outer) for names in inner for name in names)


def _lifts(inspection: Inspection, path: Path) -> Sequence[Lift]:
    """Returns a layer's lifts; one without arrays is lifted like those of the nearest layer around it."""
    for depth in range(len(path), 0, -1):
        for array in inspection.arrays:
            if array.path[1 : depth + 1] == path[:depth] and len(array.path) > depth + 1:
                return [lift for lift in array.lifts if lift.depth <= len(path)]
    return ()


def spatial(twin: Any) -> int:
    """The number of spatial axes of a convolution; 0 for any other torch module."""
    return len(twin.kernel_size) if any(c.__name__ == CONVOLUTION for c in type(twin).__mro__) else 0


@dataclass(frozen=True)
class Axes:
    """Arrangement of axes in a torch model, where Flax has another.

    A convolution's channels move, always. Any other layer's numbers may have come from a convolution, in a
    model that has one, or from an image among the inputs; or have the time before the batch, in a model with
    a layer that is not `batch_first`: among the arrangements that have Flax's shape, the one that differs
    least counts.
    """

    ranks: frozenset[int]  # of the inputs of the model's convolutions
    images: bool
    time_first: bool

    @classmethod
    def of(cls, model: Any, inputs: Sequence[Any], torch_inputs: Sequence[Any] = ()) -> "Axes":
        """Looks at the types of a torch module's layers, and which inputs have their channels moved."""
        modules = list(model.modules())
        ranks = frozenset(spatial(module) + 2 for module in modules if spatial(module))
        moved = any(
            3 <= np.ndim(x) <= 5 and np.array_equal(np.moveaxis(x, -1, 1), other)
            for x, other in itertools.product(inputs, torch_inputs)
        )
        time_first = any(getattr(module, "batch_first", True) is False for module in modules)
        return cls(ranks, bool(ranks) or moved, time_first)

    def torch_inputs(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Flax inputs as PyTorch takes them: floating-point arrays of a convolution's rank are images."""
        images = [isinstance(x, np.ndarray) and x.ndim in self.ranks and x.dtype.kind == "f" for x in inputs]
        moved = (np.moveaxis(x, -1, 1) if image else x for x, image in zip(inputs, images, strict=True))
        # A copy, though grey images look contiguous: by the stride of an axis of one, which NumPy ignores,
        # torch would take them for channels last, and a model's `view` of what comes of them would fail.
        return tuple(x.copy() if isinstance(x, np.ndarray) else x for x in moved)

    def _arrangements(
        self, tensor: np.ndarray, shape: tuple[int, ...], layer: Any, twin: Any
    ) -> Iterator[tuple[str, np.ndarray]]:
        if spatial(twin):
            yield "channels moved", np.moveaxis(tensor, -1 - spatial(twin), -1)
            return
        yield "", tensor
        if self.images and 3 <= tensor.ndim <= 5:
            yield "channels moved", np.moveaxis(tensor, 1, -1)
        if self.time_first and tensor.ndim >= 2:
            yield "batch moved", np.swapaxes(tensor, 0, 1)
        last, same_size = tensor.ndim - 1, tensor.size == math.prod(shape)
        if isinstance(layer, nn.DenseGeneral) and same_size and shape[:last] == tensor.shape[:last]:
            yield "last axis split", tensor.reshape(shape)

    def compare(
        self, flax: np.ndarray, torch: np.ndarray, layer: Any, twin: Any
    ) -> tuple[str, Difference] | None:
        """The arrangement that differs least; None where none has the shape of the Flax array."""
        fitting = [
            (word, a)
            for word, a in self._arrangements(torch, flax.shape, layer, twin)
            if a.shape == flax.shape
        ]
        differences = [(word, difference(flax, tensor)) for word, tensor in fitting]
        return min(differences, key=lambda pair: pair[1].absolute, default=None)
