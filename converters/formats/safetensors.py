"""The safetensors format, as strict as its specification: https://github.com/huggingface/safetensors#format."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from converters.errors import CheckpointError
from converters.formats.stored import Opened, Stored
from converters.formats.tensor_names import MAX_TENSORS, check_lengths, check_names
from converters.io.atomic import atomic_write
from converters.io.direct import BLOCK
from converters.io.dtypes import BY_NUMPY, BY_SAFETENSORS, check_bools, check_shape
from converters.io.files import InputFile
from converters.io.json import decode_json
from converters.io.memory import CACHE_LINE
from converters.io.slices import Extent
from converters.io.writing import ArraySpec, ArrayWriter, describe

MAX_HEADER = 100_000_000  # the reference implementation's limit
MAX_VALUES = 32 * MAX_TENSORS
NO_HEADER = "the header is not a safetensors header"


class Tensor(NamedTuple):
    """Where a tensor's bytes are in the file, and what they mean."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    start: int
    nbytes: int

    @property
    def strides(self) -> tuple[int, ...]:
        """In bytes; the format knows no other order than C's."""
        sizes = (self.dtype.itemsize, *reversed(self.shape))
        return tuple(math.prod(sizes[:count]) for count in range(len(self.shape), 0, -1))


def parse(buffer: np.ndarray) -> dict[str, np.ndarray]:
    """The tensors of a whole file, as views of the buffer (uint8) that holds its bytes.

    Raises:
        CheckpointError: the bytes are not exactly one well-formed safetensors file.
    """
    count = header_length(buffer[:8].tobytes(), buffer.size)
    tensors = parse_header(buffer[8 : 8 + count].tobytes(), buffer.size)
    return {
        name: check_bools(name, buffer[start : start + nbytes].view(dtype).reshape(shape))
        for name, (dtype, shape, start, nbytes) in tensors.items()
    }


def starts(head: bytes) -> bool:
    """Returns whether a file's first bytes can be this format's: a length, then a JSON object."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MAX_HEADER


def open_tensors(file: InputFile, key: str | None) -> Opened:
    """Opens a file; it has no notes, and nothing that a `key` could choose from.

    Raises:
        CheckpointError: it is not well-formed, or there is a key.
    """
    if key is not None:
        raise CheckpointError(f"has names of tensors only, nothing to choose key={key!r} from; leave it out")
    header = open_header(file)
    check_names(header)
    return {
        name: Stored(
            file=file,
            dtype=tensor.dtype,
            shape=tensor.shape,
            identity=name,
            read=partial(read_tensor, file, name, tensor),
            extent=Extent(
                file=file,
                name=name,
                offset=tensor.start,
                dtype=tensor.dtype,
                shape=tensor.shape,
                strides=tensor.strides,
            ),
        )
        for name, tensor in header.items()
    }, ()


def open_header(file: InputFile) -> dict[str, Tensor]:
    """The tensors that a file declares; reads nothing but the header."""
    count = header_length(file.read(0, min(8, file.size)), file.size)
    return parse_header(file.read(8, count), file.size)


def read_tensor(file: InputFile, name: str, tensor: Tensor) -> np.ndarray:
    """Reads one tensor's array; of bytes in memory, a view."""
    buffer = file.view(tensor.start, tensor.nbytes)
    return check_bools(name, buffer.view(tensor.dtype).reshape(tensor.shape))


def header_length(prefix: bytes, size: int) -> int:
    """The header's length, from the first eight bytes of a file of `size` bytes."""
    if size < 8:
        state = "is empty" if not size else "is cut off"
        raise CheckpointError(f"the file {state} ({size} bytes); download it again")
    count = int.from_bytes(prefix, "little")
    if count > MAX_HEADER:
        raise CheckpointError(f"{NO_HEADER}: it claims {count:,} bytes, the limit is {MAX_HEADER:,}")
    if 8 + count > size:
        raise CheckpointError(f"the header needs {count:,} bytes, the file has {size:,}; download it again")
    return count


def parse_header(header: bytes, size: int) -> dict[str, Tensor]:
    """The header's tensors, which must fill the rest of a file of `size` bytes exactly."""
    entries = _decode(header)
    metadata = entries.pop("__metadata__", {})
    metadata = {} if metadata is None else metadata  # as MLX writes it
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError("'__metadata__' is not a mapping of strings to strings")
    if len(entries) > MAX_TENSORS:
        raise CheckpointError(f"the header has {len(entries):,} tensors, the limit is {MAX_TENSORS:,}")
    check_lengths(entries)
    start = 8 + len(header)
    tensors = {name: _tensor(name, entry, start) for name, entry in entries.items()}
    end = start
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].nbytes)):
        if tensor.start != end:
            relation = "overlaps the tensor" if tensor.start < end else "leaves a gap"
            raise CheckpointError(
                f"{name!r} {relation} before it: it starts at {tensor.start}, expected {end}"
            )
        end += tensor.nbytes
    if end > size:
        raise CheckpointError(f"the file is cut off: {size:,} bytes of {end:,}; download it again")
    if end < size:
        raise CheckpointError(f"{size - end:,} bytes follow the last tensor; download it again")
    return tensors


def _decode(header: bytes) -> dict[str, Any]:
    """The JSON object, in which no name may occur twice."""
    if not header.startswith(b"{"):
        raise CheckpointError(f"{NO_HEADER}: it starts with {header[:8]!r}, expected '{{'")
    # Each value costs some 60 bytes of memory, so that they are counted before they are made.
    values = sum(header.count(mark) for mark in (b"[", b"{", b","))
    if values > MAX_VALUES:
        raise CheckpointError(f"{NO_HEADER}: it has some {values:,} values, the limit is {MAX_VALUES:,}")
    entries: dict[str, Any] = decode_json(header, NO_HEADER)
    return entries


def _tensor(name: str, entry: Any, origin: int) -> Tensor:
    """One entry of the header; fields that the format does not know are none of our business."""
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise CheckpointError(f"{name!r} has no dtype, shape and data_offsets: {str(entry)[:80]}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BY_SAFETENSORS:
        raise CheckpointError(f"{name!r} has dtype {str(dtype)[:40]!r}, which this version does not support")
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(f"{name!r} has shape {str(shape)[:80]} and data_offsets {str(offsets)[:80]}")
    check_shape(name, tuple(shape))
    numpy_dtype = BY_SAFETENSORS[dtype].numpy
    nbytes, room = math.prod(shape) * numpy_dtype.itemsize, offsets[1] - offsets[0]
    if nbytes != room:
        raise CheckpointError(f"{name!r}: {dtype} of shape {shape} needs {nbytes:,} bytes, it has {room:,}")
    return Tensor(numpy_dtype, tuple(shape), origin + offsets[0], nbytes)


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def write(
    path: Path,
    arrays: Mapping[str, ArrayLike],
    *,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes the arrays, pulling one at a time from a mapping that knows its `.shapes` and `.dtypes`.

    Raises:
        CheckpointError: the file exists and `overwrite` is not set, or it cannot be written.
    """
    with writing(path, describe(arrays), metadata=metadata, overwrite=overwrite) as put:
        for name in arrays:
            put(name, arrays[name])


def write_state_dict(path: Path, arrays: Mapping[str, ArrayLike], *, overwrite: bool = False) -> None:
    """Writes PyTorch's tensors, with the mark that readers of them expect."""
    write(path, arrays, metadata={"format": "pt"}, overwrite=overwrite)


@contextmanager
def writing(
    path: Path,
    arrays: Mapping[str, ArraySpec],
    *,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Iterator[Callable[[str, ArrayLike], None]]:
    """A function that takes each of the arrays once, in any order; the file appears after the block.

    Arrays are written in a second thread: they must not change until the block ends.
    """
    header, offsets, size = layout(arrays, dict(metadata or {}))
    with atomic_write(Path(path), overwrite=overwrite, size=size) as file:
        file.write(header)
        file.flush()
        with ArrayWriter(file, arrays, offsets) as slots:
            yield slots.put


def layout(arrays: Mapping[str, ArraySpec], metadata: dict[str, str]) -> tuple[bytes, dict[str, int], int]:
    """The header, padded to a block, each array's place in the file, and the file's size.

    Arrays that fill whole blocks come first, for direct writes, then those that fill whole cache lines: jax
    takes aligned memory over without a copy. The others follow by falling item size: no item crosses its own
    boundary.
    """
    entries: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    offsets, end = {}, 0
    for name, array in sorted(arrays.items(), key=lambda item: _order(item[1])):
        kind = BY_NUMPY.get(array.dtype)
        if kind is None or kind.safetensors is None or name == "__metadata__":
            raise CheckpointError(f"{name!r} ({array.dtype}) cannot be stored in a safetensors file")
        offsets[name] = end
        end += array.nbytes
        entries[name] = {
            "dtype": kind.safetensors,
            "shape": array.shape,
            "data_offsets": (offsets[name], end),
        }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % BLOCK)
    header = len(text).to_bytes(8, "little") + text
    return header, {name: len(header) + offset for name, offset in offsets.items()}, len(header) + end


def _order(array: ArraySpec) -> tuple[bool, bool, int]:
    return array.nbytes % BLOCK > 0, array.nbytes % CACHE_LINE > 0, -array.dtype.itemsize
