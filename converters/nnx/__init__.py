"""Flax NNX: the inspection of its modules, the table of its layers, and their states."""

from converters.nnx.double import doubled, exact_attention
from converters.nnx.inspect import inspect_nnx
from converters.nnx.table import LAYERS
from converters.nnx.target import NnxTarget
from converters.nnx.walk import held, layers_of

__all__ = ["LAYERS", "NnxTarget", "doubled", "exact_attention", "held", "inspect_nnx", "layers_of"]
