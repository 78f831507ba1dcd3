"""Opens the flax_model.msgpack of transformers 4, in PyTorch's names and axes.

The inverse of what transformers.modeling_flax_pytorch_utils (4.57) did to a state dict: names joined by dots,
kernels with their last two axes first, FlaxConv1D's (out, in) as Conv1D's (in, out).
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from flax import serialization

from converters.errors import CheckpointError
from converters.formats.stored import Opened, Stored
from converters.formats.tensor_names import check_names
from converters.io.dtypes import BY_NUMPY
from converters.io.files import InputFile

COLLECTIONS = {"params", "batch_stats"}  # of models with batch norms; the others are params alone
NAMES = {
    "kernel": "weight",
    "scale": "weight",
    "embedding": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
MODULE = "a Flax msgpack file of a module of its own: it is Flax already; read it with flax.serialization"


def starts(head: bytes) -> bool:
    """Returns whether a file begins as a map whose first key is a text."""
    return re.match(rb"[\x81-\x8f][\xa0-\xbf\xd9]|\xde..[\xa0-\xbf\xd9]", head, re.DOTALL) is not None


def open_msgpack(file: InputFile, key: str | None) -> Opened:
    """Opens a file; it has one state dict only, so that there is no key to choose by.

    Raises:
        CheckpointError: it is damaged, or of a module that is none of transformers'.
    """
    if key is not None:
        raise CheckpointError(f"has one state dict, none called {key!r}")
    try:
        tree = serialization.msgpack_restore(file.read(0, file.size))
    except Exception as error:  # the library promises no kind
        raise CheckpointError(
            f"is a damaged Flax msgpack file: {type(error).__name__}: {error}"[:200]
        ) from error
    if COLLECTIONS.issuperset(tree):
        leaves = [leaf for part in tree.values() for leaf in _leaves(part, ())]
    else:
        leaves = [*_leaves(tree, ())]
    # Lists of layers have numbers for keys there; a linen module has layers_0 or Dense_0.
    if not any(part.isdecimal() for path, _ in leaves for part in path):
        raise CheckpointError(f"is {MODULE}")
    tensors = {_name(path): _turned(path, array) for path, array in leaves}
    check_names(tensors)
    if len(tensors) != len(leaves):
        raise CheckpointError("has two arrays of one name in PyTorch")
    notes = ("read as transformers 4 wrote it for Flax, in PyTorch's names and axes",)
    return {name: _stored(file, name, array) for name, array in tensors.items()}, notes


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    if isinstance(tree, Mapping):
        for name, part in tree.items():
            yield from _leaves(part, (*path, str(name)))
    elif isinstance(tree, np.ndarray) and tree.dtype in BY_NUMPY:
        yield path, tree
    else:
        raise CheckpointError(f"has {type(tree).__name__} for {'.'.join(path)[:100]!r}, expected an array")


def _name(path: tuple[str, ...]) -> str:
    return ".".join((*path[:-1], NAMES.get(path[-1], path[-1])))


def _turned(path: tuple[str, ...], array: np.ndarray) -> np.ndarray:
    if path[-1] != "kernel":
        return array
    if array.ndim not in (2, 4):
        raise CheckpointError(f"is {MODULE} ({'.'.join(path)[:100]!r} has {array.ndim} axes)")
    return np.moveaxis(array, (-1, -2), (0, 1))


def _stored(file: InputFile, name: str, array: np.ndarray) -> Stored:
    return Stored(
        file=file,
        dtype=array.dtype,
        shape=array.shape,
        identity=(file.path, name),
        read=partial(np.array, array, order="C"),
        extent=None,
    )
