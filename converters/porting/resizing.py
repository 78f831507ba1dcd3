"""Inputs of other sizes, made of those given: what differs between two runs is a size."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias

import torch

from converters.porting.graph import leaves

LARGEST_STEP = 32  # of the sizes of images and texts

Axis: TypeAlias = tuple[int, int]  # number of the input, and the axis


@dataclass(frozen=True, kw_only=True)
class Change:
    """Other sizes of the inputs.

    Attributes:
        free: Sizes that differ, in words; "" if none does.
        sizes: The size of each axis that changes, and its new one: ((input, axis), size).
    """

    free: str
    sizes: Mapping[Axis, int]


def changes(arguments: Mapping[str, Any]) -> Iterator[Change]:
    """Yields changes of the sizes of inputs, the most first; the last one changes nothing.

    The first axis is the batch's, where it has the size of the first input's. Of floating-point arrays with
    four or more axes all but the first two are an image's; of others the second axis, or else the third, is
    a sequence's. Where several axes have the size of one that changes, they change with it, or else only
    where their place says so.
    """
    tensors = [each for each in leaves(dict(arguments)) if isinstance(each, torch.Tensor)]
    size = next((each.shape[0] for each in tensors if each.ndim), 0)
    batch = [(i, 0) for i, each in enumerate(tensors) if each.ndim and each.shape[0] == size]
    lengths = {each.shape[1] for each in tensors if _is_ids(each)}
    images = [_is_image(each) and not lengths & {*each.shape[2:]} for each in tensors]
    spatial = [(i, axis) for i, each in enumerate(tensors) if images[i] for axis in range(2, each.ndim)]
    second = [(i, 1) for i, each in enumerate(tensors) if not images[i] and (each.ndim == 3 or _is_ids(each))]
    third = [(i, 2) for i, each in enumerate(tensors) if not images[i] and each.ndim == 3]
    parts = [("size of images", spatial), ("length", second), ("length", third)]
    for words, axes in parts:
        if axes:
            for made in (_few(tensors, axes), _grown(tensors, axes), _halved(tensors, axes)):
                for wide in (True, False):
                    yield Change(free=f"batch and {words}", sizes=_changed(tensors, batch, made, wide=wide))
    for wide in (True, False):
        yield Change(free="batch", sizes=_changed(tensors, batch, {}, wide=wide))
    yield Change(free="", sizes={})


def _is_image(tensor: torch.Tensor) -> bool:
    return tensor.ndim >= 4 and tensor.is_floating_point()


def _is_ids(tensor: torch.Tensor) -> bool:
    return tensor.ndim == 2 and not tensor.is_floating_point()


def _few(tensors: list[torch.Tensor], axes: list[Axis]) -> dict[Axis, int]:
    """Returns the smallest other sizes that are as divisible, which are soon computed.

    No two axes of a tensor get the same, so that one is not taken for the other.
    """
    made: dict[Axis, int] = {}
    for index, axis in axes:
        size = tensors[index].shape[axis]
        step = min(size & -size, LARGEST_STEP)
        taken = {each for (other, _), each in made.items() if other == index} | {size}
        made[index, axis] = next(step * n for n in count(2) if step * n not in taken)
    return made


def _grown(tensors: list[torch.Tensor], axes: list[Axis]) -> dict[Axis, int]:
    """Returns larger sizes that are as divisible."""
    sizes = {each: tensors[each[0]].shape[each[1]] for each in axes}
    return {
        each: size + min(size & -size, LARGEST_STEP) * max(each[1] - 1, 1) for each, size in sizes.items()
    }


def _halved(tensors: list[torch.Tensor], axes: list[Axis]) -> dict[Axis, int]:
    """Returns half the sizes, for modules that take no larger ones."""
    return {each: max(tensors[each[0]].shape[each[1]] // 2, 1) for each in axes}


def _changed(
    tensors: list[torch.Tensor], batch: list[Axis], sizes: Mapping[Axis, int], *, wide: bool
) -> dict[Axis, int]:
    """Returns the new sizes; `wide` changes all axes that have the size of one that changes."""
    new = {(index, axis): tensors[index].shape[axis] + 1 for index, axis in batch} | dict(sizes)
    if not wide:
        return new
    known: dict[int, int] = {}
    for (index, axis), size in new.items():
        known.setdefault(tensors[index].shape[axis], size)
    every = ((index, axis) for index, each in enumerate(tensors) for axis in range(each.ndim))
    return {
        (index, axis): new.get((index, axis), known[tensors[index].shape[axis]])
        for index, axis in every
        if tensors[index].shape[axis] in known
    }


def resized(arguments: Mapping[str, Any], sizes: Mapping[Axis, int]) -> dict[str, Any]:
    """Returns the inputs at other sizes: their values again, floating-point ones a little changed."""
    counter = iter(range(len([*leaves(dict(arguments))])))
    generator = torch.Generator().manual_seed(0)

    def made(tree: Any) -> Any:
        match tree:
            case torch.Tensor():
                index = next(counter)
                here = {axis: size for (other, axis), size in sizes.items() if other == index}
                return _resized(tree, here, generator)
            case tuple() if hasattr(tree, "_fields"):
                return type(tree)(*map(made, tree))
            case tuple() | list():
                return type(tree)(map(made, tree))
            case dict():
                return {key: made(each) for key, each in tree.items()}
        return tree

    return {name: made(each) for name, each in arguments.items()}


def _resized(tensor: torch.Tensor, sizes: Mapping[int, int], generator: torch.Generator) -> torch.Tensor:
    for axis, size in sizes.items():
        if size != tensor.shape[axis]:
            tensor = tensor.index_select(axis, torch.arange(size, device=tensor.device) % tensor.shape[axis])
    if not tensor.is_floating_point() or not sizes:
        return tensor
    # Zeros, infinities and ones may be a mask's.
    kept = (tensor == 0) | (tensor == 1) | ~torch.isfinite(tensor)
    noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float32).to(tensor)
    return torch.where(kept, tensor, tensor * (0.9 + 0.2 * noise))
