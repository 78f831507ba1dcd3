"""Opens Flax's msgpack files: flax_model.msgpack of transformers 4, and those of modules of one's own.

Of transformers', it is the inverse of what its modeling_flax_pytorch_utils (4.57) did to a state dict: names
joined by dots, kernels with their last two axes first, FlaxConv1D's (out, in) as Conv1D's (in, out).
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from flax import serialization
from flax.traverse_util import unflatten_dict
from numpy.typing import ArrayLike

from converters.errors import CheckpointError
from converters.formats import flax_trees
from converters.formats.flax_names import torch_leaf
from converters.formats.stored import Opened, Stored
from converters.formats.tensor_names import check_names
from converters.io.atomic import atomic_write
from converters.io.dtypes import BY_NUMPY, check_shape
from converters.io.files import InputFile

COLLECTIONS = {"params", "batch_stats"}  # of models with batch norms; the others are params alone
CONVOLUTION = re.compile(r"conv\d*")  # over sound: three axes, which elsewhere are heads of an attention


def starts(head: bytes) -> bool:
    """Returns whether a file begins as a map whose first key is a text."""
    return re.match(rb"[\x81-\x8f][\xa0-\xbf\xd9]|\xde..[\xa0-\xbf\xd9]", head, re.DOTALL) is not None


def open_msgpack(file: InputFile, key: str | None) -> Opened:
    """Opens a file; nothing in it is executed.

    Raises:
        CheckpointError: it is damaged, or holds something else than arrays.
    """
    try:
        tree = serialization.msgpack_restore(file.read(0, file.size))
    except Exception as error:  # the library promises no kind
        raise CheckpointError(
            f"is a damaged Flax msgpack file: {type(error).__name__}: {error}"[:200]
        ) from error
    parts = tree.values() if COLLECTIONS.issuperset(tree) else [tree]
    paths = [path for part in parts for path, _ in _leaves(part, ())]
    # Lists of layers have numbers for keys there; a linen module has layers_0 or Dense_0.
    if not any(part.isdecimal() for path in paths for part in path[:-1] if "opt_state" not in path):
        leaves = {path: _array(path, leaf) for path, leaf in _leaves(tree, ()) if leaf is not None}
        return flax_trees.open_tree(
            {path: _stored(file, "/".join(path), array) for path, array in leaves.items()}, key
        )
    if key is not None:
        raise CheckpointError(f"has one state dict, none called {key!r}")
    found = [(path, _array(path, leaf)) for part in parts for path, leaf in _leaves(part, ())]
    tensors = {torch_leaf(".".join(path)): _turned(path, array) for path, array in found}
    check_names(tensors)
    if len(tensors) != len(found):
        raise CheckpointError("has two arrays of one name in PyTorch")
    notes = ("read as transformers 4 wrote it for Flax, in PyTorch's names and axes",)
    return {name: _stored(file, name, array) for name, array in tensors.items()}, notes


def write(path: Path, arrays: Mapping[str, ArrayLike], *, overwrite: bool = False) -> None:
    """Writes arrays by path as a tree, as flax.serialization does.

    Raises:
        CheckpointError: a name is that of an array and of what holds some.
    """
    paths = {tuple(name.split("/")): name for name in arrays}
    both = next(
        (name for path, name in paths.items() for end in range(1, len(path)) if path[:end] in paths), None
    )
    if both is not None:
        raise CheckpointError(f"{both!r} is in a tree with an array in its place")
    tree = unflatten_dict({path: np.asarray(arrays[name]) for path, name in paths.items()})
    content = serialization.msgpack_serialize(tree)
    with atomic_write(path, overwrite=overwrite, size=len(content)) as file:
        file.write(content)


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, Mapping):
        for name, part in tree.items():
            yield from _leaves(part, (*path, str(name)))
    else:
        yield path, tree


def _array(path: tuple[str, ...], leaf: Any) -> np.ndarray:
    if isinstance(leaf, int | float) and not isinstance(leaf, bool):
        leaf = np.asarray(leaf)  # the number of steps of a training state
    if not isinstance(leaf, np.ndarray | np.generic) or leaf.dtype not in BY_NUMPY:
        raise CheckpointError(f"has {type(leaf).__name__} for {'.'.join(path)[:100]!r}, expected an array")
    check_shape(".".join(path), leaf.shape)
    return np.asarray(leaf)


def _turned(path: tuple[str, ...], array: np.ndarray) -> np.ndarray:
    if path[-1] != "kernel":
        return array
    if array.ndim not in (2, 4) and not (array.ndim == 3 and CONVOLUTION.fullmatch(path[-2])):
        raise CheckpointError(
            f"{'.'.join(path)[:100]!r} has {array.ndim} axes: it is no file of transformers; "
            "restore it with flax.serialization into its own module"
        )
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
