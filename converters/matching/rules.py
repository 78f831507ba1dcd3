"""Rules for tensors that a checkpoint joins, splits or flattens differently; each has its inverse.

A rule sees names as PyTorch writes them, after the names pairs. In a pattern, `*` stands for one or more
characters, the same in all patterns of the rule: `Fuse("*.qkv.*", ("*.q.*", "*.k.*", "*.v.*"))`.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from converters.errors import ConversionError
from converters.layers import Shape
from converters.matching.joining import concatenate
from converters.matching.links import Link
from converters.matching.orthogonal import MAPS, orthogonal_parts, orthogonal_weight
from converters.matching.rewriting import Change, expand_names, known_shapes, match_pattern, rewrite_links


class Rule(Protocol):
    """Interface that `convert` and `to_torch` ask of a rule."""

    def expand(self, available: set[str]) -> set[str]:
        """The names of a checkpoint -> the names that the module sees behind the rule."""

    def rewrite(self, links: Sequence[Link]) -> list[Link]:
        """Links to the names that the module sees -> links to the names of the checkpoint."""


@dataclass(frozen=True)
class Fuse:
    """The checkpoint keeps in one tensor what the module has in several, joined along an axis.

    Args:
        tensor: the checkpoint's name.
        parts: the module's names, in the order in which the checkpoint joins them.
        axis: of the tensors as PyTorch keeps them.
    """

    tensor: str
    parts: tuple[str, ...]
    axis: int = 0

    def expand(self, available: set[str]) -> set[str]:
        return expand_names(available, (self.tensor,), self.parts)

    def rewrite(self, links: Sequence[Link]) -> list[Link]:
        def change(shapes: Sequence[Shape | None]) -> Change:
            known = known_shapes(shapes, self)
            offsets = np.cumsum([shape[self.axis] for shape in known])
            joined = list(known[0])
            joined[self.axis] = int(offsets[-1])
            return Change(
                (tuple(joined),),
                inward=lambda tensors: tuple(np.split(tensors[0], offsets[:-1], self.axis)),
                outward=lambda parts: (np.concatenate(parts, self.axis),),
                settles=False,
            )

        return rewrite_links(links, self.parts, (self.tensor,), change)


@dataclass(frozen=True)
class Split:
    """The checkpoint keeps in several tensors what the module has in one, joined along an axis.

    Args:
        tensor: the module's name.
        parts: the checkpoint's names, in the order in which the module joins them.
        axis: of the tensors as PyTorch keeps them.
        sizes: of the parts along the axis, for `to_torch`; equal ones by default.
    """

    tensor: str
    parts: tuple[str, ...]
    axis: int = 0
    sizes: tuple[int, ...] = ()

    def expand(self, available: set[str]) -> set[str]:
        return expand_names(available, self.parts, (self.tensor,))

    def rewrite(self, links: Sequence[Link]) -> list[Link]:
        def change(shapes: Sequence[Shape | None]) -> Change:
            (shape,) = known_shapes(shapes, self)
            sizes = self.sizes or (shape[self.axis] // len(self.parts),) * len(self.parts)
            if sum(sizes) != shape[self.axis] or len(sizes) != len(self.parts):
                raise ConversionError(
                    f"{self} cannot cut axis {self.axis} of {shape} into {sizes}; give sizes= that add up"
                )
            parts = []
            for size in sizes:
                part = list(shape)
                part[self.axis] = size
                parts.append(tuple(part))
            return Change(
                tuple(parts),
                inward=lambda tensors: (concatenate(tensors, self.axis),),
                outward=lambda whole: tuple(np.split(whole[0], np.cumsum(sizes)[:-1], self.axis)),
                settles=False,
            )

        return rewrite_links(links, (self.tensor,), self.parts, change)


@dataclass(frozen=True)
class Unflatten:
    """A layer after a flatten: PyTorch flattens (channels, *spatial), the Flax model (*spatial, channels).

    Args:
        tensor: the name of the layer's weight.
        shape: (channels, *spatial) before the flatten.
        axis: of the weight, as PyTorch keeps it, that runs over the flattened values.
    """

    tensor: str
    shape: tuple[int, ...]
    axis: int = 1

    def expand(self, available: set[str]) -> set[str]:
        return available

    def rewrite(self, links: Sequence[Link]) -> list[Link]:
        last = (*self.shape[1:], self.shape[0])
        _check_matches(self, self.tensor, links)

        def moved(tensor: np.ndarray, shape: Shape, source: int, target: int) -> np.ndarray:
            axis = self.axis % tensor.ndim
            parts = tensor.reshape(*tensor.shape[:axis], *shape, *tensor.shape[axis + 1 :])
            return np.moveaxis(parts, axis + source, axis + target).reshape(tensor.shape)

        def change(shapes: Sequence[Shape | None]) -> Change:
            (shape,) = known_shapes(shapes, self)
            if shape[self.axis] != np.prod(self.shape):
                raise ConversionError(f"{self} does not fit axis {self.axis} of {shape}")
            end = len(self.shape) - 1
            return Change(
                (shape,),
                inward=lambda tensors: (moved(tensors[0], self.shape, 0, end),),
                outward=lambda tensors: (moved(tensors[0], last, end, 0),),
            )

        return rewrite_links(links, (self.tensor,), (self.tensor,), change)


@dataclass(frozen=True)
class Reshape:
    """The checkpoint keeps a tensor in another shape, its numbers in the same order.

    Args:
        tensor: the name.
        shape: of the checkpoint's tensor. A 0 stands for the module's size of that axis, and -1 once for
            what remains: (-1, 1, 1) is that of torchvision's LayerScale, (0, 0, 1, 1) that of a 1x1
            convolution that the module has as a Dense.
    """

    tensor: str
    shape: tuple[int, ...]

    def expand(self, available: set[str]) -> set[str]:
        return available

    def rewrite(self, links: Sequence[Link]) -> list[Link]:
        _check_matches(self, self.tensor, links)

        def change(shapes: Sequence[Shape | None]) -> Change:
            (shape,) = known_shapes(shapes, self)
            theirs = self._filled(shape)
            return Change(
                (theirs,),
                inward=lambda tensors: (tensors[0].reshape(shape),),
                outward=lambda tensors: (tensors[0].reshape(theirs),),
            )

        return rewrite_links(links, (self.tensor,), (self.tensor,), change)

    def _filled(self, shape: Shape) -> Shape:
        sizes = [
            shape[axis] if size == 0 and axis < len(shape) else size for axis, size in enumerate(self.shape)
        ]
        known, total = math.prod(size for size in sizes if size != -1), math.prod(shape)
        if sizes.count(-1) == 1 and known and total % known == 0:
            sizes[sizes.index(-1)] = total // known
        if -1 in sizes or math.prod(sizes) != total:
            raise ConversionError(f"{self} does not fit the {total} numbers of {shape}")
        return tuple(sizes)


@dataclass(frozen=True)
class Transpose:
    """The checkpoint keeps the axes of a tensor in another order.

    Args:
        tensor: the name.
        axes: of the checkpoint's tensor, in the order in which the module has them, as for `np.transpose`;
            reversed by default. For a table (1, channels, height, width) that the module has as
            (1, height, width, channels) they are (0, 2, 3, 1).
    """

    tensor: str
    axes: tuple[int, ...] = ()

    def expand(self, available: set[str]) -> set[str]:
        return available

    def rewrite(self, links: Sequence[Link]) -> list[Link]:
        _check_matches(self, self.tensor, links)

        def change(shapes: Sequence[Shape | None]) -> Change:
            (shape,) = known_shapes(shapes, self)
            axes = self.axes or tuple(reversed(range(len(shape))))
            if sorted(axes) != list(range(len(shape))):
                raise ConversionError(f"{self} does not fit the {len(shape)} axes of {shape}")
            inverse = tuple(axes.index(axis) for axis in range(len(shape)))
            return Change(
                (tuple(shape[axis] for axis in inverse),),
                inward=lambda tensors: (tensors[0].transpose(axes),),
                outward=lambda tensors: (tensors[0].transpose(inverse),),
            )

        return rewrite_links(links, (self.tensor,), (self.tensor,), change)


@dataclass(frozen=True)
class Keep:
    """The checkpoint keeps a tensor as the module does; said where a conversion asks.

    Args:
        tensor: the name, such as that of a Dense that reads a flattened map with the channels last in both.
    """

    tensor: str

    def expand(self, available: set[str]) -> set[str]:
        return available

    def rewrite(self, links: Sequence[Link]) -> list[Link]:
        _check_matches(self, self.tensor, links)

        def change(shapes: Sequence[Shape | None]) -> Change:
            return Change(
                tuple(known_shapes(shapes, self)),
                inward=lambda tensors: tensors,
                outward=lambda tensors: tensors,
            )

        return rewrite_links(links, (self.tensor,), (self.tensor,), change)


@dataclass(frozen=True)
class Orthogonalize:
    """The checkpoint keeps a weight as `torch.nn.utils.parametrizations.orthogonal` does.

    The weight is computed in float64. Back, an orthogonal weight becomes the base, as it does in PyTorch.

    Args:
        tensor: the name of the weight.
        map: `orthogonal_map` of PyTorch's function: "matrix_exp", its default for square weights,
            "householder", its default for others, or "cayley".
        trivialized: `use_trivialization` of PyTorch's function.
    """

    tensor: str
    map: str
    trivialized: bool = True

    def expand(self, available: set[str]) -> set[str]:
        return expand_names(available, self._parts(), (self.tensor,))

    def rewrite(self, links: Sequence[Link]) -> list[Link]:
        _check_matches(self, self.tensor, links)
        if self.map not in MAPS:
            raise ConversionError(f"{self}: the maps are {', '.join(MAPS)}")

        def change(shapes: Sequence[Shape | None]) -> Change:
            (shape,) = known_shapes(shapes, self)
            base = (*shape[:-2], max(shape[-2:]), max(shape[-2:]))
            return Change(
                (shape, base) if self.trivialized else (shape,),
                inward=lambda tensors: (
                    orthogonal_weight(*tensors, map=self.map).astype(tensors[0].dtype, copy=False),
                ),
                outward=lambda tensors: orthogonal_parts(
                    tensors[0], map=self.map, trivialized=self.trivialized
                ),
                lossy="an orthogonal weight has many bases",
            )

        return rewrite_links(links, (self.tensor,), self._parts(), change)

    def _parts(self) -> tuple[str, ...]:
        layer, dot, leaf = self.tensor.rpartition(".")
        stem = f"{layer}{dot}parametrizations.{leaf}."
        return (f"{stem}original", f"{stem}0.base") if self.trivialized else (f"{stem}original",)


def _check_matches(rule: Rule, pattern: str, links: Sequence[Link]) -> None:
    """Checks that a rule matches: one that does not would just not be applied.

    Fuse and Split that match nothing leave names that do not fit.
    """
    names = [name for link in links for name in link.tensors]
    if all(match_pattern(pattern, name) is None for name in names):
        near = ", ".join(map(repr, difflib.get_close_matches(pattern, names) or names[:3]))
        raise ConversionError(
            f"{rule} matches no tensor of the module, whose names, after names=, are such as {near}"
        )
