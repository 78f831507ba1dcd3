"""Zip archives as torch.save writes them, so that plain torch.load(weights_only=True) reads them."""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from converters.errors import CheckpointError
from converters.formats.torch_zip import END, END_64, ENTRY, LOCAL, LOCATOR_64
from converters.io.atomic import atomic_write
from converters.io.dtypes import BY_NUMPY, Kind
from converters.io.writing import ArraySpec, ArrayWriter, describe, write_at

ALIGNMENT = 64  # of the data, as torch.save has it
VERSION_64 = 45  # the zip version that a reader of 64-bit sizes has
FULL_32 = 0xFFFFFFFF  # the size is in the 64-bit extra field
UTF_8 = 1 << 11
NO_DATE = 0x21  # the first of January 1980, the earliest there is


class Member(NamedTuple):
    """A member of the archive: where its header starts, and how many bytes its data has."""

    name: str
    header: int
    nbytes: int

    @property
    def padding(self) -> int:
        """Bytes of an extra field that move the data to the boundary; the field's own header has four."""
        return -(self.header + LOCAL.size + len(self.name) + 20 + 4) % ALIGNMENT

    @property
    def data(self) -> int:
        return self.header + LOCAL.size + len(self.name) + 20 + 4 + self.padding


def write(path: Path, arrays: Mapping[str, ArrayLike], *, overwrite: bool = False) -> None:
    """Writes the arrays, pulling one at a time from a mapping that knows its `.shapes` and `.dtypes`.

    Raises:
        CheckpointError: the file exists and `overwrite` is not set, or it cannot be written.
    """
    described = describe(arrays)
    small = {"data.pkl": _pickled(described), "byteorder": b"little", "version": b"3\n"}
    sizes = {name: len(data) for name, data in small.items()}
    sizes |= {f"data/{index}": array.nbytes for index, array in enumerate(described.values())}
    members = _layout(sizes)
    end = members["version"].data + sizes["version"]
    offsets = {name: members[f"data/{index}"].data for index, name in enumerate(described)}
    with atomic_write(path, overwrite=overwrite, size=end) as file:
        fd = file.fileno()
        with ArrayWriter(file, described, offsets, summed=True) as slots:
            for name in described:
                slots.put(name, arrays[name])
        checksums = {f"data/{index}": slots.checksums[name] for index, name in enumerate(described)}
        for name, data in small.items():
            write_at(fd, data, members[name].data)
            checksums[name] = zlib.crc32(data)
        for name, member in members.items():
            write_at(fd, _local_header(member, checksums[name]), member.header)
        file.seek(end)
        file.write(_directory(members, checksums, end))


def _layout(sizes: Mapping[str, int]) -> dict[str, Member]:
    """The members one after another, the weights before the version, as torch has them."""
    members: dict[str, Member] = {}
    position = 0
    for name in sorted(sizes, key=lambda name: name == "version"):
        members[name] = Member(f"archive/{name}", position, sizes[name])
        position = members[name].data + sizes[name]
    return members


def _local_header(member: Member, checksum: int) -> bytes:
    # All sizes are in the 64-bit field, small ones too: one way for all.
    extra = struct.pack("<2H2Q", 1, 16, member.nbytes, member.nbytes)
    extra += struct.pack("<2s1H", b"FB", member.padding) + bytes(member.padding)
    fixed = (b"PK\3\4", VERSION_64, UTF_8, 0, 0, NO_DATE, checksum, FULL_32, FULL_32)
    return LOCAL.pack(*fixed, len(member.name), len(extra)) + member.name.encode() + extra


def _directory(members: Mapping[str, Member], checksums: Mapping[str, int], start: int) -> bytes:
    """The list of members at the end, and the records that say where it is."""
    entries = b"".join(_entry(member, checksums[name]) for name, member in members.items())
    count, size = len(members), len(entries)
    record = END_64.pack(b"PK\6\6", END_64.size - 12, VERSION_64, VERSION_64, 0, 0, count, count, size, start)
    locator = LOCATOR_64.pack(b"PK\6\7", 0, start + size, 1)
    end = END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, FULL_32, FULL_32, 0)
    return entries + record + locator + end


def _entry(member: Member, checksum: int) -> bytes:
    extra = struct.pack("<2H3Q", 1, 24, member.nbytes, member.nbytes, member.header)
    fixed = (b"PK\1\2", VERSION_64, VERSION_64, UTF_8, 0, 0, NO_DATE, checksum, FULL_32, FULL_32)
    sizes = (len(member.name), len(extra), 0, 0, 0, 0, FULL_32)
    return ENTRY.pack(*fixed, *sizes) + member.name.encode() + extra


def _pickled(arrays: Mapping[str, ArraySpec]) -> bytes:
    """The pickle (protocol 2) of an OrderedDict of tensors, each with a storage of its own."""
    items = b"".join(
        _text(name) + _tensor(name, index, array) for index, (name, array) in enumerate(arrays.items())
    )
    return b"\x80\x02" + ORDERED_DICT + b"(" + items + b"u."


def _tensor(name: str, index: int, array: ArraySpec) -> bytes:
    """A call of what rebuilds a tensor; an element type without a storage class is named in it."""
    kind = BY_NUMPY.get(array.dtype)
    if kind is None:
        raise CheckpointError(f"{name!r} ({array.dtype}) cannot be stored in a PyTorch file")
    stride = [int(np.prod(array.shape[axis + 1 :], dtype=np.int64)) for axis in range(len(array.shape))]
    view = _storage(kind, index, array) + _integer(0) + _integers(array.shape) + _integers(stride)
    view += FALSE + ORDERED_DICT
    if kind.storage:
        return _global("torch._utils", "_rebuild_tensor_v2") + b"(" + view + b"tR"
    return _global("torch._utils", "_rebuild_tensor_v3") + b"(" + view + _global("torch", kind.torch) + b"tR"


def _storage(kind: Kind, index: int, array: ArraySpec) -> bytes:
    if kind.storage:
        cls, count = _global("torch", kind.storage), array.nbytes // kind.numpy.itemsize
    else:
        cls, count = _global("torch.storage", "UntypedStorage"), array.nbytes
    return b"(" + _text("storage") + cls + _text(str(index)) + _text("cpu") + _integer(count) + b"tQ"


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little") if value >= 2**31 else b"J" + struct.pack("<i", value)


def _integers(values: tuple[int, ...] | list[int]) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


FALSE = b"\x89"
ORDERED_DICT = _global("collections", "OrderedDict") + b")R"
