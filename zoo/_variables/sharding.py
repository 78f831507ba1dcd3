"""Sharding of arrays over a mesh: the `sharding=` of `zoo.load`, for models that outgrow one device."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from zoo._errors import ZooError
from zoo._registry import families
from zoo._variables.casting import Array

_log = logging.getLogger("zoo")
MODEL = "model"  # in the families' tables: the axis of the mesh that tensors are parallel over
Spec = tuple[str | None, ...]  # for each axis of an array, the mesh's axis that it is spread over
Placement: TypeAlias = Sharding | Callable[[str, jax.ShapeDtypeStruct], Sharding]


@dataclass(frozen=True, kw_only=True)
class ShardingRule:
    """A function from an array's path and shape to its sharding over a mesh.

    Attributes:
        mesh: Mesh of the devices.
        table: Patterns for the ends of paths, and for each the mesh's axes for the array's last axes.
        model: The axis of the mesh that the table's axes are spread over.
        fsdp: The axis of the mesh for the largest of an array's other axes; None leaves these whole.
    """

    mesh: Mesh
    table: Mapping[str, Spec]
    model: str | None
    fsdp: str | None

    def __call__(self, path: str, leaf: jax.ShapeDtypeStruct) -> NamedSharding:
        """Returns the array's sharding."""
        return NamedSharding(self.mesh, PartitionSpec(*self._spec(path, leaf.shape)))

    def notes(self, leaves: Mapping[str, jax.ShapeDtypeStruct]) -> tuple[str, ...]:
        """Lists, in sentences, the arrays that are replicated because their sizes do not divide."""
        asked = {path: leaf for path, leaf in leaves.items() if leaf.shape and self._asked(path, leaf.shape)}
        spread = {path for path, leaf in asked.items() if any(self._spec(path, leaf.shape))}
        left = {path: leaf for path, leaf in asked.items() if path not in spread}
        if not left:
            return ()
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in left.values())
        largest = max(left, key=lambda path: left[path].size)
        arrays = "1 array" if len(left) == 1 else f"{len(left)} arrays"
        axes = ", ".join(f"{axis}={self.mesh.shape[axis]}" for axis in (self.model, self.fsdp) if axis)
        return (
            f"every device has {arrays} of {size:,} bytes whole, which do not divide by {axes}; "
            f"the largest is {largest} {left[largest].shape}",
        )

    def _spec(self, path: str, shape: tuple[int, ...]) -> list[str | None]:
        spec: list[str | None] = [None] * len(shape)
        for axis, name in enumerate(self._asked_of_table(path, len(shape))):
            if name == MODEL and self.model and shape[axis] % self.mesh.shape[self.model] == 0:
                spec[axis] = self.model
        if self.fsdp:
            fitting = [
                axis
                for axis, size in enumerate(shape)
                if size and spec[axis] is None and size % self.mesh.shape[self.fsdp] == 0
            ]
            if fitting:
                spec[max(fitting, key=lambda axis: shape[axis])] = self.fsdp
        return spec

    def _asked(self, path: str, shape: tuple[int, ...]) -> bool:
        """Returns whether the array should be spread over devices at all."""
        return bool(self.fsdp) or any(self._asked_of_table(path, len(shape)))

    def _asked_of_table(self, path: str, ndim: int) -> Spec:
        for pattern, spec in self.table.items():
            if re.fullmatch(f"(.*/)?({pattern})", path) and len(spec) <= ndim:
                return (*[None] * (ndim - len(spec)), *spec)  # stacked arrays have further axes in front
        return (None,) * ndim


def fsdp(mesh: Mesh, axis: str = "data") -> ShardingRule:
    """Spreads every array over an axis of the mesh: by the largest of its own axes that divides.

    Each device keeps its part of the parameters, and gets the others' when a layer needs them. What does not
    divide is on every device, which the model's `notes` say.

    Args:
        mesh: Mesh of devices, whose axes are `Auto`.
        axis: Name of the axis in the mesh.

    Raises:
        ZooError: the mesh has no such axis.
    """
    _check(mesh, axis)
    return ShardingRule(mesh=mesh, table={}, model=None, fsdp=axis)


def tensor_parallel(mesh: Mesh, family: str, *, axis: str = MODEL, fsdp: str | None = None) -> ShardingRule:
    """Spreads the layers of a Transformer over an axis of the mesh, by the table in its family's file.

    Attention's heads and the inner units of dense layers are each on one device, so that a block adds up the
    devices' results twice (Shoeybi et al., https://arxiv.org/abs/1909.08053, section 3). What the table does
    not name, or does not divide, is on every device; the model's `notes` say what does not divide.

    Args:
        mesh: Mesh of devices, whose axes are `Auto`.
        family: Name of the family, such as "gpt2".
        axis: Name of the axis in the mesh.
        fsdp: Another axis of the mesh, over which each array's largest other axis is spread as `fsdp` does.

    Raises:
        ZooError: the mesh has no such axis, or the family no table.
    """
    _check(mesh, axis, *([fsdp] if fsdp else []))
    if axis == fsdp:
        raise ZooError(f"axis= and fsdp= are both {axis!r}; they take two axes of the mesh.")
    found = families.named(family)
    if not found or not found.tensor_parallel:
        whose = "a module of no family" if family is None else f"family {family!r}"
        raise ZooError(
            f"{whose} has no table for tensor parallelism; {families.having('tensor_parallel')} have one."
        )
    return ShardingRule(mesh=mesh, table=found.tensor_parallel, model=axis, fsdp=fsdp)


def placed(path: str, leaf: jax.ShapeDtypeStruct, sharding: Placement | None) -> Sharding | None:
    """Returns the sharding of the array of that path and shape; None is jax's default device.

    Raises:
        ZooError: `sharding` gave no Sharding, or one that does not divide the shape.
    """
    place = sharding(path, leaf) if callable(sharding) else sharding
    if sharding is not None and not isinstance(place, Sharding):
        raise ZooError(f"sharding= gave {place!r} for {path}; expected a jax.sharding.Sharding.")
    try:
        if place is not None:
            place.shard_shape(leaf.shape)
    except (ValueError, IndexError) as error:  # sizes that do not divide, more axes than there are
        raise ZooError(f"sharding= does not fit {path} {leaf.shape}: {error}") from error
    return place


def put(path: str, array: Array, sharding: Placement | None) -> jax.Array:
    """Puts the array on its devices; on a CPU it shares the memory where that is 64-byte-aligned."""
    place = placed(path, jax.ShapeDtypeStruct(array.shape, array.dtype), sharding)
    arranged: jax.Array = jax.device_put(array, place)
    return arranged


def log_replicated(name: str, sharding: Any, leaves: Mapping[str, Any]) -> tuple[str, ...]:
    """Logs, and returns as notes, which arrays were to be spread and are replicated."""
    notes = sharding.notes(leaves) if isinstance(sharding, ShardingRule) else ()
    for note in notes:
        _log.warning("%s: %s", name, note)
    return notes


def _check(mesh: Mesh, *axes: str) -> None:
    if not isinstance(mesh, Mesh):
        raise ZooError(f"{mesh!r} is no jax.sharding.Mesh; make one with jax.make_mesh.")
    for axis in axes:
        if axis not in mesh.axis_names:
            raise ZooError(f"the mesh has no axis {axis!r}; it has {', '.join(map(repr, mesh.axis_names))}.")
    # What jax.make_mesh gives by default: there, every operation would have to say how its result is spread.
    if AxisType.Auto not in mesh.axis_types or len(set(mesh.axis_types)) > 1:
        shape, names = tuple(mesh.shape.values()), mesh.axis_names
        raise ZooError(
            f"the mesh's axes are {', '.join(kind.name for kind in mesh.axis_types)}, expected Auto: "
            f"jax.make_mesh({shape}, {names}, axis_types=(jax.sharding.AxisType.Auto,) * {len(names)})."
        )
