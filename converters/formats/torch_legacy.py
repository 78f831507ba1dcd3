"""The files that torch.save wrote before PyTorch 1.6: five pickles, then the storages one after another."""

import io
from typing import Any

import numpy as np

from converters.errors import CheckpointError
from converters.formats.pickle_reader import read_pickle
from converters.formats.torch_pickle import RESAVE, Storage
from converters.formats.torch_storages import Place, Storages
from converters.io.files import BufferFile, InputFile, InputStream

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def open_legacy(file: InputFile, *, is_nested: bool = False) -> tuple[Any, Storages]:
    """Reads the fourth pickle: its value, and the storages that its tensors refer to."""
    stream = io.BufferedReader(InputStream(file), 1 << 16)
    # A file within a file holds no third one: hostile ones would nest without end.
    magic, _ = read_pickle(stream, file.size, None if is_nested else _storage)
    if isinstance(magic, dict) and stream.tell() == file.size:
        return magic, Storages(file, {})  # pickle's own: its arrays stand in it
    if magic != MAGIC:
        raise CheckpointError(
            f"is a plain pickle of a {type(magic).__name__}, not written by torch.save; {RESAVE}"
        )
    protocol, _ = read_pickle(stream)
    system, _ = read_pickle(stream)
    if protocol != PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointError(
            "is of an unknown legacy version or byte order; save it again with PyTorch >= 1.6"
        )
    root, storages = read_pickle(stream)
    keys, _ = read_pickle(stream)
    if (
        not isinstance(keys, list)
        or len(keys) != len(storages)
        or not all(isinstance(key, str) and key in storages for key in keys)
    ):
        raise CheckpointError("the list of storages does not fit the tensors; download the file again")
    return root, Storages(file, _places(file, stream.tell(), [storages[key] for key in keys]))


def _storage(data: bytes) -> Storage:
    """Reads a storage that Python's own pickle holds: torch gives it a file of torch.save as bytes."""
    root, storages = open_legacy(BufferFile("a storage", np.frombuffer(data, np.uint8)), is_nested=True)
    if not isinstance(root, Storage):
        raise CheckpointError("the pickle is damaged: it holds something in the place of a storage")
    return root._replace(data=storages.content(root))


def _places(file: InputFile, offset: int, storages: list[Storage]) -> dict[str, Place]:
    """Where the storages are: each is a count of elements, then so many, in little-endian order."""
    places = {}
    for storage in storages:
        if offset + 8 > file.size:
            raise CheckpointError(f"the file is cut off before storage {storage.key!r}; download it again")
        elements = int.from_bytes(file.read(offset, 8), "little")
        nbytes = elements * (storage.kind.numpy.itemsize if storage.kind else 1)
        offset += 8
        if offset + nbytes > file.size:
            raise CheckpointError(
                f"storage {storage.key!r} has {file.size - offset:,} bytes of {nbytes:,}; download it again"
            )
        places[storage.key] = Place(offset, nbytes)
        offset += nbytes
    if offset != file.size or len(places) != len(storages):
        raise CheckpointError(
            f"{file.size - offset:,} bytes follow the last storage; download the file again"
        )
    return places
