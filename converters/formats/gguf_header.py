"""The header of a GGUF file: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md."""

import math
import struct
from typing import Any, NamedTuple

from converters.errors import CheckpointError
from converters.formats.gguf_blocks import KINDS, UNKNOWN, Kind
from converters.formats.tensor_names import MAX_LENGTH, MAX_TENSORS
from converters.io.dtypes import check_shape
from converters.io.files import InputFile

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # equal but for the order of bytes, which a higher byte of the version shows
MAX_KEYS = 10_000
MAX_TEXT = 16_000_000  # characters of a chat template or a tokenizer's file
MAX_AXES = 4
ALIGNMENT = "general.alignment"
# Number of a type of values -> its format for struct.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_CHUNK = 1 << 20


class Tensor(NamedTuple):
    """Where a tensor's bytes are in the file, and what they mean."""

    kind: Kind
    shape: tuple[int, ...]
    start: int
    nbytes: int


class Header(NamedTuple):
    """Metadata and tensors of a file, without its numbers.

    Attributes:
        metadata: Its keys and their values; arrays, such as a tokenizer's words, are left out.
        tensors: Its tensors by name.
    """

    metadata: dict[str, Any]
    tensors: dict[str, Tensor]


class _Reader:
    """Reads values one after another, a chunk of the file at a time."""

    def __init__(self, file: InputFile) -> None:
        self.file, self.position = file, 0
        self._chunk, self._start = b"", 0

    def bytes(self, count: int) -> bytes:
        self.check(count)
        begin = self.position - self._start
        if begin + count > len(self._chunk):
            self._start, begin = self.position, 0
            size = min(max(count, _CHUNK), self.file.size - self.position)
            self._chunk = self.file.read(self.position, size)
        self.position += count
        return self._chunk[begin : begin + count]

    def check(self, count: int) -> None:
        if count > self.file.size - self.position:
            raise CheckpointError(
                f"the header ends at byte {self.position:,} and needs {count:,} more; download it again"
            )

    def scalar(self, letter: str) -> Any:
        return struct.unpack(f"<{letter}", self.bytes(struct.calcsize(letter)))[0]

    def text(self, limit: int) -> str:
        length = self.scalar("Q")
        if length > limit:
            raise CheckpointError(f"a text in the header has {length:,} bytes, the limit is {limit:,}")
        try:
            return self.bytes(length).decode()
        except UnicodeDecodeError as error:
            raise CheckpointError(f"a name or text in the header is no UTF-8: {error}") from None

    def skip(self, count: int) -> None:
        self.check(count)
        self.position += count
        # What was read is behind, or the next bytes are read anew.
        if not self._start <= self.position <= self._start + len(self._chunk):
            self._chunk, self._start = b"", self.position

    def value(self, key: str) -> Any:
        """Reads a value; None for an array, whose bytes are passed over."""
        kind = self.scalar("I")
        if kind == _TEXT:
            return self.text(MAX_TEXT)
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind != _ARRAY:
            raise CheckpointError(f"{key!r} has a value of the unknown type {kind}")
        inner, count = self.scalar("I"), self.scalar("Q")
        if inner in _SCALARS:
            self.skip(count * struct.calcsize(_SCALARS[inner]))
        elif inner == _TEXT:
            self.check(8 * count)
            for _ in range(count):
                self.skip(self.scalar("Q"))
        else:
            raise CheckpointError(f"{key!r} is an array of the unknown type {inner}")
        return None


def read_header(file: InputFile) -> Header:
    """Reads the metadata and the tensors of a file, but no number of theirs.

    Raises:
        CheckpointError: it is damaged, or has types of elements that this version does not read.
    """
    reader = _Reader(file)
    magic, version = reader.bytes(4), reader.scalar("I")
    if magic != MAGIC or version not in VERSIONS:
        raise CheckpointError(f"is a GGUF file of version {version}; expected one of {VERSIONS}")
    count, keys = reader.scalar("Q"), reader.scalar("Q")
    if count > MAX_TENSORS or keys > MAX_KEYS:
        raise CheckpointError(
            f"has {count:,} tensors and {keys:,} keys; limits {MAX_TENSORS:,}, {MAX_KEYS:,}"
        )
    metadata: dict[str, Any] = {}
    for _ in range(keys):
        key = reader.text(MAX_LENGTH)
        if key in metadata:
            raise CheckpointError(f"has the key {key!r} twice")
        metadata[key] = reader.value(key)
    infos: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for _ in range(count):
        name = reader.text(MAX_LENGTH)
        if name in infos:
            raise CheckpointError(f"has the tensor {name!r} twice")
        axes = reader.scalar("I")
        if axes > MAX_AXES:
            raise CheckpointError(f"{name!r} has {axes} axes, the limit is {MAX_AXES}")
        # The axis whose numbers are neighbors comes first there.
        shape = tuple(reversed([reader.scalar("Q") for _ in range(axes)]))
        infos[name] = (shape, reader.scalar("I"), reader.scalar("Q"))
    alignment = metadata.get(ALIGNMENT, 32)
    if type(alignment) is not int or not 8 <= alignment <= 1 << 16 or alignment % 8:
        raise CheckpointError(f"{ALIGNMENT} is {alignment!r}; expected a multiple of 8")
    origin = -(-reader.position // alignment) * alignment
    tensors = {name: _tensor(name, origin, *info) for name, info in infos.items()}
    _check_places(file.size, origin, alignment, tensors)
    return Header(metadata, tensors)


def _tensor(name: str, origin: int, shape: tuple[int, ...], number: int, offset: int) -> Tensor:
    kind = KINDS.get(number)
    if kind is None:
        called = UNKNOWN.get(number, f"of number {number}")
        known = ", ".join(each.name for each in KINDS.values())
        raise CheckpointError(f"{name!r} is quantized as {called}; this version reads {known}")
    check_shape(name, shape)
    count, last = math.prod(shape), shape[-1] if shape else 1
    if last % kind.numbers:
        raise CheckpointError(
            f"{name!r} has rows of {last} numbers; {kind.name} has blocks of {kind.numbers}"
        )
    return Tensor(kind, shape, origin + offset, count // kind.numbers * kind.nbytes)


def _check_places(size: int, origin: int, alignment: int, tensors: dict[str, Tensor]) -> None:
    """Checks that the tensors follow each other, each aligned, up to the end of the file.

    Raises:
        CheckpointError: they overlap, leave gaps, or are not all there.
    """
    end = origin
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].nbytes)):
        expected = origin + -(-(end - origin) // alignment) * alignment
        if tensor.start != expected:
            raise CheckpointError(f"{name!r} starts at byte {tensor.start:,}, expected {expected:,}")
        end = tensor.start + tensor.nbytes
    if end > size:
        raise CheckpointError(f"is cut off: {size:,} bytes of {end:,}; download it again")
    if size - end >= alignment:
        raise CheckpointError(f"{size - end:,} bytes follow the last tensor; download it again")
