"""Slices of arrays, read from files that keep the numbers under other names, in other shapes and orders.

Conversion moves numbers and does not compute, and NumPy moves by views. So it is run once on memory that
nobody touches: where an array that comes out of it starts, and its strides, say which bytes of the files each
of its numbers is.
"""

import itertools
import math
import mmap
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from converters.io.dtypes import check_bools
from converters.io.files import InputFile, named_errors
from converters.io.memory import Memory

SCRATCH = 1 << 25  # bytes between the first and the last that are read at once
GAP = 512  # bytes that are sooner read than left out; a disk has no smaller sectors
# Pages that are never written need no memory; not every system has to be told.
UNTOUCHED = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)

Box = tuple[tuple[int, int], ...]  # for each axis, where a slice starts and stops
Arrays = tuple[np.ndarray, ...]


class Extent(NamedTuple):
    """Where a tensor's numbers are in a file."""

    file: InputFile
    name: str
    offset: int  # of its first number
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in bytes, none negative

    @property
    def nbytes(self) -> int:
        """From the start of its first number to the end of its last."""
        steps = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        return steps + self.dtype.itemsize if 0 not in self.shape else 0


class FileArray(Protocol):
    """An array in files.

    Attributes:
        tensors: Tensors that it is made of, by their names in the files.
    """

    @property
    def tensors(self) -> tuple[str, ...]: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...

    def pieces(self, box: Box) -> Iterator[tuple[Box, np.ndarray]]:
        """The slice, in parts that are valid until the next is asked for."""


def whole_box(shape: Sequence[int]) -> Box:
    """All of an array."""
    return tuple((0, size) for size in shape)


def box_slices(box: Box, origin: Box | None = None) -> tuple[slice, ...]:
    """Returns the slices that select `box`; relative to `origin`, if given."""
    starts = [start for start, _ in origin] if origin is not None else [0] * len(box)
    return tuple(slice(a - start, b - start) for (a, b), start in zip(box, starts, strict=True))


def read_box(array: FileArray, box: Box | None = None) -> np.ndarray:
    """A slice of it, or all."""
    box = whole_box(array.shape) if box is None else box
    made = np.empty([stop - start for start, stop in box], array.dtype)
    for part, piece in array.pieces(box):
        made[box_slices(part, box)] = piece
    return made


def in_files(
    extents: Sequence[Extent], to_flax: Callable[[Arrays], Arrays], read: Callable[[], Arrays]
) -> tuple[FileArray, ...]:
    """The arrays that a conversion makes of tensors in files.

    Args:
        extents: Where the tensors are.
        to_flax: The conversion.
        read: The arrays themselves; for what the conversion does not move only, but computes.
    """
    image = Image(tuple(extents))
    memory = np.frombuffer(mmap.mmap(-1, image.nbytes + 1, flags=UNTOUCHED), np.uint8)
    tensors = tuple(
        np.ndarray(extent.shape, extent.dtype, memory, start, extent.strides)
        for start, extent in zip(image.starts, extents, strict=True)
    )
    made, base = to_flax(tensors), int(memory.ctypes.data)
    names = tuple(extent.name for extent in extents)
    found: list[FileArray] = []
    for index, array in enumerate(made):
        offset = array.ctypes.data - base
        view = Moved(names, array.shape, array.dtype, array.strides, offset, image)
        low, high = view.span(whole_box(array.shape)) if array.size else (-1, 0)
        inside = low >= 0 and high <= image.nbytes
        found.append(view if inside else Computed(names, array.shape, array.dtype, read, index))
    return tuple(found)


def computed(names: tuple[str, ...], read: Callable[[], Arrays]) -> tuple[FileArray, ...]:
    """Describes arrays of tensors that are not in files as they are; they are read to know the shapes."""
    return tuple(Computed(names, made.shape, made.dtype, read, index) for index, made in enumerate(read()))


class Image:
    """Tensors as if they lay in memory one after another."""

    def __init__(self, extents: tuple[Extent, ...]) -> None:
        self.extents = extents
        self.starts = [0, *itertools.accumulate(extent.nbytes for extent in extents)]
        self.nbytes = self.starts.pop()
        self.memory = extents[0].file.memory if extents else Memory()

    def fill(self, low: int, high: int, buffer: np.ndarray) -> None:
        """Reads these bytes of the image into the buffer."""
        index = bisect_right(self.starts, low) - 1
        for start, extent in zip(self.starts[index:], self.extents[index:], strict=True):
            if start >= high:
                break
            begin, end = max(low, start), min(high, start + extent.nbytes)
            if begin < end:
                with named_errors(extent.file.path):
                    extent.file.read_into(extent.offset + begin - start, buffer[begin - low : end - low])


@dataclass(frozen=True)
class Moved:
    """A view of an image: `offset` and `strides` say where in it each number is."""

    tensors: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    offset: int
    image: Image

    def pieces(self, box: Box) -> Iterator[tuple[Box, np.ndarray]]:
        """The slice, in parts that are valid until the next is asked for."""
        if any(start == stop for start, stop in box):
            return
        low, high = self.span(box)
        if high - low > SCRATCH:
            for half in self._halves(box):
                yield from self.pieces(half)
            return
        buffer = self.image.memory.empty(high - low)
        for begin, end in self._runs(box, low):
            self.image.fill(begin, end, buffer[begin - low : end - low])
        shape = tuple(stop - start for start, stop in box)
        piece = np.ndarray(shape, self.dtype, buffer, self._first(box) - low, self.strides)
        yield box, self._checked(piece)

    def span(self, box: Box) -> tuple[int, int]:
        """From the lowest byte of the slice in the image to the highest."""
        steps = [(stop - start - 1) * step for (start, stop), step in zip(box, self.strides, strict=True)]
        low = self._first(box) + sum(step for step in steps if step < 0)
        return low, low + sum(map(abs, steps)) + self.dtype.itemsize

    def _first(self, box: Box) -> int:
        return self.offset + sum(start * stride for (start, _), stride in zip(box, self.strides, strict=True))

    def _halves(self, box: Box) -> Iterator[Box]:
        """Along the axis whose numbers are farthest apart, so that the halves lie apart, too."""
        sizes = [stop - start for start, stop in box]
        axis = max((axis for axis, size in enumerate(sizes) if size > 1), key=lambda a: abs(self.strides[a]))
        start, stop = box[axis]
        middle = (start + stop) // 2
        yield (*box[:axis], (start, middle), *box[axis + 1 :])
        yield (*box[:axis], (middle, stop), *box[axis + 1 :])

    def _runs(self, box: Box, low: int) -> Iterator[tuple[int, int]]:
        """The parts of the image that the slice is in, each without large gaps."""
        axes = sorted(
            (abs(stride), stop - start)
            for (start, stop), stride in zip(box, self.strides, strict=True)
            if stop - start > 1
        )
        length = self.dtype.itemsize
        while axes and axes[0][0] <= length + GAP:
            stride, size = axes.pop(0)
            length += stride * (size - 1)
        starts = np.array([low])
        for stride, size in reversed(axes):
            starts = np.add.outer(starts, stride * np.arange(size)).reshape(-1)
        return ((start, start + length) for start in starts.tolist())

    def _checked(self, piece: np.ndarray) -> np.ndarray:
        if self.dtype == np.bool_:
            check_bools(", ".join(self.tensors), np.ascontiguousarray(piece))
        return piece


@dataclass(frozen=True)
class Computed:
    """An array that no view makes: its tensors are read whole."""

    tensors: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], Arrays]
    index: int

    def pieces(self, box: Box) -> Iterator[tuple[Box, np.ndarray]]:
        """The slice."""
        if math.prod(stop - start for start, stop in box):
            yield box, self.read()[self.index][box_slices(box)]


@dataclass(frozen=True)
class Stacked:
    """Arrays of one shape and dtype along a new first axis."""

    parts: tuple[FileArray, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        return tuple(name for part in self.parts for name in part.tensors)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.parts), *self.parts[0].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.parts[0].dtype

    def pieces(self, box: Box) -> Iterator[tuple[Box, np.ndarray]]:
        """The slice, in parts that are valid until the next is asked for."""
        for index in range(*box[0]):
            for inner, piece in self.parts[index].pieces(box[1:]):
                yield ((index, index + 1), *inner), piece[None]


@dataclass(frozen=True)
class Part:
    """One of an array's entries along its first axis."""

    source: FileArray
    index: int

    @property
    def tensors(self) -> tuple[str, ...]:
        return self.source.tensors

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    def pieces(self, box: Box) -> Iterator[tuple[Box, np.ndarray]]:
        """The slice, in parts that are valid until the next is asked for."""
        for outer, piece in self.source.pieces(((self.index, self.index + 1), *box)):
            yield outer[1:], piece[0]
