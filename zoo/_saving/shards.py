"""Weights in several files with an index, written from where the arrays are: none is gathered in one place.

On several processes, which share the directory, the first makes the files with their headers, and each writes
into all of them the parts of arrays that its own devices have; of copies of a part, one. Last, the first
hashes the files and writes the index.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from converters.formats import INDEX_FILE, safetensors
from converters.io import (
    CHUNK,
    ArraySpec,
    Box,
    atomic_write,
    box_slices,
    check_free_space,
    describe,
    whole_box,
    write_at,
)
from zoo._hub.checksum import checksum_of
from zoo._processes import ProcessGroup
from zoo._variables.lazy import box_of, merge_boxes, overlap

LARGEST = 5_000_000_000  # bytes of a file, as the Hub advises


def are_spread(flat: Mapping[str, Any]) -> bool:
    """Returns whether any device has only a part of some array."""
    return any(isinstance(leaf, jax.Array) and not leaf.is_fully_replicated for leaf in flat.values())


def layout(sizes: Mapping[str, int]) -> dict[str, list[str]]:
    """Names of files, and which arrays go into each: in their order, as many as fit."""
    groups: list[list[str]] = [[]]
    room = LARGEST
    for name, size in sizes.items():
        if size > room and groups[-1]:
            groups.append([])
            room = LARGEST
        groups[-1].append(name)
        room -= size
    count = len(groups)
    return {
        f"model-{index:05}-of-{count:05}.safetensors": group for index, group in enumerate(groups, start=1)
    }


def write(directory: Path, flat: Mapping[str, Any], processes: ProcessGroup) -> None:
    """Writes the files and the index.

    Raises:
        CheckpointError: an array cannot be stored, or there is no room.
    """
    described = describe(flat)
    files = layout({name: array.nbytes for name, array in described.items()})
    if processes.is_primary:
        check_free_space(directory, sum(array.nbytes for array in described.values()))
    places: dict[str, dict[str, int]] = {}
    for file, names in files.items():
        header, places[file], size = safetensors.layout({name: described[name] for name in names}, {})
        if processes.is_primary:
            with open(directory / file, "xb") as made:
                made.write(header)
                made.truncate(size)
    processes.barrier("files are made")
    for file, offsets in places.items():
        with open(directory / file, "r+b", buffering=0) as target:
            for name, offset in offsets.items():
                _write_array(target.fileno(), offset, flat[name], described[name], processes)
            os.fsync(target.fileno())
    processes.barrier("files are written")
    if processes.is_primary:
        write_index(directory, files, sum(array.nbytes for array in described.values()))


def write_index(directory: Path, files: Mapping[str, list[str]], total: int) -> None:
    """Writes the index of files that are complete."""
    hashes = {file: checksum_of(directory / file).digest for file in files}
    index = {
        "metadata": {"total_size": total, "sha256": hashes},
        "weight_map": {name: file for file, names in files.items() for name in names},
    }
    with atomic_write(directory / INDEX_FILE) as file:
        file.write((json.dumps(index, indent=2) + "\n").encode())


def _write_array(fd: int, start: int, leaf: Any, array: ArraySpec, processes: ProcessGroup) -> None:
    """Writes this process's part of an array, in pieces."""
    parts = _parts(leaf, processes)
    for group in merge_boxes(set(parts)):
        for box in _pieces(group, array.dtype.itemsize):
            piece = np.empty([stop - begin for begin, stop in box], array.dtype)
            for own, part in parts.items():
                both = overlap(own, box)
                if both is not None:
                    piece[box_slices(both, box)] = part[box_slices(both, own)]
            rows = piece.reshape(-1).view(np.uint8)
            offsets, length = _runs(box, array)
            for index, offset in enumerate(offsets):
                _pwrite(fd, rows[index * length : (index + 1) * length], start + offset)


def _parts(leaf: Any, processes: ProcessGroup) -> dict[Box, np.ndarray]:
    """The parts of an array that this process writes, on the host."""
    everywhere = not isinstance(leaf, jax.Array) or leaf.is_fully_addressable
    if everywhere and not processes.is_primary:
        return {}
    if not isinstance(leaf, jax.Array):
        return {whole_box(np.shape(leaf)): np.asarray(leaf)}
    # Copies, since jax keeps what it has once fetched from a device as long as the array lives.
    return {
        box_of(shard.index, leaf.shape): np.asarray(shard.data.copy())
        for shard in leaf.addressable_shards
        if shard.replica_id == 0
    }


def _pieces(box: Box, itemsize: int) -> Iterator[Box]:
    """The box in parts of bounded size, each as few runs in the file as can be."""
    sizes = [stop - start for start, stop in box]
    if math.prod(sizes) * itemsize <= CHUNK or max(sizes) == 1:
        yield box
        return
    axis = next(axis for axis, size in enumerate(sizes) if size > 1)
    start, stop = box[axis]
    for half in ((start, (start + stop) // 2), ((start + stop) // 2, stop)):
        yield from _pieces((*box[:axis], half, *box[axis + 1 :]), itemsize)


def _runs(box: Box, array: ArraySpec) -> tuple[list[int], int]:
    """Where a box of an array is among its bytes: where its contiguous parts start, and how long each is."""
    axis, length = len(box), array.dtype.itemsize
    while axis and box[axis - 1] == (0, array.shape[axis - 1]):
        axis -= 1
        length *= array.shape[axis]
    step, starts = length, np.zeros(1, np.int64)
    for outer in reversed(range(axis)):
        start, stop = box[outer]
        if outer == axis - 1:
            starts, length = starts + start * step, length * (stop - start)
        else:
            starts = np.add.outer(np.arange(start, stop) * step, starts).reshape(-1)
        step *= array.shape[outer]
    return starts.tolist(), length


def _pwrite(fd: int, data: np.ndarray, offset: int) -> None:
    while data.size:
        count = write_at(fd, data.data, offset)
        data, offset = data[count:], offset + count
