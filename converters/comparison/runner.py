"""Asks a framework all that `compare` must know: how to run a Flax module, and what its layers are."""

from collections.abc import Container, Mapping
from typing import Any, Protocol

from jax.extend import core

from converters.comparison.calls import Event
from converters.comparison.watch import Every
from converters.inspection import Inspection, Path


class Runner(Protocol):
    """A module, the random numbers that it takes, and the method to call."""

    @property
    def name(self) -> str:
        """Returns the name of the module's class."""

    def inspect(self, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Inspection:
        """Returns the module's layers and arrays."""

    def values(self, variables: Any, inspection: Inspection) -> tuple[Mapping[Path, Any], tuple[str, ...]]:
        """Returns the arrays of variables by their paths, and names of those that the method does not use.

        Raises:
            ConversionError: the variables are not those of the module.
        """

    def trace(self, arguments: Any) -> core.Jaxpr:
        """Returns the program of a call; what is no array is part of it.

        Args:
            arguments: Variables, inputs and keyword arguments.
        """

    def run(self, arguments: Any, watched: Container[Path], event: Event, every: Every) -> Any:
        """Calls the module without compilation, so that every layer is seen.

        Args:
            arguments: Variables, inputs and keyword arguments.
            watched: Paths of the layers whose calls to tell.
            event: Told of every call of a watched layer.
            every: Told of every call of any layer.

        Returns:
            The output; where it is all that a recurrent layer returns, in PyTorch's order.
        """

    def is_builtin(self, layer: Any) -> bool:
        """Returns whether a layer is one of Flax's, or a child of one."""

    def is_dropout(self, layer: Any) -> bool:
        """Returns whether a layer is nothing but dropout."""

    def is_recurrent(self, layer: Any) -> bool:
        """Returns whether a layer runs over a sequence, of which PyTorch has a stack in one module."""

    def dropout_rate(self, layer: Any) -> float:
        """Returns the rate of the dropout in a layer; 0 where there is none."""

    def has_biased_variance(self, layer: Any) -> bool:
        """Returns whether a layer is a batch norm that keeps the biased variance, as Flax's own does."""
