"""Weights of eight or four bits each: whole numbers, and the steps of their columns or groups."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import DTypeLike

from zoo._errors import WeightsError
from zoo._variables.packed import PackedArray, fits, pack

VALUES, PACKED, SCALE = ".int8", ".int4", ".scale"  # ends of the names that files have for the two arrays
LARGEST = 127
# Smallest size of the axis that shares a step: with fewer numbers, the steps take what the bits save.
SMALLEST = 16
SHARING = {"kernel": -2, "embedding": -1}  # name of an array -> the axis whose numbers share a step


class Precision(NamedTuple):
    """How small weights become.

    Attributes:
        bits: Bits of a number: 8 or 4.
        group: Number of neighbors that share a step, if there are four bits.
        embeddings: If true, tables of embeddings become small as kernels do.
    """

    bits: int = 8
    group: int = 32
    embeddings: bool = True


@jax.tree_util.register_pytree_node_class
class QuantizedArray:
    """An array of whole numbers times steps, which layers take as they take the array that it stands for.

    Attributes:
        values: int8, of the shape of the array.
        scale: The steps, of the array's dtype; its axis that shares a step has the size 1.
    """

    stored = "int8"

    def __init__(self, values: Any, scale: Any) -> None:
        self.values, self.scale = values, scale

    # Flax compares the shape of the first leaf with that of the param.
    def tree_flatten(self) -> tuple[tuple[Any, Any], None]:
        return (self.values, self.scale), None

    @classmethod
    def tree_unflatten(cls, _: None, leaves: tuple[Any, Any]) -> "QuantizedArray":
        return cls(*leaves)

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.values.shape
        return shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.scale.dtype)
        return dtype

    @property
    def nbytes(self) -> int:
        """Returns the bytes of both arrays."""
        return self.size + int(np.prod(self.scale.shape)) * self.dtype.itemsize

    def astype(self, dtype: DTypeLike) -> "QuantizedArray":
        """Returns the same numbers with steps of another dtype."""
        return QuantizedArray(self.values, np.asarray(self.scale).astype(dtype))

    def __jax_array__(self) -> jax.Array:
        return jnp.asarray(self.values).astype(self.dtype) * jnp.asarray(self.scale)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        whole: np.ndarray = np.asarray(self.values).astype(self.dtype) * np.asarray(self.scale)
        return whole if dtype is None else whole.astype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> "QuantizedArray":
        return QuantizedArray(self.values[index], self.scale[index])

    def __repr__(self) -> str:
        return f"QuantizedArray({self.shape}, {self.dtype})"


def is_quantized(leaf: Any) -> bool:
    """Returns whether something is an array of either kind, as `is_leaf` of jax's functions of trees."""
    return isinstance(leaf, QuantizedArray | PackedArray)


def quantize(path: str, array: Any, precision: Precision) -> Any:
    """Returns a kernel or a table of embeddings in fewer bits; other arrays as they are.

    The columns of a kernel (..., in, out), as the rows of a table (count, width), have a step each, or one
    for each group: the largest number, divided by 127, or by 7. No number changes by more than half of
    its step.

    Args:
        path: Path of the array.
        array: The array.
        precision: How small it becomes. Where a group does not divide the axis, the largest that divides both
            is taken; eight bits, if that has fewer than SMALLEST numbers.
    """
    name = path.rpartition("/")[2]
    axis = 0 if name == "embedding" and not precision.embeddings else SHARING.get(name, 0)
    apt = path.startswith("params/") and axis and array.ndim >= 2 and not is_quantized(array)
    if not apt or not jnp.issubdtype(array.dtype, jnp.floating) or array.shape[axis] < SMALLEST:
        return array
    group = math.gcd(precision.group, array.shape[axis])
    if precision.bits == 4 and group >= SMALLEST:
        return pack(jnp.asarray(array), axis, group)
    return _quantized(jnp.asarray(array), axis)


def _quantized(array: jax.Array, axis: int) -> QuantizedArray:
    wide = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    largest = jnp.abs(wide).max(axis, keepdims=True)
    scale = (largest / LARGEST).astype(array.dtype)
    scale = jnp.where(scale > 0, scale, 1)
    steps = jnp.round(wide / scale.astype(wide.dtype))
    return QuantizedArray(jnp.clip(steps, -LARGEST, LARGEST).astype(jnp.int8), scale)


def split(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arrays as files have them: of each of these two, by names of their own."""
    found: dict[str, Any] = {}
    for path, array in flat.items():
        if isinstance(array, QuantizedArray):
            found |= {f"{path}{VALUES}": array.values, f"{path}{SCALE}": array.scale}
        elif isinstance(array, PackedArray):
            found |= {f"{path}{PACKED}": array.packed, f"{path}{SCALE}": array.scale}
        else:
            found[path] = array
    return found


def joined(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arrays that files keep in two: the inverse of `split`.

    Raises:
        WeightsError: one of the two is missing, or is for another one.
    """
    found = dict(arrays)
    for name in [each for each in arrays if each.endswith((VALUES, PACKED))]:
        path, _, _ = name.rpartition(".")
        values, scale = found.pop(name), found.pop(f"{path}{SCALE}", None)
        if name.endswith(PACKED):
            found[path] = _packed(name, path, values, scale)
            continue
        if scale is None or values.dtype != np.int8 or not _fits(values.shape, scale.shape):
            raise WeightsError(f"{name} is no int8 array with the steps of its columns, {path}{SCALE}.")
        found[path] = QuantizedArray(values, scale)
    return found


def _packed(name: str, path: str, packed: Any, scale: Any) -> PackedArray:
    """Returns an array of four bits of the two that a file keeps.

    Raises:
        WeightsError: one of the two is missing, or is for another one.
    """
    axis = SHARING.get(path.rpartition("/")[2], 0)
    apt = axis and scale is not None and packed.dtype == np.uint8
    if not apt or not fits(packed.shape, scale.shape, axis):
        raise WeightsError(f"{name} is no uint8 array with the steps of its groups, {path}{SCALE}.")
    return PackedArray(packed, scale, axis)


def _fits(shape: tuple[int, ...], steps: tuple[int, ...]) -> bool:
    same = [step in (1, size) for size, step in zip(shape, steps, strict=False)]
    return len(shape) == len(steps) and all(same)
