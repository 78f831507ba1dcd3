"""Checkpoints as mappings of names to arrays: PyTorch's files old and new, Flax's, NumPy's, sharded ones."""

import os
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from converters.errors import CheckpointError, ConversionError
from converters.formats import detect, orbax, sharded
from converters.formats.stored import Opened, Stored
from converters.formats.tensor_names import check_names, check_whole
from converters.io.files import BufferFile, InputFile, named_errors
from converters.io.memory import Memory
from converters.io.slices import Extent, FileArray, computed, in_files, read_box, whole_box
from converters.tensors import StateDict, Tensors


class Checkpoint(Mapping[str, np.ndarray]):
    """The tensors of a checkpoint by name; each is read from the file when it is asked for.

    Attributes:
        shapes: Every tensor's shape, without reading it.
        dtypes: Every tensor's NumPy dtype; bfloat16 and float8 are those of ml_dtypes.
        aliases: For each name of a tied tensor but the first, the first.
        notes: Sentences about what was unwrapped or left out.
    """

    def __init__(self, tensors: dict[str, Stored], notes: tuple[str, ...] = ()) -> None:
        self._tensors = tensors
        self.shapes = {name: tensor.shape for name, tensor in tensors.items()}
        self.dtypes = {name: tensor.dtype for name, tensor in tensors.items()}
        self.notes = notes
        first: dict[Hashable, str] = {}
        for name, tensor in tensors.items():
            first.setdefault(tensor.identity, name)
        self.aliases = {
            name: first[tensor.identity] for name, tensor in tensors.items() if first[tensor.identity] != name
        }

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        with named_errors(tensor.file.path):
            return tensor.read()

    def extent(self, name: str) -> Extent | None:
        """Where a tensor is in its file; None where its bytes there are not those of the array."""
        return self._tensors[name].extent

    def in_file(self, name: str) -> FileArray:
        """A tensor of which any slice can be read."""
        extent = self.extent(name)
        if extent is None:
            return computed((name,), lambda: (self[name],))[0]
        return in_files([extent], lambda tensors: tensors, lambda: (self[name],))[0]

    def are_equal(self, name: str, other: str) -> bool:
        """Returns whether two tensors have the same shape and numbers; never holds both in memory."""
        if self.aliases.get(name, name) == self.aliases.get(other, other):
            return True
        first, second = self.in_file(name), self.in_file(other)
        return first.shape == second.shape and all(
            np.array_equal(piece, read_box(second, box))
            for box, piece in first.pieces(whole_box(first.shape))
        )

    @property
    def in_memory(self) -> bool:
        """Returns whether the bytes of its files are in memory, as `read_buffer` takes them."""
        return all(isinstance(file, BufferFile) for file in self.files())

    def verify(self) -> None:
        """Compares the checksums that the files have of their own tensors, which slices are read without.

        Raises:
            CheckpointError: one of them differs.
        """
        for tensor in self._tensors.values():
            with named_errors(tensor.file.path):
                tensor.verify()

    def files(self) -> list[InputFile]:
        """The files that its tensors are in; they stay open."""
        return list(dict.fromkeys(tensor.file for tensor in self._tensors.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"<Checkpoint of {len(self)} tensors>"


def read_checkpoint(
    path: str | os.PathLike[str], *, key: str | None = None, adapter: bool = False
) -> Checkpoint:
    """Opens a checkpoint of any kind: a file, an index of shards, or a directory as on the Hugging Face Hub.

    Nothing in the file is executed, and torch is not needed. Names stay as they are in the file.

    Args:
        path: A `.safetensors`, a file that torch.save wrote, a `.msgpack` of Flax, a `.npz`, a
            `*.index.json`, or a directory with one of them or as Orbax writes it.
        key: Which of several state dicts in the file; needed only where it is ambiguous.
        adapter: If true, it may hold an adapter's tensors alone.

    Raises:
        CheckpointError: it cannot be read, or is not a checkpoint of a full model.
    """
    if not isinstance(path, str | os.PathLike):
        raise CheckpointError(f"found {type(path).__name__}, expected the path of a checkpoint")
    path, memory = Path(path), Memory()
    notes: tuple[str, ...] = ()
    if os.path.isdir(path):
        if item := orbax.item_in(path):
            return Checkpoint(*orbax.open_orbax(item, key))
        path, notes = sharded.file_in(path)
    if not path.name.endswith(".json"):
        tensors, more = _open_path(path, key, memory)
        with named_errors(path):
            if not adapter:
                check_whole(tensors)
        return Checkpoint(tensors, notes + more)
    index = sharded.read_index(path)
    shards = {shard: _open_path(shard, key, memory) for shard in index}
    sharded.check_shards(path, index, {shard: set(tensors) for shard, (tensors, _) in shards.items()})
    together: dict[str, Stored] = {}
    for tensors, more in shards.values():
        together |= tensors
        notes += more
    with named_errors(path):
        check_names(together)
        if not adapter:
            check_whole(together)
    return Checkpoint(together, tuple(dict.fromkeys(notes)))


def read_buffer(
    path: str | os.PathLike[str], buffer: np.ndarray, *, name: str | None = None, adapter: bool = False
) -> Checkpoint:
    """Opens the bytes (uint8) of one file that are in memory; the tensors of a safetensors file are views.

    Args:
        path: Where the bytes are from, for messages.
        buffer: The whole file.
        name: The file's own name, where the path says another; its suffix must be right.
        adapter: If true, it may hold an adapter's tensors alone.

    Raises:
        CheckpointError: it is not a checkpoint of a full model.
    """
    with named_errors(path):
        file = BufferFile(path, buffer)
        tensors, notes = detect.format_of(file, name).open(file, None)
        if not adapter:
            check_whole(tensors)
        return Checkpoint(tensors, notes)


def as_tensors(source: Any, key: str | None = None) -> Tensors:
    """Opens a path as a checkpoint, or wraps a mapping of names to arrays that has no shapes and dtypes."""
    if isinstance(source, str | os.PathLike):
        return read_checkpoint(source, key=key)
    if not isinstance(source, Mapping):
        raise ConversionError(
            f"a state dict is a path or a mapping of names to arrays, not a {type(source).__name__}"
        )
    if key is not None:
        raise ConversionError("key= chooses among the mappings of a file; this state dict is one already")
    found: Tensors = source if hasattr(source, "shapes") and hasattr(source, "dtypes") else StateDict(source)
    return found


def write_checkpoint(
    state_dict: Mapping[str, ArrayLike], path: str | os.PathLike[str], *, overwrite: bool = False
) -> None:
    """Writes a `.safetensors`, a `.pth` (`.pt`, `.bin`) that torch.load(weights_only=True) reads, a `.npz`,
    or a `.msgpack` as a tree of the names' parts.

    The file appears whole or not at all. A mapping with `.shapes` and `.dtypes`, such as `read_checkpoint`
    gives, is read array by array meanwhile.

    Raises:
        CheckpointError: the file exists, the suffix is another, or the format lacks an array's dtype.
        ConversionError: the arguments are in another order.
    """
    if not isinstance(state_dict, Mapping) or not isinstance(path, str | os.PathLike):
        raise ConversionError(
            "write_checkpoint(state_dict, path) takes the tensors by their names first, then the file; "
            f"found {type(state_dict).__name__}, then {type(path).__name__}"
        )
    path = Path(path)
    detect.writer_of(path)(path, state_dict, overwrite=overwrite)


def _open_path(path: Path, key: str | None, memory: Memory) -> Opened:
    with named_errors(path):
        file = InputFile(path, memory)
        return detect.format_of(file).open(file, key)
