"""The tensors of a file that torch.save wrote, old or new."""

from functools import partial
from typing import Any

from converters.formats import torch_legacy, torch_zip
from converters.formats.containers import Weight, select_state_dict
from converters.formats.numpy_pickle import PickledArray
from converters.formats.stored import Opened, Stored
from converters.formats.tensor_names import check_names
from converters.formats.torch_storages import Storages
from converters.io.files import InputFile

MUCH = 1_000_000  # bytes in a file beside its weights that are worth a note


def open_zip(file: InputFile, key: str | None) -> Opened:
    """Opens a zip archive; `key` chooses one of several state dicts in it."""
    return _opened(file, key, *torch_zip.open_archive(file))


def open_legacy(file: InputFile, key: str | None) -> Opened:
    """Opens a file from before PyTorch 1.6; `key` chooses one of several state dicts in it."""
    return _opened(file, key, *torch_legacy.open_legacy(file))


def _opened(file: InputFile, key: str | None, root: Any, storages: Storages) -> Opened:
    tensors, notes = select_state_dict(root, key)
    check_names(tensors)
    weights = sum(tensor.nbytes for tensor in tensors.values())
    if file.size > 2 * weights + MUCH:
        notes += (f"the file has {file.size:,} bytes, of which the weights are {weights:,}",)
    return {name: _stored(file, name, tensor, storages) for name, tensor in tensors.items()}, notes


def _stored(file: InputFile, name: str, tensor: Weight, storages: Storages) -> Stored:
    if isinstance(tensor, PickledArray):
        return Stored(
            file=file,
            dtype=tensor.dtype,
            shape=tensor.shape,
            identity=(file.path, id(tensor)),
            read=partial(tensor.read, name),
            extent=None,
        )
    storages.check(name, tensor)
    return Stored(
        file=file,
        dtype=tensor.kind.numpy,
        shape=tensor.shape,
        identity=(file.path, tensor),
        read=partial(storages.read, name, tensor),
        extent=storages.extent(name, tensor),
        verify=partial(storages.verify, name, tensor.storage.key),
    )
