"""Finds the torch module of a Flax layer, and how PyTorch arranges the axes of its numbers."""

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from converters.comparison.report import Difference, difference
from converters.inspection import Inspection, Lift, Path
from converters.matching.links import Names
from converters.matching.readings import readings, tensor_name
from converters.matching.renaming import Renaming

CONVOLUTION = "_ConvNd"  # the parent of all convolutions of torch.nn


def pair_layers(
    inspection: Inspection,
    names: Names,
    prefix: str,
    modules: Collection[str],
    is_recurrent: Callable[[Any], bool],
) -> dict[Path, tuple[str, ...]]:
    """Returns each Flax layer's torch module by name, through the readings and names that tensors have too.

    A layer that `nn.scan` or `nn.vmap` lifted is several torch modules. A torch module is one Flax layer's:
    the outer one's, where a names pair leads there from a layer inside it as well. It has all the layers
    inside that one, too. Only a stack of recurrent layers is one module in PyTorch.
    """
    found: dict[Path, tuple[str, ...]] = {}
    rename = Renaming(names)
    for path, layer in inspection.layers.items():
        leaf = "weight_ih_l0" if is_recurrent(layer) else "weight"
        lifts = _lifts(inspection, path)
        ways = sorted(readings(path, inspection.origins(path)), key=lambda way: way[0])
        for _, reading in ways if path else ():
            torch_names = tuple(
                prefix + _owner(tensor_name(reading, lifts, index, leaf, rename), leaf)
                for index in itertools.product(*(range(lift.size) for lift in lifts))
            )
            if all(name in modules for name in torch_names):
                if leaf != "weight" or torch_names not in found.values():
                    found[path] = torch_names
                break
    return {path: names for path, names in found.items() if not _split(path, found)}


def _owner(name: str, leaf: str) -> str:
    """Returns a tensor's module; a name that has been changed to another leaf's is no layer's."""
    return name.removesuffix(f".{leaf}") if leaf == "weight" else name.rpartition(".")[0]


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
    """Returns the number of spatial axes of a convolution; 0 for any other torch module."""
    return len(twin.kernel_size) if any(c.__name__ == CONVOLUTION for c in type(twin).__mro__) else 0


@dataclass(frozen=True)
class Arrangement:
    """One way to arrange a tensor's axes as Flax has them, in words and as a function."""

    words: str
    to_flax: Callable[[np.ndarray], np.ndarray]


def _reshaped(
    shape: tuple[int, ...], first: Callable[[np.ndarray], np.ndarray], tensor: np.ndarray
) -> np.ndarray:
    return first(tensor).reshape(shape)


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Arrangement of axes in a torch model, where Flax has another.

    A convolution's channels move, always. Any other layer's numbers may have come from a convolution, or have
    the time before the batch; or be (batch, pixels, channels) where Flax has the pixels in two axes: among
    the arrangements that have Flax's shape, the one that differs least counts. One that makes a new shape
    counts only where the numbers then agree. The whole model's output is arranged as its layers' are only in
    a model of images, or one with a layer that is not `batch_first`.
    """

    ranks: frozenset[int]  # of the inputs of the model's convolutions
    images: bool
    time_first: bool
    tolerance: float

    @classmethod
    def of(
        cls, model: Any, inputs: Sequence[Any], torch_inputs: Sequence[Any] = (), *, tolerance: float
    ) -> "Axes":
        """Looks at the types of a torch module's layers, and which inputs have their channels moved."""
        modules = list(model.modules())
        ranks = frozenset(spatial(module) + 2 for module in modules if spatial(module))
        moved = any(
            3 <= np.ndim(x) <= 5 and np.array_equal(np.moveaxis(x, -1, 1), other)
            for x, other in itertools.product(jax.tree.leaves(inputs), torch_inputs)
        )
        time_first = any(getattr(module, "batch_first", True) is False for module in modules)
        return cls(ranks=ranks, images=bool(ranks) or moved, time_first=time_first, tolerance=tolerance)

    def torch_inputs(self, inputs: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        """Flax inputs as PyTorch may take them, the likeliest first.

        Floating-point arrays of a convolution's rank are images; or they are not, as sequences that a model
        takes with their features last and moves itself.
        """
        images = [isinstance(x, np.ndarray) and x.ndim in self.ranks and x.dtype.kind == "f" for x in inputs]
        moved = (np.moveaxis(x, -1, 1) if image else x for x, image in zip(inputs, images, strict=True))
        # A copy, though grey images look contiguous: by the stride of an axis of one, which NumPy ignores,
        # torch would take them for channels last, and a model's `view` of what comes of them would fail.
        yield tuple(x.copy() if isinstance(x, np.ndarray) else x for x in moved)
        if any(images):
            yield inputs

    def _arrangements(
        self, rank: int, size: int, shape: tuple[int, ...], twin: Any
    ) -> Iterator[tuple[Arrangement, bool]]:
        """Yields arrangements of a tensor of that rank and size, and whether they may change its shape."""
        moved = Arrangement("channels moved", lambda tensor: np.moveaxis(tensor, 1, -1))
        if spatial(twin):
            channels = -1 - spatial(twin)
            found = [Arrangement("channels moved", lambda tensor: np.moveaxis(tensor, channels, -1))]
        else:
            found = [Arrangement("", lambda tensor: tensor)]
            if 3 <= rank <= 5 and (self.images or twin is not None):
                found.append(moved)
        yield from ((each, False) for each in found)
        if rank >= 2 and not spatial(twin) and (self.time_first or twin is not None):
            yield Arrangement("batch moved", lambda tensor: np.swapaxes(tensor, 0, 1)), False
        if size == math.prod(shape):
            for each in found:
                words = ", ".join(word for word in (each.words, "reshaped") if word)
                yield Arrangement(words, partial(_reshaped, shape, each.to_flax)), True

    def compare(
        self, flax: np.ndarray, torch: np.ndarray, twin: Any
    ) -> tuple[Arrangement, Difference] | None:
        """Returns the arrangement that differs least; None where none has the shape of the Flax array.

        Args:
            flax: Output or input of a Flax layer.
            torch: The same of its torch module.
            twin: The torch module; None for the whole model.
        """
        found = []
        for arrangement, free in self._arrangements(torch.ndim, torch.size, flax.shape, twin):
            array = arrangement.to_flax(torch)
            if array.shape == flax.shape:
                found.append((arrangement, difference(flax, array), free))
        fitting = [(a, d) for a, d, free in found if not free or d.relative <= self.tolerance]
        return min(fitting, key=lambda pair: pair[1].absolute, default=None)
