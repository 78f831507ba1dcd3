"""Data and model parallelism: a run's arrays over a mesh of devices, of one process or several.

The program is written for one device, and JAX partitions it. Batches and their order stay the same, and
gradients, measures and batch norm's statistics are those of whole batches. So a run ends as on one device, up
to the order of summation.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from zoo._errors import TrainingError
from zoo._registry import families
from zoo._registry.recipes import Recipe
from zoo._variables.sharding import Placement, fsdp, tensor_parallel
from zoo.training.data import Examples

DATA, MODEL = "data", "model"
AXES = {DATA: "shares of each batch", MODEL: "shares of the params"}
Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Partitioner:
    """Places a run's arrays on a mesh of devices; without a mesh, on JAX's default device.

    Attributes:
        mesh: Mesh whose axis `data` divides the examples.
        sharding: Sharding of the variables.
    """

    mesh: Mesh | None = None
    sharding: Placement | None = field(default=None, hash=False)  # a ShardingRule has none

    def examples(self, examples: Examples) -> Examples:
        """Places all examples; each device, and so each process, keeps its own share.

        Zeros at the end, which are never drawn, make the shares equal.
        """
        return _mapped(self._shares, examples)

    def constrain(self, batch: Tree) -> Tree:
        """Divides a batch over the devices, in a compiled function."""
        if self.mesh is None:
            return batch
        return _mapped(lambda array: jax.lax.with_sharding_constraint(array, self._over), batch)

    def state(self, state: Tree) -> Tree:
        """Copies what is not on the mesh, such as counts, to each of its devices."""
        return _mapped(self._everywhere, state)

    def out_shardings(self, state: Any) -> Any:
        """Returns the shardings of an epoch's results: the state's stay, the measures are replicated."""
        if self.mesh is None:
            return None
        return jax.tree.map(lambda leaf: leaf.sharding, state), self.replicated

    @property
    def replicated(self) -> Sharding | None:
        """Sharding of arrays that each device has a copy of; None without a mesh."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())

    @property
    def shares(self) -> int:
        """Number of parts that a batch is divided into."""
        return self.mesh.shape[DATA] if self.mesh else 1

    def round_up(self, size: int) -> int:
        """Rounds a size up to a multiple of the shares."""
        return -(-size // self.shares) * self.shares

    @property
    def _over(self) -> Sharding:
        assert self.mesh is not None
        return NamedSharding(self.mesh, PartitionSpec(DATA))

    def _shares(self, array: Any) -> Any:
        if self.mesh is None:
            return jax.device_put(array)
        shape = (self.round_up(array.shape[0]), *array.shape[1:])

        def share(index: Any) -> np.ndarray:
            part = np.asarray(array[index])
            sizes = [len(range(*each.indices(end))) for each, end in zip(index, shape, strict=True)]
            return np.pad(part, [(0, size - found) for size, found in zip(sizes, part.shape, strict=True)])

        return jax.make_array_from_callback(shape, self._over, share)

    def _everywhere(self, leaf: jax.Array) -> jax.Array:
        if self.mesh is None or leaf.sharding.device_set == {*self.mesh.devices.flat}:
            return leaf
        value = np.asarray(leaf)
        whole = NamedSharding(self.mesh, PartitionSpec())
        return jax.make_array_from_callback(value.shape, whole, lambda index: value[index])


SINGLE_DEVICE = Partitioner()


def _mapped(function: Callable[[Any], Any], tree: Tree) -> Tree:
    mapped: Tree = jax.tree.map(function, tree)  # whose result has no type of its own
    return mapped


def make_partitioner(
    mesh: Mesh | str | None, sharding: Placement | None, recipe: Recipe, family: str | None = None
) -> Partitioner:
    """Returns the partitioner of a run.

    Args:
        mesh: A mesh, or its axes such as "data=4,model=2"; several processes get one of all their devices.
        sharding: Sharding of the variables; by default replicated, or divided over the axis `model`.
        recipe: The training recipe.
        family: The model's family, whose table divides the params over `model`.

    Raises:
        TrainingError: the mesh does not fit the devices, or does not divide the recipe's batches.
    """
    if mesh is None and jax.process_count() > 1:
        mesh = f"{DATA}={jax.device_count()}"
    if mesh is None:
        return Partitioner(None, sharding)
    mesh = _read(mesh) if isinstance(mesh, str) else mesh
    if DATA not in mesh.axis_names:
        raise TrainingError(f"the mesh's axes are {mesh.axis_names}; one has to be {DATA!r}.")
    # The compiler divides the program over axes of this type, whatever those of the caller are.
    mesh = Mesh(mesh.devices, mesh.axis_names)
    made = Partitioner(mesh, sharding or _default(mesh, family))
    part = recipe.batch_size // recipe.accumulate_steps
    if part % made.shares:
        raise TrainingError(
            f"batches of {part} examples do not divide over {DATA}={made.shares}; "
            f"choose a batch_size of {recipe.accumulate_steps} x a multiple of {made.shares}."
        )
    return made


def _default(mesh: Mesh, family: str | None) -> Placement:
    """Replicates the params; with an axis `model`, divides them as the family says."""
    if MODEL not in mesh.axis_names:
        return NamedSharding(mesh, PartitionSpec())
    found = families.named(family)
    if family and found and found.tensor_parallel:
        return tensor_parallel(mesh, family, axis=MODEL)
    return fsdp(mesh, MODEL)


def _read(text: str) -> Mesh:
    if not re.fullmatch(r"\w+=[1-9]\d*(,\w+=[1-9]\d*)*", text, re.ASCII):
        raise TrainingError(f"{text!r} is no mesh; spell it {DATA}=4, or {DATA}=4,{MODEL}=2.")
    pairs = [axis.split("=") for axis in text.split(",")]
    names, sizes = [name for name, _ in pairs], [int(size) for _, size in pairs]
    if len({*names}) < len(names) or not {*names} <= AXES.keys():
        known = " and ".join(f"{axis} ({divided})" for axis, divided in AXES.items())
        raise TrainingError(f"the axes of {text!r} are {', '.join(names)}; expected {known}, once each.")
    if math.prod(sizes) != jax.device_count():
        raise TrainingError(
            f"{text!r} is a mesh of {math.prod(sizes)} devices; there are {jax.device_count()}."
        )
    return jax.make_mesh(sizes, names, axis_types=(AxisType.Auto,) * len(names))
