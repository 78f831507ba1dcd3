"""Flax linen: the inspection of its modules, the calls of its layers, and the table of its layers."""

from converters.linen.calls import LayerCalls
from converters.linen.initial import initial_values
from converters.linen.inspect import inspect_module
from converters.linen.parameters import shapes_only
from converters.linen.table import LAYERS

__all__ = ["LAYERS", "LayerCalls", "initial_values", "inspect_module", "shapes_only"]
