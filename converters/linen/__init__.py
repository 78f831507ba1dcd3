"""Flax linen: the inspection of its modules, and the table of its layers."""

from converters.linen.initial import initial_values
from converters.linen.inspect import inspect_module, is_layer_call
from converters.linen.table import LAYERS

__all__ = ["LAYERS", "initial_values", "inspect_module", "is_layer_call"]
