"""Inputs of other sizes, made of those given: what differs between two runs is a size."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from converters.porting.graph import leaves

LARGEST_STEP = 64  # of the sizes of images and texts


@dataclass(frozen=True, kw_only=True)
class Change:
    """Other sizes of the inputs.

    Attributes:
        free: What may differ, in words; "" if nothing does.
        sizes: The size of each axis that changes, and its new one: ((input, axis), size).
    """

    free: str
    sizes: Mapping[tuple[int, int], int]


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
            for grow in (True, False):
                for wide in (True, False):
                    made = _changed(tensors, batch, axes, grow=grow, wide=wide)
                    yield Change(free=f"batch and {words}", sizes=made)
    for wide in (True, False):
        yield Change(free="batch", sizes=_changed(tensors, batch, [], grow=True, wide=wide))
    yield Change(free="", sizes={})


def _is_image(tensor: torch.Tensor) -> bool:
    return tensor.ndim >= 4 and tensor.is_floating_point()


def _is_ids(tensor: torch.Tensor) -> bool:
    return tensor.ndim == 2 and not tensor.is_floating_point()


def _changed(
    tensors: list[torch.Tensor],
    batch: list[tuple[int, int]],
    axes: list[tuple[int, int]],
    *,
    grow: bool,
    wide: bool,
) -> dict[tuple[int, int], int]:
    """Returns the new sizes; `wide` changes all axes that have the size of one that changes."""
    new: dict[tuple[int, int], int] = {}
    for index, axis in batch:
        new[index, axis] = tensors[index].shape[axis] + 1
    for index, axis in axes:
        size = tensors[index].shape[axis]
        step = min(size & -size, LARGEST_STEP)
        # Height and width differ in the second run, so that one is not taken for the other.
        steps = max(axis - 1, 1) if tensors[index].ndim >= 4 else 1
        new[index, axis] = size + step * steps if grow else max(size - step, size // 2, 1)
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


def resized(arguments: Mapping[str, Any], sizes: Mapping[tuple[int, int], int]) -> dict[str, Any]:
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
