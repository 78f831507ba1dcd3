"""The result of inspecting a module: its layers, their paths and origins, and the arrays each one owns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jax.numpy import dtype

from converters.layers import Row, Shape

Path = tuple[str, ...]


@dataclass(frozen=True)
class Lift:
    """An axis that `nn.scan` or `nn.vmap` added to an array."""

    depth: int  # the lifted module is the array's path up to here
    axis: int  # of the array as it is outside this lift
    size: int


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One array of a module."""

    path: Path  # collection first: ("params", "encoder", "kernel")
    shape: Shape
    dtype: dtype
    lifts: tuple[Lift, ...] = ()  # outermost first

    def __str__(self) -> str:
        return "/".join(self.path)


@dataclass(frozen=True)
class Flattened:
    """A layer that reads a map (*spatial, channels) as a vector, or makes one.

    Attributes:
        path: Module path of the layer.
        shape: The map (channels, *spatial), as PyTorch has it.
        axis: Axis of PyTorch's tensors that runs over the vector.
    """

    path: Path
    shape: Shape
    axis: int


def _none() -> tuple[Flattened, ...]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Layers in the order of their first call, and the arrays of all collections in that order.

    Attributes:
        layers: Instances by path, bound; their methods can no longer be called.
        arrays: All arrays of the module.
        attributes: Path of a layer -> the attribute of its parent that holds it, dotted in a list or dict.
        rows: The table of the layers' framework: a layer, and the shapes of the arrays at and below it by
            their names relative to it -> its rows, the preferred one first.
        flattened: Finds the layers that read or make maps as vectors.
        same: Path of an array -> that of an earlier one which is the very same, as in a shared layer of NNX.
    """

    layers: Mapping[Path, Any]
    arrays: tuple[Variable, ...]
    attributes: Mapping[Path, str]
    rows: Callable[[Any, Mapping[str, Shape]], Sequence[Row]]
    flattened: Callable[[], tuple[Flattened, ...]] = _none
    same: Mapping[Path, Path] = field(default_factory=dict)

    def origins(self, path: Path) -> list[str | None]:
        """For each name of a module path: its attribute, dotted where it is in a list or dict, or None.

        `layer1_0` comes from `self.layer1 = [...]`, so its origin is "layer1.0"; `ln_1` comes from
        `self.ln_1 = ...`, so its origin is "ln_1". Compact modules name their layers as they call
        them: None.
        """
        return [self.attributes.get(path[: depth + 1]) for depth in range(len(path))]
