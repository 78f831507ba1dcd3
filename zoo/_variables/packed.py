"""Weights of four bits each: whole numbers, two in a byte, and the step of each group of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core.meta import AxisMetadata
from numpy.typing import DTypeLike

LARGEST = 7


@jax.tree_util.register_pytree_node_class
class PackedArray(AxisMetadata[jax.Array]):
    """An array of whole numbers from -7 to 7 times steps; a layer is given the array that it stands for.

    Flax unboxes it where a layer asks for a param, as it does with boxes of axes' names.

    Attributes:
        packed: uint8: of each two neighbors along the axis, the first in the lower half.
        scale: The steps, of the array's dtype: one for each group of neighbors along the axis.
        axis: The axis, counted from the last one.
    """

    stored = "int4"

    def __init__(self, packed: Any, scale: Any, axis: int) -> None:
        self.packed, self.scale, self.axis = packed, scale, axis

    def tree_flatten(self) -> tuple[tuple[Any, Any], int]:
        return (self.packed, self.scale), self.axis

    @classmethod
    def tree_unflatten(cls, axis: int, leaves: tuple[Any, Any]) -> "PackedArray":
        return cls(*leaves, axis)

    @property
    def shape(self) -> tuple[int, ...]:
        sizes = list(self.packed.shape)
        sizes[self.axis] *= 2
        return tuple(sizes)

    @property
    def ndim(self) -> int:
        return len(self.packed.shape)

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
        return int(np.prod(self.packed.shape)) + int(np.prod(self.scale.shape)) * self.dtype.itemsize

    def astype(self, dtype: DTypeLike) -> "PackedArray":
        """Returns the same numbers with steps of another dtype."""
        return PackedArray(self.packed, np.asarray(self.scale).astype(dtype), self.axis)

    def unbox(self) -> jax.Array:
        """Returns the array that it stands for."""
        whole: jax.Array = self._whole(jnp.asarray(self.packed), jnp.asarray(self.scale))
        return whole

    def replace_boxed(self, val: Any) -> Any:
        """Returns another array in its place: what Flax changed is no longer in four bits."""
        return val

    # Axes that `nn.scan` adds come first, and this one's axis is counted from the last.
    def add_axis(self, index: int, params: dict[Any, Any]) -> "PackedArray":
        return self

    def remove_axis(self, index: int, params: dict[Any, Any]) -> "PackedArray":
        return self

    def __jax_array__(self) -> jax.Array:
        return self.unbox()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        whole: np.ndarray = self._whole(np.asarray(self.packed), np.asarray(self.scale))
        return whole if dtype is None else whole.astype(dtype)

    def _whole(self, packed: Any, scale: Any) -> Any:
        """Returns the numbers, of NumPy's or jax's arrays, as the arguments are."""
        module: Any = np if isinstance(packed, np.ndarray) else jnp
        at = packed.ndim + self.axis + 1
        # A shift to the right copies the sign of four bits into the others.
        halves = [(packed << 4).astype(np.int8) >> 4, packed.astype(np.int8) >> 4]
        values = module.stack(halves, at).reshape(self._grouped())
        return (values.astype(self.dtype) * module.expand_dims(scale, at)).reshape(self.shape)

    def _grouped(self) -> tuple[int, ...]:
        at, sizes = self.ndim + self.axis, self.shape
        count = self.scale.shape[at]
        return (*sizes[:at], count, sizes[at] // count, *sizes[at + 1 :])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> "PackedArray":
        return PackedArray(self.packed[index], self.scale[index], self.axis)

    def __repr__(self) -> str:
        return f"PackedArray({self.shape}, {self.dtype})"


def pack(array: jax.Array, axis: int, group: int) -> PackedArray:
    """Returns an array in four bits a number.

    Args:
        array: Floating-point numbers.
        axis: The axis of the groups, counted from the last one.
        group: Size of a group: even, and a divisor of the axis's.
    """
    at = array.ndim + axis
    shape = (*array.shape[:at], array.shape[at] // group, group, *array.shape[at + 1 :])
    wide = array.astype(jnp.promote_types(array.dtype, jnp.float32)).reshape(shape)
    scale = (jnp.abs(wide).max(at + 1, keepdims=True) / LARGEST).astype(array.dtype)
    scale = jnp.where(scale > 0, scale, 1)
    values = jnp.clip(jnp.round(wide / scale.astype(wide.dtype)), -LARGEST, LARGEST).astype(jnp.int8)
    pairs = values.reshape(*array.shape[:at], array.shape[at] // 2, 2, *array.shape[at + 1 :])
    first, second = (jnp.take(pairs, index, at + 1).astype(jnp.uint8) for index in (0, 1))
    return PackedArray((first & 15) | (second << 4), scale.squeeze(at + 1), axis)


def fits(packed: tuple[int, ...], scale: tuple[int, ...], axis: int) -> bool:
    """Returns whether shapes are those of the two arrays of one."""
    if len(packed) != len(scale) or len(packed) < -axis:
        return False
    at = len(packed) + axis
    others = packed[:at] + packed[at + 1 :] == scale[:at] + scale[at + 1 :]
    return others and scale[at] > 0 and packed[at] > 0 and 2 * packed[at] % scale[at] == 0
