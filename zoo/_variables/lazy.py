"""Arrays from files onto devices: a process reads the parts that its own devices hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import Sharding

from converters.checkpoints import Checkpoint
from converters.errors import CheckpointError, ConversionError
from converters.io import Box, FileArray, Part, Stacked, aligned_empty, box_slices, read_box, whole_box
from converters.matching import Conversion, contiguous, nonfinite
from zoo._errors import WeightsError, ZooError
from zoo._variables import casting
from zoo._variables.casting import cast, check_width, final_dtype
from zoo._variables.packed import PackedArray
from zoo._variables.quantized import QuantizedArray
from zoo._variables.sharding import Placement, placed, put

Index = tuple[slice, ...]
Array: TypeAlias = "casting.Array | LazyArray"


@dataclass(kw_only=True)
class LazyArray:
    """An array that is not read from its file yet.

    Attributes:
        path: Path in the tree of variables.
        source: The array in the file.
        param_dtype: Dtype that it is cast to if it is a param; None keeps the file's.
        checked: If true, NaN and infinity are counted.
        bad: Number of these read so far.
    """

    path: str
    source: FileArray
    param_dtype: np.dtype[Any] | None = None
    checked: bool = False
    bad: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype on the devices."""
        return final_dtype(self.path, self.source.dtype, self.param_dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return read_box(self.source).astype(dtype or self.source.dtype, copy=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> "LazyArray":
        return replace(self, path=f"{self.path}[{index}]", source=Part(self.source, index))

    def put(self, place: Sharding | None) -> jax.Array:
        """Reads the array onto its devices; None is jax's default one."""
        if place is None:
            everything = whole_box(self.shape)
            arranged: jax.Array = jax.device_put(self._read({everything})[everything])
            return arranged
        indices = place.addressable_devices_indices_map(self.shape).values()
        parts = self._read({box_of(index or (), self.shape) for index in indices})
        return jax.make_array_from_callback(
            self.shape, place, lambda index: parts[box_of(index or (), self.shape)], dtype=self.dtype
        )

    def _read(self, boxes: set[Box]) -> dict[Box, np.ndarray]:
        """Reads the boxes: each part once however many devices have it, adjacent ones in one go."""
        parts = {box: _empty(box, self.dtype) for box in boxes}
        for group in merge_boxes(boxes):
            for box, piece in self._pieces(group):
                self.bad += nonfinite(piece) if self.checked else 0
                value = contiguous(cast(self.path, piece, self.param_dtype))
                for own, part in parts.items():
                    both = overlap(own, box)
                    if both is not None:
                        part[box_slices(both, own)] = value[box_slices(both, box)]
        return parts

    def _pieces(self, box: Box) -> Iterator[tuple[Box, np.ndarray]]:
        try:
            yield from self.source.pieces(box)
        except CheckpointError as error:
            raise WeightsError(f"{self.path}: {error}") from error


def stack(parts: Sequence[Array]) -> Array:
    """Stacks arrays of one shape along a new first axis."""
    sources = [part.source for part in parts if isinstance(part, LazyArray)]
    one = len({source.dtype for source in sources}) == 1 and len(sources) == len(parts)
    if not one or not isinstance(parts[0], LazyArray):
        return np.stack([np.asarray(part) for part in parts])
    return replace(parts[0], source=Stacked(tuple(sources)))


def pending(checkpoint: Checkpoint) -> dict[str, Array]:
    """Returns the arrays of a Flax file, by path."""
    return {path: LazyArray(path=path, source=checkpoint.in_file(path)) for path in checkpoint}


def converted(conversion: Conversion) -> dict[str, Array]:
    """Returns the arrays that a conversion makes of a PyTorch file, by path."""
    found = {"/".join(path): array for path, array in conversion.in_files().items()}
    return {path: LazyArray(path=path, source=array, checked=True) for path, array in found.items()}


def place_all(
    arrays: dict[str, Array], param_dtype: np.dtype[Any] | None, sharding: Placement | None
) -> dict[str, jax.Array]:
    """Casts the arrays and puts them on their devices; empties the dictionary one by one, to free memory.

    Raises:
        WeightsError: they do not fit `param_dtype`, or jax would narrow them.
        ConversionError: a PyTorch file has NaN or infinity.
        ZooError: `sharding` does not fit.
    """
    for path, array in arrays.items():
        if isinstance(array, LazyArray):
            arrays[path] = replace(array, param_dtype=param_dtype)
        else:
            arrays[path] = cast(path, array, param_dtype)
    check_width(arrays)
    flat: dict[str, jax.Array] = {}
    bad: dict[str, int] = {}
    for path in list(arrays):
        array = arrays.pop(path)
        if isinstance(array, QuantizedArray | PackedArray):
            flat[path] = _put_quantized(path, array, sharding)
        elif isinstance(array, LazyArray):
            leaf = jax.ShapeDtypeStruct(array.shape, array.dtype)
            # Waited for: else the host would keep all that is on its way to a device.
            flat[path] = array.put(placed(path, leaf, sharding)).block_until_ready()
            bad |= {", ".join(array.source.tensors): array.bad} if array.bad else {}
        else:
            # Where a device needs copies, there is one array twice at most.
            flat[path] = put(path, array, sharding)
    if bad:
        lines = "".join(f"\n  {tensors}: {count} values" for tensors, count in bad.items())
        raise ConversionError(f"the state dict holds NaN or infinity:{lines}")
    return flat


def _put_quantized(path: str, array: QuantizedArray | PackedArray, sharding: Placement | None) -> Any:
    """Puts the two arrays on the default device.

    Raises:
        ZooError: they are to be spread.
    """
    if sharding is not None:
        raise ZooError(f"{path} is stored as {array.stored}; load the model without sharding=.")
    return jax.tree.map(
        lambda part: part.put(None) if isinstance(part, LazyArray) else jax.device_put(part),
        array,
        is_leaf=lambda part: isinstance(part, LazyArray),
    )


def box_of(index: Index, shape: tuple[int, ...]) -> Box:
    """Converts the index of a device's part, as jax gives it, to a box."""
    return tuple(each.indices(size)[:2] for each, size in zip(index, shape, strict=True))


def _empty(box: Box, dtype: np.dtype[Any]) -> np.ndarray:
    """Allocates an array at an alignment at which jax takes the memory over."""
    shape = tuple(stop - start for start, stop in box)
    return aligned_empty(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize).view(dtype).reshape(shape)


def overlap(first: Box, second: Box) -> Box | None:
    """Returns the intersection of two boxes; None if it is empty."""
    both = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(first, second, strict=True))
    return both if all(start < stop for start, stop in both) else None


def merge_boxes(boxes: set[Box]) -> list[Box]:
    """Merges adjacent boxes into larger ones, so that rows of a file are read whole."""
    found = sorted(boxes)
    for axis in range(len(found[0]) if found else 0):
        merged: list[Box] = []
        for box in sorted(found, key=lambda box: (*box[:axis], *box[axis + 1 :], box[axis])):
            last = merged[-1] if merged else None
            if last and last[axis][1] == box[axis][0] and _others(last, axis) == _others(box, axis):
                merged[-1] = (*box[:axis], (last[axis][0], box[axis][1]), *box[axis + 1 :])
            else:
                merged.append(box)
        found = merged
    return found


def _others(box: Box, axis: int) -> Box:
    return (*box[:axis], *box[axis + 1 :])
