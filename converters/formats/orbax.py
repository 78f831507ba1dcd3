"""Orbax's directories, as users of Flax save training states.

Arrays are read with TensorStore, one when it is asked for; nothing is restored into classes, and no device is
needed.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import CheckpointError
from converters.formats import flax_trees
from converters.formats.stored import Opened, Stored
from converters.io.dtypes import BY_NUMPY, check_shape
from converters.io.files import InputFile, named_errors
from converters.io.json import decode_json

METADATA = "_METADATA"  # of a tree: paths and kinds of its leaves
MAX_METADATA = 100_000_000
ARRAYS = ("jax.Array", "np.ndarray", "numpy.ndarray", "scalar")


def item_in(directory: Path) -> Path | None:
    """Returns the directory of a tree: this one, or the only one below it, as a manager of steps makes them.

    Raises:
        CheckpointError: there are several.
    """
    level = [directory]
    for _ in range(3):
        found = [path for path in level if (path / METADATA).is_file()]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(str(path.relative_to(directory)) for path in found[:10])
            raise CheckpointError(f"holds several checkpoints of Orbax: {names}; name one of them")
        level = [path for each in level for path in sorted(each.iterdir()) if path.is_dir()][:1000]
    return None


def open_orbax(directory: Path, key: str | None) -> Opened:
    """Opens the directory of a tree.

    Raises:
        CheckpointError: it is damaged, or not of a kind that this version reads.
    """
    with named_errors(directory):
        file = InputFile(directory / METADATA)
        if file.size > MAX_METADATA:
            raise CheckpointError(f"{METADATA} has {file.size:,} bytes, the limit is {MAX_METADATA:,}")
        metadata = decode_json(file.read(0, file.size), f"has no {METADATA} of Orbax")
        entries = metadata.get("tree_metadata") if isinstance(metadata, dict) else None
        if not isinstance(entries, dict) or not entries:
            raise CheckpointError(f"has a {METADATA} without arrays")
        kind = "zarr3" if metadata.get("use_zarr3") else "zarr"
        inside = bool(metadata.get("use_ocdbt", (directory / "manifest.ocdbt").exists()))
        leaves = {}
        for entry in entries.values():
            path, is_array = _path(entry)
            if is_array:
                leaves[path] = _stored(file, directory, path, kind, inside=inside)
        return flax_trees.open_tree(leaves, key)


def _path(entry: Any) -> tuple[tuple[str, ...], bool]:
    """Returns the path of a leaf, and whether it is one of numbers."""
    try:
        path = tuple(str(part["key"]) for part in entry["key_metadata"])
        value = entry["value_metadata"]
        return path, value["value_type"] in ARRAYS and not value.get("skip_deserialize")
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"has a {METADATA} that Orbax does not write: {str(entry)[:100]}") from error


def _stored(file: InputFile, directory: Path, path: tuple[str, ...], kind: str, *, inside: bool) -> Stored:
    array = _open(directory, ".".join(path), kind, inside=inside)
    dtype, shape = np.dtype(array.dtype.numpy_dtype), tuple(array.shape)
    if dtype not in BY_NUMPY:
        raise CheckpointError(f"{'.'.join(path)[:80]!r} has the dtype {dtype}, expected numbers")
    check_shape(".".join(path), shape)
    return Stored(
        file=file,
        dtype=dtype,
        shape=shape,
        identity=(directory, path),
        read=partial(_read, array, ".".join(path)),
        extent=None,
    )


def _open(directory: Path, name: str, kind: str, *, inside: bool) -> Any:
    import tensorstore as ts  # a tenth of a second, which other formats do without

    if set(name.split("/")) & {"", ".", ".."} or "\0" in name:
        raise CheckpointError(f"has an array called {name[:80]!r}, which no module makes")
    home = os.path.join(directory.absolute(), "")
    store = (
        {"driver": "ocdbt", "base": {"driver": "file", "path": home}, "path": f"{name}/"}
        if inside
        else {"driver": "file", "path": os.path.join(home, name, "")}
    )
    try:
        return ts.open({"driver": kind, "kvstore": store}, open=True, read=True).result()
    except (ValueError, OverflowError) as error:
        raise CheckpointError(f"{name[:80]!r} cannot be read: {error}"[:300]) from error


def _read(array: Any, name: str) -> np.ndarray:
    try:
        return np.array(array.read().result(), order="C")
    except (ValueError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{name[:80]!r} cannot be read: {error}"[:300]) from error
