"""Tensors by name, and their shapes and dtypes without reading them."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from converters.errors import ConversionError


class Tensors(Protocol):
    """A mapping of names to arrays, which may be read only when they are asked for.

    `Checkpoint` and `StateDict` are such mappings. One may also have `aliases`, for each name of a tied
    tensor but the first, the first, and `notes`, sentences about what was left out: see `aliases_of` and
    `notes_of`.
    """

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every tensor's shape."""

    @property
    def dtypes(self) -> Mapping[str, np.dtype[Any]]:
        """Every tensor's NumPy dtype."""

    def __getitem__(self, name: str) -> np.ndarray: ...
    def __contains__(self, name: object) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...


def aliases_of(tensors: Tensors) -> Mapping[str, str]:
    """Returns the first name of each tied tensor, by its other names."""
    found: Mapping[str, str] = getattr(tensors, "aliases", {})
    return found


def notes_of(tensors: Tensors) -> tuple[str, ...]:
    """Returns sentences about what was unwrapped or left out on the way to the tensors."""
    return tuple(getattr(tensors, "notes", ()))


class StateDict(Mapping[str, np.ndarray]):
    """Tensors in memory, of any array library, with the interface of a checkpoint.

    Those that are the very same memory are tied, as they are in a file of them.
    """

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        wrong = [name for name in tensors if not isinstance(name, str)]
        if wrong:
            raise ConversionError(f"the names of a state dict are strings; found {wrong[0]!r}")
        odd = [name for name, tensor in tensors.items() if not hasattr(tensor, "shape")]
        if odd:
            kinds = f"{odd[0]!r} is a {type(tensors[odd[0]]).__name__}"
            raise ConversionError(f"a state dict maps names to arrays; {kinds}: pass the inner mapping")
        self._tensors = tensors
        self.shapes = {name: tuple(int(n) for n in tensor.shape) for name, tensor in tensors.items()}
        self.dtypes = {name: _dtype(tensor) for name, tensor in tensors.items()}
        first: dict[object, str] = {}
        owners = {name: first.setdefault(_memory(tensor), name) for name, tensor in tensors.items()}
        self.aliases = {name: owner for name, owner in owners.items() if name != owner}

    def __getitem__(self, name: str) -> np.ndarray:
        return as_numpy(self._tensors[name])

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _memory(tensor: Any) -> object:
    """Returns what two tensors have in common if they are the same numbers in the same place."""
    shape = tuple(tensor.shape)
    if hasattr(tensor, "data_ptr") and tensor.device.type == "cpu" and tensor.numel():
        return tensor.data_ptr(), shape, tuple(tensor.stride()), str(tensor.dtype)
    if isinstance(tensor, np.ndarray) and tensor.size:
        return tensor.__array_interface__["data"][0], shape, tensor.strides, str(tensor.dtype)
    return id(tensor)


def as_numpy(tensor: Any) -> np.ndarray:
    """Returns a NumPy array of the same numbers, also for a PyTorch tensor of any dtype.

    Read-only, since it may be the caller's memory: whatever is handed out must then be a copy.
    """
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu().contiguous()
        dtype = _dtype(tensor)
        if dtype.isbuiltin != 1:  # bfloat16 and float8, which torch does not hand to NumPy itself
            torch = sys.modules["torch"]  # there is a tensor, so somebody has imported it
            bits = tensor.reshape(-1).view(torch.uint8).numpy()
            tensor = bits.view(dtype).reshape(tensor.shape)
        else:
            tensor = tensor.numpy()
    array = np.asarray(tensor).view()
    array.flags.writeable = False
    return array


def _dtype(tensor: Any) -> np.dtype[Any]:
    name = str(tensor.dtype).removeprefix("torch.")
    try:
        found: np.dtype[Any] = jnp.dtype(name)
    except TypeError:
        raise ConversionError(f"tensors of dtype {tensor.dtype} have no counterpart in NumPy") from None
    return found
