"""NumPy's archives (.npz), as vision_transformer and big_vision publish their weights.

Names with slashes are paths of Flax's arrays; others are a state dict's.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from converters.errors import CheckpointError
from converters.formats import flax_trees
from converters.formats.stored import Opened, Stored
from converters.formats.tensor_names import MAX_TENSORS, check_names
from converters.io.atomic import atomic_write
from converters.io.dtypes import BY_NUMPY, check_bools, check_shape
from converters.io.files import InputFile, InputStream

SUFFIX = ".npy"
MAX_HEADER = 10_000  # NumPy's own limit for what literal_eval reads
MOST = 1100  # times: what deflate can expand
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    EOFError,
    RuntimeError,  # of zipfile: encrypted, or compressed by a method that it does not know
    SyntaxError,
)


def starts(head: bytes) -> bool:
    """Returns whether the first member of a zip archive is an array."""
    if not head.startswith(b"PK\3\4") or len(head) < 30:
        return False
    size = int.from_bytes(head[26:28], "little")
    return head[30 : 30 + size].endswith(SUFFIX.encode())


def open_archive(file: InputFile, key: str | None) -> Opened:
    """Opens an archive; each array is read when it is asked for.

    Raises:
        CheckpointError: it is damaged, or holds something else than arrays of numbers.
    """
    try:
        archive = zipfile.ZipFile(InputStream(file))
        members = archive.infolist()
        if len(members) > MAX_TENSORS:
            raise CheckpointError(f"has {len(members):,} members, the limit is {MAX_TENSORS:,}")
        leaves = {_name(each): _stored(file, archive, each) for each in members}
    except BROKEN as error:
        raise CheckpointError(f"is a damaged NumPy archive: {error}"[:200]) from error
    if len(leaves) < len(members):
        raise CheckpointError("has two arrays of one name")
    if any("/" in name for name in leaves):
        return flax_trees.open_tree({tuple(name.split("/")): leaf for name, leaf in leaves.items()}, key)
    if key is not None:
        raise CheckpointError(f"has one state dict, none called {key!r}")
    check_names(leaves)
    return leaves, ()


def write(path: Path, arrays: Mapping[str, ArrayLike], *, overwrite: bool = False) -> None:
    """Writes arrays under their names, as numpy.savez does.

    Raises:
        CheckpointError: NumPy's files have no such dtype.
    """
    with (
        atomic_write(path, overwrite=overwrite) as file,
        zipfile.ZipFile(file, "w", allowZip64=True) as archive,
    ):
        for name in arrays:
            array = np.asarray(arrays[name])
            if array.dtype.type.__module__ != "numpy":
                raise CheckpointError(f"{name!r} is {array.dtype}, which .npz files lack")
            # A fixed time: equal arrays make equal files.
            with archive.open(zipfile.ZipInfo(name + SUFFIX), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def _name(member: zipfile.ZipInfo) -> str:
    if not member.filename.endswith(SUFFIX):
        raise CheckpointError(f"has {member.filename[:80]!r} among its arrays")
    return member.filename.removesuffix(SUFFIX)


def _stored(file: InputFile, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Stored:
    name = _name(member)
    if member.file_size > MOST * max(member.compress_size, 1):
        raise CheckpointError(f"{name[:80]!r} cannot have {member.file_size:,} bytes; the file is damaged")
    with archive.open(member) as stream:
        head = stream.read(min(member.file_size, MAX_HEADER + 12))
    shape, order, dtype, start = _header(name, head)
    check_shape(name, shape)
    nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if start + nbytes != member.file_size:
        raise CheckpointError(f"{name[:80]!r} needs {nbytes:,} bytes, it has {member.file_size - start:,}")
    return Stored(
        file=file,
        dtype=dtype.newbyteorder("="),
        shape=shape,
        identity=(file.path, name),
        read=partial(_read, archive, member, shape, order, dtype, start),
        extent=None,
    )


def _header(name: str, head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], int]:
    """Returns the shape, whether Fortran's order, the dtype and the start of the numbers."""
    stream = io.BytesIO(head)
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, order, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=MAX_HEADER)
    elif version == (2, 0):
        shape, order, dtype = np.lib.format.read_array_header_2_0(stream, max_header_size=MAX_HEADER)
    else:
        raise CheckpointError(f"{name[:80]!r} is of version {version} of NumPy's format; expected 1 or 2")
    # Older NumPy kept bfloat16 as two bytes of no kind.
    if re.fullmatch(r"[|<]V2", dtype.str):
        dtype = next(kind for kind in BY_NUMPY if kind.name == "bfloat16")
    if dtype.newbyteorder("=") not in BY_NUMPY:
        raise CheckpointError(f"{name[:80]!r} has the dtype {str(dtype)[:40]}, expected numbers")
    return shape, order, dtype, stream.tell()


def _read(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    shape: tuple[int, ...],
    fortran: bool,
    dtype: np.dtype[np.generic],
    start: int,
) -> np.ndarray:
    try:
        content = archive.read(member)  # compares its CRC-32
    except BROKEN as error:
        raise CheckpointError(f"{_name(member)[:80]!r} is damaged: {error}"[:200]) from error
    flat = np.frombuffer(content, dtype, offset=start)
    array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return check_bools(_name(member), np.array(array, dtype.newbyteorder("="), order="C"))
