"""Layers and functions that Flax lacks, or whose numbers differ from PyTorch's."""

from collections.abc import Callable

import flax.linen as nn
import jax

from zoo._errors import ZooError


def _gelu(x: jax.Array) -> jax.Array:
    """The exact GELU, through erf; Flax's default is the tanh approximation."""
    return nn.gelu(x, approximate=False)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "gelu": _gelu,
    "gelu_tanh": nn.gelu,
    "silu": nn.silu,
    "tanh": nn.tanh,
    "leaky_relu": nn.leaky_relu,
    "elu": nn.elu,
    "sigmoid": nn.sigmoid,
}


def check_activation(name: str) -> str:
    """The name again, so that a family's `create` refuses an unknown one before any shape is computed.

    Raises:
        ZooError: no activation of that name.
    """
    if name not in ACTIVATIONS:
        raise ZooError(f"no activation named {name!r}; choose one of {', '.join(sorted(ACTIVATIONS))}")
    return name
